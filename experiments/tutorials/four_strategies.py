"""Tutorial 3: one network, its gradient obtained in four ways.

    python experiments/tutorials/four_strategies.py [FOLDER]

A strategy turns (model, loss) into a function with the signature of jax.value_and_grad. The network is MoDL,
z = x_i + N_i(x_i), x_{i+1} = (A^H A + lam)^{-1} (A^H y + lam z), with separate weights for each step:

    end_to_end    reverse mode: the activations of all steps are kept
    checkpointed  keeps one image per step and computes the rest again: the same gradient
    invertible    rebuilds images by inverting steps: the same gradient, as far as the inversion converges
    gleam         each step learns from a loss of its own: another gradient, on purpose, in the memory of one step

The figure goes into FOLDER (default: tutorial_figures).
"""

# %% Data: simulated heads
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxrecon as jr
from jaxrecon import plots
from jaxrecon.strategies import checkpointed, end_to_end, gleam, invertible

# in a notebook the arguments are the kernel's
folder = Path(sys.argv[1] if sys.argv[1:] and not hasattr(sys, "ps1") else "tutorial_figures")

mask = jr.sampling.random_lines(jax.random.key(0), 48, acceleration=3, center_fraction=0.12)


def example(key):
    """What a network is given, and what it should return."""
    scan = jr.data.simulate.simulate(key, shape=(56, 48), n_coils=4, snr=20.0)
    op = jr.operators.CartesianSense(scan.maps, mask)
    return jr.Problem(scan.kspace * mask[None, None], op), jr.Target(scan.image)


examples = [example(key) for key in jax.random.split(jax.random.key(1), 8)]
problems, targets = jr.models.stack_problems(examples[:4])
test_problems, test_targets = jr.models.stack_problems(examples[4:])

# %% The model, and the four strategies
config = jr.models.MoDLConfig(
    n_steps=4,
    features=12,
    layers=3,
    norm="none",
    shared=False,
    lam=0.5,
    learn_lam=False,
    glorot=False,
    inverse_iters=10,
)
single = jr.models.modl(config)  # takes one example
model = jr.models.batched(single)
params = jax.jit(model.init)(jax.random.key(2), problems)
strategies = {
    "end_to_end": end_to_end(),
    "checkpointed": checkpointed(),
    "invertible": invertible(),
    "gleam": gleam(n_modules=config.n_steps),
}
loss = jr.losses.complex_l1


# %% The same numbers, where they must be equal
def relative_difference(a, b):
    """||a - b|| / ||b|| over all weights."""
    return float(optax.tree.norm(jax.tree.map(jnp.subtract, a, b)) / optax.tree.norm(b))


grad_fns = {name: jax.jit(strategy(model, loss)) for name, strategy in strategies.items()}
gradients, differences = {}, {}
for name, grad_fn in grad_fns.items():
    (value, aux), gradients[name] = grad_fn(params, problems, targets)
    differences[name] = relative_difference(gradients[name], gradients["end_to_end"])
    extra = f", round trip {float(aux['round_trip']):.1e}" if "round_trip" in aux else ""
    print(f"{name:>12}: loss {float(value):.6f}, gradient differs from end to end by {differences[name]:.1e}{extra}")
# The last step of GLEAM has the same input and the same loss as end to end: there, and only there, so is its gradient.
last = {name: jax.tree.map(lambda g: g[-1], gradient["steps"]) for name, gradient in gradients.items()}
last_step = relative_difference(last["gleam"], last["end_to_end"])
print(f"       gleam: gradient of the last step alone differs by {last_step:.1e}")

# %% Memory, before anything is run
# The compiler plans the memory of a whole training step (gradient, Adam, donated state) from shapes alone, so the
# question can be asked for a matrix that this machine could never train on.
big = jax.eval_shape(
    lambda: (
        jr.Problem(
            jnp.zeros((1, 8, 256, 256), jnp.complex64),
            jr.operators.CartesianSense(jnp.zeros((1, 8, 256, 256), jnp.complex64), jnp.zeros((1, 256))),
        ),
        jr.Target(jnp.zeros((1, 256, 256), jnp.complex64)),
    )
)
report = jr.training.memory_report(single, loss, optax.adam(1e-3), *big, strategies=strategies)
print(jr.training.format_memory(report))
memory = {row.name: row.memory.temporary / 2**20 for row in report}

# %% Train by each of them, from the same weights
# `jr.training.from_grad_fn` and `fit` do this with logs and checkpoints; written out it is four lines.
tx = optax.adam(5e-3)
adam = jax.jit(tx.update)
histories, trained = {}, {}
for name, grad_fn in grad_fns.items():
    weights, opt_state = params, tx.init(params)
    histories[name] = []
    for _ in range(30):
        (value, _), gradient = grad_fn(weights, problems, targets)
        updates, opt_state = adam(gradient, opt_state)
        weights = jax.tree.map(jnp.add, weights, updates)
        histories[name].append(float(value))
    trained[name] = weights
    print(f"{name:>12}: loss {histories[name][0]:.5f} -> {histories[name][-1]:.5f}")

# %% Early exit: how good is each step's image?
# No step of a network that was trained end to end has to be an image, but the last. Each step of GLEAM has learned to
# be one, so that the network can be cut anywhere.
reconstruct = jax.jit(lambda params: jr.run(model, params, test_problems, every_step=True))


@jax.jit
def psnr(images):
    """Mean over heads, for (step, head, y, x)."""
    truth = jnp.abs(test_targets.image)
    one = jax.vmap(lambda t, x: jr.metrics.psnr(t, x, data_range=t.max()))
    return jax.vmap(lambda x: one(truth, x).mean())(jnp.abs(images))


curves = {name: np.asarray(psnr(reconstruct(params))) for name, params in trained.items()}
for name, curve in curves.items():
    print(f"{name:>12}: PSNR after each step", *(f"{value:.1f}" for value in curve), "dB")

# %% The figure
figure = Figure(figsize=(11, 3.4), layout="constrained")
left, middle, right = figure.subplots(1, 3)
styles = {"end_to_end": ("C0", "-"), "checkpointed": ("C1", "--"), "invertible": ("C2", ":"), "gleam": ("C3", "-")}
bars = left.bar(list(memory), list(memory.values()), color=[color for color, _ in styles.values()])
left.bar_label(bars, fmt="%.0f")
left.margins(y=0.12)
left.set(ylabel="temporary memory / MiB", title="a training step, 256 x 256, 8 coils")
left.tick_params(axis="x", rotation=20)
for name, (color, style) in styles.items():
    middle.plot(histories[name], color=color, linestyle=style, linewidth=2, label=name)
    right.plot(range(1, config.n_steps + 1), curves[name], color=color, linestyle=style, marker="o", label=name)
middle.set(xlabel="update", ylabel="loss of the last step", title="training")
right.set_xticks(range(1, config.n_steps + 1))
right.set(xlabel="steps run", ylabel="PSNR / dB", title="early exit, unseen heads")
for axes in (middle, right):
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
print("figure:", plots.save(figure, folder / "four_strategies.png"))

# %% What was said, checked
assert differences["checkpointed"] < 1e-5 and differences["invertible"] < 1e-4 and differences["gleam"] > 0.1
assert last_step < 1e-5
assert all(2 * memory[name] < memory["end_to_end"] for name in ("checkpointed", "invertible", "gleam"))
for name in ("checkpointed", "invertible"):
    np.testing.assert_allclose(histories[name][:5], histories["end_to_end"][:5], rtol=1e-3)
assert all(history[-1] < 0.9 * history[0] for history in histories.values())
assert all(np.diff(curves["gleam"]) > -0.2)  # each step of GLEAM is an image, and a better one, within 0.2 dB

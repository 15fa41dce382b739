"""Tutorial 2: an unrolled network of your own, the whole of it in twenty lines, and no change in the library.

    python experiments/tutorials/own_model.py [FOLDER]

The network is that of momentum.py beside this file: gradient descent with momentum and a small learned correction, none of
which the library knows. Open it: a dataclass with a method `build`, which says start, step and finish.

Here it is trained in Python for a few updates on simulated heads and tested on others. The figure goes into FOLDER (default:
tutorial_figures). The commands take the same file: momentum.py says how.
"""

# %% Data: each key is another head
import functools
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from momentum import Momentum

import jaxrecon as jr
from jaxrecon import plots

# in a notebook the arguments are the kernel's
folder = Path(sys.argv[1] if sys.argv[1:] and not hasattr(sys, "ps1") else "tutorial_figures")

mask = jr.sampling.random_lines(jax.random.key(0), 80, acceleration=3, center_fraction=0.12)


def example(key):
    """What a network is given, and what it should return."""
    scan = jr.data.simulate.simulate(key, shape=(96, 80), n_coils=4, snr=20.0)
    op = jr.operators.CartesianSense(scan.maps, mask)
    return jr.Problem(scan.kspace * mask[None, None], op), jr.Target(scan.image)


# a batch is the same tree with a leading axis on each leaf
examples = [example(key) for key in jax.random.split(jax.random.key(1), 12)]
problems, targets = jr.models.stack_problems(examples[:8])
test_problems, test_targets = jr.models.stack_problems(examples[8:])


# %% The model
# Weights for each step, the scan over steps, batches, early exit and every strategy of training follow from its three functions.
config = Momentum(n_steps=6, features=16)
model = jr.models.batched(jr.models.build(config))
params = jax.jit(model.init)(jax.random.key(3), problems)
print("parameters:", {name: leaf.shape for name, leaf in params["steps"].items()}, "- the leading axis is the step")

# What the network wants, it says itself: commands, data and strategies ask nothing else.
print("it wants:", model.wants)

# %% Training: a strategy makes the gradient, an optimizer makes the update
# A training step is one jitted function. `jr.training.fit` is this loop with checkpoints, log and resume.
gradient = jr.strategies.end_to_end()(model, jr.losses.mse)
update = jr.training.from_grad_fn(gradient, optax.adam(3e-3))
state = update.init(params, jax.random.key(4))
history = []
for _ in range(60):
    state, metrics = update(state, problems, targets)
    history.append(float(metrics["loss"]))
print(f"loss: {history[0]:.5f} before, {history[-1]:.5f} after {len(history)} updates")


# %% Test on other heads
reconstruct = jax.jit(functools.partial(jr.run, model))
truth = jnp.abs(test_targets.image)


@jax.jit
def psnr(images):
    """Mean over the heads of (head, y, x)."""
    return jax.vmap(lambda t, x: jr.metrics.psnr(t, x, data_range=t.max()))(truth, jnp.abs(images)).mean()


solve = jax.jit(jax.vmap(lambda problem, lam: jr.classical.cg_sense(problem, lam=lam, n_iter=20), (0, None)))
images = {
    "zero-filled": jax.vmap(jr.classical.zero_filled)(test_problems),
    # the rival has the best lam for these very heads
    "CG-SENSE": max((solve(test_problems, lam) for lam in 10.0 ** np.arange(-3, 0, 0.5)), key=psnr),
    "untrained": reconstruct(params, test_problems),
    "trained": reconstruct(state.params, test_problems),
}
scores = {name: float(psnr(image)) for name, image in images.items()}
for name, score in scores.items():
    print(f"{name:>12}: PSNR {score:.2f} dB, mean of {len(truth)} unseen heads")

# %% The figure
figure = plots.comparison(
    truth[0],
    {name: image[0] for name, image in images.items()},
    captions={name: f"PSNR {score:.1f} dB" for name, score in scores.items()},
    title=f"a network of twenty lines, {len(history)} updates on {len(targets.image)} simulated heads; an unseen head",
)
print("figure:", plots.save(figure, folder / "own_model.png"))

# %% What was said, checked
assert history[-1] < 0.7 * history[0]
assert scores["zero-filled"] < scores["CG-SENSE"] < scores["trained"] and scores["untrained"] + 1 < scores["trained"]

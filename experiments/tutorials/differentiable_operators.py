"""Tutorial 5: operators are data, so everything in them has a gradient: the coil maps, and where to sample.

    python experiments/tutorials/differentiable_operators.py [FOLDER]

First the gradient of a CG-SENSE error with respect to the maps, checked by finite differences. Then the density of
random columns is learned by gradient descent through ten unrolled CG iterations, in the manner of LOUPE (Bahadir et
al. 2020, who learn it with a network in place of CG), and tested on other heads. The figure goes into FOLDER (default:
tutorial_figures).
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

# in a notebook the arguments are the kernel's
folder = Path(sys.argv[1] if sys.argv[1:] and not hasattr(sys, "ps1") else "tutorial_figures")

N_COLUMNS, ACCELERATION = 80, 4.0
scans = [
    jr.data.simulate.simulate(key, shape=(96, N_COLUMNS), n_coils=4, snr=20.0)
    for key in jax.random.split(jax.random.key(0), 6)
]
training, test = jr.models.stack_problems(scans[:3]), jr.models.stack_problems(scans[3:])


# %% One function: from maps and mask to the error of the image
def reconstruct(maps, mask, kspace):
    """Ten unrolled iterations of CG-SENSE; the mask is any real numbers (x,)."""
    problem = jr.Problem(mask[None, None] * kspace, jr.operators.CartesianSense(maps, mask))
    return jr.classical.cg_sense(problem, lam=0.01, n_iter=10)


def error(maps, mask, scan):
    """Normalised squared error of one scan."""
    return jr.metrics.nmse(scan.image, reconstruct(maps, mask, scan.kspace))


# %% The gradient with respect to the maps
# For a real function of complex z = a + ib, jax.grad gives df/da - i df/db: the steepest ascent is its CONJUGATE, and
# the change of f along a direction d is Re sum(grad * d), without a conjugate.
scan = scans[0]
mask = jr.sampling.random_lines(jax.random.key(1), N_COLUMNS, acceleration=ACCELERATION, center_fraction=0.1)
value_and_gradient = jax.jit(jax.value_and_grad(error))
value, gradient = value_and_gradient(scan.maps, mask, scan)

direction = scans[1].maps - scan.maps  # towards the maps of another head
step = 1e-2
shifted = [value_and_gradient(scan.maps + s * direction, mask, scan)[0] for s in (step, -step)]
finite_difference = float(shifted[0] - shifted[1]) / (2 * step)
predicted = float(jnp.sum(gradient * direction).real)
print(f"NMSE {float(value):.4f}; its slope towards other maps: {predicted:.5f} by the gradient, ", end="")
print(f"{finite_difference:.5f} by finite differences")

# %% Where to sample: a density with a gradient
# Column j is measured where p_j > u_j for uniform u. That has no slope, so the backward pass sees a sigmoid in its
# place (the forward pass keeps the mask of zeros and ones).
SLOPE = 5.0


def density(logits):
    """Probabilities (x,) with mean 1 / R, as LOUPE rescales them."""
    p, mean = jax.nn.sigmoid(logits), 1 / ACCELERATION
    now = p.mean()
    return jnp.where(now > mean, p * mean / now, 1 - (1 - p) * (1 - mean) / (1 - now))


def draw(p, u):
    """A mask of zeros and ones with the gradient of a sigmoid."""
    soft = jax.nn.sigmoid(SLOPE * (p - u))
    return soft + jax.lax.stop_gradient((p > u) - soft)


def expected_error(logits, key):
    """Mean error of the training scans, each with a mask of its own."""
    u = jax.random.uniform(key, (len(training.kspace), N_COLUMNS))
    masks = jax.vmap(draw, (None, 0))(density(logits), u)
    return jax.vmap(error)(training.maps, masks, training).mean()


tx = optax.adam(0.25)


@jax.jit
def update(state, key):
    """One step of Adam over a few draws of masks."""
    logits, opt_state = state
    keys = jax.random.split(key, 2)
    value, gradient = jax.value_and_grad(lambda x: jax.vmap(expected_error, (None, 0))(x, keys).mean())(logits)
    updates, opt_state = tx.update(gradient, opt_state)
    return (optax.apply_updates(logits, updates), opt_state), value


uniform = jnp.full(N_COLUMNS, jax.scipy.special.logit(1 / ACCELERATION))
state = uniform, tx.init(uniform)
history = []
for key in jax.random.split(jax.random.key(3), 80):
    state, value = update(state, key)
    history.append(float(value))
learned = density(state[0])
print(
    f"mean NMSE over draws: {np.mean(history[:5]):.4f} in the first five updates, {np.mean(history[-5:]):.4f} in the last"
)
print(f"learned density: above 1/2 for {int((learned > 0.5).sum())} columns, mean {float(learned.mean()):.3f} = 1 / R")


# %% Test: other heads, other draws
@jax.jit
def test_errors(p, key):
    """(head, draw) errors."""
    u = jax.random.uniform(key, (16, N_COLUMNS))
    one = lambda maps, scan: jax.vmap(lambda u: error(maps, (p > u).astype(p.dtype), scan))(u)
    return jax.vmap(one)(test.maps, test)


n_center = 8
columns = np.abs(np.arange(N_COLUMNS) - N_COLUMNS // 2 + 0.5) < n_center / 2
outer = (N_COLUMNS / ACCELERATION - n_center) / (N_COLUMNS - n_center)
densities = {
    "uniform": np.full(N_COLUMNS, 1 / ACCELERATION),
    "center + uniform": np.where(columns, 1.0, outer),
    "learned": np.asarray(learned),
}
errors = {name: np.asarray(test_errors(p, jax.random.key(4))) for name, p in densities.items()}
for name, value in errors.items():
    print(f"{name:>16}: NMSE {value.mean():.4f} +- {value.std():.4f} over {value.size} unseen heads and draws")

# %% The figure
u = jax.random.uniform(jax.random.key(5), (N_COLUMNS,))
figure = Figure(figsize=(10.5, 6.8), layout="constrained")
grid = figure.add_gridspec(2, 4)
axes = figure.add_subplot(grid[0, :2])
for name, p in densities.items():
    axes.step(np.arange(N_COLUMNS) - N_COLUMNS // 2, p, where="mid", label=name)
axes.set(xlabel="column of k-space", ylabel="probability", title=f"sampling densities, R = {ACCELERATION:g}")
axes.grid(alpha=0.3)
axes.legend(loc="upper left", fontsize=8)
truth = np.abs(test.image[0])
panels = {
    (0, 2): ("|map| of coil 0", np.abs(scan.maps[0]), None),
    (0, 3): ("|gradient| of the error by it", np.abs(gradient[0]), None),
    (1, 0): ("an unseen head", truth, truth),
}
for column, (name, p) in enumerate(densities.items(), start=1):
    image = np.abs(reconstruct(test.maps[0], jnp.asarray(p > u, jnp.float32), test.kspace[0]))
    panels[1, column] = f"{name}\nmean NMSE {errors[name].mean():.3f}", image, truth
for place, (title, image, window_of) in panels.items():
    axes = figure.add_subplot(grid[place])
    low, high = plots.display_window(image if window_of is None else window_of)
    axes.imshow(image, cmap="gray", vmin=low, vmax=high)
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()
print("figure:", plots.save(figure, folder / "differentiable_operators.png"))

# %% What was said, checked
assert abs(predicted - finite_difference) < 0.05 * abs(finite_difference)
assert all(abs(p.mean() - 1 / ACCELERATION) < 1e-3 and p.min() >= 0 and p.max() <= 1 for p in densities.values())
assert errors["learned"].mean() < 0.8 * errors["center + uniform"].mean() < errors["uniform"].mean()

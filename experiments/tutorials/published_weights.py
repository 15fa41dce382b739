"""Tutorial 4: weights as others publish them, into a network of this library and back.

    python experiments/tutorials/published_weights.py [FOLDER]

A state dict under the names of fastMRI's end-to-end VarNet is read and run. THE WEIGHTS HERE ARE RANDOM, and the
images accordingly worthless: no trained weights come with the library. With a file of your own, say the leaderboard
network of fastMRI, the cells from "Read" on are all there is to do. The files go into FOLDER (default:
tutorial_figures).
"""

# %% A file as somebody else would publish it, made here from random weights
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxrecon as jr
from jaxrecon import plots
from jaxrecon.weights import E2E_VARNET, from_published, read, to_published, write_npz

# in a notebook the arguments are the kernel's
folder = Path(sys.argv[1] if sys.argv[1:] and not hasattr(sys, "ps1") else "tutorial_figures")
folder.mkdir(parents=True, exist_ok=True)

# The network estimates the coil maps itself: its operator comes without them.
mask = jr.sampling.equispaced_lines(jax.random.key(0), 80, acceleration=4, center_fraction=0.1)
scan = jr.data.simulate.simulate(jax.random.key(1), shape=(96, 80), n_coils=6, snr=30.0)
problem = jr.Problem.from_numpy(scan.kspace * mask[None, None], mask=mask)

tiny = jr.models.VarNetConfig(n_steps=3, features=4, pools=2, sens_features=4, sens_pools=2)
# `init` would draw them, with some seconds to compile; shapes alone cost nothing, and any arrays of these shapes will do.
shapes = jax.eval_shape(jr.models.varnet(tiny).init, jax.random.key(2), problem)
rng = np.random.default_rng(0)
random_params = jax.tree.map(
    lambda leaf: rng.normal(scale=np.prod(leaf.shape[-4:-1]) ** -0.5, size=leaf.shape).astype(leaf.dtype), shapes
)
write_npz(folder / "varnet_random.npz", to_published(random_params, E2E_VARNET, tiny), overwrite=True)

# %% Read
# `read` takes PyTorch's .pt, TensorFlow's checkpoints and npz, told by their content. Nothing in them is executed, and
# neither framework has to be installed.
state = read(folder / "varnet_random.npz")
print(f"{len(state)} tensors of RANDOM numbers, {sum(a.size for a in state.values()):,} in all, among them")
for name in list(state)[:2] + list(state)[-2:]:
    print(f"    {name} {state[name].shape}")

# %% Into our parameters; names and shapes tell the configuration
params, config = from_published(state, E2E_VARNET)
print("configuration, from the names and shapes:", config)
print(
    "ours: kernels of all steps in one array,",
    params["steps"]["net"]["params"]["unet"]["down_0"]["conv_0"]["kernel"].shape,
)

# %% What does not fit is told at once, all of it
broken = {name: array for name, array in state.items() if not name.startswith("cascades.1.dc_weight")}
broken["cascades.0.dc_weight"] = np.ones(2, np.float32)
try:
    from_published(broken, E2E_VARNET)
except jr.DataError as error:
    message = str(error)
print(f"a damaged file: {message}")

# %% Run
# `carry=True` returns the last carry and the context too: there the operator with the estimated maps is.
model = jr.models.varnet(config)
image, kspace, (measured, op) = jax.jit(lambda params: jr.run(model, params, problem, carry=True))(params)
energy = jnp.sum(jnp.abs(op.maps) ** 2, 0)
print(
    f"image {image.shape}, {image.dtype}; the maps that it estimated have sum |S|^2 within {energy.min():.3f} and "
    f"{energy.max():.3f}"
)

# %% Back, bit for bit
again = to_published(params, E2E_VARNET, config)
assert list(again) == list(state)
assert all(np.array_equal(again[name], state[name]) for name in state)
print("written under the published names again: the same names in the same order, the same bits")

# %% The figure
figure = plots.image_grid(
    {
        "truth": np.abs(scan.image),
        "zero-filled (rss)": jr.classical.rss_image(problem),
        "VarNet, RANDOM weights": image,
        "its map of coil 0, RANDOM": np.abs(op.maps[0]),
    },
    columns=4,
    title="published names, random weights: only the plumbing is shown, no image quality",
)
print("figure:", plots.save(figure, folder / "published_weights.png"))

# %% What was said, checked
assert config == tiny and jax.tree.all(jax.tree.map(np.array_equal, params, random_params))
assert "cascades.1.dc_weight (1,)" in message and "cascades.0.dc_weight (2,), not (1,)" in message

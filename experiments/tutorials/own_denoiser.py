"""Tutorial 6: a denoiser of your own inside XPDNet, trained, and fine-tuned from its own weights on another contrast.

    python experiments/tutorials/own_denoiser.py [FOLDER]

XPDNet asks little of the network in its image: a frozen dataclass that says what sizes it needs, whether its result is added
to the image, and builds it. Here that is a small network of gated convolutions, which the library does not know.

It is trained on T1-weighted heads, then on a few T2-weighted ones, from its own weights; the commands have `--weights` for that.
The figure goes into FOLDER (default: tutorial_figures).
"""

# %% The denoiser
import dataclasses
import functools
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen

import jaxrecon as jr
from jaxrecon import plots
from jaxrecon.data.simulate import CONTRASTS
from jaxrecon.nn import Denoiser, conv

# in a notebook the arguments are the kernel's
folder = Path(sys.argv[1] if sys.argv[1:] and not hasattr(sys, "ps1") else "tutorial_figures")


class Gated(linen.Module):
    """Pairs of convolutions 3x3, of which one says how much of the other goes on; real (..., y, x, channel)."""

    out_features: int
    features: int
    layers: int

    @linen.compact
    def __call__(self, x):
        """As many channels of the same size."""
        for i in range(self.layers):
            last = i == self.layers - 1
            out = self.out_features if last else self.features
            # it begins as nothing: XPDNet then gives the zero-filled image
            init = jax.nn.initializers.zeros if last else jax.nn.initializers.glorot_uniform()
            kernel = self.param(f"kernel_{i}", init, (3, 3, x.shape[-1], out if last else 2 * out))
            x = conv(x, kernel)
            if not last:
                content, gate = jnp.split(x, 2, -1)
                x = content * jax.nn.sigmoid(gate)
        return x


@dataclasses.dataclass(frozen=True)
class GatedConfig:
    """What XPDNet's configuration holds."""

    features: int = 12
    layers: int = 3
    multiple: int = 1  # any size will do
    residual: bool = True  # its result is added to the image

    def build(self, out_features, *, dtype=None):
        """The network; dtype is for those who compute in bfloat16."""
        return Gated(out_features, self.features, self.layers)


assert isinstance(GatedConfig(), Denoiser)

# %% XPDNet with it: three steps, four image channels; coil maps are given
config = jr.models.XPDNetConfig(n_steps=3, n_primal=4, denoiser=GatedConfig())
model = jr.models.batched(jr.models.build(config))

# %% Data: heads of two contrasts
mask = jr.sampling.random_lines(jax.random.key(0), 56, acceleration=3, center_fraction=0.12)


def heads(seed, n, contrast):
    """A batch of n problems and targets."""

    def example(key):
        scan = jr.data.simulate.simulate(key, shape=(64, 56), n_coils=4, snr=30.0, contrast=CONTRASTS[contrast])
        op = jr.operators.CartesianSense(scan.maps, mask)
        return jr.Problem(scan.kspace * mask[None, None], op), jr.Target(jnp.abs(scan.image))

    return jr.models.stack_problems([example(key) for key in jax.random.split(jax.random.key(seed), n)])


t1, t2, few_t2 = heads(1, 4, "t1"), heads(2, 4, "t2"), heads(3, 4, "t2")

# %% Training, on T1, then from these weights on four heads of T2: the same loop
gradient = jr.strategies.end_to_end()(model, jr.losses.l1)
update = jr.training.from_grad_fn(gradient, optax.adam(8e-3))


def train(params, problems, targets, *, n_updates):
    """Weights after some updates, and the loss before each of them."""
    state, losses = update.init(params, jax.random.key(4)), []
    for _ in range(n_updates):
        state, metrics = update(state, problems, targets)
        losses.append(float(metrics["loss"]))
    return state.params, losses


untrained = jax.jit(model.init)(jax.random.key(5), t1[0])
print(f"{sum(leaf.size for leaf in jax.tree.leaves(untrained)):,} parameters in {config.n_steps} steps")
on_t1, losses = train(untrained, *t1, n_updates=150)
tuned, tuned_losses = train(on_t1, *few_t2, n_updates=30)
alone, _ = train(untrained, *few_t2, n_updates=30)
print(
    f"loss on T1: {losses[0]:.4f} -> {losses[-1]:.4f}; on T2 from these weights: {tuned_losses[0]:.4f} -> {tuned_losses[-1]:.4f}"
)

# %% Unseen heads of T2
reconstruct = jax.jit(functools.partial(jr.run, model))
problems, targets = t2


@jax.jit
def psnr(images):
    """Mean over the heads of (head, y, x)."""
    return jax.vmap(lambda t, x: jr.metrics.psnr(t, x, data_range=t.max()))(targets.image, jnp.abs(images)).mean()


images = {
    "zero-filled": jax.vmap(jr.classical.zero_filled)(problems),
    "trained on T1": reconstruct(on_t1, problems),
    "on four T2 alone": reconstruct(alone, problems),
    "T1, then four T2": reconstruct(tuned, problems),
}
scores = {name: float(psnr(image)) for name, image in images.items()}
for name, score in scores.items():
    print(f"{name:>16}: PSNR {score:.2f} dB, mean of {len(targets.image)} unseen T2 heads")

# %% The figure
figure = plots.comparison(
    targets.image[0],
    {name: np.abs(image[0]) for name, image in images.items()},
    captions={name: f"PSNR {score:.1f} dB" for name, score in scores.items()},
    title="XPDNet with a denoiser of its user's; a T2-weighted head that no training has seen",
)
print("figure:", plots.save(figure, folder / "own_denoiser.png"))

# %% What was said, checked
assert losses[-1] < 0.7 * losses[0] and tuned_losses[-1] < tuned_losses[0]
assert scores["zero-filled"] < scores["trained on T1"] < scores["T1, then four T2"] > scores["on four T2 alone"]

"""The fastMRI U-Net baseline: a model of one step, so that it trains and evaluates like the others.

Parameter tree: steps/params/... as UNet (jaxrecon.nn.unet), each leaf with a leading axis of 1. `start` has none.

Source: Zbontar et al. 2018, arXiv 1811.08839, and the code of fastMRI.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from ..checks import check_sizes
from ..complex_ops import magnitude, rss
from ..fourier import center_crop
from ..nn import UNet
from .unrolled import Unrolled, Wants, unrolled


@dataclasses.dataclass(frozen=True)
class UNetConfig:
    """Configuration of `unet`; the defaults are fastMRI's demo (7,756,097 parameters).

    Attributes:
      features: channels of the first level.
      pools: levels.
      crop: size (y, x) that the input is cropped to, a square of its width where it is narrower; None: no crop.
      clamp: normalised values beyond +-clamp are cut.
      drop_rate: dropout of channels, where the problem has a key.
      bfloat16: convolutions in bfloat16.
    """

    features: int = 32
    pools: int = 4
    crop: tuple[int, int] | None = (320, 320)
    clamp: float = 6.0
    drop_rate: float = 0.0
    bfloat16: bool = False

    def build(self) -> Unrolled:
        """`unet` of this configuration."""
        return unet(self)


UNET_LEADERBOARD = UNetConfig(features=256)
"""fastMRI's leaderboard U-Net: 496,372,225 parameters."""


def unet(config: UNetConfig) -> Unrolled:
    """The U-Net baseline on the zero-filled magnitude image.

    u = rss |crop(A^H y)|,  m = mean(u),  s = std(u);  x = s U(clamp((u - m) / s, -6, 6)) + m

    Args:
      config: sizes.

    Returns:
      Model with n_steps = 1, carry the normalised image (y, x), real; reconstruction the magnitude (y, x), cropped. An
      operator without maps gives coil images, combined by rss.

    Raises:
      ValueError: sizes that make no network.

    Source: Zbontar et al. 2018 and the code of fastMRI, which divides by s + 1e-11: data in units of 1e-12 would not be
      normalised. It trains with an L1 loss in normalised units, with the target normalised by the input's mean and standard
      deviation and clamped too; `unet_normalization` gives both.
    """
    check_sizes(1, features=config.features)
    check_sizes(0, pools=config.pools)
    net = UNet(1, config.features, config.pools, config.drop_rate, jnp.bfloat16 if config.bfloat16 else None)

    def init_step(key, image, context):
        return net.lazy_init(key, image[..., None])

    def step(theta, image, context, i):
        key = context[2]
        out: Any = net.apply(theta, image[..., None], rngs=None if key is None else {"dropout": key})
        return out[..., 0]

    return magnitude_network(
        init_step=init_step, step=step, crop=config.crop, clamp=config.clamp, least_size=2**config.pools
    )


def magnitude_network(
    *,
    init_step: Callable[..., Any],
    step: Callable[..., Any],
    crop: tuple[int, int] | None,
    least_size: int,
    clamp: float | None = None,
) -> Unrolled:
    """A model of one step on the normalised zero-filled magnitude image (y, x), real; its context is (mean, std, key).

    Args:
      init_step: as for `unrolled`.
      step: as for `unrolled`.
      crop: size (y, x) that the input is cropped to, a square of its width where it is narrower; None: no crop.
      least_size: pixels along y and x that the network needs.
      clamp: normalised values beyond +-clamp are cut; None: none.

    Source: Zbontar et al. 2018; Ramzi et al. 2020.
    """
    check_sizes(0, crop=crop or ())

    def start(_, problem):
        image = zero_filled_magnitude(problem)
        if crop is not None:
            height, width = crop
            square = (image.shape[-1],) * 2
            image = center_crop(image, square if image.shape[-1] < width else (height, width))
        mean, std = unet_normalization(image)
        image = (image - mean) / jnp.where(std > 0, std, 1)
        return image if clamp is None else jnp.clip(image, -clamp, clamp), (mean, std, problem.key)

    def finish(image, context):
        mean, std, _ = context
        return image * std + mean

    return unrolled(
        n_steps=1,
        shared=False,
        init_step=init_step,
        start=start,
        step=step,
        finish=finish,
        wants=Wants(maps="none", image="magnitude", example_size=max(64, least_size), uses_index=False),
    )


def zero_filled_magnitude(problem):
    """|A^H y|, (y, x); the rss of the coil images where the operator has no maps."""
    image = problem.op.adjoint(problem.kspace)
    return rss(image) if problem.op.maps is None else magnitude(image)


def unet_normalization(image):
    """(mean, unbiased standard deviation) of an image (y, x)."""
    return jnp.mean(image), jnp.std(image, ddof=1)

"""The U-Net of Ramzi's benchmark on magnitude images: a model of one step.

Parameter tree: steps/params/... as BenchmarkUNet (jaxrecon.nn.benchmark_unet), each leaf with a leading axis of 1.

Source: Ramzi et al. 2020, and its code.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp

from ..checks import check_sizes
from ..nn import BenchmarkUNet, pad_to_multiple, unpad
from .unet import magnitude_network
from .unrolled import Unrolled


@dataclasses.dataclass(frozen=True)
class MagnitudeUNetConfig:
    """Configuration of `magnitude_unet`; the defaults are those of the benchmark's table (481,801 parameters).

    Attributes:
      features: channels of each level, the finest first.
      convs: convolutions of each level, on the way down and again on the way up.
      penultimate_activation: ReLU after the first 1x1 convolution of the end: the reference code of today, with which the weights
        of the table do not work.
      crop: size (y, x) that the input is cropped to, a square of its width where it is narrower; None: no crop.
      bfloat16: convolutions in bfloat16.
    """

    features: tuple[int, ...] = (16, 32, 64, 128)
    convs: int = 2
    penultimate_activation: bool = False
    crop: tuple[int, int] | None = (320, 320)
    bfloat16: bool = False

    def build(self) -> Unrolled:
        """`magnitude_unet` of this configuration."""
        return magnitude_unet(self)


def magnitude_unet(config: MagnitudeUNetConfig) -> Unrolled:
    """The benchmark's U-Net on the zero-filled magnitude image.

    u = rss |crop(A^H y)|,  m = mean(u),  s = std(u);  x = s U((u - m) / s) + m

    Args:
      config: sizes.

    Returns:
      Model with n_steps = 1, carry the normalised image (y, x), real; reconstruction the magnitude (y, x), cropped. Images of
      other sizes than multiples of 2^(levels - 1) are padded with their mean. An operator without maps gives coil images,
      combined by rss.

    Raises:
      ValueError: sizes that make no network.

    Source: Ramzi et al. 2020; kernels began there with He's normal distribution, here and in the code of today with Glorot's.
    """
    check_sizes(1, features=config.features, convs=config.convs, levels=len(config.features))
    dtype = jnp.bfloat16 if config.bfloat16 else None
    net = BenchmarkUNet(
        1, config.features, config.convs, penultimate_activation=config.penultimate_activation, dtype=dtype
    )
    multiple = 2 ** (len(config.features) - 1)
    padded = lambda image: pad_to_multiple(image[..., None], multiple, more_in_front=True)

    def step(theta, image, context, i):
        out: Any = net.apply(theta, padded(image))
        return unpad(out, *image.shape, more_in_front=True)[..., 0]

    return magnitude_network(
        init_step=lambda key, image, context: net.lazy_init(key, padded(image)),
        step=step,
        crop=config.crop,
        least_size=multiple,
    )

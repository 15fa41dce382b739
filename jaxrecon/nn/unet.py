"""The fastMRI U-Net, and NormUNet: the U-Net on normalised complex images.

Parameter trees, beside the names of fastMRI's state dicts (P pools):

  UNet:      down_{i}/conv_{0,1}/kernel    down_sample_layers.{i}.layers.{0,4}.weight
             bottom/conv_{0,1}/kernel      conv.layers.{0,4}.weight
             transpose_{i}/kernel          up_transpose_conv.{i}.layers.0.weight
             up_{i}/conv_{0,1}/kernel      up_conv.{i}.layers.{0,4}.weight,
                                           the last one up_conv.{P-1}.0.layers.{0,4}.weight
             out/{kernel,bias}             up_conv.{P-1}.1.{weight,bias}
  NormUNet:  unet/...                      unet....

Kernels are (height, width, in, out): a PyTorch convolution (out, in, h, w) transposed by (2, 3, 1, 0), a transposed
convolution (in, out, h, w) by (2, 3, 0, 1), without a flip.
"""

from typing import Any

import jax.numpy as jnp
from flax import linen
from jaxtyping import Array, Complex, Float

from ..checks import UserError
from .conv import Conv, ConvTranspose2x2, average_pool_2x2, instance_norm, leaky_relu


class UNet(linen.Module):
    """fastMRI's U-Net: instance norm without parameters, leaky ReLU 0.2, no bias but that of the last layer.

    Source: Zbontar et al. 2018, arXiv 1811.08839; the code of fastMRI (unet.py), with which it agrees in every detail.

    Attributes:
      out_features: output channels.
      features: channels of the first level; each level doubles them.
      pools: levels of pooling.
      drop_rate: channels dropped after each activation, where a "dropout" rng is given.
      dtype: what the convolutions compute in; the result has the input's dtype.
    """

    out_features: int
    features: int = 32
    pools: int = 4
    drop_rate: float = 0.0
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Float[Array, "*batch y x i"]) -> Float[Array, "*batch y x {self.out_features}"]:
        """(..., y, x, in) to (..., y, x, out_features); any size of at least 2^pools.

        Raises:
          ValueError: y or x is smaller.
        """
        if min(x.shape[-3:-1]) < 2**self.pools:
            raise UserError(f"an image of {x.shape[-3:-1]} pixels is too small for {self.pools} poolings: pad it")
        h, skips = x, []
        for i in range(self.pools):
            h = self._block(self.features * 2**i, f"down_{i}")(h)
            skips.append(h)
            h = average_pool_2x2(h)
        h = self._block(self.features * 2**self.pools, "bottom")(h)
        for i, skip in enumerate(reversed(skips)):
            features = skip.shape[-1]
            h = ConvTranspose2x2(features, self.dtype, name=f"transpose_{i}")(h)
            h = leaky_relu(instance_norm(h))
            odd = [(0, n - m) for n, m in zip(skip.shape[-3:-1], h.shape[-3:-1], strict=True)]
            h = jnp.pad(h, [(0, 0)] * (h.ndim - 3) + [*odd, (0, 0)], "reflect")
            h = self._block(features, f"up_{i}")(jnp.concatenate([h, skip], -1))
        h = Conv(self.out_features, kernel_size=1, dtype=self.dtype, name="out")(h)
        return h.astype(x.dtype)

    def _block(self, features, name):
        return ConvBlock(features, self.drop_rate, self.dtype, name=name)


class ConvBlock(linen.Module):
    """Convolution 3x3, instance norm, leaky ReLU and dropout of whole channels, all of it twice."""

    features: int
    drop_rate: float = 0.0
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Float[Array, "*batch y x i"]) -> Float[Array, "*batch y x {self.features}"]:
        """(..., y, x, in) to (..., y, x, features)."""
        drop = linen.Dropout(self.drop_rate, broadcast_dims=(-3, -2), deterministic=not self.has_rng("dropout"))
        for i in range(2):
            x = Conv(self.features, bias=False, dtype=self.dtype, name=f"conv_{i}")(x)
            x = drop(leaky_relu(instance_norm(x)))
        return x


class NormUNet(linen.Module):
    """A U-Net between normalisation and its inverse, on complex images with K channels: K in, K out.

    Real and imaginary parts are normalised apart, over all K channels; the U-Net sees [all real parts, all imaginary
    parts], padded with zeros (the mean) to a multiple of 16 whatever the number of poolings.

    Source: Sriram et al. 2020, the code of fastMRI (varnet.py); there a constant image gives NaN, here itself.

    Attributes:
      features: as in UNet.
      pools: as in UNet.
      dtype: as in UNet.
    """

    features: int
    pools: int
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Complex[Array, "*batch k y x"]) -> Complex[Array, "*batch k y x"]:
        """(..., k, y, x) to (..., k, y, x); leading axes are examples, each with its own statistics."""
        k = x.shape[-3]
        parts, mean, std = normalize_parts(x)
        h = pad_to_multiple(jnp.moveaxis(_merge(parts), -3, -1))
        h = UNet(2 * k, self.features, self.pools, dtype=self.dtype, name="unet")(h)
        h = jnp.moveaxis(unpad(h, *x.shape[-2:]), -1, -3)
        parts = h.reshape(*x.shape[:-3], 2, k, *x.shape[-2:]) * std + mean
        return parts[..., 0, :, :, :] + 1j * parts[..., 1, :, :, :]


def normalize_parts(
    x: Complex[Array, "*batch k y x"],
) -> tuple[Float[Array, "*batch 2 k y x"], Float[Array, "*batch 2 1 1 1"], Float[Array, "*batch 2 1 1 1"]]:
    """Real and imaginary parts, each minus its mean and divided by its unbiased standard deviation over (k, y, x).

    Args:
      x: complex (..., k, y, x).

    Returns:
      (parts (..., 2, k, y, x), mean, std (..., 2, 1, 1, 1)). A constant part has std 0 and becomes 0, with gradient 0.
    """
    return standardize(jnp.stack([x.real, x.imag], -4))


def standardize(
    x: Float[Array, "*batch a b c"],
) -> tuple[Float[Array, "*batch a b c"], Float[Array, "*batch 1 1 1"], Float[Array, "*batch 1 1 1"]]:
    """Minus the mean, divided by the unbiased standard deviation, both over the last three axes.

    Args:
      x: real (..., a, b, c).

    Returns:
      (standardized x, mean, std (..., 1, 1, 1)). Where x is constant its std is 0 and it becomes 0, with gradient 0.
    """
    axes = (-3, -2, -1)
    mean = jnp.mean(x, axes, keepdims=True)
    centred = x - mean
    n = x.shape[-3] * x.shape[-2] * x.shape[-1]
    variance = jnp.sum(centred**2, axes, keepdims=True) / max(n - 1, 1)
    varies = variance > 0
    # the inner where keeps the derivative of the root finite where the variance is 0
    root = jnp.sqrt(jnp.where(varies, variance, 1))
    return centred / root, mean, jnp.where(varies, root, 0)


def _merge(parts):
    """(..., 2, k, y, x) to (..., 2 k, y, x): all real parts, then all imaginary parts."""
    return parts.reshape(*parts.shape[:-4], -1, *parts.shape[-2:])


def pad_to_multiple(
    x: Float[Array, "*batch y x c"], multiple: int = 16, *, more_in_front: bool = False
) -> Float[Array, "*batch Y X c"]:
    """Zeros around an image up to the next multiple in y and x, half of them in front; undone by `unpad`.

    Args:
      x: (..., y, x, channel).
      multiple: what the new sizes are multiples of.
      more_in_front: where the zeros are odd in number, the larger half is in front; else behind.

    Returns:
      (..., Y, X, channel).

    Example:
      >>> pad_to_multiple(jnp.ones((20, 33, 2))).shape
      (32, 48, 2)
    """
    extra = [-n % multiple for n in x.shape[-3:-1]]
    front = [(e + more_in_front) // 2 for e in extra]
    pads = [(f, e - f) for e, f in zip(extra, front, strict=True)]
    return jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [*pads, (0, 0)])


def unpad(
    x: Float[Array, "*batch Y X c"], height: int, width: int, *, more_in_front: bool = False
) -> Float[Array, "*batch {height} {width} c"]:
    """The inverse of `pad_to_multiple`.

    Args:
      x: (..., Y, X, channel).
      height: the size y before padding.
      width: the size x before padding.
      more_in_front: as in `pad_to_multiple`.

    Returns:
      (..., y, x, channel).
    """
    top, left = (x.shape[-3] - height + more_in_front) // 2, (x.shape[-2] - width + more_in_front) // 2
    return x[..., top : top + height, left : left + width, :]

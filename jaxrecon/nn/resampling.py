"""Half and twice the size, channels last, by reshapes, sums and matrix products alone: fast on a CPU, gradients too."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen
from jax import lax
from jaxtyping import Array, Float

from ..checks import UserError
from .conv import conv, glorot_uniform, parameter_dtype
from .transposed import transposed

Image = Float[Array, "*batch y x c"]


def check_multiple(x: Image, multiple: int, network: str) -> None:
    """Refuse an image whose sizes a network cannot halve as often as it has to.

    Args:
      x: (..., y, x, channel).
      multiple: what y and x must be multiples of.
      network: its name, for the message.

    Raises:
      ValueError: they are not.
    """
    if any(n % multiple for n in x.shape[-3:-1]):
        raise UserError(
            f"{network} needs sizes y and x that are multiples of {multiple}, got {x.shape[-3:-1]}: pad the image, as "
            "MultiscaleComplex does"
        )


def haar(x: Image) -> Float[Array, "*batch y//2 x//2 4*c"]:
    """One level of the orthonormal Haar transform of each channel: the bands LL, HL, LH, HH, c channels each.

    With a, b, c, d the pixels (0, 0), (1, 0), (0, 1), (1, 1) of a 2x2 block, the first index along y:

    LL = (a + b + c + d) / 2;  HL = (-a - b + c + d) / 2;  LH = (-a + b - c + d) / 2;  HH = (a - b - c + d) / 2

    `operators.Wavelet` has the same bands with channels in front and, as PyWavelets, the opposite sign of HL and LH.

    Args:
      x: (..., y, x, channel), y and x even.

    Returns:
      (..., y / 2, x / 2, 4 channel).

    Source: MWCNN, Liu et al. 2018, arXiv 1805.07071, and its code.
    """
    *batch, height, width, _ = x.shape
    blocks = x.reshape(*batch, height // 2, 2, width // 2, 2, -1) / 2
    a, c = blocks[..., 0, :, 0, :], blocks[..., 0, :, 1, :]
    b, d = blocks[..., 1, :, 0, :], blocks[..., 1, :, 1, :]
    left, right, falls, rises = a + b, c + d, b - a, d - c
    return jnp.concatenate([left + right, right - left, falls + rises, rises - falls], -1)


def inverse_haar(x: Image) -> Float[Array, "*batch 2*y 2*x c//4"]:
    """The inverse of `haar`, which is its transpose.

    Args:
      x: (..., y, x, channel): LL, HL, LH, HH, a quarter of the channels each.

    Returns:
      (..., 2 y, 2 x, channel / 4).
    """
    ll, hl, lh, hh = jnp.split(x / 2, 4, -1)
    left, right, falls, rises = ll - hl, ll + hl, lh - hh, lh + hh
    rows = [jnp.stack(row, -2) for row in ((left - falls, right - rises), (left + falls, right + rises))]
    return _join(jnp.stack(rows, -4))


def depth_to_space(x: Image) -> Float[Array, "*batch 2*y 2*x c//4"]:
    """Four blocks of channels as the pixels (0, 0), (0, 1), (1, 0), (1, 1) of a 2x2 block, as TensorFlow has them.

    Args:
      x: (..., y, x, channel).

    Returns:
      (..., 2 y, 2 x, channel / 4).
    """
    return _join(jnp.moveaxis(x.reshape(*x.shape[:-1], 2, 2, -1), -3, -4))


def max_pool_2x2(x: Image) -> Float[Array, "*batch y//2 x//2 c"]:
    """The largest of each 2x2 block; where several are the largest, they share the gradient.

    Args:
      x: (..., y, x, channel), y and x even.

    Returns:
      (..., y / 2, x / 2, channel).
    """
    *batch, height, width, channels = x.shape
    return jnp.max(x.reshape(*batch, height // 2, 2, width // 2, 2, channels), (-4, -2))


class UpConv(linen.Module):
    """Nearest-neighbour upsampling to twice the size, then a convolution 2x2 with bias, the zeros behind the border.

    out[m] = b + sum_q k[q] x[(m + q) // 2]: the products are made at the small size, a quarter of them.

    Attributes:
      features: output channels.
      dtype: what to compute in and to return; None: the input's.
    """

    features: int
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Image) -> Float[Array, "*batch 2*y 2*x {self.features}"]:
        """(..., y, x, in) to (..., 2 y, 2 x, features)."""
        dtype = self.dtype or x.dtype
        kernel = self.param("kernel", glorot_uniform, (2, 2, x.shape[-1], self.features), parameter_dtype(x))
        bias = self.param("bias", linen.initializers.zeros, (self.features,), parameter_dtype(x)).astype(dtype)
        columns = kernel.astype(dtype).transpose(2, 0, 1, 3).reshape(x.shape[-1], -1)
        taps = jnp.tensordot(x.astype(dtype), columns, 1).reshape(*x.shape[:-1], 2, 2, -1)  # (..., y, x, q_y, q_x, out)
        rows = _pairs(taps[..., 0, :, :], taps[..., 1, :, :], x.ndim - 3)  # (..., y, 2, x, q_x, out)
        blocks = _pairs(rows[..., 0, :], rows[..., 1, :], x.ndim - 1)
        return _join(blocks) + bias.reshape((1,) * (x.ndim - 1) + (-1,))


@jax.custom_vjp
def conv_transpose(
    x: Float[Array, "example y x i"], kernel: Float[Array, "ky kx o i"]
) -> Float[Array, "example 2*y 2*x o"]:
    """Transposed convolution of stride 2, as TensorFlow's with padding SAME: out[2p + q, o] += kernel[q, o, i] x[p, i].

    Args:
      x: (example, y, x, in).
      kernel: (ky, kx, out, in), sizes 3: that of the convolution whose transpose this is.

    Returns:
      (example, 2 y, 2 x, out).
    """
    return transposed(x, kernel, stride=2, dilation=1, first=(0, 0), full=[2 * n for n in x.shape[1:3]])


def _conv_transpose_forward(x, kernel):
    return conv_transpose(x, kernel), (x, kernel)


def _conv_transpose_backward(residuals, cotangent):
    """By the strided convolution and its kernel's gradient: a fifth of the time of what autodiff makes of slices."""
    x, kernel = residuals
    of_x, of_kernel = jax.vjp(lambda kernel: conv(cotangent, kernel, padding="same", stride=2), kernel)
    return of_x, *of_kernel(x)


conv_transpose.defvjp(_conv_transpose_forward, _conv_transpose_backward)


class ConvTranspose3x3(linen.Module):
    """`conv_transpose` with its parameters `kernel` (3, 3, out, in) and `bias` (out,).

    Attributes:
      features: output channels.
      dtype: what to compute in and to return; None: the input's.
    """

    features: int
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Image) -> Float[Array, "*batch 2*y 2*x {self.features}"]:
        """(..., y, x, in) to (..., 2 y, 2 x, features)."""
        dtype, (*batch, height, width, channels) = self.dtype or x.dtype, x.shape
        kernel = self.param("kernel", glorot_uniform, (3, 3, self.features, channels), parameter_dtype(x))
        bias = self.param("bias", linen.initializers.zeros, (self.features,), parameter_dtype(x)).astype(dtype)
        y = conv_transpose(x.astype(dtype).reshape(-1, height, width, channels), kernel.astype(dtype))
        return y.reshape(*batch, *y.shape[1:]) + bias.reshape((1,) * (x.ndim - 1) + (-1,))


def _pairs(near, far, axis):
    """Pixels 2m and 2m + 1 of the upsampled sum near[m // 2] + far[(m + 1) // 2], as a new axis behind `axis`."""
    ends = [(0, 0)] * far.ndim
    ends[axis] = (0, 1)
    next_far = lax.slice_in_dim(jnp.pad(far, ends), 1, None, axis=axis)
    return jnp.stack([near + far, near + next_far], axis + 1)


def _join(blocks):
    """(..., y, 2, x, 2, channel) to (..., 2 y, 2 x, channel)."""
    *batch, height, _, width, _, channels = blocks.shape
    return blocks.reshape(*batch, 2 * height, 2 * width, channels)

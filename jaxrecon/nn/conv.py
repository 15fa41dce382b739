"""Layers: convolution in 2D and 3D, 2x2 transposed convolution, pooling, instance norm, leaky ReLU.

Channels come last, `(..., y, x, channel)` or `(..., z, y, x, channel)`; leading axes (coils) are examples. All
convolutions of the library go through `conv`, whose gradient on a CPU is written out: XLA's own is 20 to 50 times
slower inside a loop (scan, while) than outside, and every unrolled network runs in one. A layer's parameters are
float32 (float64 for double input) whatever it computes in.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from ..checks import UserError
from .kernel_gradient import after, kernel_gradient
from .padding import MODES, pad_border
from .transposed import transposed

Padding = Literal["zeros", "reflect", "edge", "circular"]
"""What lies beyond the border: zeros, the mirror image (edge not doubled), the edge repeated, the other side."""
Initializer = Callable[..., jax.Array]

uniform_fan_in: Initializer = linen.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""Uniform within +-1/sqrt(fan_in): PyTorch's default for convolutions."""
glorot_uniform: Initializer = linen.initializers.glorot_uniform()
"""Uniform within +-sqrt(6 / (fan_in + fan_out)): TensorFlow's default."""
lecun_normal: Initializer = linen.initializers.lecun_normal()
"""Truncated normal of variance 1/fan_in: Flax's default."""


def conv(
    x: Float[Array, "*batch_and_space i"],
    kernel: Float[Array, "*size i o"],
    *,
    padding: Padding | Literal["same"] = "zeros",
    dilation: int = 1,
    stride: int = 1,
) -> Float[Array, "*batch_and_space_out o"]:
    """Convolution (cross-correlation) that keeps the size, or every `stride`-th pixel of it from the first.

    y[p, o] = sum_q,i kernel[q, i, o] x[stride p + dilation (q - centre), i]

    Args:
      x: (..., y, x, channel), or (..., z, y, x, channel) with a 3D kernel; of the kernel's dtype.
      kernel: (height, width, in, out) or (depth, height, width, in, out), odd sizes.
      padding: what lies beyond the border: zeros, the mirror image (edge not doubled), the edge repeated, the other side;
        "same": zeros as TensorFlow's SAME has them, of which with a stride there are fewer in front than behind.
      dilation: distance in pixels between the taps of the kernel.
      stride: distance in pixels between the outputs.

    Returns:
      (..., y, x, out), sizes divided by stride and rounded up.

    Raises:
      ValueError: an even kernel, channels that do not match, an unknown padding.

    Example:
      >>> conv(jnp.ones((1, 4, 1)), jnp.ones((1, 3, 1, 1)))[0, :, 0].tolist()
      [2.0, 3.0, 3.0, 2.0]
    """
    ndim = kernel.ndim - 2
    sizes = kernel.shape[:ndim]
    if any(k % 2 == 0 for k in sizes):
        raise UserError(f"kernel sizes must be odd to keep the size of the image, got {sizes}")
    if x.ndim <= ndim or x.shape[-1] != kernel.shape[-2]:
        raise UserError(f"x of shape {x.shape} does not fit a kernel (*size, in, out) of shape {kernel.shape}")
    if padding not in ("zeros", "same", *MODES):
        raise UserError(f"padding '{padding}' is not one of 'zeros', 'same', 'reflect', 'edge', 'circular'")
    if all(k == 1 for k in sizes):
        x = x[(..., *[slice(None, None, stride)] * ndim, slice(None))]
        return jnp.tensordot(x, kernel.reshape(kernel.shape[-2:]), 1)
    leading = x.shape[: x.ndim - ndim - 1]
    x = x.reshape(-1, *x.shape[x.ndim - ndim - 1 :])
    border = tuple(dilation * (k // 2) for k in sizes)
    pad = tuple((b, b) for b in border)
    if padding == "same":
        reach = [
            stride * ((n - 1) // stride) + dilation * (k - 1) + 1 for n, k in zip(x.shape[1:], sizes, strict=False)
        ]
        zeros = [max(r - n, 0) for r, n in zip(reach, x.shape[1:], strict=False)]
        pad = tuple((z // 2, z - z // 2) for z in zeros)
    elif padding in MODES:
        x = pad_border(x, border, padding)
        pad = ((0, 0),) * ndim
    y = _conv(x, kernel, pad, dilation, stride)
    return y.reshape(*leading, *y.shape[1:])


def _convolve(x, kernel, pad, dilation, stride):
    """The convolution with `pad` = (in front, behind) zeros at each axis; x is (batch, *space, channel)."""
    on_cpu = _in_3d_on_cpu if len(pad) == 3 else _in_2d_on_cpu
    return lax.platform_dependent(
        x,
        kernel,
        cpu=lambda x, kernel: on_cpu(x, kernel, pad, dilation, stride),
        default=lambda x, kernel: _native(x, kernel, pad, dilation, stride),
    )


def _native(x, kernel, pad, dilation, stride):
    """XLA's own, with zeros before and behind each axis."""
    ndim = len(pad)
    space = "DHW"[-ndim:]
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride,) * ndim,
        pad,
        rhs_dilation=(dilation,) * ndim,
        dimension_numbers=(f"N{space}C", f"{space}IO", f"N{space}C"),
    )


def _in_2d_on_cpu(x, kernel, pad, dilation, stride):
    """XLA's own; where there are no zeros around the image, one row of them behind it.

    With jaxlib 0.10 that makes large images 2 to 13 times as fast (2 to 100 channels) and small ones 10 % slower; with 0.12
    it costs up to 15 %.
    """
    if any(map(any, pad)):
        return _native(x, kernel, pad, dilation, stride)
    rows = (x.shape[1] - dilation * (kernel.shape[0] - 1) - 1) // stride + 1
    return _native(x, kernel, [(0, 1), (0, 0)], dilation, stride)[:, :rows]


def _in_3d_on_cpu(x, kernel, pad, dilation, stride):
    """Plane by plane: a convolution in 2D, with the planes under the kernel as channels.

    3 to 11 times as fast as XLA's own in 3D (2 to 50 channels), and one plane's copies live.
    """
    n, depth, *_ = x.shape
    taps, *size, _, out = kernel.shape
    outputs = [
        (m + sum(p) - dilation * (k - 1) - 1) // stride + 1
        for m, p, k in zip(x.shape[1:-1], pad, (taps, *size), strict=True)
    ]
    kernel = jnp.moveaxis(kernel, 0, -3).reshape(*size, -1, out)

    def plane(index, y):
        example, z = index // outputs[0], index % outputs[0]

        def under(tap):
            at = stride * z + dilation * tap - pad[0][0]
            found = lax.dynamic_slice(x, (example, at, 0, 0, 0), (1, 1, *x.shape[2:]))[0]
            return jnp.where((at >= 0) & (at < depth), found, 0)

        stacked = jnp.concatenate([under(tap) for tap in range(taps)], -1)
        of_plane = _in_2d_on_cpu(stacked, kernel, pad[1:], dilation, stride)
        return lax.dynamic_update_slice(y, of_plane[None], (example, z, 0, 0, 0))

    # filled by something of x: zeros would be one constant of all layers, which lives as long as the network
    y = jnp.broadcast_to(x[0, 0, 0, 0, 0], (n, *outputs, out))
    return lax.fori_loop(0, n * outputs[0], plane, y)


_conv = jax.custom_vjp(_convolve, nondiff_argnums=(2, 3, 4))


def _conv_forward(x, kernel, pad, dilation, stride):
    # without a gradient of the kernel nothing of x is kept but its shape
    kept = x.value if kernel.perturbed else x.value[:0]
    return _conv(x.value, kernel.value, pad, dilation, stride), (kept, kernel.value)


def _conv_backward(pad, dilation, stride, residuals, cotangent):
    if isinstance(cotangent, SymbolicZero):
        return None, None
    x, kernel = residuals
    learned = len(x) > 0
    in_front = [front for front, _ in pad]

    def native(x, kernel, cotangent):
        if learned:
            return jax.vjp(lambda x, kernel: _native(x, kernel, pad, dilation, stride), x, kernel)[1](cotangent)
        like = jax.ShapeDtypeStruct((len(cotangent), *x.shape[1:]), x.dtype)
        return jax.linear_transpose(lambda x: _native(x, kernel, pad, dilation, stride), like)(cotangent)

    def fast_in_loops(x, kernel, cotangent):
        kernel_gradients: tuple[jax.Array, ...] = ()
        if learned:
            sizes = kernel.shape[:-2]
            gradient = kernel_gradient(x, cotangent, sizes=sizes, pad=in_front, dilation=dilation, stride=stride)
            kernel_gradients = (gradient.astype(kernel.dtype),)
            # first the one, then the other: side by side they would need x, its shifted copy and both cotangents at once
            kernel = after(gradient, kernel)
        if stride == 1:
            return _input_gradient(kernel, cotangent, pad, dilation), *kernel_gradients
        # convolved as with stride 1, with zeros between, it would take two to five times as long
        space = x.shape[1:-1]
        y = transposed(cotangent, kernel, stride=stride, dilation=dilation, first=in_front, full=space)
        return y, *kernel_gradients

    gradients = lax.platform_dependent(x, kernel, cotangent, cpu=fast_in_loops, default=native)
    return gradients if learned else (*gradients, None)


_conv.defvjp(_conv_forward, _conv_backward, symbolic_zeros=True)


def _input_gradient(kernel, cotangent, pad, dilation):
    """An ordinary convolution with the flipped kernel."""
    ndim = len(pad)
    flipped = jnp.flip(kernel, range(ndim)).swapaxes(-1, -2)
    pad = tuple((dilation * (k - 1) - f, dilation * (k - 1) - b) for k, (f, b) in zip(kernel.shape, pad, strict=False))
    return _conv(cotangent, flipped, pad, dilation, 1)


def conv_transpose_2x2(
    x: Float[Array, "*batch y x i"], kernel: Float[Array, "2 2 i o"]
) -> Float[Array, "*batch 2*y 2*x o"]:
    """Transposed convolution 2x2 of stride 2: out[2i + a, 2j + b, o] = sum_c x[i, j, c] kernel[a, b, c, o].

    One matrix product and a pixel shuffle: the same map as lax.conv_transpose (with a flipped kernel), whose
    gradient on a CPU is 30 times slower.

    Args:
      x: (..., y, x, in).
      kernel: (2, 2, in, out), not flipped.

    Returns:
      (..., 2 y, 2 x, out).
    """
    y = jnp.tensordot(x, kernel.transpose(2, 0, 1, 3).reshape(kernel.shape[2], -1), 1)
    y = y.reshape(*x.shape[:-1], 2, 2, -1)  # (..., y, x, a, b, out)
    y = y.swapaxes(-3, -4)
    return y.reshape(*x.shape[:-3], 2 * x.shape[-3], 2 * x.shape[-2], -1)


def average_pool_2x2(x: Float[Array, "*batch y x c"]) -> Float[Array, "*batch y//2 x//2 c"]:
    """Mean over 2x2 blocks; the last row or column of an odd size is dropped.

    Args:
      x: (..., y, x, channel).

    Returns:
      (..., y // 2, x // 2, channel).
    """
    height, width = x.shape[-3] // 2, x.shape[-2] // 2
    x = x[..., : 2 * height, : 2 * width, :]
    return jnp.mean(x.reshape(*x.shape[:-3], height, 2, width, 2, x.shape[-1]), (-4, -2))


def instance_norm(x: Float[Array, "*axes c"], *, ndim: int = 2, eps: float = 1e-5) -> Float[Array, "*axes c"]:
    """(x - mean) / sqrt(var + eps) per example and channel; biased variance, statistics in float32 or better.

    Args:
      x: (..., y, x, channel), with ndim 3 (..., z, y, x, channel).
      ndim: number of spatial axes.
      eps: 1e-5 as PyTorch's.

    Returns:
      The shape and dtype of x.
    """
    axes = tuple(range(-ndim - 1, -1))
    values = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    centred = values - jnp.mean(values, axes, keepdims=True)
    variance = jnp.mean(centred**2, axes, keepdims=True)
    return (centred * lax.rsqrt(variance + eps)).astype(x.dtype)


def leaky_relu(x: Float[Array, "*axes"], slope: float = 0.2) -> Float[Array, "*axes"]:
    """x where positive, slope x elsewhere; the derivative at 0 is the slope, as in PyTorch.

    Args:
      x: any shape.
      slope: 0.2 as in fastMRI's U-Net.

    Returns:
      The shape of x.
    """
    return jnp.where(x > 0, x, slope * x)


def parameter_dtype(x: Float[Array, "..."]) -> Any:
    """The dtype of a layer's parameters: that of its input, but at least float32.

    Args:
      x: the input, of any shape.

    Example:
      >>> parameter_dtype(jnp.zeros(1, jnp.bfloat16))
      dtype('float32')
    """
    return jnp.promote_types(x.dtype, jnp.float32)


class Conv(linen.Module):
    """`conv` with its parameters `kernel` (*size, in, out) and `bias` (out,).

    Attributes:
      features: output channels.
      kernel_size: odd, the same along each axis; 1 is a matrix product.
      ndim: 2 or 3 spatial axes.
      padding: see `conv`.
      bias: add a bias.
      dilation: see `conv`.
      stride: see `conv`.
      kernel_init: initializer of the kernel.
      bias_init: None is uniform within +-1/sqrt(fan_in of the kernel), PyTorch's default.
      dtype: what to compute in and to return, e.g. jnp.bfloat16; None: the input's.
    """

    features: int
    kernel_size: int = 3
    ndim: int = 2
    padding: Padding | Literal["same"] = "zeros"
    bias: bool = True
    dilation: int = 1
    stride: int = 1
    kernel_init: Initializer = uniform_fan_in
    bias_init: Initializer | None = None
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Float[Array, "*axes i"]) -> Float[Array, "*axes_out {self.features}"]:
        """(..., y, x, in) to (..., y, x, features)."""
        dtype = self.dtype or x.dtype
        shape = (*[self.kernel_size] * self.ndim, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, parameter_dtype(x))
        y = conv(
            x.astype(dtype), kernel.astype(dtype), padding=self.padding, dilation=self.dilation, stride=self.stride
        )
        if not self.bias:
            return y
        bias_init = self.bias_init or _uniform(1 / math.sqrt(math.prod(shape[:-1])))
        bias = self.param("bias", bias_init, (self.features,), parameter_dtype(x))
        return y + bias.astype(dtype).reshape((1,) * (y.ndim - 1) + (-1,))


glorot_conv = functools.partial(Conv, padding="same", kernel_init=glorot_uniform, bias_init=linen.initializers.zeros)
"""A convolution as TensorFlow's: Glorot's uniform kernel, zero bias, padding "same"."""


class ConvTranspose2x2(linen.Module):
    """`conv_transpose_2x2` with its parameter `kernel` (2, 2, in, out); no bias.

    Initialised uniformly within +-1/sqrt(4 features), as PyTorch does (its fan_in is that of the output channels).

    Attributes:
      features: output channels.
      dtype: what to compute in and to return; None: the input's.
    """

    features: int
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Float[Array, "*batch y x i"]) -> Float[Array, "*batch 2*y 2*x {self.features}"]:
        """(..., y, x, in) to (..., 2 y, 2 x, features)."""
        dtype = self.dtype or x.dtype
        init = _uniform(1 / math.sqrt(4 * self.features))
        kernel = self.param("kernel", init, (2, 2, x.shape[-1], self.features), parameter_dtype(x))
        return conv_transpose_2x2(x.astype(dtype), kernel.astype(dtype))


def _uniform(bound):
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound)

"""The gradient of a convolution's kernel on a CPU: products of matrices that stay in the cache."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

BLOCK = 2**17
"""Numbers in the left matrix of one product; measured best for 2 to 64 channels, float32, 1 to 2 MiB of cache."""
LEAST_PIXELS = 384
"""Pixels in one product, however many channels: below it adding to the sum costs more than the product."""


def kernel_gradient(
    x: Float[Array, "example *space i"],
    cotangent: Float[Array, "example *space_out o"],
    *,
    sizes: Sequence[int],
    pad: Sequence[int],
    dilation: int,
    stride: int,
) -> Float[Array, "*sizes i o"]:
    """g[q, i, o] = sum_p x[stride p + dilation q - pad, i] cotangent[p, o], with x zero outside its borders.

    XLA's own gradient is 20 to 50 times slower inside a loop (scan, while) than outside.

    Args:
      x: (example, *space, in), space of two or three axes.
      cotangent: (example, *space_out, out).
      sizes: the kernel's sizes, one for each axis of space.
      pad: zeros before and behind each axis of space.
      dilation: distance in pixels between the taps of the kernel.
      stride: distance in pixels between the outputs.

    Returns:
      (*sizes, in, out), of x's dtype but at least float32.
    """
    if len(x) == 1:  # an example under vmap: as the convolution sees it, else XLA keeps x in both shapes
        x, cotangent = x[0], cotangent[0]
    if stride == 1 and cotangent.shape[-1] < x.shape[-1]:  # shift the one of fewer channels
        pad = [dilation * (k - 1) - p for k, p in zip(sizes, pad, strict=True)]
        mirrored = _blocks(cotangent, x, sizes, pad, dilation, stride)
        return jnp.flip(mirrored, range(len(sizes))).swapaxes(-1, -2)
    return _blocks(x, cotangent, sizes, pad, dilation, stride)


def after(first: Float[Array, "..."], then: Float[Array, "..."]) -> Float[Array, "..."]:
    """`then` as it is, but computed, and all that follows from it, when `first` is there: what only `first` needs is free by then.

    The order is a dependence on data that the compiler cannot drop, whatever `first` holds: infinities and NaN stay in it. Of
    `lax.optimization_barrier` nothing is left on a CPU when the order is chosen (jaxlib 0.10: GLEAM takes a seventh more memory).

    Args:
      first: any array that is not empty.
      then: any array.
    """
    sample = lax.stop_gradient(first).ravel()[0]
    zero = 0 * jnp.where(jnp.isfinite(sample), sample, 0)
    return then + zero.astype(then.dtype)


def _blocks(x, cotangent, sizes, pad, dilation, stride):
    """Sum over blocks of rows of (tap and channel, pixel) @ (pixel, out), in a scan: one block of shifted copies lives."""
    *leading, height, width, out = cotangent.shape
    examples = cotangent.ndim - 1 - len(sizes)  # leading axes without taps, 0 or 1; in 3D z is one with taps
    channels = x.shape[-1]
    pixels = max(BLOCK // (math.prod(sizes) * channels), LEAST_PIXELS)
    most = max(min(pixels // width, height), 1)
    rows = min(range(most, most // 2, -1), key=lambda rows: -height % rows)  # as few rows of nothing as can be
    n_blocks = -(-height // rows)

    def extent(*outputs):
        """Pixels of x under so many outputs of each axis of space."""
        return [stride * (n - 1) + dilation * (k - 1) + 1 for n, k in zip(outputs, sizes, strict=True)]

    # x to (example, z, y, channel, x): a tap's pixels are then rows of the left matrix; line by line, for the cache
    ends = zip(pad, x.shape[examples:-1], extent(*leading[examples:], n_blocks * rows, width), strict=True)
    border = [*[(0, 0, 0)] * examples, *((p, n - p - m, 0) for p, m, n in ends)]
    border.insert(-1, (0, 0, 0))
    x = lax.pad(jnp.swapaxes(x, -1, -2), jnp.zeros((), x.dtype), border)
    cotangent = jnp.pad(cotangent, [*[(0, 0)] * len(leading), (0, n_blocks * rows - height), (0, 0), (0, 0)])
    one_each = [1] * len(leading)
    slab_shape = [*[1] * examples, *extent(*one_each[examples:], rows, width)]
    slab_shape.insert(-1, channels)

    def tap(slab, index):
        *z, y, x = (dilation * i for i in index)
        first = [*[0] * examples, *z, y, 0, x]
        extents = [*one_each, stride * (rows - 1) + 1, channels, stride * (width - 1) + 1]
        last = [f + e for f, e in zip(first, extents, strict=True)]
        lines = lax.slice(slab, first, last, (*one_each, stride, 1, stride))
        return jnp.swapaxes(lines, -2, -3)

    def one_block(total, first):
        in_x, in_cotangent = first
        slab = lax.dynamic_slice(x, in_x, slab_shape)
        left = jnp.stack([tap(slab, index) for index in np.ndindex(*sizes)]).reshape(-1, rows * width)
        right = lax.dynamic_slice(cotangent, in_cotangent, (*one_each, rows, width, out)).reshape(-1, out)
        return total + jnp.matmul(left, right, preferred_element_type=accumulate), None

    in_cotangent = np.indices((*leading, n_blocks, 1, 1), np.int32).reshape(cotangent.ndim, -1).T
    in_cotangent[:, -3] *= rows
    in_x = in_cotangent.copy()  # 0 for channels and x
    in_x[:, examples:] *= stride
    accumulate = jnp.promote_types(x.dtype, jnp.float32)
    total = jnp.zeros((math.prod(sizes) * channels, out), accumulate)
    gradient, _ = lax.scan(one_block, total, (in_x, in_cotangent))
    return gradient.reshape(*sizes, channels, out)

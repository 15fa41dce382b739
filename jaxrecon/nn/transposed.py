"""The transpose of a convolution: matrix products at the small size, and their shifted sums."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def transposed(
    x: Float[Array, "example *space o"],
    kernel: Float[Array, "*sizes i o"],
    *,
    stride: int,
    dilation: int,
    full: Sequence[int],
) -> Float[Array, "example *full i"]:
    """y[stride p + dilation q, i] = sum over p, q, o of kernel[q, i, o] x[p, o]: the transpose of a strided convolution.

    Pixels of y whose distance is a multiple of the stride make a phase, and each tap belongs to one phase: nothing is
    multiplied by zeros, as it would be by a convolution of x with zeros between its pixels (stride^2 times the products).

    Args:
      x: (example, *space, out), space of two or three axes.
      kernel: (*sizes, in, out).
      stride: distance in y between the pixels of x.
      dilation: distance in y between the taps of the kernel.
      full: the sizes of y; all that x reaches must lie within.

    Returns:
      (example, *full, in).
    """
    *sizes, channels, out = kernel.shape
    last = len(sizes) - 1
    # the small image once with zeros around it: each shifted copy is then a plain slice, four times as fast on a CPU
    ends = [
        (dilation * (k - 1) // stride, -(-f // stride) - n, 0)
        for k, f, n in zip(sizes, full, x.shape[1:], strict=False)
    ]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *ends, (0, 0, 0)])

    def summed(axis, later):
        """The sums along the axes up to this one, for the taps `later` of those behind but the last, whose taps are kept."""
        if axis < 0:
            z = jnp.tensordot(x, kernel[later].transpose(2, 0, 1).reshape(out, -1), 1)
            return z.reshape(*x.shape[:-1], sizes[last], channels)
        parts = [summed(axis - 1, (tap, *later)) for tap in range(sizes[axis])]
        return _overlap_add(parts, axis + 1, stride, dilation, full[axis])

    z = summed(last - 1, ())
    return _overlap_add([z[..., tap, :] for tap in range(sizes[last])], last + 1, stride, dilation, full[last])


def _overlap_add(parts, axis, stride, dilation, full):
    """y[stride p + dilation q] = sum_p,q parts[q][p] along one axis, where zeros stand in front of what is shifted."""
    n, reach = -(-full // stride), dilation * (len(parts) - 1) // stride
    phases: list = [jnp.zeros_like(lax.slice_in_dim(parts[0], 0, n, axis=axis))] * stride
    for phase in range(stride):
        starts = [(tap, reach - (dilation * tap - phase) // stride) for tap in range(len(parts))]
        shifted = [
            lax.slice_in_dim(parts[tap], start, start + n, axis=axis)
            for tap, start in starts
            if dilation * tap % stride == phase
        ]
        if shifted:
            phases[phase] = sum(shifted[1:], shifted[0])
    y = jnp.stack(phases, axis + 1)
    y = y.reshape(*y.shape[:axis], n * stride, *y.shape[axis + 2 :])
    return lax.slice_in_dim(y, 0, full, axis=axis)

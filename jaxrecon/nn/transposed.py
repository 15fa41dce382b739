"""The transpose of a convolution: matrix products at the small size, and their shifted sums."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float


def transposed(
    x: Float[Array, "example *space o"],
    kernel: Float[Array, "*sizes i o"],
    *,
    stride: int,
    dilation: int,
    first: Sequence[int],
    full: Sequence[int],
) -> Float[Array, "example *full i"]:
    """y[stride p + dilation q - first, i] = sum over p, q, o of kernel[q, i, o] x[p, o]: a strided convolution's transpose.

    Pixels of y whose distance is a multiple of the stride make a phase, and each tap belongs to one phase: nothing is
    multiplied by zeros, as it would be by a convolution of x with zeros between its pixels (stride^2 times the products).

    Args:
      x: (example, *space, out), space of two or three axes.
      kernel: (*sizes, in, out).
      stride: distance in y between the pixels of x.
      dilation: distance in y between the taps of the kernel.
      first: for each axis how many pixels in front of y are left out, as many as the convolution has zeros in front.
      full: the sizes of y; what lies behind is left out too.

    Returns:
      (example, *full, in).
    """
    *sizes, channels, out = kernel.shape
    last = len(sizes) - 1
    # tap -> (by how many pixels of x it is shifted, its phase)
    places = [[divmod(dilation * tap - f, stride) for tap in range(k)] for k, f in zip(sizes, first, strict=True)]
    shifts = [[shift for shift, _ in of_axis] for of_axis in places]
    fronts = [max(*of_axis, 0) for of_axis in shifts]
    # the small image once with zeros around it: each shifted copy is then a plain slice, three times as fast on a CPU
    ends = [-(-f // stride) - n - min(s) for f, n, s in zip(full, x.shape[1:], shifts, strict=False)]
    borders = [(0, 0, 0), *((front, end, 0) for front, end in zip(fronts, ends, strict=True)), (0, 0, 0)]
    x = lax.pad(x, jnp.zeros((), x.dtype), borders)

    def in_phase(parts, axis, phase):
        """The sum of those of the parts, one for each tap along an axis, that belong to a phase; each at its place."""
        n, at = -(-full[axis] // stride), axis + 1
        part = lambda tap, start: lax.slice_in_dim(parts[tap], start, start + n, axis=at)
        shifted = [part(tap, fronts[axis] - s) for tap, (s, of_tap) in enumerate(places[axis]) if of_tap == phase]
        return sum(shifted[1:], shifted[0]) if shifted else jnp.zeros_like(part(0, 0))

    def joined(axis, parts):
        """From the products for all taps along the axes from this one on, by tuples of taps, the pixels along these axes."""
        behind = list(np.ndindex(*sizes[axis + 1 : last]))
        phases = []
        for phase in range(stride):
            if axis == last:
                taps = [parts[()][..., tap, :] for tap in range(sizes[last])]
                phases.append(in_phase(taps, axis, phase))
            else:
                of = {rest: in_phase([parts[tap, *rest] for tap in range(sizes[axis])], axis, phase) for rest in behind}
                phases.append(joined(axis + 1, of))
        at = axis + 1
        y = jnp.stack(phases, at + 1)
        y = y.reshape(*y.shape[:at], -1, *y.shape[at + 2 :])
        return lax.slice_in_dim(y, 0, full[axis], axis=at)

    def product(taps):
        """Those with the kernel at some taps of all axes but the last, whose taps come along: (example, *space, tap, in)."""
        z = jnp.tensordot(x, kernel[taps].transpose(2, 0, 1).reshape(out, -1), 1)
        return z.reshape(*x.shape[:-1], sizes[last], channels)

    return joined(0, {taps: product(taps) for taps in np.ndindex(*sizes[:last])})

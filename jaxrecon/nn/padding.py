"""Padding of the border: the mirror image, the edge repeated, the other side; values as `numpy.pad`, in less memory.

XLA keeps one copy of the image for each padded axis of `jnp.pad`, and as many in its gradient. A network that is trained
step by step lives at the memory of one layer, where each copy counts. Here one copy is made along all axes but the
first, in place, and one along the first.
"""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ..checks import UserError
from ..typing import AnyArray

Mode = Literal["reflect", "edge", "circular"]
MODES = ("reflect", "edge", "circular")

_NUMPY_NAME = {"reflect": "reflect", "edge": "edge", "circular": "wrap"}


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def pad_border(
    x: Float[AnyArray, "batch *space c"], pad: tuple[int, ...], mode: Mode
) -> Float[Array, "batch *padded c"]:
    """Pad the spatial axes by pad pixels on both sides.

    Args:
      x: (batch, *space, channel).
      pad: pixels per spatial axis, less than its size.
      mode: "reflect" (the edge is not doubled), "edge" or "circular".

    Returns:
      (batch, *space + 2 pad, channel), as numpy.pad with "reflect", "edge" or "wrap".

    Raises:
      ValueError: an axis is too short to be mirrored or continued by as many pixels.
    """
    space = x.shape[1:-1]
    longest = {"reflect": -1, "circular": 0}.get(mode)
    if longest is not None and any(p > n + longest for p, n in zip(pad, space, strict=True)):
        raise UserError(f"an image of {space} pixels is too small for a {mode} border of {pad} pixels")
    first, *others = pad
    padded = jnp.pad(x, [(0, 0), (0, 0), *((p, p) for p in others), (0, 0)])
    for axis, p in enumerate(others, start=2):
        for strip, start in zip(_strips(x, axis, p, mode), (0, p + x.shape[axis]), strict=True):
            # corners as those of numpy.pad: a strip covers the border of the axes before
            before = [(0, 0), (0, 0), *((q, q) for q in others[: axis - 2])]
            strip = jnp.pad(strip, before + [(0, 0)] * (x.ndim - axis), _NUMPY_NAME[mode])
            padded = lax.dynamic_update_slice(padded, strip, [*[0] * axis, start, *pad[axis:], 0])
    near, far = _strips(padded, 1, first, mode)
    return lax.concatenate([near, padded, far], 1)


def _forward(x, pad, mode):
    return pad_border(x, pad, mode), None


def _backward(pad, mode, _, cotangent):
    return (_fold(cotangent, pad, mode),)


pad_border.defvjp(_forward, _backward)


def _strips(x, axis, p, mode):
    """What lies beyond the near and beyond the far side of an axis."""
    n = x.shape[axis]
    take = lambda start, stop: lax.slice_in_dim(x, start, stop, axis=axis)
    if mode == "circular":
        return take(n - p, n), take(0, p)
    if mode == "reflect":
        return jnp.flip(take(1, p + 1), axis), jnp.flip(take(n - p - 1, n - 1), axis)
    return jnp.repeat(take(0, 1), p, axis), jnp.repeat(take(n - 1, n), p, axis)


def _fold(padded, pad, mode):
    """The transpose: the border added to the pixels that it repeats, small strips onto one copy of the image."""
    inner = lambda axes: tuple(slice(p, padded.shape[a] - p) for a, p in enumerate(pad, start=1) if a in axes)
    image = padded[(slice(None), *inner(range(1, len(pad) + 1)))]
    for axis, p in enumerate(pad, start=1):
        n = image.shape[axis]
        later = (*[slice(None)] * (axis + 1), *inner(range(axis + 1, len(pad) + 1)))
        for is_far, start in ((False, 0), (True, p + n)):
            strip = lax.slice_in_dim(padded, start, start + p, axis=axis)[later]
            if axis > 1:
                strip = _fold(strip, pad[: axis - 1], mode)
            strip, at = _landing(strip, axis, p, n, mode, is_far)
            image = image.at[(*[slice(None)] * axis, slice(at, at + strip.shape[axis]))].add(strip)
    return image


def _landing(strip, axis, p, n, mode, is_far):
    """Where a strip of cotangents goes, and what it becomes."""
    if mode == "circular":
        return strip, (0 if is_far else n - p)
    if mode == "reflect":
        return jnp.flip(strip, axis), (n - p - 1 if is_far else 1)
    return strip.sum(axis, keepdims=True), (n - 1 if is_far else 0)

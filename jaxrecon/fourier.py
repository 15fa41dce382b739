"""Centred unitary Fourier transforms of any size, and centred cropping and padding.

On a CPU, XLA runs an FFT on its pool of threads: one per core, or as many as the variable NPROC says. In jaxlib an FFT
behind another operation may take one thread only (jax issue 39081), and programs of many cores that stop for ever inside
an FFT have been told of. Those of this library were run with 8 and 16 threads, jaxlib 0.10.2 and 0.12.0, and none stopped.
Should one do so, `XLA_FLAGS=--xla_cpu_multi_thread_eigen=false` keeps each operation to one thread.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Inexact, Shaped

from .checks import UserError, check_at_least
from .typing import AnyArray, ArrayKind


def fftc(x: Inexact[AnyArray, "*axes"], axes: Sequence[int] = (-2, -1)) -> Complex[Array, "*axes"]:
    """Centred unitary FFT over `axes`: fftshift(fft(ifftshift(x))) / sqrt(n), DC at index n // 2 for even and odd n.

    Even axes use signs in place of the two shifts: with n even, shifting by n / 2 in one domain is multiplying by
    (-1)^k in the other, so that X[k] = (-1)^(n/2) (-1)^k FFT{(-1)^j x[j]}.

    Args:
      x: any shape, real or complex; the precision is kept (float32 gives complex64).
      axes: the axes to transform.

    Returns:
      The transform, of the shape of x.

    Example:
      >>> fftc(jnp.ones((4, 4))).real.argmax()
      Array(10, dtype=int32)
    """
    return _centred(x, axes, jnp.fft.fft, jnp.fft.fft2, jnp.fft.fftn)


def ifftc(x: Inexact[AnyArray, "*axes"], axes: Sequence[int] = (-2, -1)) -> Complex[Array, "*axes"]:
    """Centred unitary inverse FFT over `axes`: the inverse and the adjoint of `fftc`.

    Args:
      x: any shape, real or complex; the precision is kept.
      axes: the axes to transform.

    Returns:
      The transform, of the shape of x.
    """
    return _centred(x, axes, jnp.fft.ifft, jnp.fft.ifft2, jnp.fft.ifftn)


def _centred(x, axes, *transforms):
    axes = tuple(a % x.ndim for a in axes)
    if not axes:
        return x
    even = [a for a in axes if x.shape[a] % 2 == 0]
    odd = [a for a in axes if x.shape[a] % 2]
    real_dtype = jnp.finfo(x.dtype).dtype
    before = _signs(x, even, real_dtype)
    # (-1)^(n/2) of all even axes: one sign, folded into the second sign array
    after = before if sum(x.shape[a] // 2 for a in even) % 2 == 0 else -before
    x = jnp.fft.ifftshift(x * before, odd) if odd else x * before
    x = transforms[min(len(axes), 3) - 1](x, **_axes_argument(axes), norm="ortho")
    return (jnp.fft.fftshift(x, odd) if odd else x) * after


def _axes_argument(axes):
    return {"axis": axes[0]} if len(axes) == 1 else {"axes": axes}


def _signs(x, axes, dtype):
    """(-1)^(sum of the indices along `axes`), broadcastable against x; a compile-time constant of size prod(n of axes)."""
    signs = np.ones((1,) * x.ndim, dtype)
    for a in axes:
        shape = [1] * x.ndim
        shape[a] = x.shape[a]
        signs = signs * np.where(np.arange(x.shape[a]) % 2, -1, 1).astype(dtype).reshape(shape)
    return signs


def crop_or_pad(x: Shaped[AnyArray, "..."], shape: Sequence[int]) -> Shaped[Array, "..."]:
    """Crop or zero-pad the last axes to `shape` so that index N // 2 lands on index n // 2 (as sigpy's resize).

    Args:
      x: (..., *last), real or complex.
      shape: the wanted sizes of the last len(shape) axes.

    Example:
      >>> crop_or_pad(jnp.arange(4), (2,)).tolist(), crop_or_pad(jnp.arange(1, 3), (5,)).tolist()
      ([1, 2], [0, 1, 2, 0, 0])
    """
    check_at_least("x", x, [f"axis {i}" for i in range(len(shape))])
    pads = [(0, 0)] * (x.ndim - len(shape))
    for size, want in zip(x.shape[x.ndim - len(shape) :], shape, strict=True):
        before = want // 2 - size // 2
        pads.append((before, want - size - before))
    slices = tuple(slice(max(-lo, 0), n - max(-hi, 0)) for (lo, hi), n in zip(pads, x.shape, strict=True))
    x = x[slices]
    return jnp.pad(x, [(max(lo, 0), max(hi, 0)) for lo, hi in pads])


def center_crop(x: Shaped[ArrayKind, "..."], shape: Sequence[int]) -> Shaped[ArrayKind, "..."]:
    """Crop the last axes to `shape`, starting at floor((N - n) / 2): fastMRI's rule, for images.

    Differs from `crop_or_pad` where N is even and n odd.

    Args:
      x: (..., *last), real or complex.
      shape: the wanted sizes of the last len(shape) axes.

    Raises:
      ValueError: the crop is larger than the array.
    """
    check_at_least("x", x, [f"axis {i}" for i in range(len(shape))])
    last = x.shape[x.ndim - len(shape) :]
    if any(n > size or n < 1 for size, n in zip(last, shape, strict=True)):
        raise UserError(f"cannot crop {tuple(last)} to {tuple(shape)}: each size must be within 1 and the array's")
    starts: list[int] = [(size - n) // 2 for size, n in zip(last, shape, strict=True)]
    index: Any = (..., *(slice(s, s + n) for s, n in zip(starts, shape, strict=True)))
    return x[index]

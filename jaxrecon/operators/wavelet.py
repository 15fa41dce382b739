"""Orthogonal discrete wavelet transforms over the last two or three axes, zero-padded (sigpy's) and periodized.

One analysis step along one axis is y[k] = sum_j h[j] x[2k + 1 - j]. With x split into its even and odd samples that is two short
convolutions at full rate, so no strided access is needed beyond the split.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pywt
from jaxtyping import Array, Inexact

from .. import struct
from ..checks import UserError
from ..fourier import crop_or_pad
from ..typing import AnyArray
from .base import LinearOperator

Coefficients = tuple
"""(approximation, details of the coarsest level, ..., details of the finest); details are (band, ..., y, x), their bands in the
order of PyWavelets' keys: ad, da, dd in 2D (first letter: first axis)."""


@struct.dataclass
class Wavelet(LinearOperator):
    """Orthogonal wavelet analysis W of an image whose last axes have `shape`; W^H is the synthesis and W^H W = 1.

    Two boundary rules: `periodic=False` pads with zeros, as PyWavelets' mode "zero" after padding to even sizes, as sigpy does; the
    coefficients then outnumber the pixels, so that W W^H is only a projection and thresholding in between is an approximate prox.
    `periodic=True` (PyWavelets' mode "periodization") is a square orthogonal transform, its prox exact; sizes are padded to
    multiples of 2^level.

    Attributes:
      shape: (y, x) or (z, y, x), the image's last axes.
      name: an orthogonal wavelet of PyWavelets: haar, dbN, symN, coifN.
      level: number of levels; None is the largest that PyWavelets allows for the smallest axis.
      periodic: the boundary rule.

    Example:
      >>> wavelet = jr.operators.Wavelet((8, 8), "haar", level=1)
      >>> approximation, details = jax.jit(wavelet.forward)(jnp.ones((8, 8)))
      >>> approximation.shape, details.shape, float(jnp.abs(details).max())
      ((4, 4), (3, 4, 4), 0.0)
    """

    shape: tuple[int, ...] = struct.static()
    name: str = struct.static(default="db4")
    level: int | None = struct.static(default=None)
    periodic: bool = struct.static(default=False)

    def forward(self, x: Inexact[AnyArray, "..."]) -> Coefficients:
        """Image (..., *shape) to coefficients.

        Raises:
          ValueError: the image has another shape, or the wavelet is not orthogonal.
        """
        if x.shape[-len(self.shape) :] != self.shape:
            raise UserError(f"Wavelet was made for images (..., {self.shape}), but x has shape {x.shape}")
        filters, ndim = self._filters(), len(self.shape)
        x = crop_or_pad(x, self._padded_shape())
        details = []
        for _ in range(self.n_levels):
            batch = x.shape[: x.ndim - ndim]
            for axis in range(-1, -ndim - 1, -1):  # each adds an axis of two bands in front
                x = _analyze(x, axis, filters, self.periodic)
            bands = x.reshape((2**ndim, *batch, *x.shape[-ndim:]))
            x = bands[0]
            details.append(bands[1:])
        return (x, *details[::-1])

    def adjoint(self, y: Coefficients) -> Inexact[Array, "..."]:
        """Coefficients to image (..., *shape): the synthesis."""
        x, *details = y
        filters, ndim = self._filters(), len(self.shape)
        for bands, shape in zip(details, self._level_shapes()[::-1], strict=True):
            x = jnp.concatenate([x[None], bands]).reshape((2,) * ndim + x.shape)
            for axis in range(-ndim, 0):
                x = _synthesize(x, axis, filters, self.periodic)
            x = x[(..., *(slice(n) for n in shape))]
        return crop_or_pad(x, self.shape)

    def normal(self, x: Inexact[AnyArray, "*shape"]) -> Inexact[AnyArray, "*shape"]:
        """The identity, of the shape of x: W^H W = 1 for both boundary rules."""
        return x

    @property
    def n_levels(self) -> int:
        """The number of levels in use."""
        if self.level is not None:
            return self.level
        length = pywt.Wavelet(self.name).dec_len
        return min(pywt.dwt_max_level(n + n % 2, length) for n in self.shape)

    def _filters(self):
        wavelet = pywt.Wavelet(self.name)
        if not wavelet.orthogonal:
            raise UserError(f"wavelet '{self.name}' is not orthogonal; use haar, dbN, symN or coifN")
        return np.stack([wavelet.dec_lo, wavelet.dec_hi])

    def _padded_shape(self):
        multiple = 2**self.n_levels if self.periodic else 2
        return tuple(-(-n // multiple) * multiple for n in self.shape)

    def _level_shapes(self):
        """Shape of the image at the input of each level, finest first."""
        shapes, shape = [], self._padded_shape()
        length = pywt.Wavelet(self.name).dec_len
        for _ in range(self.n_levels):
            shapes.append(shape)
            shape = tuple(n // 2 if self.periodic else (n + length - 1) // 2 for n in shape)
        return shapes


def pack(coefficients: Coefficients) -> Inexact[Array, "..."]:
    """All coefficients in one array (..., y, x), approximation at the top left, as PyWavelets' coeffs_to_array; gaps are zero."""
    packed, *details = coefficients
    for bands in details:
        ndim = (len(bands) + 1).bit_length() - 1  # 2^ndim - 1 bands
        size, step = packed.shape[-ndim:], bands.shape[-ndim:]
        total = tuple(a + b for a, b in zip(size, step, strict=True))
        grown = jnp.zeros((*packed.shape[: packed.ndim - ndim], *total), packed.dtype)
        grown = grown.at[(..., *map(slice, size))].set(packed)
        for band, is_detail in zip(bands, list(itertools.product((False, True), repeat=ndim))[1:], strict=True):
            starts = [a if detail else 0 for a, detail in zip(size, is_detail, strict=True)]
            grown = grown.at[(..., *(slice(s, s + n) for s, n in zip(starts, step, strict=True)))].set(band)
        packed = grown
    return packed


def _analyze(x, axis, filters, periodic):
    """One step along one axis: (..., n, ...) to (2, ..., k, ...), low-pass band first."""
    half = filters.shape[1] // 2
    axis += x.ndim
    if periodic:
        x = jnp.roll(x, 1 - half, axis)  # PyWavelets' alignment: a[k] = sum_j h[j] x[2k + half - j]
    elif x.shape[axis] % 2:
        x = _pad(x, axis, 0, 1)
    pairs = x.reshape((*x.shape[:axis], -1, 2, *x.shape[axis + 1 :]))
    phases = [_pad(pairs.take(i, axis + 1), axis, half - 1, 0 if periodic else half - 1, wrap=periodic) for i in (0, 1)]
    n_out = phases[0].shape[axis] - half + 1
    terms = [
        _column(filters[:, 2 * i + 1 - odd], x)
        * jax.lax.slice_in_dim(phase, half - 1 - i, half - 1 - i + n_out, axis=axis)[None]
        for i in range(half)
        for odd, phase in enumerate(phases)
    ]
    return sum(terms[1:], terms[0])


def _synthesize(bands, axis, filters, periodic):
    """The transpose of `_analyze`: (2, ..., k, ...) to (..., n, ...)."""
    half = filters.shape[1] // 2
    axis += bands.ndim
    if periodic:
        bands = _pad(bands, axis, 0, half - 1, wrap=True)
    n = bands.shape[axis] - half + 1
    phases = []
    for odd in (0, 1):
        terms = [
            _column(filters[:, 2 * i + 1 - odd], bands[0]) * jax.lax.slice_in_dim(bands, i, i + n, axis=axis)
            for i in range(half)
        ]
        phases.append(sum(terms[1:], terms[0]).sum(0))
    x = jnp.stack(phases, axis).reshape((*bands.shape[1:axis], 2 * n, *bands.shape[axis + 1 :]))
    return jnp.roll(x, half - 1, axis - 1) if periodic else x


def _column(two_taps, x):
    """A tap of both filters, to multiply (2, ...)."""
    return two_taps.astype(x.real.dtype).reshape((2,) + (1,) * x.ndim)


def _pad(x, axis, before, after, *, wrap=False):
    pads = [(0, 0)] * x.ndim
    pads[axis] = (before, after)
    return jnp.pad(x, pads, mode="wrap" if wrap else "constant")

"""Orthogonal discrete wavelet transforms over the last two or three axes, zero-padded (sigpy's) and periodized.

One analysis step along one axis is y[k] = sum_j h[j] x[2k + 1 - j]. With x split into its even and odd samples that is two short
convolutions at full rate, so no strided access is needed beyond the split.
"""

import itertools

import jax.numpy as jnp
import numpy as np
import pywt
from flax import struct
from jaxtyping import Array, Inexact

from ..fourier import crop_or_pad
from .base import LinearOperator

Coefficients = tuple
"""(approximation, details of the coarsest level, ..., details of the finest): details are dicts with pywt's keys, "ad", "da", "dd"."""


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
    """

    shape: tuple[int, ...] = struct.field(pytree_node=False)
    name: str = struct.field(pytree_node=False, default="db4")
    level: int | None = struct.field(pytree_node=False, default=None)
    periodic: bool = struct.field(pytree_node=False, default=False)

    def forward(self, x: Inexact[Array, "..."]) -> Coefficients:
        """Image (..., *shape) to coefficients."""
        if x.shape[-len(self.shape) :] != self.shape:
            raise ValueError(f"Wavelet was made for images (..., {self.shape}), but x has shape {x.shape}")
        filters = self._filters()
        x = crop_or_pad(x, self._padded_shape())
        details: list[dict] = []
        for _ in range(self.n_levels):
            bands = {"": x}
            for axis in range(-len(self.shape), 0):
                split = {k: _analyze(b, axis, filters, self.periodic) for k, b in bands.items()}
                bands = {k + letter: pair[i] for k, pair in split.items() for i, letter in enumerate("ad")}
            x = bands.pop("a" * len(self.shape))
            details.append(bands)
        return (x, *details[::-1])

    def adjoint(self, y: Coefficients) -> Inexact[Array, "..."]:
        """Coefficients to image (..., *shape): the synthesis."""
        x, *details = y
        filters = self._filters()
        shapes = self._level_shapes()
        for bands, shape in zip(details, shapes[::-1], strict=True):
            bands = {"a" * len(self.shape): x, **bands}
            for axis in range(-1, -len(self.shape) - 1, -1):
                keys = {k[:-1] for k in bands}
                bands = {k: _synthesize(bands[k + "a"], bands[k + "d"], axis, filters, self.periodic) for k in keys}
            x = bands[""][(..., *(slice(n) for n in shape))]
        return crop_or_pad(x, self.shape)

    def normal(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """The identity: W^H W = 1 for both boundary rules."""
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
            raise ValueError(f"wavelet '{self.name}' is not orthogonal; use haar, dbN, symN or coifN")
        return np.asarray(wavelet.dec_lo), np.asarray(wavelet.dec_hi)

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
    """All coefficients in one array, approximation at the top left, as PyWavelets' coeffs_to_array; gaps are zero."""
    packed, *details = coefficients
    for bands in details:
        ndim = len(next(iter(bands)))
        grown = {"a" * ndim: packed, **bands}
        sizes = packed.shape[-ndim:]
        step = bands["d" * ndim].shape[-ndim:]
        total = tuple(a + b for a, b in zip(sizes, step, strict=True))
        packed = jnp.zeros((*packed.shape[:-ndim], *total), packed.dtype)
        for key in map("".join, itertools.product("ad", repeat=ndim)):
            starts = [sizes[i] if letter == "d" else 0 for i, letter in enumerate(key)]
            band = grown[key].shape[-ndim:]
            where = (..., *(slice(s, s + n) for s, n in zip(starts, band, strict=True)))
            packed = packed.at[where].set(grown[key])
    return packed


def _analyze(x, axis, filters, periodic):
    half = len(filters[0]) // 2
    x = jnp.moveaxis(x, axis, 0)
    if periodic:
        x = jnp.roll(x, 1 - half, 0)  # PyWavelets' alignment: a[k] = sum_j h[j] x[2k + half - j]
    elif x.shape[0] % 2:
        x = jnp.pad(x, [(0, 1)] + [(0, 0)] * (x.ndim - 1))
    n = x.shape[0] // 2
    pairs = x.reshape((n, 2) + x.shape[1:])
    pads = [(half - 1, 0 if periodic else half - 1)] + [(0, 0)] * (x.ndim - 1)
    even, odd = (jnp.pad(pairs[:, i], pads, mode="wrap" if periodic else "constant") for i in (0, 1))
    n_out = even.shape[0] - half + 1
    out = []
    for h in filters:
        h = h.astype(x.real.dtype)
        terms = [
            h[2 * i + 1] * even[half - 1 - i : half - 1 - i + n_out] + h[2 * i] * odd[half - 1 - i : half - 1 - i + n_out]
            for i in range(half)
        ]
        out.append(jnp.moveaxis(sum(terms[1:], terms[0]), 0, axis))
    return out


def _synthesize(low, high, axis, filters, periodic):
    half = len(filters[0]) // 2
    bands = [jnp.moveaxis(b, axis, 0) for b in (low, high)]
    if periodic:
        pads = [(0, half - 1)] + [(0, 0)] * (low.ndim - 1)
        bands = [jnp.pad(b, pads, mode="wrap") for b in bands]
    n = bands[0].shape[0] - half + 1
    even = odd = 0
    for band, h in zip(bands, filters, strict=True):
        h = h.astype(band.real.dtype)
        even = even + sum(h[2 * i + 1] * band[i : i + n] for i in range(half))
        odd = odd + sum(h[2 * i] * band[i : i + n] for i in range(half))
    x = jnp.stack([even, odd], 1).reshape((2 * n,) + bands[0].shape[1:])
    if periodic:
        x = jnp.roll(x, half - 1, 0)
    return jnp.moveaxis(x, 0, axis)

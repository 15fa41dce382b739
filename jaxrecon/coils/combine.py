"""Coil images to one image, and the simple map estimates that go with it: Walsh, Inati, low resolution."""

import functools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from ..checks import UserError, check_at_least, check_calibration, check_same_coils
from ..complex_ops import abs2, magnitude, rss, unit_scale
from ..fourier import crop_or_pad, ifftc
from ..host import native
from ..typing import AnyArray

# Entries of the coil covariances that `walsh` holds at a time.
_BAND_ENTRIES = 2**23


class WalshResult(NamedTuple):
    """What `walsh` finds.

    Attributes:
      maps: (coil, y, x), of unit norm.
      power: (y, x), the local signal power: the covariance's largest eigenvalue.

    Source: Walsh et al. 2000.
    """

    maps: Complex[Array, "coil *z y x"]
    power: Float[Array, "*z y x"]


class InatiResult(NamedTuple):
    """What `inati` finds.

    Attributes:
      maps: (coil, y, x), of unit norm.
      image: (y, x), the combined image.

    Source: Inati et al. 2014 (ISMRM 4407).
    """

    maps: Complex[Array, "coil *z y x"]
    image: Complex[Array, "*z y x"]


def combine_coils(
    images: Complex[AnyArray, "*batch coil y x"], maps: Complex[AnyArray, "*batch coil y x"]
) -> Complex[Array, "*batch y x"]:
    """Roemer's combination sum_c conj(S_c) I_c / sum_c |S_c|^2, 0 where all maps are.

    Args:
      images: coil images (..., coil, y, x).
      maps: (..., coil, y, x), of any norm.

    Returns:
      (..., y, x), complex.

    Source: Roemer et al. 1990, for white noise.

    Example:
      >>> maps = jnp.array([3.0, 4j]).reshape(2, 1, 1)
      >>> combine_coils(maps * (2 + 1j), maps).item()
      (2+1j)
    """
    check_at_least("images", images, ("coil", "y", "x"))
    check_same_coils(maps, images)
    images, maps = native(images), native(maps)
    power = abs2(maps).sum(-3)
    return (jnp.conj(maps) * images).sum(-3) / jnp.where(power > 0, power, 1)


def adaptive_combine(
    images: Complex[AnyArray, "coil *z y x"], *, window: int | Sequence[int] = 5, n_iter: int = 3
) -> Complex[Array, "*z y x"]:
    """Adaptive combination sum_c conj(S_c) I_c with the maps S of `walsh`.

    Args:
      images: coil images (coil, y, x) or (coil, z, y, x).
      window: width of the box in pixels, one for all axes or one per axis (mirrored at the border).
      n_iter: power iterations.

    Returns:
      (y, x), complex; its phase is relative to the maps'.

    Source: Walsh et al. 2000.
    """
    images = native(images)
    maps = walsh(images, window=window, n_iter=n_iter).maps
    return (maps.conj() * images).sum(0)


def walsh(images: Complex[AnyArray, "coil *z y x"], *, window: int | Sequence[int] = 5, n_iter: int = 3) -> WalshResult:
    """Maps as the leading eigenvector of the local coil covariance.

    R_pq(r) = mean of I_p conj(I_q) over a box around r; v <- R v / ||R v||, from v = sum_p R_pq.

    Args:
      images: coil images (coil, y, x) or (coil, z, y, x).
      window: width of the box in pixels, one for all axes or one per axis (mirrored at the border).
      n_iter: power iterations.

    Returns:
      WalshResult(maps, power), power = the last ||R v||.

    Source: Walsh et al. 2000; iterations and start as in ismrmrd-python-tools.

    Example:
      >>> images = jnp.array([3.0, 4.0]).reshape(2, 1, 1) * jnp.ones((2, 4, 4), complex)
      >>> np.allclose(walsh(images).maps[:, 2, 2], [0.6, 0.8])
      True
    """
    check_at_least("images", images, ("coil", "y", "x"))
    return _walsh(native(images), window=_per_axis(window, images.ndim - 1), n_iter=n_iter)


@functools.partial(jax.jit, static_argnames=("window", "n_iter"))
def _walsh(images, *, window, n_iter):
    n_coils, n_lines, *rest = images.shape
    unit = unit_scale(images)  # fourth powers of the images lie below
    padded = _mirrored(images / unit, window[0], 1)
    per_band = max(_BAND_ENTRIES // (n_coils**2 * int(np.prod(rest))), 1)
    per_band = min(per_band, n_lines)

    def band(first):  # the covariance goes over bands of lines: it has coil^2 images
        part = jax.lax.dynamic_slice_in_dim(padded, first, per_band + window[0] - 1, 1)
        covariance = _box_valid(part[:, None] * part[None].conj(), window[0], 2)
        for axis, width in enumerate(window[1:], 3):
            covariance = _box(covariance, width, axis)
        vector, length = _unit(covariance.sum(0))
        for _ in range(n_iter):
            vector, length = _unit((covariance * vector[None]).sum(1))
        return vector, length

    # the last band is moved back so as to end with the image; what overlaps is the same twice
    first = np.minimum(np.arange(0, n_lines, per_band), n_lines - per_band)
    maps, power = jax.lax.map(band, jnp.asarray(first))
    own = [slice(per_band - min(per_band, n_lines - i * per_band), None) for i in range(len(first))]
    maps = jnp.concatenate([m[:, part] for m, part in zip(maps, own, strict=True)], 1)
    power = jnp.concatenate([p[part] for p, part in zip(power, own, strict=True)])
    return WalshResult(maps, power * unit * unit)


def inati(
    images: Complex[AnyArray, "coil *z y x"],
    *,
    window: int | Sequence[int] = 5,
    n_iter: int = 5,
    threshold: float = 1e-3,
) -> InatiResult:
    """Maps and combined image by alternating between them, with locally smooth maps of smooth phase.

    S_c <- box(conj(R) I_c), normalized over coils; R <- sum_c conj(S_c) I_c; the phase that makes
    sum_c conj(d_c) S_c real, d = the normalized mean of S R, moves from S to R. R starts as sum_c conj(d_c) I_c.

    Args:
      images: coil images (coil, y, x) or (coil, z, y, x).
      window: width of the box in pixels, one for all axes or one per axis (mirrored at the border). The reference code
        smooths 2D images along y only: (5, 1) reproduces it.
      n_iter: iterations at most.
      threshold: stops when the image changes by a smaller part of its norm.

    Returns:
      InatiResult(maps, image).

    Source: Inati et al. 2014 (ISMRM 4407), as in ismrmrd-python-tools but for its window in 2D.
    """
    check_at_least("images", images, ("coil", "y", "x"))
    return _inati(native(images), threshold, window=_per_axis(window, images.ndim - 1), n_iter=n_iter)


@functools.partial(jax.jit, static_argnames=("window", "n_iter"))
def _inati(images, threshold, *, window, n_iter):
    unit = unit_scale(images)  # fourth powers of the images lie below
    images = images / unit

    def mean_direction(x):
        total = x.reshape(x.shape[0], -1).sum(1)
        return _unit(total)[0]

    def project(direction, x):
        return jnp.tensordot(direction.conj(), x, 1, precision="highest")

    def iterate(state):
        i, _, previous, _ = state
        maps = images * previous.conj()[None]
        for axis, width in enumerate(window, 1):
            maps = _box(maps, width, axis)
        maps, _ = _unit(maps)
        image = (maps.conj() * images).sum(0)
        phase = project(mean_direction(maps * image[None]), maps)
        size = magnitude(phase)
        phase = jnp.where(size > 0, phase / jnp.where(size > 0, size, 1), 1)
        maps, image = maps * phase.conj()[None], image * phase
        change = jnp.linalg.norm((image - previous).ravel()) / jnp.linalg.norm(image.ravel())
        return i + 1, maps, image, change

    def going(state):
        return (state[0] < n_iter) & (state[3] >= threshold)

    first = project(mean_direction(images), images)
    start = (0, jnp.zeros_like(images), first, jnp.asarray(np.inf, images.real.dtype))
    _, maps, image, _ = jax.lax.while_loop(going, iterate, start)
    return InatiResult(maps, image * unit)


def low_resolution_maps(
    kspace: Complex[AnyArray, "coil *z y x"],
    *,
    calib_size: int = 24,
    window: Literal["hann", "kaiser", "none"] = "hann",
    beta: float = 4.0,
    normalize: bool = True,
) -> Complex[Array, "coil *z y x"]:
    """Coil images of the windowed center of k-space, divided by their RSS.

    Args:
      kspace: (coil, y, x) or (coil, z, y, x), centered, with a complete calibration region.
      calib_size: width of that region in samples.
      window: against ringing, separable, in u = (i - n // 2) / (n / 2): Hann 1/2 + 1/2 cos(pi u), Kaiser
        I_0(beta sqrt(1 - u^2)) / I_0(beta), both 0 at |u| = 1; "none" is the plain crop.
      beta: shape of the Kaiser window; 4 is the one of BART's `caldir`.
      normalize: divide by the RSS; without it they are low-resolution coil images.

    Returns:
      (coil, y, x), complex.

    Raises:
      ValueError: an unknown window; an incomplete calibration region (concrete arrays only, not under `jit`).

    Source: McKenzie et al. 2002.
    """
    check_at_least("kspace", kspace, ("coil", "y", "x"))
    kspace = native(kspace)
    check_calibration(kspace, calib_size)
    space = tuple(range(1, kspace.ndim))
    u = (np.arange(calib_size) - calib_size // 2) / (calib_size / 2)
    if window == "none":
        taper = np.ones(calib_size)
    elif window == "hann":
        taper = 0.5 + 0.5 * np.cos(np.pi * u)
    elif window == "kaiser":
        taper = np.where(np.abs(u) < 1, np.i0(beta * np.sqrt(1 - u**2)) / np.i0(beta), 0)
    else:
        raise UserError(f"window is {window!r}; wanted: 'hann', 'kaiser' or 'none'")
    calib = crop_or_pad(kspace, (calib_size,) * len(space))
    for axis in space:
        calib = calib * jnp.asarray(
            np.expand_dims(taper, [a for a in range(kspace.ndim) if a != axis]), calib.real.dtype
        )
    if not normalize:
        return ifftc(crop_or_pad(calib, kspace.shape[1:]), space)
    maps = ifftc(crop_or_pad(calib / unit_scale(calib), kspace.shape[1:]), space)
    length = rss(maps, 0)[None]
    return maps / jnp.where(length > 0, length, 1)


def _per_axis(window, n_axes):
    windows = (window,) * n_axes if isinstance(window, int) else tuple(window)
    if len(windows) != n_axes or min(windows) < 1:
        raise UserError(f"window is {window}, but the images have {n_axes} spatial axes: one width >= 1 for each")
    return windows


def _unit(x):
    """The vector x / ||x|| over the first axis (0 stays 0), and ||x||."""
    length = jnp.sqrt(abs2(x).sum(0))
    return x / jnp.where(length > 0, length, 1)[None], length


def _box(x, width, axis):
    """Mean over `width` pixels, x mirrored at its ends (the edge pixel twice), as scipy's uniform_filter."""
    return _box_valid(_mirrored(x, width, axis), width, axis)


def _mirrored(x, width, axis):
    return jnp.pad(x, [(width // 2, (width - 1) // 2) if a == axis else (0, 0) for a in range(x.ndim)], "symmetric")


def _box_valid(x, width, axis):
    n = x.shape[axis] - width + 1
    return sum(jax.lax.slice_in_dim(x, i, i + n, axis=axis) for i in range(width)) / width

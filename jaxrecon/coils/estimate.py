"""Maps of a scan without a choice of sizes: what is complete around the center decides."""

import functools
import warnings
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Complex

from ..checks import DataWarning, UserError
from ..complex_ops import abs2, unit_scale
from ..fourier import crop_or_pad, ifftc
from ..host import complete_width
from .espirit import CROP, espirit
from .jsense import jsense

MapsMethod = Literal["espirit", "jsense"]
SMALLEST_CALIBRATION = 4
"""Width of a complete center from which maps can be estimated at all."""
LARGEST_CALIBRATION = 24
"""Width of the calibration region where the data allow it: the default of SigPy and BART."""
LARGEST_SHARE_OUTSIDE = 0.01
"""Share of the energy of the calibration region's image that may lie where maps are 0 without a warning."""


class CalibrationSize(NamedTuple):
    """Width of the calibration region, and width of the kernels."""

    region: int
    kernel: int


def calibration_size(
    mask: Bool[np.ndarray, "..."],
    shape: tuple[int, ...],
    *,
    method: MapsMethod = "espirit",
    calib_size: int | None = None,
    name: str = "k-space",
) -> CalibrationSize:
    """Width of the calibration region and of the kernels, from the samples that are complete around the center.

    Args:
      mask: (y, x) or with axes of size 1, True = measured.
      shape: (y, x) of k-space.
      method: ESPIRiT needs a complete region; JSENSE takes what is there.
      calib_size: the width that is wanted; None: what is complete, at most LARGEST_CALIBRATION.
      name: name of the data, in messages.

    Raises:
      ValueError: there is no such region, or none as large as asked for.
    """
    square = complete_width(np.broadcast_to(mask, shape))
    if method == "jsense":
        size = min(LARGEST_CALIBRATION, *shape) if calib_size is None else calib_size
        if not SMALLEST_CALIBRATION <= size <= min(shape):
            raise UserError(f"{name}: expected calib_size of {SMALLEST_CALIBRATION} to {min(shape)}, found {size}")
        return CalibrationSize(size, min(16, max(size // 2, 2)))
    size = min(LARGEST_CALIBRATION, square) if calib_size is None else calib_size
    if size < SMALLEST_CALIBRATION or size > square:
        wanted = max(size, SMALLEST_CALIBRATION)
        cure = f"Use calib_size {square}" if square >= SMALLEST_CALIBRATION else "Give maps, or use the method rss"
        raise UserError(
            f"{name}: the calibration region is not complete: expected {wanted} x {wanted} measured samples around the "
            f"center, found {square} x {square}. {cure}"
        )
    # a small region has room for small kernels only
    return CalibrationSize(size, 6 if size >= 12 else max(size // 2, 2))


def estimate_maps(
    kspace: Complex[np.ndarray, "*frame coil y x"],
    mask: Bool[np.ndarray, "..."],
    *,
    method: MapsMethod = "espirit",
    calib_size: int | None = None,
    kernel_size: int | None = None,
    n_sets: int = 1,
    crop: float = CROP,
    name: str = "k-space",
) -> Complex[np.ndarray, "*set coil y x"]:
    """Maps from the center of masked k-space; those of frames from their average over time; ESPIRiT's of one coil are 1.

    A warning says where more than LARGEST_SHARE_OUTSIDE of the energy lies where ESPIRiT's maps are 0.

    Args:
      kspace: (coil, y, x) or (frame, coil, y, x), 0 where not measured.
      mask: (y, x) or with axes of size 1, for frames also (frame, 1, y, x); True = measured.
      method: "espirit" or "jsense".
      calib_size: width of the calibration region; None: see `calibration_size`.
      kernel_size: width of the kernels in k-space; None: see `calibration_size`.
      n_sets: map sets of ESPIRiT.
      crop: ESPIRiT's maps are 0 where the eigenvalue is not above it.
      name: name of the data, in messages.

    Returns:
      (coil, y, x), or (set, coil, y, x) of several sets.

    Raises:
      ValueError: there is no calibration region to estimate maps from.

    Source: see `espirit` and `jsense`.
    """
    if method == "espirit" and kspace.shape[-3] == 1:  # nothing to compare with: a crop would only take from the object
        return np.ones(kspace.shape[-3:], kspace.dtype)
    kspace, mask = time_average(kspace, mask)
    size, kernel = calibration_size(mask, kspace.shape[1:], method=method, calib_size=calib_size, name=name)
    kernel = kernel_size or kernel
    if method == "jsense":
        return np.asarray(jsense(jnp.asarray(kspace), calib_size=size, kernel_width=kernel))
    maps = espirit(jnp.asarray(kspace), calib_size=size, kernel_size=kernel, n_maps=n_sets, crop=crop)
    share = float(_share_outside(jnp.asarray(kspace), maps, calib_size=size))
    if share > LARGEST_SHARE_OUTSIDE:
        warnings.warn(
            f"{name}: {100 * share:.1f} % of the energy of the calibration region lie where the maps are 0, and fold into the "
            f"image; expected at most {100 * LARGEST_SHARE_OUTSIDE:g} %. Maps keep eigenvalues above the crop of {crop:g}: try "
            "a lower one, a larger calibration region, or, where the object is larger than the field of view, two map sets",
            DataWarning,
            stacklevel=2,
        )
    return np.asarray(maps)


@functools.partial(jax.jit, static_argnames="calib_size")
def _share_outside(kspace, maps, *, calib_size):
    """The share of the energy of the calibration region's image that lies where all maps are 0."""
    calib = crop_or_pad(kspace, (calib_size, calib_size))
    energy = abs2(ifftc(crop_or_pad(calib / unit_scale(calib), kspace.shape[1:]), (1, 2))).sum(0)
    seen = jnp.any(maps != 0, tuple(range(maps.ndim - 2)))
    return jnp.sum(jnp.where(seen, 0, energy)) / jnp.sum(energy)


def time_average(
    kspace: Complex[np.ndarray, "*frame coil y x"], mask: Bool[np.ndarray, "..."]
) -> tuple[Complex[np.ndarray, "coil y x"], Bool[np.ndarray, "..."]]:
    """Masked k-space (frame, coil, y, x) averaged over the frames that measured a sample, and where any did.

    K-space (coil, y, x) is returned as it is.
    """
    if kspace.ndim == 3:
        return kspace, mask
    count = np.broadcast_to(mask, np.broadcast_shapes(np.shape(mask), (len(kspace), 1, 1, 1))).sum(0)
    return kspace.sum(0) / np.maximum(count, 1).astype(np.float32), (count > 0)[0]

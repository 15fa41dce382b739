"""Whether the centre of k-space is where the data have their energy."""

import warnings

import numpy as np
from jaxtyping import Complex

from ..checks import DataWarning
from .scan import Slice

LEAST_OFFSET = 4
"""Samples that the peak may be off at least, as it is by the phase of an object and of its coils."""
LARGEST_PART = 1 / 16
"""Part of an axis that it may be off."""
LEAST_RATIO = 4
"""Energy of the peak over that of the largest sample near the centre, below which the peak says nothing: noise."""


def peak_off_center(kspace: Complex[np.ndarray, "*frame coil y x"]) -> tuple[int, int] | None:
    """The sample (y, x) of the most energy over all coils, where it contradicts the centre (y // 2, x // 2).

    It does where it lies more than max(4, n / 16) samples off along an axis of n samples, and has four times the energy
    of all samples that are less off along this axis; where none of those was measured, nothing is known.

    Args:
      kspace: (..., coil, y, x), 0 where not measured.

    Returns:
      (y, x), or None where the peak is near the centre, or there is none.

    Example:
      >>> kspace = np.zeros((1, 32, 24), complex)
      >>> kspace[:, 16, 12], kspace[:, 0, 0] = 1, 9
      >>> peak_off_center(kspace)
      (0, 0)
    """
    energy = (np.abs(kspace.reshape(-1, *kspace.shape[-2:]).astype(np.complex128)) ** 2).sum(0)
    peak = np.unravel_index(energy.argmax(), energy.shape)
    for axis, n in enumerate(energy.shape):
        reach = int(max(LEAST_OFFSET, n * LARGEST_PART))
        middle = np.take(energy, range(max(n // 2 - reach, 0), min(n // 2 + reach + 1, n)), axis).max()
        if abs(peak[axis] - n // 2) > reach and 0 < middle * LEAST_RATIO < energy[peak]:
            return int(peak[0]), int(peak[1])
    return None


def warn_off_center(part: Slice, name: str) -> None:
    """Warn where the energy of a slice contradicts the centre of its k-space, see `peak_off_center`.

    Args:
      part: with k-space (..., coil, y, x).
      name: what the message calls it.
    """
    if part.kspace is None or part.kspace.ndim < 3 or (peak := peak_off_center(part.kspace)) is None:
        return
    center = part.kspace.shape[-2] // 2, part.kspace.shape[-1] // 2
    warnings.warn(
        f"{name}: k-space has its energy at (y, x) = {peak}, but its centre at {center}: is the array not centred "
        "(fftshift), or the centre in the header wrong? Images have a phase, and maps are estimated at the wrong place",
        DataWarning,
        stacklevel=2,
    )

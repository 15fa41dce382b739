"""What only a CPU needs, and what was measured on one: how the work is cut, never what is computed."""

import jax
import jax.numpy as jnp
from jaxtyping import Complex

from ..typing import AnyArray, Maps

WORTH_SPLITTING = 2**16
"""Below this many numbers in the maps a second thread costs more than it brings."""


def coil_parts(maps: Maps, axis: int) -> list[Complex[AnyArray, "*set part y x"]]:
    """The coils in parts for the two cores of a CPU, whose FFT uses one: XLA runs independent chains side by side.

    A half and two quarters were fastest for CG-SENSE and L1-wavelet taken together (8 coils, 230 x 180): with two halves XLA
    may put the second's result where the first's input was, and so make one wait for the other.

    Args:
      maps: (..., coil, y, x).
      axis: of the coils.

    Returns:
      Maps of one to three parts; on other devices, and where they are few, all in one.
    """
    if maps.size < WORTH_SPLITTING or jax.default_backend() != "cpu":
        return [maps]
    n_coils = maps.shape[axis]
    return [part for part in jnp.split(maps, [n_coils // 2, 3 * n_coils // 4], axis) if part.size]


def faster_by_columns(
    n_sets: int, n_coils: int, shape: tuple[int, int], grid: tuple[int, int], kernel: tuple[int, int]
) -> bool:
    """Whether `convolution_by_columns.image_normal` is faster than transforms of all coils: the operations of both, counted.

    On a CPU both took as long for 8 coils of 160 x 128.

    Args:
      n_sets: map sets.
      n_coils: coils.
      shape: (y, x) of the data.
      grid: (P, Q).
      kernel: (ky, kx).
    """
    taps_outside = n_sets * kernel[1] * (grid[0] - shape[0] + kernel[0] - 1)
    return 40 * n_coils * grid[0] * grid[1] > n_sets * shape[1] * taps_outside**2

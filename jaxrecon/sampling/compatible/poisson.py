"""Masks (y, x) of points."""

import numpy as np
from jaxtyping import Float

from .. import bridson
from ..acs import MASK_DTYPE


def poisson_disc(
    seed: int,
    shape: tuple[int, int],
    *,
    acceleration: float,
    calib_size: tuple[int, int] = (20, 20),
    crop_corner: bool = True,
    max_attempts: int = 30,
    tol: float = 0.1,
) -> Float[np.ndarray, "y x"]:
    """SigPy's variable-density Poisson disc (GLEAM, mridata.org knee): Bridson's algorithm, bisection on the slope.

    Radii (1 + s r) (nx, ny)/max(nx, ny), at least 1, r the distance beyond the calibration region; the interval of s,
    [0, max(nx, ny)] at first, is halved towards |R - acceleration| < tol, each step from the same seed.

    Args:
      seed: an int of 32 bits.
      shape: (y, x).
      acceleration: R over the full matrix.
      calib_size: (cy, cx), fully sampled centre; GLEAM: 20 x 20.
      crop_corner: leave the corners, r >= 1, empty.
      max_attempts: candidates around a point before it is given up.
      tol: how near R must come.

    Returns:
      (y, x) float32.

    Raises:
      ValueError: R cannot be reached within tol; for a few seeds, whose first point lies amid the calibration region
        of a small matrix, none can, as in SigPy.

    Source: SigPy 0.1.27, mri.poisson (its older versions take no tol and give other masks); Bridson 2007. Fast with
      numba (`pip install 'jaxrecon[masks]'`), the same mask without: about 0.3 s and 5 to 20 s for 320 x 256 at R = 12.
    """
    return bridson.search_slope(seed, shape, acceleration, calib_size, crop_corner, max_attempts, tol).astype(
        MASK_DTYPE
    )

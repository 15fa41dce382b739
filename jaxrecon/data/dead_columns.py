"""Columns of k-space that a scanner filled with zeros, taken out before a reconstruction and put back after it.

Source: Arvinte et al. 2021 (Deep J-Sense) and its code: acceleration and mask are then those of what was acquired.
"""

import numpy as np
from jaxtyping import Complex, Int


def dead_columns(kspace: Complex[np.ndarray, "*batch y x"], *, threshold: float = 1e-16) -> Int[np.ndarray, " n"]:
    """Columns without energy, an even number on each side of the centre, which so stays the centre.

    Args:
      kspace: (..., y, x) as measured; scaled data need another threshold.
      threshold: energy, the sum of |k|^2 over all but x, below which a column is dead.

    Returns:
      Indices (n,) of the columns, ascending. Where one side has an odd number its outermost dead column is left.

    Example:
      >>> kspace = np.array([0, 0, 0, 1, 2, 1, 0, 0]) * np.ones((4, 1), complex)
      >>> dead_columns(kspace).tolist()
      [1, 2, 6, 7]
    """
    width = kspace.shape[-1]
    energy = np.sum(np.abs(kspace.reshape(-1, width).astype(np.complex128)) ** 2, 0)
    dead = np.flatnonzero(energy < threshold)
    left, right = dead[dead < width // 2], dead[dead >= width // 2]
    return np.concatenate([left[len(left) % 2 :], right[: len(right) - len(right) % 2]])


def restore_columns(
    kspace: Complex[np.ndarray, "*batch y x"], removed: Int[np.ndarray, " n"]
) -> Complex[np.ndarray, "*batch y X"]:
    """K-space without its dead columns with as many zeros outside of it, for the image in its full field of view.

    The zeros lie outside also of a dead column that was kept: a network may have filled it, beside its neighbour.

    Args:
      kspace: (..., y, x) of the columns kept.
      removed: the indices (n,) that `dead_columns` returned.

    Returns:
      (..., y, x + n).
    """
    in_front = np.count_nonzero(np.asarray(removed) < (kspace.shape[-1] + len(removed)) // 2)
    return np.pad(kspace, [(0, 0)] * (kspace.ndim - 1) + [(in_front, len(removed) - in_front)])

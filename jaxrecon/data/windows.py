"""Windows of neighbouring slices or frames, for networks that reconstruct several at once."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Complex

from ..checks import DataError, UserError
from ..sampling import adjacent_frames
from ..sampling.acs import check_count


def neighbours(index: int, n_slices: int, n: int, *, n_frames: int = 1) -> list[int]:
    """The n slices around one: over frames, which are periodic, in a time series, else clamped at the ends.

    Slice i is position i % (n_slices / n_frames) of frame i // (n_slices / n_frames).

    Args:
      index: the slice in the middle.
      n_slices: number of slices.
      n: how many, odd.
      n_frames: number of frames; with fewer than n, those there are, the first and the last repeated.

    Returns:
      n indices, the middle one is `index`.

    Raises:
      ValueError: n is even or not positive.

    Source: PromptMR+: adjacent slices of fastMRI and Calgary-Campinas, adjacent frames of CMRxRecon 2023 and 2024.

    Example:
      >>> neighbours(0, 8, 5)
      [0, 0, 0, 1, 2]
    """
    if check_count("the number of adjacent slices", n) % 2 == 0:
        raise UserError(f"the number of adjacent slices must be odd and positive, but it is {n}")
    if n_frames > 1:
        positions = n_slices // n_frames
        frame, position = divmod(index, positions)
        return [int(f) * positions + position for f in adjacent_frames(frame, n_frames, n)]
    return [min(max(index + k, 0), n_slices - 1) for k in range(-(n // 2), n // 2 + 1)]


def stack_kspace(
    parts: Sequence[Complex[np.ndarray, "coil y x"]], *, file: str | Path | None = None
) -> Complex[np.ndarray, "adjacent coil y x"]:
    """K-space of neighbouring slices as one array (adjacent, coil, y, x).

    Args:
      parts: k-space (coil, y, x) of each slice.
      file: the file to name in an error.

    Raises:
      DataError: they have different coils or sizes.
    """
    shapes = {part.shape for part in parts}
    if len(shapes) > 1:
        raise DataError(
            "neighbouring slices differ in their coils or size, and cannot be reconstructed together",
            file=file,
            dataset="kspace",
            expected="the same shape (coil, y, x) in all of them",
            found=sorted(shapes),
            cure="compress the coils of all slices to the same number first",
        )
    return np.stack(parts)


def stack_masks(parts: Sequence[Bool[np.ndarray, "..."] | None]) -> Bool[np.ndarray, "..."] | None:
    """The masks of neighbouring slices: one, where all are equal, else (adjacent, 1, y, x); None: all is measured.

    An empty mask, seen from the zeros of a slice without signal, says nothing: it gives way to the union of the others.
    """
    known = [part for part in parts if part is None or part.any()]
    if not known:
        return parts[0]
    if all(part is None for part in known):
        return None
    masks = [np.ones((1, 1), bool) if part is None else np.atleast_2d(part) for part in known]
    if all(np.array_equal(mask, masks[0]) for mask in masks):
        return masks[0]
    union = functools.reduce(np.logical_or, masks)
    others = iter(masks)
    masks = [next(others) if part is None or part.any() else union for part in parts]
    return np.stack([np.broadcast_to(mask, union.shape) for mask in masks])[:, None]

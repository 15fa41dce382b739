"""Whole time series, (frame, coil, y, x), for networks that reconstruct all frames of one position at once."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..checks import UserError
from .index import Entry, Source
from .scan import Scan, Slice
from .windows import stack_kspace, stack_masks


def n_positions(scan: Scan) -> int:
    """The number of time series in a scan: its slices divided by its frames."""
    return len(scan) // scan.header.n_frames


def series(scan: Scan, position: int) -> Slice:
    """All frames of one position of a scan, in the order of time.

    Args:
      scan: slice i is position i % P of frame i // P, P = n_positions(scan); without frames a series of one.
      position: 0 .. P - 1; negative counts from the end.

    Returns:
      Slice with kspace (frame, coil, y, x), target (frame, h, w), and a mask as (y, x) where all frames have the same,
      else (frame, 1, y, x); its maps are those of the first frame, its index is the position.

    Raises:
      ValueError: the file holds images.
      IndexError: there is no such position.
      DataError: the frames have different numbers of coils, or cannot be read.
    """
    n = n_positions(scan)
    if not -n <= position < n:
        raise IndexError(f"time series {position} of {scan.path}, which has {n}")
    position %= n
    parts = [scan[frame * n + position] for frame in range(scan.header.n_frames)]
    kspace = [part.kspace for part in parts if part.kspace is not None]
    targets = [part.target for part in parts if part.target is not None]
    if len(kspace) < len(parts):
        raise UserError(f"{scan.path} holds images, no k-space: it has no time series of k-space")
    return dataclasses.replace(
        parts[0],
        kspace=stack_kspace(kspace, file=scan.path),
        mask=stack_masks([part.mask for part in parts]),
        target=np.stack(targets) if len(targets) == len(parts) else None,
    )


class SeriesSource(Source):
    """A random-access source of time series over many files, as `Source` is one of slices.

    Args:
      entries: from `index_files`, filtered and split; from each file those of the first frame are kept, which stand for
        their series.
    """

    is_series = True
    """Elements are time series."""

    def __init__(self, entries: Sequence[Entry]):
        super().__init__([e for e in entries if e.index < e.n_slices // e.n_frames])

    def __getitem__(self, position: int) -> Slice:
        return series(self.scan(position), self.entries[position].index)

"""Lines that were measured more than once: what is averaged, and what only has the counters of another line."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Int

NOISE_PEAK = 25.0
"""The largest squared magnitude of a million samples of noise over their mean: it is exceeded once in 1e5 such sets."""
LARGEST_PART = 0.25
"""Energy of the differences over that of the sums, above which lines have not half of their energy in common."""
ROUNDING = 1e-4
"""Part of the largest sample by which equal lines may differ."""


class Line(NamedTuple):
    """One line of a problem: its place, its samples (coil, sample) from `start` on, and whether others have its counters."""

    kz: int
    ky: int
    start: int
    average: int
    samples: Complex[np.ndarray, "coil sample"]
    shared: bool


class Averaged(NamedTuple):
    """The k-space of a problem.

    Attributes:
      kspace: (coil, kz, ky, kx), each sample the mean of its measurements.
      counts: (kz, ky, kx), how many these are.
      n_repeated: lines with all counters of an earlier one.
      difference: the largest of their samples' differences, as a part of the largest sample.
      agree: they differ by noise only, and are averaged; else the first one counts.
    """

    kspace: Complex[np.ndarray, "coil kz ky kx"]
    counts: Int[np.ndarray, "kz ky kx"]
    n_repeated: int
    difference: float
    agree: bool


def average(lines: Iterable[Line], shape: tuple[int, int, int, int]) -> Averaged:
    """The mean of lines at each sample, over those with other averages, and over those that agree within noise.

    Lines with equal counters agree where their differences look like noise, over all of them, each coil by itself: no sample
    exceeds the peak of noise whose level is the median of the differences, and most of the energy is common.

    Samples that are no finite numbers are never left out, so that who checks the values finds them.

    Args:
      lines: those of one problem.
      shape: (coil, kz, ky, kx) of its k-space.
    """
    with np.errstate(invalid="ignore"):
        return _average(lines, shape)


def _average(lines, shape):
    kspace, counts = np.zeros(shape, np.complex64), np.zeros(shape[1:], np.uint16)
    again: list[Line] = []
    firsts: dict[tuple[int, int, int], Line] = {}
    found = _Differences(shape[0])
    for line in lines:
        first = firsts.setdefault((line.kz, line.ky, line.average), line) if line.shared else line
        if first is line:
            _add(kspace, counts, line)
        else:
            again.append(line)
            found.compare(first, line)
    if agree := found.agree:
        for line in again:
            _add(kspace, counts, line)
    if counts.max() > 1:
        kspace /= np.maximum(counts, 1).astype(np.float32)[None]
    return Averaged(kspace, counts, len(again), found.largest, agree)


def _add(kspace, counts, line):
    place = line.kz, line.ky, slice(line.start, line.start + line.samples.shape[-1])
    kspace[(slice(None), *place)] += line.samples
    counts[place] += 1


class _Differences:
    """What is seen of the differences between lines with equal counters, coil by coil."""

    def __init__(self, n_coils: int):
        self._medians: list[np.ndarray] = []
        self._largest, self._peak = np.zeros(n_coils), np.zeros(n_coils)
        self._of_differences = self._of_sums = 0.0

    def compare(self, first: Line, line: Line) -> None:
        """Take in a line and the first one with its counters, at the samples that both have."""
        start, stop = max(first.start, line.start), min(x.start + x.samples.shape[-1] for x in (first, line))
        if start >= stop:
            return
        a, b = (x.samples[:, start - x.start : stop - x.start].astype(np.complex128) for x in (first, line))
        squared = np.abs(a - b) ** 2
        self._medians.append(np.median(squared, axis=1))
        self._largest = np.maximum(self._largest, squared.max(1))
        self._peak = np.maximum(self._peak, (np.abs(a) ** 2).max(1))
        self._of_differences += squared.sum()
        self._of_sums += (np.abs(a + b) ** 2).sum()

    @property
    def largest(self) -> float:
        """The largest difference, as a part of the largest sample."""
        return float(np.sqrt(self._largest.max() / self._peak.max())) if self._peak.any() else 0.0

    @property
    def agree(self) -> bool:
        """Whether all differences are noise."""
        if not self._medians or self.largest <= ROUNDING or not np.isfinite(self._of_differences):
            return True
        level = np.median(self._medians, axis=0) / np.log(2)  # the mean of squared magnitudes, from their median
        return bool(
            (self._largest <= NOISE_PEAK * level).all() and self._of_differences <= LARGEST_PART * self._of_sums
        )

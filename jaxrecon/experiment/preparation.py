"""How the slices of an experiment become examples: its masks, targets, scales and ranges, and maps where the network wants them."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..checks import UserError, check_seed
from ..coils.estimate import SMALLEST_CALIBRATION, estimate_maps, time_average
from ..data import Slice
from ..data import open as open_scan
from ..data.index import Slices
from ..data.preparation import (
    Preparation,
    combined_target,
    name_of,
    target_maximum,
    volume_maximum,
)
from ..data.recipes import SCALES, TARGETS
from ..host import complete_width
from ..losses import LOSSES
from ..models import build
from ..sampling import adjacent_frames
from ..sampling.named import center_of, check_center, names
from .experiment import Experiment
from .samplings import draw_mask, is_file, mask_kind, samplings

MAPS_IN_MEMORY = 2**31
"""Bytes of estimated maps that are kept; beyond it they are estimated anew each time."""


class WithMaps:
    """A source whose slices have maps: their own, or those of ESPIRiT from the center that the mask samples completely."""

    def __init__(self, source: Slices, experiment: Experiment):
        self._source, self._experiment = source, experiment
        self.entries, self.is_series = getattr(source, "entries", None), getattr(source, "is_series", False)
        self._known: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, position: int) -> Slice:
        part = self._source[position]
        if part.maps is not None or part.kspace is None:
            return part
        maps = self._known.get(position)
        if maps is None:
            maps = self._estimate(part)
            if (len(self._known) + 1) * maps.nbytes <= MAPS_IN_MEMORY:
                self._known[position] = maps
        return dataclasses.replace(part, maps=maps)

    def _estimate(self, part: Slice) -> np.ndarray:
        kspace = np.asarray(part.kspace)
        mask = np.ones((1, 1), bool) if part.mask is None else np.atleast_2d(part.mask)
        # a reconstruction sees no more than the center of its mask, which all masks of a sampling have
        for one in samplings(self._experiment).values():
            mask = mask & (draw_mask(one, kspace.shape, 0) != 0)
        if kspace.shape[-3] == 1:
            return np.ones_like(kspace[(0,) * (kspace.ndim - 3)])
        name = f"{part.file}, slice {part.index}"
        kspace, mask = time_average(kspace * mask, mask)
        if not kspace.any():
            return np.zeros_like(kspace)  # the combined target is 0 then, by which `prepare` knows the slice
        width = complete_width(np.broadcast_to(mask, kspace.shape[-2:]))
        if width < SMALLEST_CALIBRATION:
            raise UserError(
                f"{name}: maps are estimated from a center that all masks sample, {SMALLEST_CALIBRATION} wide or more, "
                f"but it is {width} wide: set acs=16 (or use files that have maps)"
            )
        return estimate_maps(kspace, mask, crop=self._experiment.data.espirit_crop, name=name)


def preparation(experiment: Experiment, *, use: Literal["training", "validation", "test"] = "training") -> Preparation:
    """How slices of an experiment become examples.

    Args:
      experiment: its fields mask ... n_coils, with one sampling: of several each of `samplings` has its own.
      use: each has masks of its own.

    Raises:
      DataError: a file of a mask that holds none.
      ValueError: a mask that does not exist, several samplings, or a size below 1.
    """
    wants, of_data = build(experiment.model).wants, experiment.data
    if len(several := samplings(experiment)) > 1:
        raise UserError(
            f"the experiment has the samplings {', '.join(several)}: each has a preparation of its own, see "
            "jaxrecon.experiment.samplings"
        )
    if mask_kind(experiment) == "frames" and wants.input == "slice":
        known = ", ".join(names("lines", "plane"))
        raise UserError(f"there is no mask '{of_data.mask}' for still images; there are {known}")
    check_seed(experiment.seed)
    sizes = {"n_masks": of_data.n_masks, "shape": of_data.shape, "n_coils": of_data.n_coils}
    for name, size in ({"batch_size": experiment.batch_size} | sizes).items():
        if size is not None and np.min(size) < 1:
            raise UserError(f"{name} must be 1 or more, not {size}")
    rule = TARGETS[of_data.target]
    made = rule.complex if wants.image == "complex" else rule.magnitude
    # combined targets need the maps of all slices; the works that train on them take the slice's maximum
    of_volume = LOSSES[experiment.loss].needs_range and made is not combined_target
    by_volume = experiment.data.data_range == "volume"
    drawn = functools.partial(_random_mask, experiment=experiment, place=("training", "validation", "test").index(use))
    return Preparation(
        mask=drawn if experiment.data.mask else None,
        target=functools.partial(_of_middle, target=made) if wants.input == "window" else made,
        scale=SCALES[experiment.data.scale],
        data_range=functools.partial(peak, made=made if of_volume else None) if by_volume else target_maximum,
        shape=experiment.data.shape,
        n_coils=experiment.data.n_coils,
        acs=functools.partial(_calibration, experiment=experiment) if wants.maps == "estimated" else None,
        maps=wants.maps == "given",
    )


def _of_middle(part: Slice, *, target: Callable[[Slice], np.ndarray]) -> np.ndarray:
    assert part.kspace is not None  # `prepare` has seen to it
    middle = len(part.kspace) // 2
    mask = part.mask if part.mask is None or part.mask.ndim < 4 else part.mask[middle, 0]
    return target(dataclasses.replace(part, kspace=part.kspace[middle], mask=mask))


def peak(part: Slice, target: np.ndarray, *, made: Callable[[Slice], np.ndarray] | None = None) -> float:
    """The maximum of the volume where the file states it, else of the slice.

    Args:
      part: a slice.
      target: its target.
      made: slice -> target: files that do not state the maximum are read through, once in a process, to find it.
    """
    try:
        return volume_maximum(part, target)
    except ValueError:
        if made is None or not Path(part.file).is_file():
            return target_maximum(part, target)
        return _largest(part.file, made)


@functools.cache
def _largest(file: str, made: Callable[[Slice], np.ndarray]) -> float:
    return max(target_maximum(part, made(part)) for part in open_scan(file))


def _calibration(part: Slice, mask: np.ndarray, *, experiment: Experiment) -> np.ndarray | None:
    """The center of the drawn masks; in masks of files the network finds it."""
    assert part.kspace is not None  # `prepare` has seen to it
    y, x = part.kspace.shape[-2:]
    region = None
    of: Any = experiment.data
    if of.mask is not None and not is_file(of.mask):
        region = center_of(of.mask, (y, x), acceleration=of.acceleration, acs=of.acs)
    check_center(mask, region, (y, x), name=name_of(part), cure="set acs=16, or leave the file out")
    return region


def _random_mask(part: Slice, rng: np.random.Generator, *, experiment: Experiment, place: int) -> np.ndarray:
    assert part.kspace is not None  # `prepare` has seen to it
    n, shape, n_adjacent = experiment.data.n_masks, part.kspace.shape, build(experiment.model).wants.n_adjacent
    number = int(rng.integers(2**31)) if n is None else place * n + int(rng.integers(n))
    if n_adjacent is None or mask_kind(experiment) != "frames":
        return draw_mask(experiment, shape, number)
    # the mask is drawn for the whole series; the frames of the window are taken from it
    series = draw_mask(experiment, (part.n_frames, *shape[1:]), number)
    return series[adjacent_frames(part.frame, part.n_frames, n_adjacent)]

"""How the slices of an experiment are undersampled: its masks, accelerations and centers, of which each example has one."""

import dataclasses
import functools
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool

from ..checks import DataWarning, UserError
from ..data.masks import MASK_SUFFIXES, check_fits, read_mask
from ..files import check_file
from ..sampling.named import MASKS, draw
from .catalog import CATALOG
from .experiment import DataConfig, Experiment

Kind = Literal["lines", "plane", "frames"]
"""As `NamedMask.kind`."""


def samplings(experiment: Experiment) -> dict[str, Experiment]:
    """The ways an experiment undersamples slices, each as the experiment that has one mask, acceleration and center.

    Accelerations and centers of equal number are pairs, a single center is that of all accelerations; every mask of a name
    is drawn with all of them, that of a file is taken as it is.

    Args:
      experiment: its fields mask, acceleration and acs.

    Returns:
      Name, as "r4" or "random_r4", by which scores call it -> experiment; one entry for the samples of the files as they are.

    Raises:
      ValueError: numbers of accelerations and of centers that are no pairs, or that nothing is drawn with; two that are the same.

    Source: pairs as in fastMRI's mask functions.

    Example:
      >>> data = jr.experiment.DataConfig(mask="random", acceleration=(4, 8), acs=(0.08, 0.04))
      >>> list(samplings(jr.Experiment(jr.models.UNetConfig(), data=data)))
      ['r4', 'r8']
    """
    of = experiment.data
    masks, rates, centers = (_several(value) for value in (of.mask, of.acceleration, of.acs))
    if len(centers) not in (1, len(rates)):
        raise UserError(
            f"acs has {len(centers)} numbers for {len(rates)} accelerations: give one for all of them, or one for each"
        )
    pairs = list(zip(rates, centers * len(rates) if len(centers) == 1 else centers, strict=True))
    drawn = [name for name in masks if name is not None and not is_file(name)]
    if len(pairs) > 1 and not drawn:
        raise UserError(
            f"accelerations {', '.join(f'{rate:g}' for rate in rates)} are of masks that are drawn, but there is none: set "
            "mask to its name"
        )
    every = [(name, *pair) for name in masks for pair in (pairs if name in drawn else pairs[:1])]
    found = {
        _label(one, several_masks=len(masks) > 1, pairs=pairs): _with(
            experiment, mask=one[0], acceleration=one[1], acs=one[2]
        )
        for one in every
    }
    if len(found) < len(every):
        raise UserError(
            f"the masks and accelerations {', '.join(found)} are not all different: leave out those given twice"
        )
    return found


def warn_of_unused(experiment: Experiment) -> None:
    """Warn of numbers that masks would be drawn with, where none is drawn: the masks are those of files.

    Those of the built-in experiments of the network may be nobody's wish, and are passed over.

    Args:
      experiment: what is to be trained.
    """
    of: Any = experiment.data
    masks = [mask for mask in _several(of.mask) if mask is not None]
    if not all(map(is_file, masks)):
        return
    entries = [entry for entry in CATALOG.values() if type(entry.preset.model) is type(experiment.model)]
    usual = [DataConfig(), *(one.data for entry in entries for one in (entry.preset, entry.small_preset))]
    unused = {
        name: getattr(of, name)
        for name in ("acceleration", "acs", "n_masks")
        if all(getattr(of, name) != getattr(one, name) for one in usual)
    }
    if unused:
        found = " and ".join(f"{name} {value}" for name, value in unused.items())
        source = f"the mask is that of {', '.join(masks)}" if masks else "the masks are those of the scans"
        warnings.warn(
            f"{found}: without effect, as {source} and none is drawn; set mask to a name, or leave out {', '.join(unused)}",
            DataWarning,
            stacklevel=2,
        )


def is_file(mask: str) -> bool:
    """Whether a mask is the path of a file, and no name."""
    return mask not in MASKS and Path(mask).suffix in MASK_SUFFIXES


def mask_files(experiment: Experiment) -> list[str]:
    """The files of its masks."""
    return [mask for mask in _several(experiment.data.mask) if mask is not None and is_file(mask)]


def mask_kind(experiment: Experiment) -> Kind | None:
    """Whether its masks are of columns, of planes or of frames; None: they are those of the files.

    Raises:
      DataError: a file holds no mask.
      ValueError: a name that does not exist, or masks of several kinds.
    """
    masks = [mask for mask in _several(experiment.data.mask) if mask is not None]
    kinds = {mask: _kind(mask) for mask in masks}
    if len(set(kinds.values())) > 1:
        found = ", ".join(f"{mask} of {kind}" for mask, kind in kinds.items())
        raise UserError(f"masks of one training are of one kind, lines, a plane or frames, but there are {found}")
    return next(iter(kinds.values()), None)


def draw_mask(experiment: Experiment, shape: tuple[int, ...], number: int) -> np.ndarray:
    """Mask `number` of an experiment for k-space ([frame,] coil, y, x): (1, x), (y, x) or (frame, 1, 1, x).

    All is measured where the experiment draws none; the mask of a file, of frames (frame, 1, y, x), is the same for each number.

    Args:
      experiment: with one sampling, as `samplings` gives it.
      shape: of k-space.
      number: which mask.

    Raises:
      DataError: the mask of a file does not fit.
    """
    of: Any = experiment.data
    if of.mask is None:
        return np.ones((1, 1), np.float32)
    *frames, _, y, x = shape
    if is_file(of.mask):
        stored = _mask_of_file(of.mask)
        check_fits(stored, (y, x), *frames, name="k-space", file=Path(of.mask))
        return (stored if stored.ndim == 2 else stored[:, None]).astype(np.float32)
    seed = (experiment.seed * 100_003 + number) % 2**32  # a key has 32 bits of it
    return _drawn(of.mask, (y, x), *frames, acceleration=of.acceleration, acs=of.acs, seed=seed)


@functools.lru_cache(maxsize=1024)
def _drawn(
    name: Any, shape: tuple[int, int], frames: int = 1, *, acceleration: float, acs: Any, seed: int
) -> np.ndarray:
    mask = draw(name, shape, acceleration=acceleration, acs=acs, seed=seed, frames=frames)
    return mask if mask.ndim == 2 else mask[:, None]


def _mask_of_file(file: str) -> Bool[np.ndarray, "..."]:
    """The mask of a file, (1, x) where it is of whole columns; frames only where there are several."""
    return _stored(file, check_file(file).stat().st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _stored(file: str, time_of_change: int) -> Bool[np.ndarray, "..."]:
    mask = read_mask(file)
    if not mask.any():
        raise UserError(f"file {file}: expected a mask with measured samples, found none")
    mask = mask[..., :1, :] if (mask == mask[..., :1, :]).all() else mask
    return mask[0] if mask.ndim == 3 and len(mask) == 1 else mask


def _kind(mask: str) -> Kind:
    if is_file(mask):
        stored = _mask_of_file(mask)
        return "frames" if stored.ndim == 3 else "lines" if len(stored) == 1 else "plane"
    if mask not in MASKS:
        raise UserError(
            f"there is no mask '{mask}'; there are {', '.join(MASKS)}, and files of one ({', '.join(MASK_SUFFIXES)})"
        )
    return MASKS[mask].kind


def _label(one, *, several_masks, pairs):
    """What differs from the other samplings."""
    mask, rate, center = one
    if mask is None:
        return "files"
    if is_file(mask):
        return Path(mask).stem
    same_rate = sum(other == rate for other, _ in pairs) > 1
    name = f"{mask}_" if several_masks else ""
    return f"{name}r{rate:g}" + (f"_acs{center:g}" if same_rate and center is not None else "")


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _with(experiment: Experiment, **changes: Any) -> Experiment:
    return dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, **changes))

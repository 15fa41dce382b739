"""What an experiment learns from: the slices of files, divided by subjects, or simulated heads."""

import filecmp
import functools
import hashlib
import itertools
import os
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ..checks import DataError, DataWarning, UserError, counted
from ..data import (
    KNOWN_BAD_2024,
    Entry,
    SeriesSource,
    Source,
    index_files,
    select,
    split_scans,
    subject,
)
from ..data import split as divide
from ..data.index import Slices
from ..models import build
from .experiment import Experiment
from .preparation import WithMaps
from .samplings import mask_files, mask_kind
from .simulated import simulated_slices

SIMULATED = "simulated"
VALIDATION_PART = 0.1
Split = tuple[float, float, float]
"""Parts of the subjects for training, validation and test."""


class TrainingData(NamedTuple):
    """Slices for training, and others for validation (none where there is a single file).

    Attributes:
      training: slices, or time series.
      validation: slices, or time series, for validation.
      described: all of it in words.
      named: the same for the record of a run: paths, how much was found there, and a fingerprint of the files.
      test: slices, or time series, that a split leaves for a test.
    """

    training: Slices
    validation: Slices
    described: str
    named: dict[str, str]
    test: Slices = ()


class _Found(NamedTuple):
    """Slices for training, validation and, after a split, the test; what they are in words, and a fingerprint of files."""

    parts: list[Slices]
    described: str
    files: str | None = None


def find_data(
    experiment: Experiment, data: str | Path, validation: str | Path | None = None, *, split: Split | None = None
) -> TrainingData:
    """The slices (for networks of frames: time series) that an experiment learns from.

    Args:
      experiment: which slices, and of which kind its network wants them; see `DataConfig`.
      data: a folder of fully sampled scans, searched with its subfolders, a file, or "simulated". Files of CMRxRecon 2024
        that are known to be damaged are left out.
      validation: a folder or file for validation; None: a tenth of the subjects of `data` (at least one, if there are two),
        the last by name.
      split: parts of the subjects of `data`, sorted by name, for training, validation and test.

    Returns:
      The slices, with maps where the network is given them.

    Raises:
      DataError: no data file, or a damaged one.
      ValueError: files without Cartesian k-space, or still images for a network of frames or a mask of frames;
        a split of simulated data, or beside a validation folder.
    """
    is_simulated = data == SIMULATED
    if not is_simulated and not Path(data).exists():
        raise DataError(
            "there is no such file or folder",
            file=data,
            expected=f"scans, or the word {SIMULATED}",
            found="nothing of that name",
        )
    if is_simulated and validation is not None:
        raise UserError("simulated data bring their own validation: it goes with scans only")
    if split is not None and (is_simulated or validation is not None):
        raise UserError("split divides the scans of data: it goes neither with simulated ones nor with validation")
    wants = build(experiment.model).wants
    found = simulated(experiment) if is_simulated else files(experiment, data, validation, split=split)
    parts, described = found.parts, found.described
    if wants.maps == "given":
        parts = [WithMaps(part, experiment) for part in parts]
    first = f"{len(parts[0])} time series" if wants.input == "series" else counted(len(parts[0]), "slice")
    sizes = f"{first} for training, {len(parts[1])} for validation ({described})"
    if len(parts) > 2:
        sizes += f", {len(parts[2])} left for the test"
    named = {"training": SIMULATED if is_simulated else str(Path(data).absolute())}
    if validation is not None:
        named["validation"] = str(Path(validation).absolute())
    if found.files is not None:
        named["files"] = found.files
    if masks := mask_files(experiment):
        named["masks"] = fingerprint(masks)
    test = parts[2] if len(parts) > 2 else ()
    return TrainingData(parts[0], parts[1], sizes, named | {"found": sizes}, test)


def simulated(experiment: Experiment) -> _Found:
    """Heads, or beating hearts, as `experiment.simulated` says.

    Raises:
      ValueError: heads for a mask of time frames.
    """
    wanted, in_time, of_frames = experiment.simulated, *_frames_wanted(experiment)
    what = "hearts" if wanted.hearts or in_time else "heads"
    if of_frames and what == "heads":
        raise UserError(f"expected time frames for {of_frames}, found simulated heads: set simulated.hearts")
    last = wanted.heads + wanted.validation_heads
    parts: list[Slices] = [
        simulated_slices(experiment, range(wanted.heads)),
        simulated_slices(experiment, range(wanted.heads, last)),
    ]
    return _Found(parts, f"{wanted.heads} and {wanted.validation_heads} simulated {what}")


def files(experiment: Experiment, data: str | Path, validation: str | Path | None, *, split: Split | None) -> _Found:
    """The slices of files; arguments and errors as in `find_data`.

    Raises:
      DataError: no data file, or a damaged one.
      ValueError: files that the network, or the mask, cannot be used on.
    """
    in_time, of_frames = _frames_wanted(experiment)
    lists = divided(experiment, data, validation, split=split)
    if experiment.data.slices and (in_time or not all(lists[:1])):
        first, last = experiment.data.slices
        found = "a network of whole time series" if in_time else f"none in {data}"
        raise UserError(f"slices {first} {last}: expected slices from {first} up to {last} of a file, found {found}")
    _question_validation(*({e.file for e in part} for part in lists[:2]))
    entries = [entry for part in lists for entry in part]
    without = [e.file for e in entries if not e.n_coils or len(e.shape) != 2]
    if without:
        raise UserError(f"file {without[0]}: expected Cartesian k-space to train on, found images or a trajectory")
    still = [e.file for e in entries if e.n_frames < 2]
    if still and of_frames:
        raise UserError(f"file {still[0]}: expected time frames for {of_frames}, found still images")
    source: Any = SeriesSource
    if not in_time:
        source = functools.partial(Source, adjacent=build(experiment.model).wants.n_adjacent)
    parts = [source(part) for part in lists]
    described = " and ".join(counted(len({e.file for e in part}), "file") for part in lists)
    # those of each folder by themselves: copied elsewhere, the folders may sort otherwise
    folders = [lists[:1], lists[1:]] if validation is not None else [lists]
    named = [sorted({e.file for part in folder for e in part}) for folder in folders]
    return _Found(parts, described, fingerprint(list(dict.fromkeys(itertools.chain(*named)))))


def divided(
    experiment: Experiment, data: str | Path, validation: str | Path | None, *, split: Split | None
) -> list[list[Entry]]:
    """The entries of files for training, for validation and, after a split, for the test; arguments as in `find_data`."""
    chosen = functools.partial(select, slices=experiment.data.slices or (None, None), exclude=KNOWN_BAD_2024)
    entries = chosen(index_files(data))
    if validation is not None:
        return [entries, chosen(index_files(validation))]
    if split is not None:
        return list(split_scans(entries, split, group=subject))
    n = len({subject(entry.file) for entry in entries})
    n_validation = max(round(VALIDATION_PART * n), min(n - 1, 1))
    return list(divide(entries, (n - n_validation, n_validation), group=subject))


def _frames_wanted(experiment: Experiment) -> tuple[bool, str]:
    """(whether the network takes whole time series, what it is that wants time frames: "" if nothing does)."""
    in_time = build(experiment.model).wants.input == "series"
    if in_time:
        return in_time, "a network of frames"
    mask = experiment.data.mask
    of_frames = f"the mask {mask}" if isinstance(mask, str) else f"the masks {mask}"
    return in_time, of_frames if mask_kind(experiment) == "frames" else ""


def _question_validation(training: Collection[str], validation: Collection[str]) -> None:
    """Warn where files of the validation are among those that are trained on, by their content: copies count."""
    size_of = {file: os.path.getsize(file) for file in (*training, *validation)}
    shared = {size_of[file] for file in training} & {size_of[file] for file in validation}
    trained_on = {_hash(file): file for file in training if size_of[file] in shared}
    pairs = [(file, trained_on.get(_hash(file))) for file in sorted(validation) if size_of[file] in shared]
    twice = [(file, other) for file, other in pairs if other is not None]
    for file, other in twice:
        # samples of a content may agree where it does not, as zeros
        if file == other or filecmp.cmp(file, other, shallow=False):
            warnings.warn(
                f"is the validation what you want? {len(twice)} of its {len(validation)} files are trained on, too, as {file}"
                + ("" if file == other else f", which is {other}")
                + ": its scores don't say how the network does on other scans",
                DataWarning,
                stacklevel=2,
            )
            return


def _sample(file: str) -> bytes:
    """The content of a file, as far as eight blocks of 4 KiB show it."""
    size = os.path.getsize(file)
    with open(file, "rb") as stream:
        return b"".join(_block(stream, i * max(size - 4096, 0) // 7) for i in range(8))


def _hash(file: str) -> bytes:
    return hashlib.sha256(_sample(file)).digest()


def _block(stream: BinaryIO, start: int) -> bytes:
    stream.seek(start)
    return stream.read(4096)


def fingerprint(files: Sequence[str]) -> str:
    """A text that changes with the files: their number and bytes, and a hash of names, sizes and samples of the content.

    Folders do not matter, but the order does. Eight blocks of 4 KiB, evenly spread, are read of each file: data sets may be terabytes.
    """
    digest, total = hashlib.sha256(), 0
    for file in files:
        size = os.path.getsize(file)
        total += size
        digest.update(f"{Path(file).name} {size}\n".encode())
        digest.update(_sample(file))
    return f"{len(files)} with {total} bytes, {digest.hexdigest()[:12]}"

"""The heads of ISMRMRD acquisitions: what they must hold, and which lines are of images, which calibrate them apart."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from jaxtyping import Bool, Int

from ..checks import DataError, DataWarning
from ..files import reading
from .hdf5 import dataset, entry
from .hdf5_raw import RawFile
from .ismrmrd_header import CALIBRATION, CALIBRATION_AND_IMAGING, NOT_IMAGING, flagged

PROBLEM = ("contrast", "phase", "repetition", "set", "slice")
"""Indices that tell one problem from another; average and segment do not."""
STEPS = ("kspace_encode_step_1", "kspace_encode_step_2")
HEAD = {
    "flags", "idx", "number_of_samples", "active_channels", "center_sample", "discard_pre", "discard_post",
    "encoding_space_ref", "trajectory_dimensions", "sample_time_us",
}  # fmt: skip
"""What is needed of a head; its layout in memory differs between writers."""
INDICES = {*STEPS, *PROBLEM, "average"}
Lines = Bool[np.ndarray, " line"]


class Table(NamedTuple):
    """Heads of all lines, a structured array; by field ("data", "traj") where in the file its numbers are, and of what type."""

    heads: np.ndarray
    references: dict[str, np.ndarray]
    kinds: dict[str, np.dtype]


class Roles(NamedTuple):
    """What the lines of a file are: of images of one encoding, or measured for its calibration only."""

    imaging: Lines
    calibration: Lines


def read_table(group: h5py.Group, path: Path) -> Table:
    """The heads of all lines, and where their numbers are.

    Args:
      group: of the file, with a table `data` of the fields head, traj, data.
      path: the file.

    Raises:
      DataError: it is no such table, was never written as a whole, or its heads lack fields.
    """
    name = f"{group.name}/data".lstrip("/")
    wrong = lambda problem, expected, found: DataError(problem, file=path, dataset=name, expected=expected, found=found)
    table = dataset(group, "data", path, variable=True)
    names = table.dtype.names or ()
    if not {"head", "data"} <= set(names) or table.ndim != 1 or not len(table):
        found = f"fields {list(names)}, shape {table.shape}"
        raise wrong("it is no table of acquisitions", "fields head, traj, data", found)
    with reading(path, name, expected="the heads of the acquisitions"):
        n_chunks = table.id.get_num_chunks() if table.chunks else 0
        if table.chunks and n_chunks < math.ceil(len(table) / table.chunks[0]):
            found = f"{n_chunks} blocks of {table.chunks[0]}"
            raise wrong("acquisitions were never written", f"{len(table)} acquisitions", found)
        with RawFile(group.file, path, name) as raw:
            rows = raw.elements(table, len(table))
    heads = rows["head"]
    fields = heads.dtype.names or ()
    missing = sorted(HEAD - set(fields)) or sorted(INDICES - set(heads["idx"].dtype.names or ()))
    if missing:
        raise wrong("the heads lack fields", f"the fields {missing}", list(fields))
    kinds = {n: h5py.check_vlen_dtype(table.dtype[n]) for n in ("data", "traj") if n in names}
    if any(kind is None or kind.kind not in "fiu" for kind in kinds.values()):
        raise wrong("the type is wrong", "lines of numbers", {n: table.dtype[n] for n in kinds})
    return Table(heads, {n: rows[n].copy() for n in kinds}, kinds)


def read_coil_weights(group: h5py.Group, path: Path) -> dict[str, np.ndarray]:
    """mridata.org: w = sqrt((1 / std^2) / sum(1 / std^2)) from the array `rec_std`, not applied to the data."""
    if "rec_std" not in group:
        return {}
    with reading(path, f"{group.name}/rec_std"):
        std = np.ravel(entry(dataset(group, "rec_std", path), (), path)).astype(np.float64)
    if not (std > 0).all():
        raise DataError("a standard deviation is not positive", file=path, dataset="rec_std", found=std)
    return {"coil_weights": np.sqrt(std**-2 / np.sum(std**-2))}


def image_encoding(heads: np.ndarray) -> int:
    """The encoding of the images: the first that has more than calibration lines, else the first with any.

    Args:
      heads: heads of all lines.
    """
    some = ~flagged(heads["flags"], *NOT_IMAGING)
    images = some & ~_only_calibration(heads)
    spaces = heads["encoding_space_ref"][images if images.any() else some]
    return int(spaces.min()) if len(spaces) else 0


def line_roles(heads: np.ndarray, encoding: int, calibration_mode: str | None) -> Roles:
    """The lines of images, and those that only calibrate, whatever their encoding.

    Calibration lines of the same encoding join the images where its header says that they are embedded, or says nothing and
    some are flagged as imaging lines too, or where there are no others.

    Args:
      heads: heads of all lines.
      encoding: the encoding of the images.
      calibration_mode: as its header states it.
    """
    flags = heads["flags"]
    some, only = ~flagged(flags, *NOT_IMAGING), _only_calibration(heads)
    imaging = some & (heads["encoding_space_ref"] == encoding)
    shared = flagged(flags, CALIBRATION_AND_IMAGING).any()
    embedded = calibration_mode == "embedded" or (calibration_mode is None and shared)
    if not embedded and (imaging & ~only).any():
        imaging = imaging & ~only
    return Roles(imaging, some & only & ~imaging)


def calibration_lines(heads: np.ndarray, roles: Roles) -> tuple[Lines, int]:
    """The separate calibration lines, of the first encoding that has some, and that encoding."""
    spaces = heads["encoding_space_ref"]
    space = int(spaces[roles.calibration].min()) if roles.calibration.any() else 0
    return roles.calibration & (spaces == space), space


def warn_left_out(heads: np.ndarray, roles: Roles, encoding: int, path: Path) -> None:
    """Warn where lines of images are of other encodings than the one that is read."""
    some = ~flagged(heads["flags"], *NOT_IMAGING) & ~_only_calibration(heads) & ~roles.imaging
    if some.any():
        spaces, counts = np.unique(heads["encoding_space_ref"][some], return_counts=True)
        others = ", ".join(f"{n} lines of encoding {space}" for space, n in zip(spaces, counts, strict=True))
        text = f"file {path}: encoding {encoding} is read, {others} are left out: IsmrmrdScan(path, encoding=...) reads them"
        warnings.warn(text, DataWarning, stacklevel=3)


def problem_counters(
    problems: Int[np.ndarray, "problem index"], names: Sequence[str], n_readout: int | None
) -> dict[str, Int[np.ndarray, " slice"]]:
    """What each slice is of, as `Header.counters` has it.

    Args:
      problems: indices of each problem.
      names: what these indices are.
      n_readout: slices of a problem, its positions along the readout in a 3D scan; None: it is one slice.
    """
    counters = {name: np.repeat(column, n_readout or 1) for name, column in zip(names, problems.T, strict=True)}
    if n_readout is not None:
        counters["readout"] = np.tile(np.arange(n_readout), len(problems))
    return counters


def _only_calibration(heads) -> Lines:
    return flagged(heads["flags"], CALIBRATION) & ~flagged(heads["flags"], CALIBRATION_AND_IMAGING)


def matching_problem(problems: Int[np.ndarray, "problem index"], own: Int[np.ndarray, " index"]) -> int | None:
    """The problem of the same indices, else the first of the same slice, which is the last index; None: there is none."""
    found = [*np.flatnonzero((problems == own).all(1)), *np.flatnonzero(problems[:, -1] == own[-1])]
    return int(found[0]) if found else None

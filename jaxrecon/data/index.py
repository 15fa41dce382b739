"""Lists of slices over many files: indexed once from the headers, filtered and split as lists, read by position."""

import dataclasses
import functools
import itertools
import json
import re
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from ..checks import DataError, UserError, counted
from ..files import atomic, check_file
from .detect import open as open_scan
from .scan import Header, Scan, Slice

SUFFIXES = (".h5", ".hdf5", ".mat", ".cfl", ".nii", ".nii.gz", ".npz", ".npy")
"""What is looked at in a folder; a file given by name may have any suffix."""
CACHE_VERSION = 2
GLEAM_SPLIT = (0.72, 0.08, 0.2)
"""Parts of the scans for training, validation and test: 14, 2 and 3 of 19, as in GLEAM's code."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One slice of one file: where it is, and what to select it by.

    Attributes:
      file: absolute path of the file.
      index: slice in the file.
      n_slices: slices of the whole file.
      format: as `Header.format`.
      acquisition: as `Header.acquisition`.
      n_coils: number of coils.
      shape: (y, x) of the slice: batches are made of one shape.
      recon_matrix: as `Header.recon_matrix`.
      n_frames: time frames of the file.
      has_target: whether the file has a reference.
      axes: what was said of the axes of a .npy or .npz.
    """

    file: str
    index: int
    n_slices: int
    format: str
    acquisition: str | None
    n_coils: int
    shape: tuple[int, ...]
    recon_matrix: tuple[int, ...] | None
    n_frames: int
    has_target: bool
    axes: str | None = None


def index_files(
    paths: str | Path | Iterable[str | Path], *, cache: str | Path | None = None, axes: str | None = None
) -> list[Entry]:
    """List all slices of files, or of the data files below folders, from their headers; sorted by path, then slice.

    Args:
      paths: a file, a folder (searched with its subfolders), or several of them.
      cache: a JSON file in which the headers are kept, by path, size and time of change; made or renewed where need be.
      axes: names of the axes of each .npy and .npz, as `open` takes them.

    Returns:
      A list of `Entry`; plain data, fit for slicing and for comprehensions.

    Raises:
      DataError: a file is damaged or none is found; the message names it.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    files = sorted({str(f.absolute()) for p in given for f in _files(Path(p))})
    if not files:
        raise DataError(
            "there is no data file", file=", ".join(map(str, given)), expected=f"files {SUFFIXES}", found="none"
        )
    known = _load_cache(Path(cache)) if cache is not None else {}
    records = {}
    for file in files:
        status = check_file(file).stat()
        said = axes if file.lower().endswith((".npy", ".npz")) else None
        stamp = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "axes": said}
        record = known.get(file)
        if record is None or any(record.get(k) != v for k, v in stamp.items()):
            with open_scan(file, axes=said) as scan:
                record = {**stamp, **_summary(scan.header)}
        records[file] = record
    if cache is not None and records != {f: known.get(f) for f in files}:
        with atomic(Path(cache), overwrite=True) as temporary:
            temporary.write_text(json.dumps({"version": CACHE_VERSION, "files": {**known, **records}}))
    return [entry for file in files for entry in _entries(file, records[file])]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [check_file(path)]
    found = (p for p in path.rglob("*") if p.name.lower().endswith(SUFFIXES) and p.is_file())
    # hidden files are unfinished downloads and writes; masks of CMRxRecon belong to their k-space
    return [p for p in found if not p.name.startswith(".") and not p.stem.endswith("_mask")]


def _summary(header: Header) -> dict:
    names = [f.name for f in dataclasses.fields(Entry) if f.name not in ("file", "index", "axes")]
    return {name: getattr(header, name) for name in names}


def _entries(file: str, record: dict) -> list[Entry]:
    values = {f.name: record[f.name] for f in dataclasses.fields(Entry) if f.name not in ("file", "index")}
    for name in ("shape", "recon_matrix"):
        values[name] = None if values[name] is None else tuple(values[name])
    return [Entry(file=file, index=i, **values) for i in range(values["n_slices"])]


def _load_cache(path: Path) -> dict:
    """The records of a cache; one that is absent, damaged or of another version is made anew."""
    wanted = {f.name for f in dataclasses.fields(Entry)} - {"file", "index"} | {"size", "mtime_ns"}
    try:
        content = json.loads(path.read_text())
        files = content["files"] if content["version"] == CACHE_VERSION else {}
        return {file: record for file, record in files.items() if wanted <= set(record)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def select(
    entries: Sequence[Entry],
    *,
    acquisition: str | Collection[str] | None = None,
    slices: tuple[int | None, int | None] = (None, None),
    max_width: int | None = None,
    exclude: Collection[str] = (),
    sample_rate: float = 1.0,
    seed: int = 0,
) -> list[Entry]:
    """Filter a list of slices.

    Args:
      entries: the list from `index_files`.
      acquisition: one name or several, e.g. "AXT2".
      slices: (start, stop) within each file, negative counting from its end: (50, -50) as for Calgary-Campinas.
      max_width: keep slices with at most so many phase encodes.
      exclude: names of files, without suffix, or as folder_name: e.g. `cmrxrecon.KNOWN_BAD_2024`.
      sample_rate: part of the files (not of the slices) to keep, at least one; the same files for the same seed.
      seed: the seed of that choice.

    Raises:
      ValueError: sample_rate outside (0, 1].
    """
    wanted = {acquisition} if isinstance(acquisition, str) else acquisition
    kept = [
        e
        for e in entries
        if (wanted is None or e.acquisition in wanted)
        and e.index in range(*slice(*slices).indices(e.n_slices))
        and (max_width is None or e.shape[-1] <= max_width)
        and not {Path(e.file).stem, f"{Path(e.file).parent.name}_{Path(e.file).stem}"} & set(exclude)
    ]
    if not 0 < sample_rate <= 1:
        raise UserError(f"sample_rate must be within (0, 1], but it is {sample_rate}")
    if sample_rate < 1:
        files = sorted({e.file for e in kept})
        n = max(round(sample_rate * len(files)), min(len(files), 1))
        chosen = {files[i] for i in np.random.default_rng(seed).permutation(len(files))[:n]}
        kept = [e for e in kept if e.file in chosen]
    return kept


def split(
    entries: Sequence[Entry],
    parts: Sequence[float],
    *,
    group: Callable[[str], Hashable] = str,
    seed: int | None = None,
) -> list[list[Entry]]:
    """Divide a list by files, or by groups of files, so that no file (no subject) is in two parts.

    Args:
      entries: the list from `index_files`.
      parts: numbers of groups, e.g. (14, 2, 3), or fractions that add up to 1, e.g. (0.9, 0.1).
      group: path -> group, e.g. `subject`; each file by itself if not given.
      seed: shuffles the groups; None keeps them sorted by name, as GLEAM's split does.

    Returns:
      One list for each part.

    Raises:
      ValueError: numbers that are more than the groups, or fractions that do not add up to 1.
    """
    groups = sorted({group(e.file) for e in entries}, key=str)
    if seed is not None:
        groups = [groups[i] for i in np.random.default_rng(seed).permutation(len(groups))]
    counts = all(isinstance(p, int) for p in parts)
    total = sum(parts)
    if min(parts, default=0) < 0 or (total > len(groups) if counts else abs(total - 1) > 1e-6):
        raise UserError(
            f"parts {tuple(parts)} do not divide {len(groups)} groups of files: give numbers that they contain, "
            "or fractions that add up to 1"
        )
    scale = 1 if counts else len(groups)
    bounds = [round(scale * sum(parts[:i])) for i in range(len(parts) + 1)]
    members = [set(groups[a:b]) for a, b in itertools.pairwise(bounds)]
    return [[e for e in entries if group(e.file) in chosen] for chosen in members]


def split_scans(
    entries: Sequence[Entry],
    fractions: tuple[float, float, float] = GLEAM_SPLIT,
    *,
    group: Callable[[str], Hashable] = str,
) -> list[list[Entry]]:
    """Training, validation and test scans, in the order of their sorted names.

    Each of the first two gets its fraction rounded, at least one; the rest is for the test.

    Args:
      entries: the list from `index_files`.
      fractions: the part of the scans for each of the three, adding up to 1.
      group: path -> scan, e.g. `subject`; each file by itself if not given.

    Returns:
      Three lists, no scan in two of them.

    Raises:
      ValueError: fractions that are not positive or do not add up to 1, or fewer than three scans.

    Source: GLEAM's code: 14, 2 and 3 of 19 scans.
    """
    n = len({group(e.file) for e in entries})
    if min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise UserError(f"fractions of training, validation and test must be positive and add up to 1: {fractions}")
    if n < 3:
        raise UserError(f"{n} scans cannot be divided into training, validation and test: three are needed")
    n_validation = max(round(fractions[1] * n), 1)
    n_training = min(max(round(fractions[0] * n), 1), n - n_validation - 1)
    if n_training < 1:
        raise UserError(f"fractions {fractions} leave none of {n} scans for training or test")
    return split(entries, (n_training, n_validation, n - n_training - n_validation), group=group)


def subject(path: str) -> str:
    """The subject of a file: "OAS3dddd" in an OASIS-3 name, "Pddd" of CMRxRecon; the file's name where there is none.

    CMRxRecon: the name starts with "Pddd_", or a folder above is called "Pddd" (P001/cine_sax.mat), so that all protocols
    and accelerations of a patient are one subject.

    Example:
      >>> subject("train/P001/cine_sax.mat"), subject("P007_T1map.mat"), subject("file1000001.h5")
      ('P001', 'P007', 'file1000001.h5')
    """
    name = Path(path).name
    place = name.find("OAS3")
    return name[place : place + 8] if place >= 0 else _patient(path) or name


def scan_name(path: str) -> str:
    """The name of a file; with its patient before it, where only a folder names that.

    Example:
      >>> scan_name("train/P001/cine_sax.mat")
      'P001_cine_sax.mat'
    """
    name, patient = Path(path).name, _patient(path)
    return name if patient is None or name.startswith(patient) else f"{patient}_{name}"


def _patient(path: str) -> str | None:
    """The patient, "Pddd", of a path of CMRxRecon; the innermost folder counts."""
    *folders, name = Path(path).parts
    if prefix := re.match(r"P\d{3}(?=_)", name):
        return prefix[0]
    return next((folder for folder in reversed(folders) if re.fullmatch(r"P\d{3}", folder)), None)


@runtime_checkable
class Slices(Protocol):
    """Slices by their number: a list of them, a `Source`, or what computes them."""

    def __len__(self) -> int:
        """How many."""

    def __getitem__(self, position: int, /) -> Slice:
        """One of them."""


class Source:
    """A random-access source of slices over many files: `len(source)`, `source[i]` -> Slice, as grain wants it.

    Picklable: what is open is opened anew in each process. A read depends on the position alone, so that a run can be
    resumed and shared out: hosts take `entries[process_index::process_count]`.

    Args:
      entries: the list from `index_files`, filtered and split.
      adjacent: number of neighbouring slices in each k-space, (adjacent, coil, y, x); None for (coil, y, x).
    """

    is_series = False
    """Elements are slices, not time series."""

    def __init__(self, entries: Sequence[Entry], *, adjacent: int | None = None):
        self.entries, self.adjacent = tuple(entries), adjacent

    def __len__(self) -> int:
        return len(self.entries)

    def scan(self, position: int) -> Scan:
        """The file of an element."""
        entry = self.entries[position]
        status = check_file(entry.file).stat()
        return _scan(entry.file, entry.axes, status.st_size, status.st_mtime_ns)

    def __getitem__(self, position: int) -> Slice:
        entry, scan = self.entries[position], self.scan(position)
        return scan[entry.index] if self.adjacent is None else scan.adjacent(entry.index, self.adjacent)

    def __repr__(self) -> str:
        return f"<Source of {counted(len(self), 'slice')} in {counted(len({e.file for e in self.entries}), 'file')}>"


@functools.lru_cache(maxsize=64)
def _scan(file: str, axes: str | None, size: int, mtime_ns: int) -> Scan:
    """Headers parsed before in this process; size and time notice a changed file."""
    return open_scan(file, axes=axes)

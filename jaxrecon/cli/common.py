"""What several commands need: output paths, ranges of slices, printed choices, volumes of images."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ..host import complete_width

if TYPE_CHECKING:
    from ..data import Header, Slice

T = TypeVar("T")
SMALLEST_CALIBRATION = 4
"""Width of a complete center from which maps can be estimated at all."""


def say(text: str = "") -> None:
    """Print a line as it stands, however wide the terminal is."""
    Console(highlight=False, soft_wrap=True, markup=False).print(text)


def show(table: Table) -> None:
    """Print a table, in a log file as wide as it needs."""
    console = Console(highlight=False, markup=False)
    (console if console.is_terminal else Console(highlight=False, markup=False, width=200)).print(table)


def choices(title: str, rows: Iterable[tuple[str, str, str]]) -> None:
    """Print what was chosen, and the option that changes it: (what, chosen, option)."""
    say(title)
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, style in (("what", "bold"), ("chosen", ""), ("change it by", "dim")):
        table.add_column(name, style=style, overflow="fold", no_wrap=name == "what")
    for row in rows:
        table.add_row(*row)
    show(table)


def check_output(path: Path, *, suffixes: Sequence[str], overwrite: bool) -> None:
    """Raise before the work where the result could not be written after it."""
    if not path.name.lower().endswith(tuple(suffixes)):
        raise ValueError(f"cannot write {path}: the suffix must be one of {', '.join(suffixes)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"cannot write {path}: the folder {path.parent} is not writable")
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder")
    pair = [path, path.with_suffix(".hdr")] if path.suffix == ".cfl" else [path]
    for written in pair:
        if written.exists() and not overwrite:
            raise FileExistsError(f"{written} exists: choose another name, or --overwrite")


def stem(path: Path, suffixes: Sequence[str]) -> str:
    """The name without its suffix, of the known ones the longest: "a.nii.gz" -> "a"."""
    found = max((s for s in suffixes if path.name.lower().endswith(s)), key=len, default="")
    return path.name[: len(path.name) - len(found)]


def chosen_slices(text: str | None, n_slices: int) -> range:
    """The slices that "5", "3:7", ":7" or "3:" names; all of them without a text.

    Raises:
      ValueError: not of this form, or beyond the scan.
    """
    if text is None:
        return range(n_slices)
    first, colon, last = text.partition(":")
    try:
        start = int(first) if first or not colon else 0
        stop = (int(last) if last else n_slices) if colon else start + 1
    except ValueError:
        start, stop = -1, -1
    if not 0 <= start < stop <= n_slices:
        raise ValueError(f"--slices {text}: expected one slice as 5, or a range as 3:7, within 0 and {n_slices}")
    return range(start, stop)


@contextlib.contextmanager
def progress(description: str) -> Iterator:
    """A function that goes through a sequence and shows a bar with the time left, where there is more than one."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    # in a log file a bar is noise
    silent = not Console().is_terminal
    with Progress(TextColumn("{task.description}"), *columns, transient=True, disable=silent) as bar:

        def track(items: Sequence[T]) -> Iterator[T]:
            return iter(bar.track(items, description=description)) if len(items) > 1 else iter(items)

        yield track


def read_mask(path: Path) -> Bool[np.ndarray, "*frame y x"]:
    """The mask of a .npy, of an .npz with the key `mask`, or of a CMRxRecon .mat file: (y, x), (1, x), or with frames.

    Raises:
      DataError: another kind of file, or a damaged one.
    """
    from ..checks import DataError
    from ..data import cmrxrecon
    from ..files import check_file, reading

    path = check_file(path)
    if path.suffix == ".mat":
        return cmrxrecon.read_mask(path).swapaxes(-1, -2)  # (ky, kx), kx being the readout
    if path.suffix not in (".npy", ".npz"):
        raise DataError("this is no mask", file=path, expected="a mask as .npy, .npz or .mat", found=path.suffix)
    with reading(path, expected="an array of 0 and 1"):
        if path.suffix == ".npy":
            mask = np.load(path, mmap_mode="r", allow_pickle=False)  # a size beyond the file's end is refused
        else:
            with np.load(path, allow_pickle=False) as archive:
                mask = archive["mask"]
        values = np.unique(mask) if mask.size < 2**31 and mask.dtype.kind in "biuf" else np.array([2])
    if not np.isin(values, (0, 1)).all() or mask.ndim not in (1, 2, 3):
        raise DataError(
            "this is no mask", file=path, expected="0 and 1, of axes (x,), (y, x) or (frame, y, x)",
            found=f"{mask.dtype} of shape {mask.shape}",
        )  # fmt: skip
    return np.atleast_2d(np.asarray(mask) != 0)


def acquired_mask(part: "Slice", header: "Header") -> tuple[Bool[np.ndarray, "..."], str]:
    """The measured samples of a slice, broadcasting against its k-space, without the padding; and how they are known."""
    if part.mask is not None:
        mask, source = part.mask, "stated by the file" if header.has_mask else "seen from the zeros"
    elif part.kspace is not None and (seen := _seen(part.kspace)) is not None:
        mask, source = seen, "seen from the zeros"
    else:
        mask, source = np.ones((1, 1), bool), "no sample is zero"
    mask = np.atleast_2d(mask)
    if header.padding is not None:
        columns = np.arange(header.shape[-1])
        mask = mask & ((columns >= header.padding[0]) & (columns < header.padding[1]))[None]
    return mask, source


def _seen(kspace):
    """The mask seen from the zeros, for frames (or neighbours) as `stack_masks` makes it; None: no sample is zero."""
    from ..data import sampled
    from ..data.windows import stack_masks

    return sampled(kspace) if kspace.ndim < 4 else stack_masks([sampled(frame) for frame in kspace])


class Pattern(NamedTuple):
    """A sampling mask in words: its kind, R, its complete center; width of the largest complete square there."""

    kind: str
    acceleration: float
    center: str
    square: int


def measure(mask: Bool[np.ndarray, "y x"], shape: tuple[int, ...] | None = None) -> Pattern:
    """Describe a mask (y, x); axes of size 1 are constant and stretch to `shape`."""
    full = np.broadcast_to(np.asarray(mask) != 0, np.shape(mask) if shape is None else shape)
    if not full.any():
        raise ValueError("the mask is empty: no sample is measured")
    ny, nx = full.shape
    columns, rows = bool((full == full[:1]).all()), bool((full == full[:, :1]).all())
    kind = {(True, True): "fully sampled", (True, False): "columns (x)", (False, True): "rows (y)"}.get(
        (columns, rows), "points (y, x)"
    )
    import jax
    import jax.numpy as jnp

    from ..sampling import detect_acs_rectangle

    height, width = (int(n) for n in jax.jit(detect_acs_rectangle)(jnp.asarray(full)))
    center = {
        "fully sampled": "everything",
        "columns (x)": f"{width} of {nx} columns",
        "rows (y)": f"{height} of {ny} rows",
    }.get(kind, f"{height} x {width}")
    return Pattern(kind, full.size / int(full.sum()), center if height * width else "none", complete_width(full))

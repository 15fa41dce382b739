"""What several commands need: output paths, ranges of slices, printed choices, volumes of images."""

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ..checks import UserError

T = TypeVar("T")
FIGURE = "_figure.png"
"""How the names of figures beside results end."""


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


def check_output(path: Path, *, suffixes: Sequence[str], overwrite: bool, source: Path | None = None) -> None:
    """Raise before the work where the result could not be written after it, or would replace what it is made from."""
    if not path.name.lower().endswith(tuple(suffixes)):
        raise UserError(f"cannot write {path}: the suffix must be one of {', '.join(suffixes)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"cannot write {path}: the folder {path.parent} is not writable")
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder")
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise UserError(f"cannot write {path}: it is the file that is read")
    pair = [path, path.with_suffix(".hdr")] if path.suffix == ".cfl" else [path]
    for written in pair:
        if written.exists() and not overwrite:
            raise FileExistsError(f"{written} exists: choose another name, or --overwrite")


def stem(path: Path, suffixes: Sequence[str]) -> str:
    """The name without its suffix, of the known ones the longest: "a.nii.gz" -> "a"."""
    found = max((s for s in suffixes if path.name.lower().endswith(s)), key=len, default="")
    return path.name[: len(path.name) - len(found)]


def acceleration_of(mask: str | None, acceleration: float | None, acs: float | None, *, option: str) -> float:
    """R of a mask that is drawn, by default 4.

    Raises:
      ValueError: R or a center is given, but no mask to draw with them.
    """
    unused = [
        f"{name} {value:g}" for name, value in (("--acceleration", acceleration), ("--acs", acs)) if value is not None
    ]
    if unused and mask is None:
        raise UserError(f"{' and '.join(unused)}: of a mask that is drawn, but there is none: name it by {option}")
    return 4.0 if acceleration is None else acceleration


def check_figure(out: Path, suffixes: Sequence[str], *, overwrite: bool) -> Path:
    """Where the figure beside a result is written: recon.h5 -> recon_figure.png.

    Raises:
      ValueError: the result itself has the name of a figure, which that of another result would replace.
    """
    if out.name.lower().endswith(FIGURE):
        other = out.name[: -len(FIGURE)]
        raise UserError(
            f"cannot write {out}: that is the name of the figure of {other}.h5 and its like: choose another"
        )
    figure = out.with_name(stem(out, suffixes) + FIGURE)
    check_output(figure, suffixes=(".png",), overwrite=overwrite)
    return figure


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
        raise UserError(f"--slices {text}: expected one slice as 5, or a range as 3:7") from None
    if not 0 <= start < n_slices or stop > n_slices:
        raise UserError(f"--slices {text}: expected slices of 0 to {n_slices - 1}; a range ends before its last number")
    if start >= stop:
        raise UserError(f"--slices {text} holds no slice: a range ends before its last number, 3:7 is 3 to 6")
    return range(start, stop)


def literal(names: Iterable[str]) -> Any:
    """The names of a table as the choices of an option."""
    return Literal[tuple(names)]


@contextlib.contextmanager
def progress(description: str) -> Iterator:
    """A function that goes through a sequence and shows a bar with the time left, where there is more than one."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    # in a log file a bar is noise
    silent = not Console().is_terminal
    with Progress(TextColumn("{task.description}"), *columns, transient=True, disable=silent) as bar:

        def track(items: Collection[T]) -> Iterator[T]:
            return iter(bar.track(items, description=description)) if len(items) > 1 else iter(items)

        yield track

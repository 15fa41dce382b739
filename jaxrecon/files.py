"""What every reader asks of a file before it believes it, and how every writer leaves either a whole file or none."""

import contextlib
import io
import os
import secrets
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TypeAlias

from .checks import DataError

Stream: TypeAlias = IO[bytes] | io.BufferedIOBase
"""An open binary file, a member of an archive (which is no IO when the types are checked) or bytes in memory."""

MAX_EXPANSION = 100
"""Measured data do not compress a hundredfold: above SMALL_BYTES, a file that claims so is wrong or hostile."""
SMALL_BYTES = 256 * 2**20
"""Below this size compression of any rate is believed: a mask of ones compresses well."""
DAMAGE: tuple[type[Exception], ...] = (
    OSError, EOFError, KeyError, IndexError, ValueError, TypeError, NotImplementedError,
    RuntimeError, MemoryError, OverflowError, zlib.error, zipfile.BadZipFile,
)  # fmt: skip
"""What file libraries raise on damaged data."""


def check_file(path: str | Path) -> Path:
    """The path itself, if it names a readable, non-empty regular file.

    Raises:
      DataError: it does not exist, is a folder or a device, is empty, or may not be read.
    """
    path = Path(path)
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size:
            with path.open("rb"):
                return path
    except (FileNotFoundError, NotADirectoryError) as error:
        known = next(p for p in path.absolute().parents if p.is_dir())
        raise DataError(
            "there is no such file",
            file=path,
            expected="a file",
            found=f"nothing of that name; the folder {known} exists",
        ) from error
    except OSError as error:
        raise DataError(
            "the file may not be read", file=path, expected="a readable file", found=error.strerror or str(error)
        ) from error
    if stat.S_ISDIR(status.st_mode):
        raise DataError(
            "this is a folder", file=path, expected="one file", found="a folder", cure="index_files takes folders."
        )
    if not stat.S_ISREG(status.st_mode):
        raise DataError("this is no regular file", file=path, expected="a regular file", found="a device or pipe")
    raise DataError("the file is empty", file=path, expected="data", found="0 bytes", cure="Was the download complete?")


@contextlib.contextmanager
def reading(
    path: Path,
    dataset: str | None = None,
    *,
    expected: object = "readable data",
    also: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Turn what a file library raises on damaged data into one DataError that keeps the original as its cause.

    `also` names a library's own exceptions.
    """
    caught = DAMAGE + also
    try:
        yield
    except DataError:
        raise
    except caught as error:
        raise DataError(
            "the data cannot be read: is the file truncated or damaged?",
            file=path,
            dataset=dataset,
            expected=expected,
            found=f"{type(error).__name__}: {str(error) or 'no further word'}".splitlines()[0][:300],
        ) from error


def check_expansion(n_bytes: int, stored_bytes: int, *, file: Path, dataset: str | None = None) -> None:
    """Raise DataError where the stored bytes would have to expand beyond belief to give the stated array."""
    if n_bytes > SMALL_BYTES and n_bytes > MAX_EXPANSION * stored_bytes:
        raise DataError(
            "the size that its header states is not plausible",
            file=file,
            dataset=dataset,
            expected=f"at most {MAX_EXPANSION} times the {stored_bytes} bytes stored",
            found=f"{n_bytes} bytes",
        )


def plain(value: object) -> object:
    """A header's value as plain Python: bytes become text, NumPy scalars become numbers, arrays stay."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


@contextlib.contextmanager
def atomic(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary name in the same folder, renamed to `path` at the end; on any failure nothing is left behind.

    Raises:
      FileExistsError: `path` exists, and overwrite is False.
      FileNotFoundError: its folder does not exist.
    """
    _check_free(path, overwrite)
    # all suffixes stay at the end: libraries choose the format by them
    temporary = path.with_name(f".{secrets.token_hex(6)}.{path.name}")
    try:
        yield temporary
        _check_free(path, overwrite)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _check_free(path: Path, overwrite: bool) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {path.parent} does not exist")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists: choose another name, or overwrite=True")

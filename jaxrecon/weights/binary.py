"""From files to numbers, for all readers of weights: zip archives, exact reads, element types.

What a file claims is checked before memory is taken.
"""

import contextlib
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..checks import DataError
from ..files import Stream, check_expansion, reading

BROKEN = (struct.error, AssertionError, AttributeError, RecursionError, Warning)
"""What damaged bytes also raise, beyond the exceptions that `reading` knows (warnings, where they are made errors)."""


BFLOAT16 = "bfloat16"
"""The one element type of weights that NumPy has no name for; all others go by NumPy's own."""


@contextlib.contextmanager
def opened_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, if what it says to hold could come from a file of this size."""
    with reading(path, expected="a complete zip archive", also=BROKEN), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        check_expansion(sum(m.file_size for m in members), path.stat().st_size, file=path)
        for member in members:
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
                raise DataError(
                    "a member of the archive cannot be read",
                    file=path,
                    dataset=member.filename,
                    expected="stored or deflated, not encrypted",
                    found=f"compression method {member.compress_type}, flags {member.flag_bits}",
                )
        yield archive


def read_bytes(stream: Stream, n_bytes: int, *, file: Path, dataset: str) -> np.ndarray:
    """Exactly n_bytes from here as an array of bytes; the caller has checked that so many can be there.

    Raises:
      DataError: the stream ends before.
    """
    data: Any = np.empty(n_bytes, np.uint8)
    done = 0
    while done < n_bytes:
        n = stream.readinto(memoryview(data)[done:])  # type: ignore[union-attr]
        if not n:
            raise DataError(
                "the data end early", file=file, dataset=dataset, expected=f"{n_bytes} bytes", found=f"{done} bytes"
            )
        done += n
    return data


def itemsize(dtype: str) -> int:
    """Bytes of one element in a file."""
    return 2 if dtype == BFLOAT16 else np.dtype(dtype).itemsize


def decode(data: np.ndarray, dtype: str, *, byteorder: Literal["<", ">"] = "<") -> np.ndarray:
    """Bytes as a flat, read-only array of native numbers; bfloat16 as float32, which is exact.

    Args:
      data: (byte,) uint8.
      dtype: NumPy's name of the type, or BFLOAT16.
      byteorder: "<" or ">", the file's.
    """
    if dtype == "bool":
        array = data != 0  # a byte other than 0 and 1 is no valid bool in memory
    elif dtype == BFLOAT16:  # the upper half of a float32
        array = (data.view(f"{byteorder}u2").astype(np.uint32) << 16).view(np.float32)
    else:
        array = data.view(np.dtype(dtype).newbyteorder(byteorder)).astype(dtype, copy=False)
    array.flags.writeable = False
    return array

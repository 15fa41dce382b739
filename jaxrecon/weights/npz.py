"""Arrays under their published names in NumPy's npz archive: the form in which weights leave this library."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..checks import DataError, check_bytes
from ..files import atomic
from ..typing import AnyArray
from .binary import opened_archive, read_bytes

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of an npz archive by name; objects in it are refused, not unpickled.

    Args:
      path: the file.

    Returns:
      name -> array, in its own shape and dtype.

    Raises:
      DataError: the archive is damaged, a member is no plain array, or its header and its size disagree.
    """
    path = Path(path)
    state = {}
    with opened_archive(path) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name == member.filename:
                raise DataError("a member of this zip archive is no array", file=path, expected="*.npy", found=name)
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                if version not in _HEADERS:
                    raise DataError("an array of another format version", file=path, dataset=name, found=version)
                shape, fortran, dtype = _HEADERS[version](stream)
                if dtype.hasobject:
                    raise DataError(
                        "Python objects are not read", file=path, dataset=name, expected="numbers", found=dtype
                    )
                check_bytes(shape, dtype.itemsize, file=path, dataset=name)
                n_bytes = dtype.itemsize * int(np.prod(shape, dtype=object))
                if n_bytes != member.file_size - stream.tell():
                    raise DataError(
                        "header and size disagree",
                        file=path,
                        dataset=name,
                        expected=f"{n_bytes} bytes for {shape} {dtype}",
                        found=f"{member.file_size - stream.tell()} bytes",
                    )
                data = read_bytes(stream, n_bytes, file=path, dataset=name).view(dtype)
            state[name] = data.reshape(shape, order="F" if fortran else "C")
    return state


def read_comment(path: str | Path) -> str:
    """The comment that `write_npz` was given; "" where there is none, or where the file is no zip archive."""
    if not zipfile.is_zipfile(path):
        return ""
    with opened_archive(Path(path)) as archive:
        return archive.comment.decode(errors="replace")


def write_npz(path: str | Path, state: Mapping[str, AnyArray], *, overwrite: bool = False, comment: str = "") -> None:
    """Write arrays under their names as an npz archive, uncompressed; the file appears complete or not at all.

    The same arrays and comment give the same bytes. bfloat16, which the format cannot name, is written as float32.

    Args:
      path: the file to write.
      state: name -> array of any shape, on the host or on a device.
      overwrite: replace an existing file.
      comment: the archive's comment, which readers of arrays do not see; at most 65,535 bytes.

    Raises:
      FileExistsError: the file exists, and overwrite is False.
      ValueError: an entry holds Python objects.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     write_npz(f"{folder}/weights.npz", {"conv.weight": np.ones((8, 2, 3, 3))})
      ...     read_npz(f"{folder}/weights.npz")["conv.weight"].shape
      (8, 2, 3, 3)
    """
    with atomic(Path(path), overwrite=overwrite) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.comment = comment.encode()
        for name, value in state.items():
            array = np.asarray(value)
            if array.dtype.kind == "V":
                array = array.astype(np.float32)
            # a ZipInfo of our own carries no time of writing
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)

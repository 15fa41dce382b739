"""HDF5 for all readers: one read-only handle per file and process, and datasets checked before they are read."""

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from ..checks import DataError, check_bytes
from ..files import check_expansion, plain, reading

MAX_OPEN = 16
"""Handles kept open per process; the one unused for longest is closed first."""

_handles: OrderedDict[tuple, h5py.File] = OrderedDict()
_lock = threading.RLock()


def _after_fork() -> None:
    # a handle of the parent must not be used here, and its lock may be held by a thread that does not exist here
    global _lock
    _lock = threading.RLock()
    _handles.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file's handle in this process; the lock is held meanwhile, so that no other thread closes it."""
    with _lock:
        with reading(path, expected="an HDF5 file"):
            status = path.stat()
            key = (str(path.absolute()), status.st_ino, status.st_size, status.st_mtime_ns)
            if key not in _handles:
                close(path)  # a handle from before the file changed: HDF5 would go on with what it had read then
                _handles[key] = h5py.File(path, "r", locking="best-effort")
        _handles.move_to_end(key)
        while len(_handles) > MAX_OPEN:
            _handles.popitem(last=False)[1].close()
        try:
            yield _handles[key]
        except (OSError, RuntimeError, KeyError) as error:  # what h5py raises where the file's own structure is damaged
            raise DataError(
                "the file is damaged", file=path, expected="a sound HDF5 file", found=str(error)[:300]
            ) from error


def close(path: Path) -> None:
    """Close the handles of this path in this process, if any."""
    with _lock:
        for key in [k for k in _handles if k[0] == str(path.absolute())]:
            _handles.pop(key).close()


def members(group: h5py.Group) -> list[str]:
    """Names of a group's members, without MATLAB's internal ones."""
    return [name for name in group if not name.startswith("#")]


def attributes(item: h5py.HLObject, path: Path) -> dict:
    """All attributes as plain Python values."""
    with reading(path, expected="readable attributes"):
        return {name: plain(value) for name, value in item.attrs.items()}


def dataset(group: h5py.Group, name: str, path: Path) -> h5py.Dataset:
    """A dataset that is present, lies in this file, and has as many bytes as its header claims.

    Raises:
      DataError: it is absent, a group, a link to another file, never written, truncated, or states an implausible size.
    """
    label = f"{group.name}/{name}".lstrip("/")
    with reading(path, label, expected=f"a dataset '{name}'"):
        if name not in group or not isinstance(group[name], h5py.Dataset):
            raise DataError(
                "it is missing", file=path, dataset=label, expected=f"a dataset '{name}'", found=sorted(members(group))
            )
        item = group[name]
        foreign = item.external or item.is_virtual or item.file.id != group.file.id
        shape, itemsize = item.shape, item.dtype.itemsize
        stored, offset = item.id.get_storage_size(), item.id.get_offset()
    if foreign:
        raise DataError(
            "it points to another file", file=path, dataset=label, expected="data in this file", found="a link"
        )
    if shape is None:
        raise DataError("it holds no data", file=path, dataset=label, expected="an array", found="an empty dataset")
    check_bytes(shape, itemsize, file=path, dataset=label)
    n_bytes = itemsize * int(np.prod(shape, dtype=object))
    contiguous = item.chunks is None
    if n_bytes and stored < (n_bytes if contiguous else 1):
        raise DataError(
            "its data were never written",
            file=path,
            dataset=label,
            expected=f"{n_bytes} bytes for shape {shape}",
            found=f"{stored} bytes stored",
        )
    if contiguous and offset is not None and offset + stored > path.stat().st_size:
        raise DataError(
            "its data lie beyond the end of the file: truncated?",
            file=path,
            dataset=label,
            expected=f"at least {offset + stored} bytes in the file",
            found=f"{path.stat().st_size} bytes",
        )
    check_expansion(n_bytes, min(stored, path.stat().st_size), file=path, dataset=label)
    return item


def is_complex(dtype: np.dtype) -> bool:
    """Whether a stored dtype is complex, natively or as MATLAB's pair of fields."""
    return dtype.kind == "c" or dtype.names == ("real", "imag")


def to_complex(array: np.ndarray) -> np.ndarray:
    """A stored complex array as complex64; MATLAB's pairs of fields `real` and `imag` become one number."""
    if array.dtype.names is None:
        return array.astype(np.complex64, copy=False)
    out = np.empty(array.shape, np.complex64)
    out.real, out.imag = array["real"], array["imag"]
    return out

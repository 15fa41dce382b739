"""HDF5 for all readers: one read-only handle per file and process, and datasets checked before they are read."""

import contextlib
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Num

from ..checks import DataError, check_bytes
from ..files import check_expansion, plain, reading
from .hdf5_raw import VIRTUAL, RawFile, header_address

MAX_OPEN = 16
"""Handles kept open per process; the one unused for longest is closed first."""

BLOCK = 1024
"""Lines read at once."""

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


def members(group: h5py.Group, path: Path) -> dict[str, h5py.Group | h5py.Dataset | None]:
    """Name -> member of a group, without MATLAB's internal ones; None for what lies in another file."""
    with reading(path, group.name, expected="a group"):
        return {name: _member(group, name, path) for name in _names(group)}


def _names(group: h5py.Group) -> list[str]:
    return [name for name in group if not name.startswith("#")]


def _member(group: h5py.Group, name: str, path: Path) -> h5py.Group | h5py.Dataset | None:
    """A member; None for a link to another file, or data that lie in others: opening them would follow it."""
    link = group.id.links.get_info(name.encode())
    if link.type == h5py.h5l.TYPE_EXTERNAL:
        return None
    if link.type == h5py.h5l.TYPE_HARD:
        with RawFile(group.file, path) as raw:
            if raw.layout(link.u)[0] == VIRTUAL:
                return None
    return group.get(name)


def attributes(item: h5py.HLObject, path: Path) -> dict:
    """Attributes as plain Python values: numbers, texts, arrays of numbers, tuples of texts; references are left out."""
    with reading(path, expected="readable attributes"):
        fixed = [name for name in item.attrs if not item.attrs.get_id(name).dtype.hasobject]
        with RawFile(item.file, path) as raw:
            return {**{name: plain(item.attrs[name]) for name in fixed}, **raw.texts(header_address(item))}


def entry(item: h5py.Dataset, where: tuple[int, ...], path: Path) -> np.ndarray:
    """An entry of the first axes of a dataset, of all of it for ()."""
    with RawFile(item.file, path, item.name.lstrip("/")) as raw:
        return raw.entry(item, where)


def text(group: h5py.Group, name: str, path: Path) -> bytes:
    """The text of a dataset, of its first element where it has several."""
    item = dataset(group, name, path, variable=True)
    label = f"{group.name}/{name}".lstrip("/")
    if h5py.check_string_dtype(item.dtype) is None or not item.size:
        raise DataError("it is no text", file=path, dataset=label, expected="a text", found=f"{item.size} {item.dtype}")
    with reading(path, label, expected="a text"):
        if item.dtype.kind == "S":
            return bytes(np.ravel(item[()])[0])
        with RawFile(group.file, path, label) as raw:
            return raw.value(raw.elements(item, 1)[0], 1)


def lines(path: Path, name: str, references: np.ndarray, kind: np.dtype) -> Iterator[Num[np.ndarray, " value"]]:
    """The arrays that references in a table stand for, one after the other.

    Args:
      path: the file.
      name: the table, for messages.
      references: (n,) of the dtype `hdf5_raw.REFERENCE`.
      kind: dtype of their numbers.
    """
    for start in range(0, len(references), BLOCK):
        with opened(path) as file, RawFile(file, path, name) as raw:
            block = [raw.value(reference, kind.itemsize) for reference in references[start : start + BLOCK]]
        yield from (np.frombuffer(value, kind) for value in block)


def dataset(group: h5py.Group, name: str, path: Path, *, variable: bool = False) -> h5py.Dataset:
    """A dataset that is present, lies in this file, and has as many bytes as its header claims.

    Args:
      group: where it is looked for.
      name: its name.
      path: the file.
      variable: its values may have a variable length: they are read by `text` and `lines`, not by HDF5's library.

    Raises:
      DataError: it is absent, a group, a link to another file, never written, truncated, or states an implausible size.
    """
    label = f"{group.name}/{name}".lstrip("/")
    with reading(path, label, expected=f"a dataset '{name}'"):
        known = _names(group)
        item = _member(group, name, path) if name in known else None
        if name not in known or isinstance(item, h5py.Group):
            raise DataError(
                "it is missing", file=path, dataset=label, expected=f"a dataset '{name}'", found=sorted(known)
            )
        if item is None or item.external or item.is_virtual or item.file.id != group.file.id:
            raise DataError(
                "it points to another file", file=path, dataset=label, expected="data in this file", found="a link"
            )
        shape, itemsize, chunks = item.shape, item.dtype.itemsize, item.chunks
        stored, offset = item.id.get_storage_size(), item.id.get_offset()
    if item.dtype.hasobject and not variable:
        raise DataError("the type is wrong", file=path, dataset=label, expected="numbers", found=item.dtype)
    if shape is None:
        raise DataError("it holds no data", file=path, dataset=label, expected="an array", found="an empty dataset")
    check_bytes(shape, itemsize, file=path, dataset=label)
    n_bytes = itemsize * int(np.prod(shape, dtype=object))
    contiguous = chunks is None
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
    stored = min(stored, path.stat().st_size)
    # a chunk is unpacked whole, however little of it is asked for
    for size in (n_bytes, itemsize * math.prod(chunks or ())):
        check_expansion(size, stored, file=path, dataset=label)
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

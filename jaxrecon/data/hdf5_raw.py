"""What is read of HDF5 files beside its library: what lies in a global heap, and what is compressed.

The library walks a damaged heap in a circle for ever, clears as much memory as a damaged length states, and unpacks a chunk as
far as its bytes go. Here each step and length is checked.

Source: HDF5 File Format Specification, version 3.0, sections III.E (global heap) and IV.A (object headers).
"""

import itertools
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import h5py
import numpy as np

from ..checks import DataError, UserError

REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])
"""What stands in the place of a value of variable length: its items, the collection that holds it, its number there."""
OBJECT = struct.Struct("<HHIQ")
"""Head of an object of a collection: number, users, unused, bytes; its data, padded to a multiple of 8, follow."""
CONTINUATION, LAYOUT, ATTRIBUTE = 0x10, 0x08, 0x0C
"""Messages of an object's header: where it goes on, where a dataset's data are, an attribute."""
COMPACT, VIRTUAL = 0, 3
"""Classes of a layout: data within the header, and in other files."""
VARIABLE = 9
"""Class of the datatypes of variable length."""
FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
"""The filters that are undone here."""
CHECKSUM = 4
"""Bytes that the filter fletcher32 adds."""
MAX_HEADER_BYTES = 4 * 2**20
"""Headers of real objects have some hundred bytes; an attribute in one has at most 64 KiB."""


class RawFile:
    """The bytes of an HDF5 file, beside its library; a context manager.

    Args:
      file: the opened file.
      path: the same.
      dataset: what is read of it, for messages.

    Raises:
      DataError: addresses or sizes are not stored in 8 bytes, as all known writers do.
    """

    def __init__(self, file: h5py.File, path: Path, dataset: str | None = None):
        self._path, self._dataset = path, dataset
        self._base, self._size = file.userblock_size, path.stat().st_size
        if (sizes := file.id.get_create_plist().get_sizes()) != (8, 8):
            self._damaged("addresses and sizes of 8 bytes", f"{sizes} bytes")
        self._stream = path.open("rb")
        self._collection: tuple[int, dict[int, tuple[int, int]]] = (-1, {})

    def __enter__(self) -> "RawFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def _damaged(self, expected: object, found: object) -> NoReturn:
        raise DataError(
            "its structure is damaged", file=self._path, dataset=self._dataset, expected=expected, found=found
        )

    def read(self, address: int, n_bytes: int) -> bytes:
        """Bytes from an address on, as HDF5 counts them."""
        if not 0 <= address <= self._size - self._base - n_bytes:
            self._damaged(f"{n_bytes} bytes at address {address}", f"a file of {self._size} bytes")
        self._stream.seek(self._base + address)
        return self._stream.read(n_bytes)

    def value(self, reference: np.void, itemsize: int) -> bytes:
        """The value that a reference stands for.

        Args:
          reference: of the dtype REFERENCE.
          itemsize: bytes of an item of the value.

        Raises:
          DataError: the heap is damaged, or holds another length than the reference says.
        """
        length, address, index = reference.item()
        if not length:
            return b""
        if address != self._collection[0]:
            self._collection = address, self._objects(address)
        start, n_bytes = self._collection[1].get(index, (0, 0))
        if n_bytes != length * itemsize:
            self._damaged(f"{length * itemsize} bytes in object {index} of the heap at {address}", f"{n_bytes} bytes")
        return self.read(start, n_bytes)

    def _objects(self, address) -> dict[int, tuple[int, int]]:
        """Number -> (address, bytes) of the objects of a collection; each step of the walk goes on, and none leaves it."""
        signature, version, size = struct.unpack("<4sB3xQ", self.read(address, 16))
        if signature != b"GCOL" or version != 1 or size > self._size - self._base - address:
            self._damaged(f"a heap at {address}", f"{signature!r}, version {version}, {size} bytes")
        objects: dict[int, tuple[int, int]] = {}
        place = 16
        while place + OBJECT.size <= size:
            index, _, _, n_bytes = OBJECT.unpack(self.read(address + place, OBJECT.size))
            if index == 0:  # the rest is free
                break
            place += OBJECT.size
            if index in objects or n_bytes > size - place:
                self._damaged(f"a sound heap at {address}", f"object {index} of {n_bytes} bytes at {place} of {size}")
            objects[index] = address + place, n_bytes
            place += -(-n_bytes // 8) * 8
        return objects

    def messages(self, address: int) -> Iterator[tuple[int, bytes]]:
        """(type, content) of the messages of an object's header."""
        start = self.read(address, 16)
        if start[:4] == b"OHDR":
            flags = start[5]
            place = 6 + 16 * bool(flags & 0x20) + 4 * bool(flags & 0x10)
            width = 1 << (flags & 3)
            size = int.from_bytes(self.read(address + place, width), "little")
            blocks = [(address + place + width, size)]
            head, tracked = struct.Struct("<BHB"), 2 * bool(flags & 0x04)
        elif start[0] == 1:
            blocks = [(address + 16, int.from_bytes(start[8:12], "little"))]
            head, tracked = struct.Struct("<HHB3x"), 0
        else:
            self._damaged(f"the header of an object at {address}", f"{start[:4]!r}")
        n_read = 0
        for first, size in blocks:  # grows by continuations
            n_read += size
            if n_read > MAX_HEADER_BYTES:
                self._damaged(f"a header at {address} that ends", f"one of {n_read} bytes")
            content, place = self.read(first, size), 0
            while place + head.size + tracked <= size:
                kind, length, flags = head.unpack_from(content, place)
                place += head.size + tracked
                message = content[place : place + length]
                place += length
                if kind == CONTINUATION and len(message) >= 16:
                    where, n_bytes = struct.unpack_from("<QQ", message)
                    # from version 2 on between a signature and a checksum
                    blocks.append((where + 4, max(n_bytes - 8, 0)) if start[:4] == b"OHDR" else (where, n_bytes))
                elif not flags & 0x02:  # else it stands elsewhere
                    yield kind, message

    def elements(self, item: h5py.Dataset, n: int) -> np.ndarray:
        """The first n elements of a dataset as they are stored, (n,), REFERENCE in the place of variable lengths.

        Args:
          item: one-dimensional, or n is 1.
          n: their number.

        Raises:
          DataError: fewer bytes are stored than the elements have.
          ValueError: they are compressed by another filter than HDF5's own.
        """
        dtype = _stored_dtype(item.dtype)
        shape, n_bytes = item.chunks, n * dtype.itemsize
        if shape is not None:
            data = self._chunks(item, shape, -(-n // math.prod(shape)), dtype.itemsize)
        elif (start := item.id.get_offset()) is not None:
            data = self.read(start - self._base, n_bytes)
        else:
            kind, data = self.layout(header_address(item))
            data = data if kind == COMPACT else b""
        if len(data) < n_bytes:
            self._damaged(f"{n_bytes} bytes in {item.name}", f"{len(data)} bytes")
        return np.frombuffer(data, dtype, n)

    def entry(self, item: h5py.Dataset, where: tuple[int, ...]) -> np.ndarray:
        """An entry of the first axes of a dataset of numbers: of a compressed one each chunk is unpacked to its size at most.

        Args:
          item: the dataset.
          where: index of each of the first axes; () is all of it.
        """
        shape, filters = item.chunks, _filters(item)
        if (
            shape is None
            or not {code for code, *_ in filters} <= FILTERS
            or h5py.h5z.FILTER_DEFLATE not in dict(filters)
        ):
            return item[where]
        sizes = self._stored(item)
        n_axes, out = len(where), np.full(item.shape[len(where) :], item.fillvalue, item.dtype)
        inside = tuple(w % n for w, n in zip(where, shape, strict=False))
        first = [range(w // n * n, w + 1, n) for w, n in zip(where, shape, strict=False)]
        rest = [range(0, size, n) for size, n in zip(out.shape, shape[n_axes:], strict=True)]
        for place in itertools.product(*first, *rest):
            if place in sizes:  # else it holds the fill value
                data = self._chunk(item, place, sizes[place], filters, math.prod(shape) * item.dtype.itemsize)
                target = tuple(slice(start, start + n) for start, n in zip(place[n_axes:], shape[n_axes:], strict=True))
                part = np.frombuffer(data, item.dtype).reshape(shape)[inside]
                out[target] = part[tuple(slice(n) for n in out[target].shape)]
        return out

    def _chunks(self, item, shape, n_chunks, itemsize) -> bytes:
        """The first chunks of a dataset along its first axis, one after the other."""
        sizes, filters, n_bytes = self._stored(item), _filters(item), math.prod(shape) * itemsize
        places = [(number * shape[0], *[0] * (len(shape) - 1)) for number in range(n_chunks)]
        parts = (self._chunk(item, place, sizes.get(place, 0), filters, n_bytes, itemsize) for place in places)
        return b"".join(parts)

    def _stored(self, item) -> dict[tuple[int, ...], int]:
        """Place of each stored chunk -> its bytes; one walk over all, which each look-up by its place would be too."""
        sizes = {}
        item.id.chunk_iter(lambda info: sizes.update({info.chunk_offset: info.size}))
        return sizes

    def _chunk(self, item, place, stored, filters, n_bytes, itemsize=None) -> bytes:
        """A chunk of n_bytes as it was before filters."""
        # the library writes what is stored into memory for a whole chunk
        if stored > self._size or (not filters and stored != n_bytes):
            self._damaged(f"a chunk of {n_bytes} bytes at {place}", f"{stored} bytes")
        skipped, data = item.id.read_direct_chunk(place)
        for i, (code, name) in reversed(list(enumerate(filters))):
            if skipped >> i & 1:
                continue
            if code == h5py.h5z.FILTER_DEFLATE:
                data = zlib.decompressobj().decompress(data, n_bytes + CHECKSUM)
            elif code == h5py.h5z.FILTER_SHUFFLE:
                data = np.frombuffer(data, np.uint8).reshape(itemsize or item.dtype.itemsize, -1).T.tobytes()
            elif code == h5py.h5z.FILTER_FLETCHER32:
                data = data[:-CHECKSUM]
            else:
                raise UserError(
                    f"values of variable length are compressed by {name!r}, expected deflate, shuffle, fletcher32"
                )
        return data

    def layout(self, address: int) -> tuple[int, bytes]:
        """(class, content) of the layout of the dataset whose header is at an address; (-1, nothing) where there is none."""
        for kind, message in self.messages(address):
            if kind == LAYOUT and len(message) > 4 and message[0] in (3, 4):
                return message[1], message[4:]
        return -1, b""

    def texts(self, address: int) -> dict[str, str | tuple[str, ...]]:
        """The attributes that are texts of variable length, one or several, of the object whose header is at an address."""
        found: dict[str, str | tuple[str, ...]] = {}
        for kind, message in self.messages(address):
            if kind == ATTRIBUTE and len(message) > 9 and message[0] in (1, 2, 3):
                version, shared = message[0], message[0] > 1 and message[1]
                sizes = struct.unpack_from("<3H", message, 2)
                place, parts = 8 + (version == 3), []
                for size in sizes:
                    parts.append(message[place : place + size])
                    place += -(-size // 8) * 8 if version == 1 else size
                name, datatype, dataspace = parts
                n = _n_elements(dataspace)
                # a message may be padded to a multiple of 8
                if (
                    datatype
                    and datatype[0] & 15 == VARIABLE
                    and not shared
                    and n
                    and len(message) - place - 16 * n in range(8)
                ):
                    values = [self.value(reference, 1) for reference in np.frombuffer(message, REFERENCE, n, place)]
                    texts = tuple(value.decode("utf-8", "replace").rstrip("\0") for value in values)
                    found[name.rstrip(b"\0").decode("utf-8", "replace")] = texts if n > 1 else texts[0]
        return found


def _n_elements(dataspace: bytes) -> int:
    """Of a message that states a shape; 0 where it states none."""
    start = {1: 8, 2: 4}.get(dataspace[0] if dataspace else 0, 0)
    rank = dataspace[1] if start and len(dataspace) >= start else 0
    empty = not start or (start == 4 and dataspace[3] == 2)
    if empty or len(dataspace) < start + 8 * rank:
        return 0
    return math.prod(struct.unpack_from(f"<{rank}Q", dataspace, start))


def header_address(item: h5py.HLObject) -> int:
    """Where the header of an opened object begins."""
    return h5py.h5o.get_info(item.id).addr


def _stored_dtype(dtype: np.dtype) -> np.dtype:
    """How elements are stored: values of variable length as references, which have the size of h5py's own in memory."""
    if dtype.names is None:
        return REFERENCE if dtype.hasobject else dtype
    assert dtype.fields is not None  # there are names
    formats = [_stored_dtype(dtype.fields[name][0]) for name in dtype.names]
    offsets = [dtype.fields[name][1] for name in dtype.names]
    return np.dtype({"names": dtype.names, "formats": formats, "offsets": offsets, "itemsize": dtype.itemsize})


def _filters(item: h5py.Dataset) -> list[tuple[int, bytes]]:
    """(code, name) of the filters of a dataset, in the order in which they were applied."""
    created = item.id.get_create_plist()
    found = (created.get_filter(i) for i in range(created.get_nfilters()))
    return [(code, name) for code, _, _, name in found]

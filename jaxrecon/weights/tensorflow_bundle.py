"""Tensors from TensorFlow's checkpoints (tensor bundles) without TensorFlow.

A checkpoint `model-100` is a set of files. `model-100.index` is a sorted string table: blocks of (key, value) whose
keys leave out what they share with the key before, each block with a checksum; an index block that names the blocks;
a footer of 48 bytes that names the index block. The value of the empty key is the header, each other key is a
tensor's name and its value says type, shape, shard, offset, size and checksum, as protocol buffers.
`model-100.data-00000-of-00001`, the shards, are the tensors' bytes.

Source: LevelDB, doc/table_format.md; TensorFlow, core/protobuf/tensor_bundle.proto and
core/framework/{types,tensor_shape}.proto.
"""

import dataclasses
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..checks import DataError, UserError, check_bytes
from ..files import check_file, reading
from .binary import BFLOAT16, BROKEN, decode, itemsize, read_bytes
from .crc32c import crc32c

MAGIC = 0xDB4775248B80FB57
MAX_INDEX = 16 * 2**20
MAX_NAMES = 64 * 2**20
MAX_NAME = 4096
"""Bytes of the index, of all names (which are stored shortened) and of one; published networks are far below."""

_FOOTER = 48
_TRAILER = 5  # type of compression, checksum
_STRING = 7
_DTYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 8: "complex64", 9: "int64",
    10: "bool", 14: BFLOAT16, 17: "uint16", 18: "complex128", 19: "float16", 22: "uint32", 23: "uint64",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Entry:
    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int | None
    sliced: bool


def is_bundle(path: str | Path) -> bool:
    """Whether the path is an index, a shard, or the common prefix of a tensor bundle's files, by their names."""
    path, prefix = Path(path), _prefix(path)
    return prefix != path or (not path.exists() and path.with_name(path.name + ".index").exists())


def read_bundle(path: str | Path) -> dict[str, np.ndarray]:
    """All numerical tensors of a TensorFlow checkpoint by name.

    Args:
      path: the files' common prefix (`.../model-100`), or one of them.

    Returns:
      name -> array in its own shape; bfloat16 becomes float32, which is exact. Tensors of text are left out.

    Raises:
      DataError: a file is missing, damaged or compressed, or index and data disagree.
    """
    prefix = _prefix(path)
    index = check_file(prefix.with_name(prefix.name + ".index"))
    with reading(index, expected="the index of a tensor bundle", also=BROKEN):
        if index.stat().st_size > MAX_INDEX:
            raise DataError(
                "the index is too long", file=index, expected=f"at most {MAX_INDEX} bytes", found=index.stat().st_size
            )
        table = dict(_table(index.read_bytes(), index))
        n_shards = _shards(table.pop(b"", None), index)
        entries = {name.decode(): _entry(value, name.decode(), index) for name, value in table.items()}
        by_shard: dict[int, dict[str, _Entry]] = {}
        for name, entry in entries.items():
            if entry.shard >= n_shards:
                raise DataError(
                    "a tensor lies in no shard", file=index, dataset=name, expected=n_shards, found=entry.shard
                )
            if entry.dtype != _STRING:
                by_shard.setdefault(entry.shard, {})[name] = entry
    state = {}
    for number, own in by_shard.items():
        state.update(_read_shard(prefix.with_name(f"{prefix.name}.data-{number:05d}-of-{n_shards:05d}"), own))
    return {name: state[name] for name in entries if name in state}


def _prefix(path: str | Path) -> Path:
    path = Path(path)
    stem, dot, end = path.name.rpartition(".")
    return path.with_name(stem) if dot and (end == "index" or (end.startswith("data-") and "-of-" in end)) else path


def _read_shard(path: Path, entries: dict[str, _Entry]) -> dict[str, np.ndarray]:
    check_file(path)
    n_file, state = path.stat().st_size, {}
    total = sum(e.size for e in entries.values())
    if total > n_file:  # so that tensors laid over each other cannot make much of little
        raise DataError(
            "the tensors do not fit: is the file truncated?", file=path, expected=f"{total} bytes or more", found=n_file
        )
    with reading(path, expected="the tensors that the index states", also=BROKEN), path.open("rb") as stream:
        for name, entry in entries.items():
            if entry.sliced or entry.dtype not in _DTYPES:
                raise DataError(
                    "a tensor of a kind that is not read",
                    file=path,
                    dataset=name,
                    expected="numbers, in one piece",
                    found="slices" if entry.sliced else f"type number {entry.dtype}",
                )
            dtype = _DTYPES[entry.dtype]
            check_bytes(entry.shape, itemsize(dtype), file=path, dataset=name)
            n_bytes = itemsize(dtype) * int(np.prod(entry.shape, dtype=object))
            if n_bytes != entry.size or entry.offset + entry.size > n_file:
                raise DataError(
                    "shape, size and file disagree",
                    file=path,
                    dataset=name,
                    expected=f"{n_bytes} bytes for shape {entry.shape} {dtype}",
                    found=f"{entry.size} bytes from {entry.offset} on in a file of {n_file}",
                )
            stream.seek(entry.offset)
            data = read_bytes(stream, n_bytes, file=path, dataset=name)
            if entry.checksum is not None:
                _check_sum(data, entry.checksum, path, name)
            state[name] = decode(data, dtype).reshape(entry.shape)
    return state


def _check_sum(data: bytes | np.ndarray, stored: int, path: Path, what: str) -> None:
    value = crc32c(data)
    masked = ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF  # as LevelDB stores it
    if masked != stored:
        raise DataError(
            "the checksum is wrong", file=path, dataset=what, expected=f"{stored:#010x}", found=f"{masked:#010x}"
        )


def _table(data: bytes, path: Path) -> Iterator[tuple[bytes, bytes]]:
    """All (key, value) of a sorted string table, in order."""
    if len(data) < _FOOTER or int.from_bytes(data[-8:], "little") != MAGIC:
        raise DataError(
            "this is no index of a tensor bundle: is it truncated?", file=path, expected="its magic number at the end"
        )
    _, _, position = _handle(data, len(data) - _FOOTER)  # behind the metaindex, which TensorFlow leaves empty
    start, size, _ = _handle(data, position)
    last, n_names = None, 0
    for _, handle in _block(data, start, size, path):
        start, size, _ = _handle(handle, 0)
        for key, value in _block(data, start, size, path):
            n_names += len(key)
            if (last is not None and key <= last) or n_names > MAX_NAMES:
                raise DataError(
                    "the names are not in order, or too long", file=path, expected=f"more than {last!r}", found=key[:99]
                )
            yield key, value
            last = key


def _block(data: bytes, start: int, size: int, path: Path) -> Iterator[tuple[bytes, bytes]]:
    if start + size + _TRAILER > len(data) - _FOOTER or size < 4:
        raise DataError(
            "a block reaches beyond its file",
            file=path,
            expected=f"{len(data) - _FOOTER} bytes",
            found=f"{size} from {start} on",
        )
    block, trailer = data[start : start + size], data[start + size : start + size + _TRAILER]
    _check_sum(block + trailer[:1], int.from_bytes(trailer[1:], "little"), path, f"block at byte {start}")
    if trailer[0]:
        raise DataError(
            "the index is compressed",
            file=path,
            expected="blocks without compression",
            found=f"compression type {trailer[0]}",
            cure="Save the checkpoint again, or its tensors under the same names as npz.",
        )
    n_restarts = int.from_bytes(block[-4:], "little")
    end, position, key = size - 4 * (n_restarts + 1), 0, b""
    while position < end:
        shared, position = _varint(block, position)
        own, position = _varint(block, position)
        n_value, position = _varint(block, position)
        if shared > len(key) or position + own + n_value > end or shared + own > MAX_NAME:
            raise DataError("an entry reaches beyond its block", file=path, dataset=f"block at byte {start}")
        key = key[:shared] + block[position : position + own]
        position += own
        yield key, block[position : position + n_value]
        position += n_value


def _handle(data: bytes, position: int) -> tuple[int, int, int]:
    offset, position = _varint(data, position)
    size, position = _varint(data, position)
    return offset, size, position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A number in groups of seven bits, lowest first, and the position behind it."""
    value = 0
    for n in range(10):
        byte = data[position + n]
        value |= (byte & 0x7F) << 7 * n
        if byte < 0x80:
            return value, position + n + 1
    raise UserError("a number of more than 64 bits")


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of a protocol buffer: numbers as int, everything with a length as bytes."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        if tag & 7 == 0:
            value: int | bytes
            value, position = _varint(message, position)
        else:
            if tag & 7 == 2:
                n, position = _varint(message, position)
            else:
                n = {1: 8, 5: 4}[tag & 7]
            if position + n > len(message):
                raise UserError("a field reaches beyond its message")
            value = message[position : position + n]
            position += n
        yield tag >> 3, value


def _shards(header: bytes | None, path: Path) -> int:
    """Number of shards of BundleHeaderProto {num_shards = 1, endianness = 2 (0 is little)}."""
    fields = dict(_fields(header)) if header is not None else {}
    n_shards = fields.get(1, 0)
    if not isinstance(n_shards, int) or not 1 <= n_shards < 10**5 or fields.get(2, 0) != 0:
        raise DataError(
            "the header is missing or not to be read",
            file=path,
            expected="1 to 99999 shards, little endian",
            found=f"{n_shards!r} shards, byte order {fields.get(2, 0)!r}",
        )
    return n_shards


def _entry(message: bytes, name: str, path: Path) -> _Entry:
    """BundleEntryProto {dtype = 1, shape = 2, shard_id = 3, offset = 4, size = 5, crc32c = 6 (fixed), slices = 7}."""
    numbers = {1: 0, 3: 0, 4: 0, 5: 0}
    shape: tuple[int, ...] = ()
    checksum, sliced = None, False
    for field, value in _fields(message):
        if field in numbers and isinstance(value, int):
            numbers[field] = value
        elif field == 2 and isinstance(value, bytes):
            # TensorShapeProto {repeated Dim dim = 2 {size = 1}}
            dims = [dict(_fields(dim)) for n, dim in _fields(value) if n == 2 and isinstance(dim, bytes)]
            shape = tuple(_count(dim.get(1, 0)) for dim in dims)
        elif field == 6 and isinstance(value, bytes):
            (checksum,) = struct.unpack("<I", value)
        elif field == 7:
            sliced = True
    return _Entry(numbers[1], shape, numbers[3], numbers[4], numbers[5], checksum, sliced)


def _count(value: int | bytes) -> int:
    if not isinstance(value, int) or value >= 2**62:
        raise UserError("a dimension that is no count")
    return value

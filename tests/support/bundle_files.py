"""A writer of TensorFlow's tensor bundles from their description, with every freedom that the format leaves."""

import struct

import numpy as np

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
TYPES = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "complex64": 8, "int64": 9, "bool": 10, "float16": 19}


def crc32c(data: bytes) -> int:
    """Bit by bit, from the definition."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    value = crc32c(data)
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(n: int) -> bytes:
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def number(field: int, n: int) -> bytes:
    return varint(field << 3) + varint(n)


def nested(field: int, message: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(message)) + message


def block(items, *, restart=3, compression=0) -> bytes:
    """One block with its trailer; every `restart`-th key is written out."""
    data, restarts, last = b"", [], b""
    for n, (key, value) in enumerate(items):
        shared = 0
        if n % restart == 0:
            restarts.append(len(data))
        else:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        data += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    data += b"".join(struct.pack("<I", r) for r in restarts or [0]) + struct.pack("<I", len(restarts or [0]))
    return data + bytes([compression]) + masked(data + bytes([compression]))


def table(items, *, per_block=4, **options) -> bytes:
    """A sorted string table of several blocks."""
    data, handles = b"", []
    for n in range(0, len(items), per_block):
        part = block(items[n : n + per_block], **options)
        handles.append((items[min(n + per_block, len(items)) - 1][0] + b"~", varint(len(data)) + varint(len(part) - 5)))
        data += part
    meta = varint(len(data))
    part = block([])
    data, meta = data + part, meta + varint(len(part) - 5)
    index = varint(len(data))
    part = block(handles, restart=1)
    data, index = data + part, index + varint(len(part) - 5)
    return data + (meta + index).ljust(40, b"\0") + MAGIC


def entry(array, *, shard=0, offset=0, dtype=None, size=None, checksum=None, extra=b"") -> bytes:
    data = array.tobytes()
    shape = b"".join(nested(2, number(1, n)) for n in array.shape)
    out = number(1, dtype or TYPES[array.dtype.name]) + nested(2, shape)
    out += (number(3, shard) if shard else b"") + (number(4, offset) if offset else b"")
    out += number(5, len(data) if size is None else size) + extra
    return out + varint(6 << 3 | 5) + (masked(data) if checksum is None else checksum)


def header(n_shards=1, endianness=0) -> bytes:
    return number(1, n_shards) + (number(2, endianness) if endianness else b"") + nested(3, number(1, 1))


def write_bundle(prefix, tensors, *, n_shards=1, head=None, **options) -> None:
    """Files of a bundle; tensors: name -> array, dealt to the shards in turn."""
    items, shards = [(b"", header(n_shards) if head is None else head)], [b""] * n_shards
    for n, (name, array) in enumerate(sorted(tensors.items())):
        shard = n % n_shards
        items.append((name.encode(), entry(np.asarray(array), shard=shard, offset=len(shards[shard]))))
        shards[shard] += np.asarray(array).tobytes()
    prefix.with_name(prefix.name + ".index").write_bytes(table(items, **options))
    for n, data in enumerate(shards):
        prefix.with_name(f"{prefix.name}.data-{n:05d}-of-{n_shards:05d}").write_bytes(data)

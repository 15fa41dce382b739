"""Pickles and torch.save streams written by hand, so that tests can say what no program would."""

import dataclasses
import struct


@dataclasses.dataclass
class Global:
    """A name, or the call of it with arguments."""

    name: str
    arguments: tuple | None = None
    state: object = None


@dataclasses.dataclass
class Persistent:
    reference: tuple


def pickled(value) -> bytes:
    return b"\x80\x02" + _encode(value) + b"."


def _encode(value) -> bytes:
    match value:
        case bool() | None:
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        case int() if -(2**31) <= value < 2**31:
            return b"J" + struct.pack("<i", value)
        case int():
            data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            return b"\x8a" + bytes([len(data)]) + data
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple():
            return b"(" + b"".join(map(_encode, value)) + b"t"
        case list():
            return b"](" + b"".join(map(_encode, value)) + b"e"
        case dict():
            return b"}(" + b"".join(_encode(k) + _encode(v) for k, v in value.items()) + b"u"
        case Persistent():
            return _encode(value.reference) + b"Q"
        case Global():
            code = "c{}\n{}\n".format(*value.name.rsplit(".", 1)).encode()
            if value.arguments is not None:
                code += _encode(value.arguments) + b"R"
            return code + (b"" if value.state is None else _encode(value.state) + b"b")
    raise TypeError(value)


def storage(numel, *, kind="torch.FloatStorage", key="0", view=None):
    return Persistent(("storage", Global(kind), key, "cpu", numel, view))


def tensor(store, size=(), stride=(), offset=0, *extra):
    return Global("torch._utils._rebuild_tensor_v2", (store, offset, size, stride, False, {}, *extra))


def stream(value, storages: dict[str, tuple[int, bytes]], *, little=True) -> bytes:
    """torch.save's older form; storages: key -> (number of elements stated, bytes)."""
    system = {"protocol_version": 1001, "little_endian": little, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = [0x1950A86A20F9469CFC6C, 1001, system, value, list(storages)]
    data = b"".join(struct.pack("<q", n) + b for n, b in storages.values())
    return b"".join(map(pickled, head)) + data

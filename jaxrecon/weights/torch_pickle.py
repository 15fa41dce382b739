"""A pickle as data: its opcodes drive a small stack machine that builds plain values and descriptions of tensors.

No name in the pickle is ever imported or called. A few names mean a tensor or a dict here; an object of any other
name becomes an Inert, which swallows whatever the pickle does to it. So settings, optimizers and hostile objects
beside the weights are passed over.
"""

import io
import pickletools
from typing import Any, NamedTuple

from ..checks import UserError


class Name(NamedTuple):
    """A global name of the pickle: read, never looked up."""

    module: str
    attribute: str

    def __str__(self) -> str:
        return f"{self.module}.{self.attribute}"


class Inert(NamedTuple):
    """An object that is not built: only what it would have been."""

    what: str


class Storage(NamedTuple):
    """A flat piece of memory that lies elsewhere in the file.

    Attributes:
      key: its name in the file.
      kind: torch's name of its element type, e.g. FloatStorage.
      numel: number of elements.
      view: (offset, elements) of a part of it that a tensor was made on, in very old files, or None.
    """

    key: str
    kind: str
    numel: int
    view: tuple[int, int] | None


class Tensor(NamedTuple):
    """A strided window into a storage; offset and strides in elements."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: str | None


_LITERALS = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING BINBYTES "
    "SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8".split()
)
_DICTS = {Name("collections", "OrderedDict"), Name("builtins", "dict"), Name("__builtin__", "dict")}
_REBUILD = "torch._utils"
MAX_ARGUMENTS = 10
MAX_AXES = 64
"""A tensor is made of no more: what a pickle says once it may refer to a million times, so nothing long is copied."""
_KEY_TYPES = (str, bytes, int, float, type(None))


class Pickle(NamedTuple):
    """One pickle's value, and every storage that it refers to, used or not, by key."""

    value: Any
    storages: dict[str, Storage]


def load(stream: io.BytesIO) -> Pickle:
    """Read the pickle that starts at the stream's position, which is left behind its last byte.

    Args:
      stream: a seekable stream in memory: an opcode that states a length reads no more than is there.

    Returns:
      The value: None, numbers, text, bytes, lists, tuples and dicts as they stand; Tensor, Storage, Name or Inert for
      all else. Items of a dict whose key is not plain are dropped.

    Raises:
      ValueError, IndexError, KeyError, TypeError: this is no pickle, or one that no program has written.
    """
    machine = _Machine()
    for opcode, argument, _ in pickletools.genops(stream):
        machine.execute(opcode.name, argument)
    return Pickle(machine.stack.pop(), machine.storages)


class _Machine:
    def __init__(self):
        self.stack: list = []
        self.outer: list[list] = []  # the stacks below each open mark
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def items(self) -> list:
        """What lies above the last mark, which is removed."""
        items, self.stack = self.stack, self.outer.pop()
        return items

    def last(self, n: int) -> list:
        if len(self.stack) < n:
            raise UserError(f"{n} values are needed, {len(self.stack)} are there")
        items = self.stack[-n:]
        del self.stack[-n:]
        return items

    def execute(self, op: str, argument: Any) -> None:
        if op in _LITERALS:
            self.stack.append(argument)
            return
        match op:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                self.stack.append(self.memo[argument])
            case "NONE":
                self.stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                self.stack.append(op == "NEWTRUE")
            case "MARK":
                self.outer.append(self.stack)
                self.stack = []
            case "POP":
                self.stack.pop() if self.stack else self.items()
            case "POP_MARK":
                self.items()
            case "DUP":
                self.stack.append(self.stack[-1])
            case "EMPTY_TUPLE":
                self.stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.stack.append(tuple(self.last(int(op[-1]))))
            case "TUPLE":
                items = self.items()
                self.stack.append(tuple(items))
            case "EMPTY_LIST":
                self.stack.append([])
            case "LIST":
                items = self.items()
                self.stack.append(items)
            case "APPEND":
                items = self.last(1)
                _extend(self.stack[-1], items)
            case "APPENDS":
                items = self.items()
                _extend(self.stack[-1], items)
            case "EMPTY_DICT":
                self.stack.append({})
            case "DICT":
                items = self.items()
                self.stack.append(_update({}, items))
            case "SETITEM":
                items = self.last(2)
                _update(self.stack[-1], items)
            case "SETITEMS":
                items = self.items()
                _update(self.stack[-1], items)
            case "EMPTY_SET":
                self.stack.append(Inert("a set"))
            case "FROZENSET":
                self.items()
                self.stack.append(Inert("a set"))
            case "ADDITEMS":
                items = self.items()
                _extend(self.stack[-1], items)
            case "GLOBAL":
                module, _, attribute = argument.partition(" ")  # as pickletools joins the two lines
                self.stack.append(Name(module, attribute))
            case "STACK_GLOBAL":
                module, attribute = self.last(2)
                if not isinstance(module, str) or not isinstance(attribute, str):
                    raise UserError("a global name that is not text")
                self.stack.append(Name(module, attribute))
            case "REDUCE" | "NEWOBJ":
                self.stack.append(_build(*self.last(2)))
            case "NEWOBJ_EX":
                self.stack.append(Inert(_describe(self.last(3)[0])))
            case "BUILD":
                # the attributes of a dict (torch's _metadata), or the inside of an object that is not built
                self.last(1)
            case "BINPERSID":
                self.stack.append(self.storage(self.stack.pop()))
            case _:
                raise UserError(f"the pickle holds the opcode {op}, which no file of weights needs")

    def storage(self, reference: Any) -> Storage | Inert:
        """What torch's persistent identifiers stand for."""
        if not isinstance(reference, tuple) or len(reference) > MAX_ARGUMENTS or reference[:1] != ("storage",):
            return Inert("a reference that is no storage")
        kind, key, _, numel, *view = reference[1:]
        if not isinstance(kind, Name) or not isinstance(key, str) or not _are_counts(numel):
            raise UserError("a storage whose type, key or size is none")
        part = view[0] if view else None
        if part is not None:
            _, offset, n = part
            if not _are_counts(offset, n) or offset + n > numel:
                raise UserError("a view of a storage that does not lie in it")
            part = (offset, n)
        storage = Storage(key, kind.attribute, numel, part)
        if self.storages.setdefault(key, storage)[:3] != storage[:3]:
            raise UserError(f"storage {key} is given two types or sizes")
        return storage


def _are_counts(*numbers: Any) -> bool:
    return all(type(n) is int and 0 <= n < 2**62 for n in numbers)


def _extend(target: Any, items: list) -> None:
    if isinstance(target, list):
        target.extend(items)
    elif not isinstance(target, Inert):
        raise UserError(f"items are appended to a {type(target).__name__}")


def _update(target: Any, items: list) -> Any:
    if isinstance(target, dict) and len(items) % 2 == 0:
        # a key that is a nested tuple could take forever to hash
        target.update((k, v) for k, v in zip(items[::2], items[1::2], strict=True) if isinstance(k, _KEY_TYPES))
    elif not isinstance(target, Inert):
        raise UserError(f"{len(items)} keys and values are set on a {type(target).__name__}")
    return target


def _describe(function: Any) -> str:
    return str(function) if isinstance(function, Name) else type(function).__name__


def _build(function: Any, arguments: Any) -> Any:
    """What `function(*arguments)` means here: a dict, a tensor, or nothing."""
    if not isinstance(function, Name) or not isinstance(arguments, tuple):
        return Inert(_describe(function))
    if function in _DICTS:
        pairs = arguments[0] if arguments else []
        if not isinstance(pairs, list) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
            return Inert(str(function))
        made = {k: v for k, v in pairs if isinstance(k, _KEY_TYPES)}
        pairs.clear()  # Python 2 gave each dict a list of its own: another dict made of this one would be an attack
        return made
    if function == Name("torch._tensor", "_rebuild_from_type_v2") and len(arguments) == 4:
        return _build(arguments[0], arguments[2])
    if function.module != _REBUILD:
        return Inert(str(function))
    if function.attribute in ("_rebuild_parameter", "_rebuild_parameter_with_state"):
        return arguments[0]
    if function.attribute in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"):
        return _tensor(function.attribute, arguments)
    return Inert(str(function))


def _tensor(function: str, arguments: tuple) -> Tensor | Inert:
    if not 4 <= len(arguments) <= MAX_ARGUMENTS:
        raise UserError(f"a tensor made of {len(arguments)} values")
    storage, offset, size, stride, *rest = arguments
    if not isinstance(storage, Storage):
        return Inert(f"a tensor on {_describe(storage)}")
    if not len(size) == len(stride) <= MAX_AXES or not _are_counts(offset, *size, *stride):
        raise UserError("a tensor whose size, stride or offset are no counts")
    dtype, flags = None, rest[2] if len(rest) > 2 else None
    if function == "_rebuild_tensor_v3":
        dtype, flags = _describe(rest[2]), rest[3] if len(rest) > 3 else None
    if isinstance(flags, dict) and any(flags.get(flag) is True for flag in ("conj", "neg")):
        return Inert("a tensor with a pending conjugate or sign")
    return Tensor(storage, offset, tuple(size), tuple(stride), dtype)

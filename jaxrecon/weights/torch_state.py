"""State dicts from PyTorch files without PyTorch, and without executing anything that the file says.

torch.save writes one of two forms. Since 1.6 it is a zip archive: `<name>/data.pkl` is a pickle of the objects, in
which a tensor names its storage, and `<name>/data/<key>` are the storages' bytes. Before, it is one stream: five
pickles (a magic number, the protocol, the writing system, the objects, the order of the storages), then per storage
its number of elements (int64) and its bytes.
"""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..checks import DataError, check_bytes
from ..files import check_expansion, check_file, reading
from . import torch_pickle
from .binary import BFLOAT16, BROKEN, decode, itemsize, opened_archive, read_bytes
from .torch_pickle import Inert, Storage, Tensor

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MAX_PICKLE = 32 * 2**20
"""Names and shapes of any published network need far less than these bytes of pickle."""

_DTYPES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": BFLOAT16,
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "torch.uint16": "uint16", "torch.uint32": "uint32", "torch.uint64": "uint64",
}  # fmt: skip
_WRITTEN = "a file that torch.save has written"
_PARTS = ("state_dict", "model_state_dict", "model_state", "model")


def read_torch(path: str | Path, *, part: str | None = None) -> dict[str, np.ndarray]:
    """The tensors of a PyTorch file (.pt, .pth, .ckpt) by name.

    Args:
      path: the file, in either of torch's two forms.
      part: name of the dict wanted, where a checkpoint holds several; by default `state_dict` (`model_state_dict`,
        `model_state`, `model`) where there is one, else the file itself if it is one state dict, else the only dict
        of tensors in it.

    Returns:
      name -> array in its own shape, read-only. The element type is the file's; bfloat16, which NumPy has not,
      becomes float32, which is exact. Tensors that share memory in the file share it here. What is no tensor
      (settings, optimizer) is left out.

    Raises:
      DataError: the file is damaged, holds no state dict, or claims what it cannot hold.
    """
    path = check_file(path)
    return _read_archive(path, part) if _is_archive(path) else _read_stream(path, part)


def read_torch_settings(path: str | Path) -> dict[str, str | int | float | bool]:
    """What a Lightning checkpoint says of its network: the plain ones of its `hyper_parameters`.

    Args:
      path: the file, in either of torch's two forms.

    Returns:
      name -> text, number or truth value; empty where the file has none. All else is left out.

    Raises:
      DataError: the file is damaged, or none of torch.
    """
    path = check_file(path)
    if _is_archive(path):
        with opened_archive(path) as archive:
            _, value = _archive_objects(archive, path)
    else:
        with reading(path, expected=_WRITTEN, also=BROKEN), path.open("rb") as stream:
            _, _, (value, _) = _stream_objects(stream, path)
    settings = value.get("hyper_parameters") if isinstance(value, dict) else None
    if not isinstance(settings, dict):
        return {}
    return {k: v for k, v in settings.items() if isinstance(k, str) and isinstance(v, str | int | float)}


def _is_archive(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) == b"PK\x03\x04"


def _read_archive(path: Path, part: str | None) -> dict[str, np.ndarray]:
    with opened_archive(path) as archive:
        members = {m.filename: m for m in archive.infolist()}
        folder, value = _archive_objects(archive, path)
        big = f"{folder}byteorder" in members and archive.read(f"{folder}byteorder") == b"big"

        def read(storage: Storage, n_bytes: int) -> np.ndarray:
            name = f"{folder}data/{storage.key}"
            found = members[name].file_size if name in members else None
            if found != n_bytes:
                raise DataError(
                    "a tensor's storage is wrong",
                    file=path,
                    dataset=name,
                    expected=f"{n_bytes} bytes, {storage.numel} elements of {storage.kind}",
                    found="nothing of that name" if found is None else f"{found} bytes",
                )
            with archive.open(members[name]) as stream:
                data = read_bytes(stream, n_bytes, file=path, dataset=name)
                stream.read(1)  # behind the last byte the checksum is compared
            return data

        return _arrays(_select(value, part, path), read, ">" if big else "<", path)


def _archive_objects(archive: zipfile.ZipFile, path: Path) -> tuple[str, Any]:
    """(the folder that all members are in, the value of the pickle)."""
    members = {m.filename: m for m in archive.infolist()}
    pickles = [name for name in members if name.endswith("/data.pkl")]
    if len(pickles) != 1 or members[pickles[0]].file_size > MAX_PICKLE:
        raise DataError(
            "this zip archive is none that torch.save has written",
            file=path,
            expected=f"one member data.pkl of at most {MAX_PICKLE} bytes",
            found=[(name, members[name].file_size) for name in pickles or sorted(members)[:5]],
        )
    value = torch_pickle.load(io.BytesIO(archive.read(pickles[0]))).value
    return pickles[0].removesuffix("data.pkl"), value


def _read_stream(path: Path, part: str | None) -> dict[str, np.ndarray]:
    with reading(path, expected=_WRITTEN, also=BROKEN), path.open("rb") as stream:
        head, big, (value, storages) = _stream_objects(stream, path)
        order = torch_pickle.load(head).value
        positions = _positions(stream, head.tell(), order, storages, path)

        def read(storage: Storage, n_bytes: int) -> np.ndarray:
            stream.seek(positions[storage.key])
            return read_bytes(stream, n_bytes, file=path, dataset=storage.key)

        return _arrays(_select(value, part, path), read, ">" if big else "<", path)


def _stream_objects(stream: io.BufferedIOBase, path: Path) -> tuple[io.BytesIO, bool, torch_pickle.Pickle]:
    """(the stream's head behind the pickle of the objects, whether numbers are big-endian, that pickle)."""
    head = io.BytesIO(stream.read(min(MAX_PICKLE, path.stat().st_size)))
    magic = torch_pickle.load(head).value
    protocol = torch_pickle.load(head).value if magic == MAGIC else None
    if protocol != PROTOCOL:
        raise DataError(
            "this pickle is none that torch.save has written",
            file=path,
            expected="torch's magic number and protocol 1001",
            found=f"a {type(magic).__name__} and a {type(protocol).__name__}",
        )
    system = torch_pickle.load(head).value
    big = isinstance(system, dict) and system.get("little_endian") is False
    return head, big, torch_pickle.load(head)


def _positions(
    stream: io.BufferedIOBase, start: int, order: Any, storages: dict[str, Storage], path: Path
) -> dict[str, int]:
    """Where each storage's bytes begin: each is preceded by its number of elements, and the file must hold them all."""
    is_list = isinstance(order, list) and all(isinstance(key, str) for key in order)
    if not is_list or sorted(order) != sorted(storages):
        raise DataError(
            "the list of storages does not fit the tensors",
            file=path,
            expected=f"{len(storages)} keys",
            found=f"{len(order)} others" if is_list else f"a {type(order).__name__}",
        )
    n_file, positions = path.stat().st_size, {}
    for key in order:
        storage = storages[key]
        stream.seek(start)
        count = int.from_bytes(stream.read(8), "little", signed=True)
        positions[key] = start + 8
        start += 8 + _n_bytes(storage, path)
        if count != storage.numel or start > n_file:
            raise DataError(
                "a tensor's storage is wrong: is the file truncated?",
                file=path,
                dataset=key,
                expected=f"{storage.numel} elements up to byte {start}",
                found=f"{count} elements in a file of {n_file} bytes",
            )
    return positions


def _select(value: Any, part: str | None, path: Path) -> dict[str, Tensor | Inert]:
    """The one dict of tensors that is wanted; what stands in it and is no tensor is left out."""
    parts: dict[Any, dict] = {}
    if isinstance(value, dict):
        inner = {id(d): d for d in value.values()}  # many names may refer to one large dict
        filled = {key for key, d in inner.items() if _has_tensors(d)}
        parts = {name: d for name, d in value.items() if id(d) in filled}
    if part is not None:
        candidates = [part] if part in parts else []
    elif usual := [name for name in _PARTS if name in parts]:
        candidates = usual[:1]
    elif _has_tensors(value):
        candidates, parts = [""], {"": value}
    else:
        candidates = list(parts)
    if len(candidates) != 1:
        raise DataError(
            "no single state dict is to be found in it",
            file=path,
            dataset=part,
            expected="a dict of tensors",
            found=f"dicts of tensors {sorted(map(str, parts))}" if parts else f"a {_what(value)} without any",
            cure="Choose one by `part`." if parts else "Was a whole model saved? Its state_dict() is what can be read.",
        )
    return {name: v for name, v in parts[candidates[0]].items() if isinstance(name, str) and _is_tensor(v)}


def _is_tensor(value: Any) -> bool:
    # torch rebuilds sparse, quantized and other tensors by functions of these modules
    is_unread = isinstance(value, Inert) and value.what.startswith(("torch._utils.", "a tensor"))
    return isinstance(value, Tensor) or is_unread


def _has_tensors(value: Any) -> bool:
    return isinstance(value, dict) and any(_is_tensor(v) for v in value.values())


def _what(value: Any) -> str:
    return value.what if isinstance(value, Inert) else type(value).__name__


def _dtype(name: str, path: Path, dataset: str) -> str:
    if name not in _DTYPES:
        raise DataError(
            "an element type that is not read", file=path, dataset=dataset, expected=sorted(_DTYPES), found=name
        )
    return _DTYPES[name]


def _n_bytes(storage: Storage, path: Path) -> int:
    if storage.kind == "UntypedStorage":  # counted in bytes
        return storage.numel
    return storage.numel * itemsize(_dtype(storage.kind, path, storage.key))


def _arrays(
    tensors: dict[str, Tensor | Inert],
    read: Callable[[Storage, int], np.ndarray],
    byteorder: Literal["<", ">"],
    path: Path,
) -> dict[str, np.ndarray]:
    flat: dict[tuple[str, str], np.ndarray] = {}
    state = {}
    for name, tensor in tensors.items():
        if isinstance(tensor, Inert):
            raise DataError(
                "a tensor of a kind that is not read",
                file=path,
                dataset=name,
                expected="a dense tensor",
                found=tensor.what,
            )
        key = tensor.storage.key, tensor.dtype or tensor.storage.kind
        if key not in flat:
            dtype = _dtype(key[1], path, name)
            n_bytes = _n_bytes(tensor.storage, path)
            check_bytes((n_bytes,), 1, file=path, dataset=name)
            flat[key] = decode(read(tensor.storage, n_bytes), dtype, byteorder=byteorder)
        state[name] = _window(flat[key], tensor, path, name)
    check_expansion(sum(a.nbytes for a in state.values()), path.stat().st_size, file=path)
    return state


def _window(flat: np.ndarray, tensor: Tensor, path: Path, name: str) -> np.ndarray:
    """The tensor as a view of its storage, once it is certain that it lies in it."""
    begin, n = tensor.storage.view or (0, len(flat))
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.size, tensor.stride, strict=True))
    if 0 in tensor.size:
        return np.zeros(tensor.size, flat.dtype)
    if last >= n:
        raise DataError(
            "the tensor reaches beyond its storage",
            file=path,
            dataset=name,
            expected=f"{last + 1} elements for size {tensor.size}, stride {tensor.stride}, offset {tensor.offset}",
            found=f"{n} elements",
        )
    check_bytes(tensor.size, flat.itemsize, file=path, dataset=name)
    strides = [
        stride * flat.itemsize if size > 1 else 0 for size, stride in zip(tensor.size, tensor.stride, strict=True)
    ]
    return np.lib.stride_tricks.as_strided(flat[begin + tensor.offset :], tensor.size, strides, writeable=False)

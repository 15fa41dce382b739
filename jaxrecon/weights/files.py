"""One reader for all forms of weight files: the form is told by the content."""

from pathlib import Path

import numpy as np

from ..checks import DataError
from ..files import check_file
from .binary import opened_archive
from .keras_h5 import SIGNATURE, read_keras
from .npz import read_npz
from .tensorflow_bundle import is_bundle, read_bundle
from .torch_state import read_torch, read_torch_settings


def read(path: str | Path, *, part: str | None = None) -> dict[str, np.ndarray]:
    """Arrays under their published names from a PyTorch, TensorFlow, Keras or npz file, of which nothing is executed.

    Args:
      path: a .pt, .pth or .ckpt file of torch.save in either of its forms, alone or as a training checkpoint; a
        TensorFlow checkpoint by its prefix (`model-100`) or one of its files; an HDF5 file of Keras; an npz.
      part: which dict of tensors is wanted, where a PyTorch checkpoint holds several.

    Returns:
      name -> array in its own shape, on the host; bfloat16 as float32.

    Raises:
      DataError: the file is missing, of another form, truncated, damaged, or claims what it cannot hold.
    """
    if is_bundle(path):
        return read_bundle(path)
    path = check_file(path)
    if _is_torch(path):
        return read_torch(path, part=part)
    head = _head(path)
    if head.startswith(b"PK"):
        return read_npz(path)
    if head == SIGNATURE:
        return read_keras(path)
    raise DataError(
        "these are no weights in a form that is read",
        file=path,
        expected="a file of torch.save, a TensorFlow checkpoint (its prefix, .index or .data file), an HDF5 file of Keras or an npz "
        "archive",
        found=f"a file that begins with {head!r}",
    )


def read_settings(path: str | Path) -> dict[str, str | int | float | bool]:
    """What the training program wrote of its network beside the weights: Lightning's `hyper_parameters`, as far as plain.

    Args:
      path: as for `read`.

    Returns:
      name -> text, number or truth value; empty where the file says nothing.

    Raises:
      DataError: a PyTorch file that is damaged, or no file.
    """
    return read_torch_settings(path) if not is_bundle(path) and _is_torch(check_file(path)) else {}


def _is_torch(path: Path) -> bool:
    head = _head(path)
    if not head.startswith(b"PK"):
        return head.startswith(b"\x80")
    with opened_archive(path) as archive:
        return any(name.endswith("/data.pkl") for name in archive.namelist())


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(4)

"""One reader for all forms of weight files: the form is told by the content."""

from pathlib import Path

import numpy as np

from ..checks import DataError
from ..data.files import check_file
from .binary import opened_archive
from .npz import read_npz
from .tensorflow_bundle import is_bundle, read_bundle
from .torch_state import read_torch


def read(path: str | Path, *, part: str | None = None) -> dict[str, np.ndarray]:
    """Arrays under their published names from a PyTorch, TensorFlow or npz file, of which nothing is executed.

    Args:
      path: a .pt, .pth or .ckpt file of torch.save in either of its forms, alone or as a training checkpoint; a
        TensorFlow checkpoint by its prefix (`model-100`) or one of its files; an npz.
      part: which dict of tensors is wanted, where a PyTorch checkpoint holds several.

    Returns:
      name -> array, on the host; bfloat16 as float32.

    Raises:
      DataError: the file is missing, of another form, truncated, damaged, or claims what it cannot hold.
    """
    if is_bundle(path):
        return read_bundle(path)
    path = check_file(path)
    with path.open("rb") as stream:
        head = stream.read(4)
    if head.startswith(b"PK"):
        with opened_archive(path) as archive:
            is_torch = any(name.endswith("/data.pkl") for name in archive.namelist())
        return read_torch(path, part=part) if is_torch else read_npz(path)
    if head.startswith(b"\x80"):
        return read_torch(path, part=part)
    raise DataError(
        "these are no weights in a form that is read",
        file=path,
        expected="a file of torch.save, a TensorFlow checkpoint (its prefix, .index or .data file) or an npz archive",
        found=f"a file that begins with {head!r}",
    )

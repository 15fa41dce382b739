"""Arrays from HDF5 files of Keras 2, of weights alone or of a whole model, without Keras.

The root, or the group `model_weights` of a whole model, names its layers in the attribute `layer_names`; the group of each layer
names its arrays in `weight_names`, in the order of their making. Long attributes are split: layer_names0, layer_names1 ...

Source: Keras 2, keras/saving/legacy/hdf5_format.py, whose layout this is.
"""

from pathlib import Path

import h5py
import numpy as np

from ..checks import DataError
from ..data.hdf5 import attributes, close, dataset, entry, members, opened

SIGNATURE = b"\x89HDF"
"""How an HDF5 file begins."""


def read_keras(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of a Keras file, in their order: "layer/name" -> array in its own shape and dtype.

    Args:
      path: the file.

    Raises:
      DataError: it is damaged, truncated, no file of Keras, or it holds fewer arrays than it names.
    """
    path, state = Path(path), {}
    try:
        with opened(path) as file:
            root = members(file, path).get("model_weights", file)
            layers = _group(root, "model_weights", path)
            for layer in _listed(layers, "layer_names", path):
                group = _inside(layers, layer, path)
                for name in _listed(group, "weight_names", path):
                    *folders, last = name.split("/")
                    where = group
                    for folder in folders:
                        where = _inside(where, folder, path)
                    state[f"{layer}/{name}"] = entry(dataset(where, last, path), (), path)
    finally:
        close(path)
    return state


def _listed(group: h5py.Group, name: str, path: Path) -> list[str]:
    """The texts of an attribute, which may be split."""
    found = attributes(group, path)
    parts = [found[name]] if name in found else []
    while f"{name}{len(parts)}" in found and name not in found:
        parts.append(found[f"{name}{len(parts)}"])
    arrays = [np.atleast_1d(np.asarray(part)) for part in parts]
    if not arrays or any(array.size and array.dtype.kind not in "SU" for array in arrays):
        raise DataError(
            "these are no weights of Keras",
            file=path,
            dataset=group.name,
            expected=f"an attribute {name} that lists names",
            found=sorted(found) or "no attributes",
        )
    texts = [text for array in arrays if array.size for text in array.ravel().tolist()]
    return [text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in texts]


def _inside(group: h5py.Group, name: str, path: Path) -> h5py.Group:
    found = members(group, path)
    if name not in found:
        raise DataError(
            "a group is missing", file=path, dataset=f"{group.name}/{name}", expected="a group", found=sorted(found)
        )
    return _group(found[name], name, path)


def _group(item: object, name: str, path: Path) -> h5py.Group:
    if not isinstance(item, h5py.Group):
        raise DataError(
            "this is no group", file=path, dataset=name, expected="a group in this file", found=type(item).__name__
        )
    return item

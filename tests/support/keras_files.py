"""Files as Keras 2 writes them: groups of layers, named in attributes."""

import h5py
import numpy as np


def write_keras(path, layers, *, group=None, split=None, variable=False):
    """Write layers {name: {name of a weight: array}}, in a group of that name, lists of names split after so many.

    Names have a fixed length, as h5py 2 writes lists of them, or a variable one, as h5py 3 does.
    """
    with h5py.File(path, "w") as file:
        root = file if group is None else file.create_group(group)
        _list(root, "layer_names", list(layers), split, variable)
        for layer, weights in layers.items():
            own = root.create_group(layer)
            _list(own, "weight_names", list(weights), None, variable)
            for name, array in weights.items():
                own[name] = array


def _list(item, name, texts, split, variable):
    dtype = h5py.string_dtype("ascii") if variable else None
    encoded = np.array([text.encode() for text in texts], dtype) if texts else np.zeros(0)
    if split is None:
        item.attrs[name] = encoded
        return
    for number, start in enumerate(range(0, len(texts), split)):
        item.attrs[f"{name}{number}"] = encoded[start : start + split]

"""Reference weight names to the library's parameter trees and back, for the handlers of networks."""

import numpy as np


def to_tree(weights, names):
    """{reference name: array} to a nested dict; names: {reference name: "a/b/kernel"}, all of them."""
    assert set(weights) == set(names), f"names differ: {sorted(set(weights) ^ set(names))}"
    tree: dict = {}
    for name, path in names.items():
        *folders, leaf = path.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[leaf] = _to_own(np.asarray(weights[name]), path)
    return tree


def from_tree(tree, names):
    """The inverse of `to_tree`."""
    out = {}
    for name, path in names.items():
        node = tree
        for part in path.split("/"):
            node = node[part]
        out[name] = _to_reference(np.asarray(node), path)
    return out


def _to_own(array, path):
    if not path.endswith("kernel"):
        return array
    if "transpose" in path:
        return array.transpose(2, 3, 0, 1)
    return array.transpose(*range(2, array.ndim), 1, 0)  # (out, in, *size) -> (*size, in, out)


def _to_reference(array, path):
    if not path.endswith("kernel"):
        return array
    if "transpose" in path:
        return array.transpose(2, 3, 0, 1)
    return array.transpose(-1, -2, *range(array.ndim - 2))


def unet_names(pools, reference="", own=""):
    """fastMRI's U-Net with `pools` levels, with a prefix on either side."""
    names = {}
    for i in range(pools):
        last = i == pools - 1
        for j in range(2):
            names[f"down_sample_layers.{i}.layers.{4 * j}.weight"] = f"down_{i}/conv_{j}/kernel"
            names[f"up_conv.{i}.{'0.' if last else ''}layers.{4 * j}.weight"] = f"up_{i}/conv_{j}/kernel"
        names[f"up_transpose_conv.{i}.layers.0.weight"] = f"transpose_{i}/kernel"
    for j in range(2):
        names[f"conv.layers.{4 * j}.weight"] = f"bottom/conv_{j}/kernel"
    names[f"up_conv.{pools - 1}.1.weight"] = "out/kernel"
    names[f"up_conv.{pools - 1}.1.bias"] = "out/bias"
    return {reference + k: own + v for k, v in names.items()}

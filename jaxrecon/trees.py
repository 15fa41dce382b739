"""Names in PyTrees of parameters."""

import jax


def leaf_name(path: tuple) -> str:
    """The name of a leaf from its path in a tree: keys, attributes and indices joined by "/"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")

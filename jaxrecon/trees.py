"""Names in PyTrees of parameters."""

import difflib
import fnmatch
import itertools
from collections.abc import Sequence
from typing import Any

import jax

from .checks import UserError


def leaf_name(path: tuple) -> str:
    """The name of a leaf from its path in a tree: keys, attributes and indices joined by "/"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def leaves_by_name(tree: Any) -> dict[str, Any]:
    """Name -> leaf, in the order of the tree."""
    return {leaf_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def is_named(name: str, patterns: Sequence[str]) -> bool:
    """Whether one of some patterns names a leaf, or a folder that it is in.

    Args:
      name: the name of a leaf, such as "start/params/conv_0/kernel".
      patterns: as those of file names; "*" stands for any text, also beyond a "/".

    Example:
      >>> [is_named("start/net/prompt", [pattern]) for pattern in ("start", "*/prompt", "start/n*", "prompt")]
      [True, True, True, False]
    """
    folders = [pattern.rstrip("/") for pattern in patterns]
    return any(fnmatch.fnmatchcase(name, found) for folder in folders for found in (folder, f"{folder}/*"))


def check_frozen(tree: Any, patterns: Sequence[str]) -> None:
    """Refuse patterns of what is to be frozen that name nothing, or all there is.

    Args:
      tree: the leaves that there are.
      patterns: as of `is_named`.

    Raises:
      ValueError: a pattern names no leaf, and the nearest names of leaves and folders; or no leaf is left to learn.
    """
    names = list(leaves_by_name(tree))
    wrong = [pattern for pattern in patterns if not any(is_named(name, [pattern]) for name in names)]
    if wrong:
        raise UserError(
            f"no parameter is called {', '.join(wrong)}, which is to be frozen; there are {_nearest(names, wrong)}"
        )
    if all(is_named(name, patterns) for name in names):
        raise UserError(
            f"{', '.join(patterns)} to be frozen are all parameters that there are: nothing is left to train"
        )


def _nearest(names: Sequence[str], patterns: Sequence[str], n: int = 12) -> str:
    """The first of the names of leaves and folders, those most like a pattern first, and how many more there are."""
    folders = {f"{folder}/" for name in names for folder in itertools.accumulate(name.split("/")[:-1], "{}/{}".format)}
    texts = [pattern.replace("*", "").strip("/") for pattern in patterns]

    def likeness(name):
        """A text is like a name as a whole, or like the last part of it."""
        name = name.rstrip("/")
        return max(
            difflib.SequenceMatcher(None, part, text).ratio() for part in (name, name.split("/")[-1]) for text in texts
        )

    ordered = sorted([*names, *folders], key=lambda name: (-likeness(name), name))
    more = f" and {len(ordered) - n} more" if len(ordered) > n else ""
    return ", ".join(ordered[:n]) + more

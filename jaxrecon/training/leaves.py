"""Names, shapes and types of the leaves of a checkpoint beside those of the tree that they are wanted for."""

import itertools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ..checks import UserError
from ..trees import leaves_by_name


def signature(tree: Any) -> dict[str, str]:
    """Name -> type and shape of each leaf, e.g. "float32[3, 3]"."""
    return {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in leaves_by_name(tree).items()}


def in_double(leaf: Any, stored: str | None) -> Any:
    """A leaf in double precision, where one of the same shape is stored so and single is wanted; else as it is.

    Args:
      leaf: an array or a ShapeDtypeStruct.
      stored: what is stored of its name, as of `signature`; None: nothing.
    """
    double = jax.ShapeDtypeStruct(leaf.shape, np.float64)
    return double if leaf.dtype == np.float32 and stored == signature({"": double})[""] else leaf


class OtherLeaves(UserError):
    """Names, shapes or types are those of another tree."""


def check_same_leaves(found: Mapping[str, str], wanted: Mapping[str, str], *, what: str, cure: str) -> None:
    """Refuse leaves that are missing, unknown or of another shape or type.

    Args:
      found: what there is, as of `signature`.
      wanted: what is to be there.
      what: what is refused, for the message: "the checkpoint runs/a/checkpoints/3 is of another model".
      cure: what to do, for the message.

    Raises:
      OtherLeaves: three of them are listed, of each kind where there are several, and how many more there are.
    """
    kinds = (
        [f"missing {name} {wanted[name]}" for name in wanted if name not in found],
        [f"unknown {name} {found[name]}" for name in found if name not in wanted],
        [
            f"{name} is {found[name]}, wanted {wanted[name]}"
            for name in wanted
            if name in found and found[name] != wanted[name]
        ],
    )
    lines = [line for row in itertools.zip_longest(*kinds) for line in row if line]
    if lines:
        more = [f"and {len(lines) - 3} more"] if len(lines) > 3 else []
        count = f"{len(found)} leaves there, {len(wanted)} here"
        raise OtherLeaves(f"{what} ({count}): {'; '.join([*lines[:3], *more])}. {cure}")

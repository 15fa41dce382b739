"""Names, shapes and types of the leaves of a checkpoint beside those of the tree that they are wanted for."""

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


def check_same_leaves(found: Mapping[str, str], wanted: Mapping[str, str], *, where: str) -> None:
    """Raise one ValueError that lists all leaves that are missing, unknown or of another shape or type."""
    lines = [f"missing {name} {wanted[name]}" for name in wanted if name not in found]
    lines += [f"unknown {name} {found[name]}" for name in found if name not in wanted]
    lines += [
        f"{name} is {found[name]}, wanted {wanted[name]}"
        for name in wanted
        if name in found and found[name] != wanted[name]
    ]
    if lines:
        shown = lines[:20] + ([f"and {len(lines) - 20} more"] if len(lines) > 20 else [])
        raise UserError(
            f"{where} is of another model or optimizer ({len(found)} leaves there, {len(wanted)} here): "
            + "; ".join(shown)
            + ". Choose another folder, or the configuration that it was made with"
        )

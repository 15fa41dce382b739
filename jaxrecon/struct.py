"""Frozen dataclasses that are PyTrees: operators and problems as data. As flax.struct, without loading flax.

How dataclasses that hold arrays are printed, these and others, stands here too.
"""

import dataclasses
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


def static(**options: Any) -> Any:
    """A field that is no leaf but part of the structure, as sizes are: another value is another compilation.

    Args:
      **options: of `dataclasses.field`, as `default`.
    """
    return dataclasses.field(metadata={"static": True}, **options)


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, static))
def dataclass(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass whose fields are leaves, or trees of them, unless they are `static`.

    It has a method `replace(**changes)`: the same with other values, and is printed by `shapes_repr`.
    """
    import jax  # here, as readers of files, which need no jax, print by this file

    if "__repr__" not in vars(cls):
        cls.__repr__ = shapes_repr  # type: ignore[method-assign]
    made = dataclasses.dataclass(frozen=True)(cls)
    fields = dataclasses.fields(made)  # type: ignore[arg-type]
    is_static = [bool(field.metadata.get("static")) for field in fields]
    jax.tree_util.register_dataclass(
        made,
        data_fields=[field.name for field, fixed in zip(fields, is_static, strict=True) if not fixed],
        meta_fields=[field.name for field, fixed in zip(fields, is_static, strict=True) if fixed],
    )
    made.replace = dataclasses.replace  # type: ignore[attr-defined]
    return made


def shapes_repr(record: Any) -> str:
    """What a dataclass is printed as: arrays by dtype and shape, without their numbers; what is None or empty is left out.

    Args:
      record: a dataclass; the function stands in its body as `__repr__ = shapes_repr`.
    """
    shown = {f.name: getattr(record, f.name, None) for f in dataclasses.fields(record) if f.repr}
    parts = (f"{name}={_short(value)}" for name, value in shown.items() if not _nothing(value))
    return f"{type(record).__name__}({', '.join(parts)})"


LONGEST, DEEPEST = 4, 2
"""Items of a collection that are printed, and collections within collections."""


def _nothing(value):
    return value is None or (isinstance(value, str | dict | list | tuple) and len(value) == 0)


def _short(value, depth=0):
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, str):
        return repr(value if len(value) <= 80 else value[:77] + "...")
    if isinstance(value, dict | list) or type(value) is tuple:
        left, right = "{}" if isinstance(value, dict) else "[]" if isinstance(value, list) else "()"
        if depth == DEEPEST:
            return f"{left}{len(value)} items{right}"
        texts = [_short(item, depth + 1) for item in (value.values() if isinstance(value, dict) else value)]
        if isinstance(value, dict):
            texts = [f"{key!r}: {text}" for key, text in zip(value, texts, strict=True)]
        more = [f"... {len(value)} items"] if len(value) > LONGEST else []
        return left + ", ".join(texts[:LONGEST] + more) + right
    if callable(value) and hasattr(value, "__name__"):
        return value.__name__
    return repr(value)

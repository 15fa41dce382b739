"""Frozen dataclasses that are PyTrees: operators and problems as data. As flax.struct, without loading flax."""

import dataclasses
from typing import Any, TypeVar, dataclass_transform

import jax

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

    It has a method `replace(**changes)`: the same with other values.
    """
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

"""Experiments as JSON, as a run folder keeps them.

What a run keeps is values and names, never code. A network of a user's own, or a strategy or an optimizer, is therefore
read only by whoever has its configuration at hand, from the user's own file.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ..checks import UserError
from ..models import build
from ..strategies.configs import STRATEGIES
from ..training.checkpoints import as_json
from ..training.optimizers import OPTIMIZERS
from .catalog import CATALOG
from .experiment import Experiment
from .old_forms import renewed

OWN = "own:"
"""What stands before the type of a configuration that is a user's own, as its kind."""
KINDS: dict[str, dict[str, type]] = {
    "model": {name: type(entry.preset.model) for name, entry in CATALOG.items()},
    "strategy": STRATEGIES,
    "optimizer": {name: type(optimizer) for name, optimizer in OPTIMIZERS.items()},
}
"""Field of an experiment that is a configuration -> name of a kind -> its type; the first name of a type is written."""
RECORDS = ("learned_from", "started_from")
"""What a run's JSON holds besides: the data that it learned from, and the weights that it started from."""
_IN_WORDS = {"model": "network", "strategy": "strategy", "optimizer": "optimizer"}


def kind_of(config: Any) -> str:
    """What JSON calls a network, a strategy or an optimizer: its name, or OWN and the name of its type."""
    names = [name for kinds in KINDS.values() for name, kind in kinds.items() if type(config) is kind]
    return names[0] if names else f"{OWN}{type(config).__qualname__}"


def to_json(experiment: Experiment, **records: Mapping[str, str] | None) -> dict[str, Any]:
    """An experiment as JSON holds it; the dict of each configuration gets `kind_of` it as `kind`.

    Args:
      experiment: the experiment.
      **records: what else is known of a run, under the names in RECORDS; `from_json` passes over them.
    """
    content = as_json(experiment)
    content |= {part: {"kind": kind_of(getattr(experiment, part)), **content[part]} for part in KINDS}
    return content | {name: dict(record) for name, record in records.items() if record is not None}


def from_json(content: Any, *, where: str | Path, own: Experiment | None = None) -> Experiment:
    """The inverse of `to_json`, also of what earlier versions wrote; fields that are absent have their defaults.

    Args:
      content: what `load_config` returns.
      where: the run, for messages.
      own: the experiment of the user's own file, for configurations of the user's own: fields that JSON does not hold as
        they are, such as functions, are taken from it.

    Raises:
      ValueError: no experiment, an unknown kind, unknown fields, or values of a wrong type: all are listed.
    """
    if not isinstance(content, Mapping) or not isinstance(content.get("model"), Mapping):
        raise UserError(f"{where}: expected a run of jaxrecon train or convert, found a configuration {content!r}")
    content = renewed(content)
    wrong: list[str] = []
    parts = {name: _part(name, content[name], own, where, wrong) for name in KINDS if name in content}
    rest = {name: value for name, value in content.items() if name not in (*KINDS, *RECORDS)}
    experiment = _fill(Experiment, rest, "", wrong, None, **parts)
    if wrong:
        raise UserError(
            f"{where}: its configuration does not fit this version of jaxrecon: {'; '.join(wrong)}. Use the version "
            "that it was made with"
        )
    return experiment


def check_types(experiment: Experiment, *, where: str | Path) -> None:
    """Refuse values that a dataclass lets pass: those of a wrong type, none of a field's names, or that make no network.

    Args:
      experiment: the experiment of a configuration file.
      where: name of that file, for messages.

    Raises:
      ValueError: all of them are listed.
    """
    wrong: list[str] = []
    content = as_json(experiment)
    parts = {name: getattr(experiment, name) for name in KINDS}
    for name, config in parts.items():
        _fill(type(config), content.pop(name), f"{name}.", wrong, config)
    _fill(Experiment, content, "", wrong, None, **parts)
    if wrong:
        raise UserError(f"configuration {where}: {'; '.join(wrong)}")
    try:
        build(experiment.model)
    except ValueError as error:
        raise UserError(f"configuration {where}: {error}") from error


def _part(name, content, own, where, wrong):
    """The configuration that is a field of an experiment, by its kind."""
    content = dict(content) if isinstance(content, Mapping) else {"kind": content}
    kind, mine = str(content.pop("kind", None)), getattr(own, name, None)
    if kind in KINDS[name]:
        return _fill(KINDS[name][kind], content, f"{name}.", wrong, None)
    if own is not None and kind == kind_of(mine):
        return _fill(type(mine), content, f"{name}.", wrong, mine)
    if not kind.startswith(OWN):
        raise UserError(f"{where}: there is no {_IN_WORDS[name]} '{kind}'; there are {', '.join(KINDS[name])}")
    has = f", but what is given is the file of a {type(mine).__qualname__}" if own is not None else ""
    raise UserError(
        f"{where}: its {_IN_WORDS[name]} is {kind.removeprefix(OWN)}, of a file of its user's own{has}. A run never causes "
        "code to run: give the file whose experiment(...) it was trained with, as --experiment my_experiment.py"
    )


def _fill(kind, values, prefix, wrong, own, **given):
    """A dataclass from a dict; what does not fit is added to `wrong` and left out."""
    hints, kept = _hints(kind), {}
    for name, value in values.items() if isinstance(values, Mapping) else ():
        hint, of_own = hints.get(name), getattr(own, name, None)
        value = _of_json(value, hint)
        hint = _alternative(hint, value, of_own)
        if name not in hints or name in given:
            wrong.append(f"unknown field {prefix}{name}")
        elif dataclasses.is_dataclass(hint):
            kept[name] = _fill(hint, value, f"{prefix}{name}.", wrong, of_own)
        elif own is not None and not _is_plain(hint):
            # JSON holds no functions and no arrays: what it holds of them is compared
            if as_json(of_own) != as_json(value):
                wrong.append(f"{prefix}{name} is {value!r}, and {of_own!r} in the file")
            kept[name] = of_own
        elif not _fits(value, hint):
            wrong.append(f"{prefix}{name} is {value!r}, wanted {hint}")
        else:
            kept[name] = value
    return kind(**kept, **given)


def _hints(kind):
    try:
        return typing.get_type_hints(kind)
    except NameError:  # of a user's file, whose names are not known here
        return {field.name: Any for field in dataclasses.fields(kind)}


def _alternative(hint, value, own):
    """Of several dataclasses that a part can be the one with the fields that JSON has of it; else what was asked."""
    kinds = [one for one in typing.get_args(hint) if dataclasses.is_dataclass(one)]
    if not isinstance(value, Mapping) or (dataclasses.is_dataclass(own) and type(own) not in kinds):
        return hint
    fitting = [kind for kind in kinds if value.keys() <= {field.name for field in dataclasses.fields(kind)}]
    return fitting[0] if len(fitting) == 1 else hint


def _of_json(value, hint):
    """Lists are tuples, unless a list is wanted."""
    if not isinstance(value, list) or typing.get_origin(hint) is list:
        return value
    return tuple(_of_json(part, None) for part in value)


def _is_plain(hint) -> bool:
    """Whether JSON holds such values as they are."""
    if typing.get_origin(hint) is Literal or hint in (int, float, str, bool, type(None)):
        return True
    inner = [one for one in typing.get_args(hint) if one is not ...]
    return (
        bool(inner)
        and typing.get_origin(hint) in (typing.Union, types.UnionType, tuple, list)
        and all(map(_is_plain, inner))
    )


def _fits(value, hint) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return value in inner
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is list:
        return isinstance(value, list) and all(_fits(one, inner[0]) for one in value)
    if origin is tuple:
        inner = (inner[0],) * len(value) if inner[1:] == (...,) and isinstance(value, tuple) else inner
        return isinstance(value, tuple) and len(value) == len(inner) and all(map(_fits, value, inner))
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)

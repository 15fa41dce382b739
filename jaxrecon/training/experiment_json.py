"""Experiments as JSON, as a run folder keeps them."""

import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from .checkpoints import as_json
from .experiment import Experiment, SimulatedHeads
from .networks import MODELS, model_name


def to_json(experiment: Experiment, *, data: Mapping[str, str] | None = None) -> dict[str, Any]:
    """An experiment as JSON holds it; the network's dict gets its name as `kind`.

    Args:
      experiment: the experiment.
      data: what the run learned from, for the record, under the key `data`; `from_json` passes over it.
    """
    content = as_json(experiment) | ({} if data is None else {"data": dict(data)})
    return content | {"model": {"kind": model_name(experiment.model), **content["model"]}}


def from_json(content: Any, *, where: str | Path) -> Experiment:
    """The inverse of `to_json`; fields that are absent have their defaults.

    Args:
      content: what `load_config` returns.
      where: the run, for messages.

    Raises:
      ValueError: no experiment, an unknown network, unknown fields, or values of a wrong type: all are listed.
    """
    if not isinstance(content, Mapping) or not isinstance(content.get("model"), Mapping):
        raise ValueError(f"{where}: expected a run of jaxrecon train or convert, found a configuration {content!r}")
    kind = content["model"].get("kind")
    if kind not in MODELS:
        raise ValueError(f"{where}: there is no network '{kind}'; there are {', '.join(MODELS)}")
    experiment, wrong = _read(content)
    if wrong:
        raise ValueError(
            f"{where}: its configuration does not fit this version of jaxrecon: {'; '.join(wrong)}. Use the version "
            "that it was made with"
        )
    return experiment


def check_types(experiment: Experiment, *, where: str | Path) -> None:
    """Refuse values that a dataclass lets pass: those of a wrong type, or that are none of a field's names.

    Args:
      experiment: the experiment of a configuration file.
      where: name of that file, for messages.

    Raises:
      ValueError: all of them are listed.
    """
    _, wrong = _read(to_json(experiment))
    if wrong:
        raise ValueError(f"configuration {where}: {'; '.join(wrong)}")


def _read(content):
    """(experiment, what does not fit)."""
    wrong: list[str] = []
    model = {k: v for k, v in content["model"].items() if k != "kind"}
    model = _fill(MODELS[content["model"]["kind"]][0], model, "model.", wrong)
    simulated = _fill(SimulatedHeads, content.get("simulated", {}), "simulated.", wrong)
    rest = {k: v for k, v in content.items() if k not in ("model", "simulated", "data")}
    return _fill(Experiment, rest, "", wrong, model=model, simulated=simulated), wrong


def _fill(kind, values, prefix, wrong, **given):
    """A dataclass from a dict; what does not fit is added to `wrong` and left out."""
    hints, kept = typing.get_type_hints(kind), {}
    for name, value in values.items() if isinstance(values, Mapping) else ():
        value = tuple(value) if isinstance(value, list) else value
        if name not in hints or name in given:
            wrong.append(f"unknown field {prefix}{name}")
        elif not _fits(value, hints[name]):
            wrong.append(f"{prefix}{name} is {value!r}, wanted {hints[name]}")
        else:
            kept[name] = value
    return kind(**kept, **given)


def _fits(value, hint) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return value in inner
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is tuple:
        inner = (inner[0],) * len(value) if inner[1:] == (...,) and isinstance(value, tuple) else inner
        return isinstance(value, tuple) and len(value) == len(inner) and all(map(_fits, value, inner))
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)

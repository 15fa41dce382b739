"""Experiments as JSON, as a run folder keeps them.

What a run keeps is values and names, never code. A network of a user's own is therefore read only by whoever has its
configuration at hand, from the user's own file.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ..models import ModelConfig, build
from ..training.checkpoints import as_json
from ..training.experiment import Experiment
from .catalog import CATALOG, entry_of

OWN = "own:"
"""What stands before the type of a configuration that is a user's own, as the kind of a network."""
_SIZES = (
    "features",
    "level_features",
    "prompt_features",
    "sens_features",
    "sens_level_features",
    "sens_prompt_features",
    "prompt_lengths",
    "prompt_sizes",
    "enc_cabs",
    "dec_cabs",
    "skip_cabs",
    "bottleneck_cabs",
    "attention",
)
_RENAMED: dict[str, dict[str, str | None]] = {
    "promptmr": {name: f"sizes.{name}" for name in _SIZES},
    "promptmr-plus": {name: f"sizes.{name}" for name in _SIZES},
    "deep-jsense": {"given_maps": None},
    "modl-deep-jsense": dict.fromkeys(
        ("given_maps", "map_iters", "kernel", "map_net", "n_sets", "start", "grid", "convention")
    ),
}
"""Kind -> field that earlier versions wrote -> where it is now; None: it is no more."""
_OTHER_KIND = {("deep-jsense", "given_maps"): "modl-deep-jsense"}
"""(kind, field) that is true, as earlier versions wrote it -> the kind that this network has now."""


def kind_of(config: ModelConfig) -> str:
    """What the JSON of a run calls a network: the name of an entry of the catalogue, or OWN and a type's name."""
    entry = entry_of(config)
    return entry.name if entry else f"{OWN}{type(config).__qualname__}"


def to_json(experiment: Experiment, *, data: Mapping[str, str] | None = None) -> dict[str, Any]:
    """An experiment as JSON holds it; the network's dict gets `kind_of` it as `kind`.

    Args:
      experiment: the experiment.
      data: what the run learned from, for the record, under the key `data`; `from_json` passes over it.
    """
    content = as_json(experiment) | ({} if data is None else {"data": dict(data)})
    return content | {"model": {"kind": kind_of(experiment.model), **content["model"]}}


def from_json(content: Any, *, where: str | Path, own: ModelConfig | None = None) -> Experiment:
    """The inverse of `to_json`; fields that are absent have their defaults.

    Args:
      content: what `load_config` returns.
      where: the run, for messages.
      own: the configuration in the user's own file, whose type is that of the run's: fields that JSON does not hold as they
        are, such as functions, are taken from it.

    Raises:
      ValueError: no experiment, an unknown network, unknown fields, or values of a wrong type: all are listed.
    """
    if not isinstance(content, Mapping) or not isinstance(content.get("model"), Mapping):
        raise ValueError(f"{where}: expected a run of jaxrecon train or convert, found a configuration {content!r}")
    model = _present(content["model"])
    kind = str(model.pop("kind", None))
    if kind in CATALOG:
        config, own = CATALOG[kind].preset.model, None
    elif own is not None and kind == kind_of(own):
        config = own
    elif kind.startswith(OWN):
        has = f", but what is given is the file of a {type(own).__qualname__}" if own is not None else ""
        raise ValueError(
            f"{where}: its network is {kind.removeprefix(OWN)}, of a file of its user's own{has}. A run never causes code to "
            "run: give the file whose experiment(...) it was trained with, as --experiment my_experiment.py"
        )
    else:
        raise ValueError(f"{where}: there is no network '{kind}'; there are {', '.join(CATALOG)}")
    experiment, wrong = _read({**content, "model": model}, type(config), own)
    if wrong:
        raise ValueError(
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
    _, wrong = _read(as_json(experiment), type(experiment.model), experiment.model)
    if wrong:
        raise ValueError(f"configuration {where}: {'; '.join(wrong)}")
    try:
        build(experiment.model)
    except ValueError as error:
        raise ValueError(f"configuration {where}: {error}") from error


def _present(model):
    """A network as versions up to now wrote it, as it is written now."""
    kind = model.get("kind")
    kind = next((new for (old, field), new in _OTHER_KIND.items() if kind == old and model.get(field)), kind)
    moved, now = _RENAMED.get(kind, {}), {"kind": kind}
    for name, value in model.items():
        *outer, last = (moved.get(name, name) or "").split(".")
        place: Any = now
        for part in outer:
            place = place.setdefault(part, {})
        if last and name != "kind":
            place[last] = value
    return now


def _read(content, kind, own):
    """(experiment, what does not fit)."""
    wrong: list[str] = []
    model = _fill(kind, content["model"], "model.", wrong, own)
    rest = {k: v for k, v in content.items() if k not in ("model", "data")}
    return _fill(Experiment, rest, "", wrong, None, model=model), wrong


def _fill(kind, values, prefix, wrong, own, **given):
    """A dataclass from a dict; what does not fit is added to `wrong` and left out."""
    hints, kept = _hints(kind), {}
    for name, value in values.items() if isinstance(values, Mapping) else ():
        hint, of_own = hints.get(name), getattr(own, name, None)
        value = _of_json(value, hint)
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

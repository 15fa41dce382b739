"""Experiments as earlier versions wrote them: all fields at one level, strategy and optimizer by their names."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from ..checks import UserError
from ..strategies.configs import STRATEGIES
from ..training.checkpoints import as_json
from ..training.optimizers import OPTIMIZERS

NOW = {
    "n_modules": "strategy.n_modules",
    "n_checkpoints": "strategy.n_checkpoints",
    "learning_rate": "optimizer.learning_rate",
    "mask": "data.mask",
    "acceleration": "data.acceleration",
    "acs": "data.acs",
    "n_masks": "data.n_masks",
    "slices": "data.slices",
    "target": "data.target",
    "scale": "data.scale",
    "data_range": "data.data_range",
    "shape": "data.shape",
    "n_coils": "data.n_coils",
    "espirit_crop": "data.espirit_crop",
    "evaluate_every": "every.evaluate",
    "checkpoint_every": "every.checkpoint",
    "log_every": "every.log",
}
"""Field of an earlier version -> where it is now."""
_FORMER_DEFAULTS = {"espirit_crop": 0.95}
"""Field of `DataConfig` -> its default before it had today's, of runs that do not say theirs."""
_ALSO = {"every": "strategy.every", "data": "learned_from"}
"""The same for names that have another meaning today."""
_MODULES = tuple(f"jaxrecon.training.{name}" for name in ("experiment", "networks", "presets"))
_NAMES = ("Experiment", "SimulatedHeads")
"""What was in jaxrecon.training."""
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
_OF_NETWORKS: dict[str, dict[str, str | None]] = {
    "promptmr": {name: f"sizes.{name}" for name in _SIZES},
    "promptmr-plus": {name: f"sizes.{name}" for name in _SIZES},
    "deep-jsense": {"given_maps": None},
    "modl-deep-jsense": dict.fromkeys(
        ("given_maps", "map_iters", "kernel", "map_net", "n_sets", "start", "grid", "convention")
    ),
}
"""Kind of a network -> its field of an earlier version -> where it is now; None: it is no more."""
_OTHER_KIND = {("deep-jsense", "given_maps"): "modl-deep-jsense"}
"""(kind, field that is true) of an earlier version -> the kind that this network has now."""


class OldForm(UserError):
    """An experiment is written as earlier versions had it: the message has the new words."""

    def __init__(self, found: str):
        place = f" ({found} is {NOW[found]} now)" if found in NOW else ""
        super().__init__(
            f"found {found} in the form of an earlier version{place}: strategy and optimizer are configurations, and fields "
            "are in groups, as in Experiment(model, strategy=Gleam(n_modules=2), optimizer=Adam(learning_rate=1e-3), "
            "data=DataConfig(mask='random', acceleration=4.0), every=Every(evaluate=1000, checkpoint=1000, log=50)); "
            "Experiment, DataConfig, Every, SimulatedHeads and CATALOG are in jaxrecon.experiment, the "
            f"strategies are {_types(STRATEGIES.values())} of jaxrecon.strategies, the optimizers "
            f"{_types(map(type, OPTIMIZERS.values()))} of jaxrecon.training.optimizers"
        )


def _types(kinds):
    return ", ".join(dict.fromkeys(kind.__name__ for kind in kinds))


def old_form(error: BaseException) -> OldForm | None:
    """What stopped a configuration file, if it is that the file is written for an earlier version; else None."""
    if isinstance(error, OldForm):
        return error
    if isinstance(error, TypeError):
        found = re.search(r"Experiment\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
        return OldForm(found[1]) if found and found[1] in NOW else None
    if isinstance(error, ModuleNotFoundError):
        return OldForm(f"import {error.name}") if error.name in _MODULES else None
    found = re.search(r"cannot import name '(\w+)' from 'jaxrecon\.training'", str(error))
    return OldForm(f"from jaxrecon.training import {found[1]}") if found and found[1] in _NAMES else None


def renewed(content: Mapping[str, Any]) -> dict[str, Any]:
    """An experiment in JSON as it is written now; what is so already stays as it is."""
    now = _in_todays_groups(content)
    if isinstance(learned := now.get("learned_from"), Mapping) and "found" in learned:
        # one was in the plural
        now["learned_from"] = {**learned, "found": re.sub(r"\b1 (file|slice)s\b", r"1 \1", str(learned["found"]))}
    data = now.get("data", {})
    return {**now, "data": {**_FORMER_DEFAULTS, **data}} if isinstance(data, Mapping) else now


def _in_todays_groups(content: Mapping[str, Any]) -> dict[str, Any]:
    content = {**content, **({"model": _network(content["model"])} if "model" in content else {})}
    names = {name: content.pop(name) for name in ("strategy", "optimizer") if isinstance(content.get(name), str)}
    if not names and not NOW.keys() & content.keys():
        return content
    now = _moved(content, _ALSO | NOW)
    # each strategy had the fields of all; None was the recipe's own rate
    strategy, optimizer = names.get("strategy", "end_to_end"), names.get("optimizer", "adam")
    own = {field.name for field in dataclasses.fields(STRATEGIES[strategy])} if strategy in STRATEGIES else set()
    fields = {name: value for name, value in now.get("strategy", {}).items() if name in own}
    published = as_json(OPTIMIZERS[optimizer]) if optimizer in OPTIMIZERS else {}
    rate = {name: value for name, value in now.get("optimizer", {}).items() if value is not None}
    configs = {"strategy": {"kind": strategy, **fields}, "optimizer": {"kind": optimizer, **published, **rate}}
    return {**now, **configs}


def _network(model):
    kind = model.get("kind")
    kind = next((new for (old, field), new in _OTHER_KIND.items() if kind == old and model.get(field)), kind)
    return {**_moved(model, _OF_NETWORKS.get(kind, {})), "kind": kind}


def _moved(content, places):
    """A dict with its values at other places, as "group.name"; without those whose place is None."""
    now: dict[str, Any] = {}
    for name, value in content.items():
        *groups, last = (places.get(name, name) or "").split(".")
        place = now
        for group in groups:
            place = place.setdefault(group, {})
        if last:
            place[last] = value
    return now

"""Experiments as earlier versions wrote them: all fields at one level, strategy and optimizer by their names."""

import re
from collections.abc import Mapping
from typing import Any

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
_ALSO = {"every": "strategy.every", "data": "learned_from"}
"""The same for names that have another meaning today."""


class OldForm(ValueError):
    """An experiment is written as earlier versions had it: the message has the new words."""

    def __init__(self, found: str):
        place = f" ({found} is {NOW[found]} now)" if found in NOW else ""
        super().__init__(
            f"found {found} in the form of an earlier version{place}: strategy and optimizer are configurations, and fields "
            "are in groups, as in Experiment(model, strategy=Gleam(n_modules=2), optimizer=Adam(learning_rate=1e-3), "
            "data=DataConfig(mask='random', acceleration=4.0), every=Every(evaluate=1000, checkpoint=1000, log=50)); the "
            f"strategies are {_types(STRATEGIES.values())} of jaxrecon.strategies, the optimizers "
            f"{_types(map(type, OPTIMIZERS.values()))} of jaxrecon.training.optimizers"
        )


def _types(kinds):
    return ", ".join(dict.fromkeys(kind.__name__ for kind in kinds))


def old_field(error: BaseException) -> str | None:
    """The field of an earlier version that an Experiment was called with, if that is what an error tells of."""
    found = re.search(r"unexpected keyword argument '(\w+)'", str(error)) if isinstance(error, TypeError) else None
    return found[1] if found and found[1] in NOW else None


def renewed(content: Mapping[str, Any]) -> dict[str, Any]:
    """An experiment in JSON as it is written now; what is so already stays as it is."""
    names = {name: content[name] for name in ("strategy", "optimizer") if isinstance(content.get(name), str)}
    if not names and not NOW.keys() & content.keys():
        return dict(content)
    now: dict[str, Any] = {}
    for name, value in content.items():
        if name not in names:
            *groups, last = (_ALSO | NOW).get(name, name).split(".")
            place = now
            for group in groups:
                place = place.setdefault(group, {})
            place[last] = value
    # each strategy had the fields of all
    strategy = STRATEGIES.get(names.get("strategy", "end_to_end"))
    own = getattr(strategy, "__dataclass_fields__", {})
    fields = {name: value for name, value in now.get("strategy", {}).items() if name in own}
    now["strategy"] = {"kind": names.get("strategy", "end_to_end"), **fields}
    # None was the recipe's own rate
    rate = {name: value for name, value in now.get("optimizer", {}).items() if value is not None}
    optimizer = names.get("optimizer", "adam")
    published = as_json(OPTIMIZERS[optimizer]) if optimizer in OPTIMIZERS else {}
    now["optimizer"] = {"kind": optimizer, **published, **rate}
    return now

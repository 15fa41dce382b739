"""Whether the run in a folder can go on: the same experiment, data and first weights, and a rate that does not jump."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..checks import UserError
from ..training import load_config
from ..training.checkpoints import FOLDER, check_length
from ..training.optimizers import depends_on_length
from .as_json import RECORDS, from_json, kind_of, to_json
from .experiment import Experiment
from .old_forms import renewed
from .starting import StartingWeights

MAY_CHANGE = (
    "n_updates",
    "every.evaluate",
    "every.checkpoint",
    "every.log",
    "strategy.n_modules",
    "strategy.schedule",
    "strategy.n_batches",
)
"""Fields in which a run that goes on may differ."""


class Resumed(NamedTuple):
    """A run that goes on.

    Attributes:
      made: updates that it has made.
      started_from: the record of the weights that it started from, if not from random ones.
    """

    made: int
    started_from: dict[str, str] | None


def check_resume(
    experiment: Experiment,
    out: Path,
    *,
    data: Mapping[str, str] | None = None,
    start: StartingWeights | None = None,
) -> Resumed:
    """Refuse a folder that holds a run of another experiment, of other data, or from other weights.

    Args:
      experiment: the run that is to go on.
      out: the run folder.
      data: what it learns from, by name, where the run keeps a record of that. Where it has a fingerprint of its files, these
        may be anywhere.
      start: the weights that it starts from; None: it is not said.

    Returns:
      What the run in the folder has made; nothing where there is none.

    Raises:
      ValueError: the fields that differ are listed; or it has more updates than it is to have.
    """
    folder = out / FOLDER
    steps = [int(p.name) for p in folder.iterdir() if p.name.isdigit()] if folder.is_dir() else []
    if not steps:
        return Resumed(0, None)
    content, made = load_config(out), max(steps)
    stored = from_json(content, where=out, own=experiment)
    learned_from, started_from = (renewed(content).get(name) for name in RECORDS)
    if made == 0 and learned_from is None:
        raise UserError(
            f"{out} holds converted weights, no run that could go on: to train on from them choose another folder, and start "
            f"from them as weights (--weights {out})"
        )
    if start is not None and (started_from or {}).get("weights") != start.named["weights"]:
        raise UserError(
            f"{out} holds a run already, which did not start from the weights {start.named['path']}: choose another folder, or "
            "leave the weights out to go on with it"
        )
    recorded, data = _comparable(learned_from, data)
    before, after = _flat(to_json(stored, learned_from=recorded)), _flat(to_json(experiment, learned_from=data))
    # another kind explains the fields that differ with it
    names = sorted(before.keys() | after.keys(), key=lambda name: (not name.endswith(".kind"), name))
    different = [
        f"{name} {before.get(name)}, now {after.get(name)}"
        for name in names
        if before.get(name) != after.get(name)
        and name not in MAY_CHANGE
        # one makes the updates of the other, from the same state
        and not all(flat.get(name) in ("gleam", "p_gleam") for flat in (before, after))
    ]
    if different:
        raise UserError(
            f"{out} holds a run of another experiment or of other data: {'; '.join(different)}. Choose another folder "
            f"(to start from its weights: --weights {out}), or the options that it was made with"
        )
    check_length(out, made, experiment.n_updates)
    if stored.n_updates != experiment.n_updates and depends_on_length(experiment.optimizer):
        raise UserError(
            f"{out} holds a run of n_updates {stored.n_updates}, now {experiment.n_updates}: the rate of "
            f"{kind_of(experiment.optimizer)} depends on the length of the run, and would jump. Choose another folder and "
            f"start from its weights (--weights {out}), or keep the length"
        )
    return Resumed(made, started_from)


def _comparable(recorded: Mapping[str, str] | None, data: Mapping[str, str] | None) -> Any:
    """(what a run learned from, what it is to learn from) as far as they can be compared: by content, else by paths."""
    if data is None:
        return None, None
    recorded = data if recorded is None else recorded
    left_out = ("training", "validation") if "files" in recorded and "files" in data else ("files",)
    return tuple({name: one[name] for name in one if name not in left_out} for one in (recorded, data))


def _flat(content, prefix=""):
    out: dict[str, Any] = {}
    for name, value in content.items():
        out |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return out

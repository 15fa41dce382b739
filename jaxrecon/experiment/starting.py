"""Where a training starts from other weights than random ones: those of a run, or of a file."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ..checks import DataError, UserError
from ..files import check_file
from ..models import abstract_params
from ..training import load_config, load_params
from ..training.checkpoints import FOLDER
from ..training.leaves import OtherLeaves
from ..trees import leaves_by_name
from ..typing import Params
from ..weights import from_published, read
from .as_json import kind_of, to_json
from .catalog import entry_of
from .convert import WEIGHTS, check_version, differences, experiment_of, exported_experiment, is_run
from .experiment import Experiment
from .old_forms import renewed


class StartingWeights(NamedTuple):
    """Weights that a training starts from.

    Attributes:
      params: the weights, as the network has them.
      named: the same for the record of a run: where they are, and a fingerprint of all their numbers.
      described: where they are, and in what the network that they are of, or the scale of its data, is another.
    """

    params: Params
    named: dict[str, str]
    described: str


def starting_weights(experiment: Experiment, source: str | Path) -> StartingWeights:
    """The weights of a run, or of a file, for the network of an experiment.

    Args:
      experiment: what is to be trained.
      source: a run folder, trained (its best weights) or converted; or a file of weights under published names, of PyTorch,
        TensorFlow or an .npz.

    Raises:
      DataError: no weights, or damaged ones; of a file also those of another network.
      ValueError: weights of another network: names that are missing or left over are listed, and what differs; or weights
        that are not finite.
    """
    source = Path(source)
    if source.is_dir() and not is_run(source):
        raise UserError(f"{source} is no run folder to start from: it has no folder '{FOLDER}'")
    params, there, remark = _of_run(experiment, source) if is_run(source) else _of_file(experiment, source)
    leaves = leaves_by_name(params)
    if wrong := [name for name, leaf in leaves.items() if not np.isfinite(leaf).all()]:
        raise UserError(f"{source}: not finite are {', '.join(wrong)}")
    digest = hashlib.sha256()
    for name, leaf in sorted(leaves.items()):
        digest.update(f"{name} {leaf.dtype} {leaf.shape}\n".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    told = [text for text in (remark, f"there {'; '.join(there)}" if there else "") if text]
    named = {"path": str(source.absolute()), "weights": digest.hexdigest()[:12]}
    return StartingWeights(params, named, "; ".join([str(source), *told]))


def _of_run(experiment, source):
    """(weights, what differs there, "")."""
    stored = load_config(source)
    there = _different(experiment, renewed(stored)) if isinstance(stored, dict) else []
    try:
        params = load_params(source, abstract_params(experiment.model))
    except OtherLeaves as error:
        raise UserError(f"{source}: {_of_another(there)}{error}") from error
    return jax.device_get(params), there, ""


def _of_file(experiment, source):
    """(weights, what differs where they were exported, what is not known of them)."""
    entry = entry_of(experiment.model)
    if entry is None or entry.published is None:
        check_file(source)
        raise UserError(
            f"{source} is no run folder, and of a {kind_of(experiment.model)} no published names are known: there are those of "
            f"{', '.join(WEIGHTS)}"
        )
    state, wrote = read(source), exported_experiment(source)
    remark = "" if wrote else check_version(source, entry.published)
    # published weights have learned for the units of their works, which their files do not tell
    there = _different(experiment, to_json(wrote or experiment_of(entry.published, experiment.model)))
    try:
        params, _ = from_published(state, entry.published, config=experiment.model)
    except DataError as error:
        if not wrote or not there:
            there = _seen(state, entry.published, experiment)
        raise DataError(f"{source}: {_of_another(there)}{error}") from error
    return params, there, remark


def _seen(state, published, experiment):
    """What the names and shapes of weights tell of their network that the experiment has otherwise."""
    try:
        _, inferred = from_published(state, published)
    except DataError:
        return []
    return [
        f"model.{name} {getattr(inferred, name)}, not {getattr(experiment.model, name)}"
        for name in differences(inferred, experiment.model)
    ]


def _of_another(there):
    return f"its own network has {'; '.join(there)}. " if there else ""


def _different(experiment: Experiment, stored: Any) -> list[str]:
    """What a stored experiment has otherwise, of the network and the scale of the data: weights have learned for these."""
    own, found = to_json(experiment), []
    for part in ("model", "data"):
        theirs = stored.get(part, {})
        names = [name for name in own[part] if name in theirs and (part == "model" or name == "scale")]
        found += [f"{part}.{n} {theirs[n]}, not {own[part][n]}" for n in names if theirs[n] != own[part][n]]
    return found

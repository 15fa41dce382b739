"""Training of an experiment: from its data to a run folder, which is its resume point."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh

from ..checks import UserError
from ..data.pipeline import Batches, batches, labelled
from ..metrics import VARIANTS
from ..models import abstract_params, batched, build
from ..problem import Problem, Target
from ..strategies.configs import PGleam, StrategyConfig, stopped
from ..strategies.update import Update
from ..training import RunFolder, Scores, evaluator, fit, load_config, load_params, read_log
from ..training.checkpoints import FOLDER
from ..typing import Key, Params
from .as_json import from_json, to_json
from .data import Split, TrainingData, find_data
from .experiment import Experiment, make_update
from .old_forms import renewed
from .preparation import draw_mask, preparation

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


@dataclasses.dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
      out: the run folder, for `jaxrecon.load_network`.
      experiment: what was trained, and how.
      n_empty: slices without signal that were left out.
    """

    out: Path
    experiment: Experiment
    n_empty: int = 0

    @functools.cached_property
    def params(self) -> Params:
        """The weights to reconstruct with: the best by the evaluations, or the newest where there were none."""
        return load_params(self.out, abstract_params(self.experiment.model))

    @functools.cached_property
    def records(self) -> list[dict[str, Any]]:
        """The records of the log: see `jaxrecon.training.read_log`."""
        return read_log(self.out)

    @property
    def best(self) -> dict[str, Any] | None:
        """The record of the evaluation whose weights are the best; None: there were no evaluations."""
        evaluations = [record for record in self.records if record["event"] == "evaluation"]
        name, mode = rank_by(self.experiment.variant)
        choose = min if mode == "min" else max
        return choose(evaluations, key=lambda record: record[name]) if evaluations else None


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingPlan:
    """A training that is prepared: nothing is written yet, and `run` does the rest.

    Attributes:
      experiment: what is trained, and how.
      out: the run folder.
      data: the slices.
      mesh: the devices; None: one.
      strategy: that of the experiment, with what these devices make it choose.
      feed: the batches.
      example: the first of them.
      params: the initial weights.
      update: the training step.
      evaluate: weights -> scores on the validation slices; None: there are none.
      key: the key of what is random in the training.
    """

    experiment: Experiment
    out: Path
    data: TrainingData
    mesh: Mesh | None
    strategy: StrategyConfig
    feed: Batches
    example: tuple[Problem, Target]
    params: Params
    update: Update
    evaluate: Callable[[Params], Scores] | None
    key: Key

    @property
    def n_params(self) -> int:
        """How many parameters the network has."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.params))

    @property
    def size(self) -> tuple[int, ...]:
        """The size of the k-space of an example, ([frame or adjacent,] coil, y, x)."""
        return self.example[0].kspace.shape[1:]

    @property
    def acceleration(self) -> float | None:
        """R that the experiment's first mask reaches at this size; None: the masks are those of the files."""
        if self.experiment.data.mask is None:
            return None
        return float(1 / np.mean(draw_mask(self.experiment, self.size, 0) != 0))

    def run(self, *, progress: bool = False) -> Trained:
        """Train, or go on with the run in the folder.

        Args:
          progress: show a progress bar.

        Raises:
          TrainingError: the training cannot go on; the message says why.
          OSError: the folder cannot be written.
        """
        experiment = self.experiment
        best = rank_by(experiment.variant) if self.evaluate else None
        fit(
            self.update,
            self.params,
            self.feed,
            out=RunFolder(self.out, to_json(experiment, learned_from=self.data.named), best=best),
            n_updates=experiment.n_updates,
            evaluate=self.evaluate,
            every=experiment.every,
            key=self.key,
            progress=progress,
        )
        return Trained(self.out, experiment, self.feed.n_empty)


def train(
    experiment: Experiment,
    *,
    data: str | Path | TrainingData,
    out: str | Path,
    validation: str | Path | None = None,
    split: Split | None = None,
    mesh: Mesh | None = None,
    progress: bool = False,
) -> Trained:
    """Train a network; killed at any moment and called again, it ends with the same weights.

    The run folder gets checkpoints, log.jsonl and pictures of the validation: see `jaxrecon.training.fit`.

    Args:
      experiment: the network, its strategy, optimizer, loss and data.
      data: a folder of fully sampled scans, a file, "simulated", or slices in memory as `TrainingData`.
      out: the run folder. If it holds a run of the same experiment on the same data, that run goes on.
      validation: a folder or file for validation; None: a tenth of the subjects of `data`.
      split: parts of the subjects of `data`, sorted by name, for training, validation and a test that training leaves
        alone; not beside `validation`.
      mesh: devices, as `jaxrecon.strategies.module_mesh` makes it; p_gleam spreads its modules over them, other
        strategies the examples of a batch. None: one device.
      progress: show a progress bar; nothing else is printed.

    Returns:
      Trained: the run folder, the weights to reconstruct with, and the records of the log.

    Raises:
      DataError: no data file, or a damaged one.
      ValueError: settings or data that do not fit each other, or a folder with another run: the differences are listed.
      TrainingError: a loss is not finite, or the data end.
      OSError: the run folder cannot be written.

    Example:
      >>> import tempfile
      >>> from jaxrecon.models import UNetConfig
      >>> heads = jr.experiment.SimulatedHeads(heads=2, validation_heads=1, slices=1, shape=(24, 20), coils=2)
      >>> tiny = jr.Experiment(UNetConfig(features=2, pools=1), loss="l1", n_updates=1, simulated=heads)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     trained = jr.train(tiny, data="simulated", out=folder)
      ...     [record["event"] for record in trained.records], jr.load_network(trained.out).name
      (['training', 'evaluation'], 'unet')
    """
    plan = prepare_training(experiment, data=data, out=out, validation=validation, split=split, mesh=mesh)
    return plan.run(progress=progress)


def prepare_training(
    experiment: Experiment,
    *,
    data: str | Path | TrainingData,
    out: str | Path,
    validation: str | Path | None = None,
    split: Split | None = None,
    mesh: Mesh | None = None,
) -> TrainingPlan:
    """All of `train` up to the first update, for a look at what is going to be trained.

    Args:
      experiment: as in `train`.
      data: as in `train`.
      out: the run folder.
      validation: as in `train`.
      split: as in `train`.
      mesh: devices; None: one.

    Raises:
      DataError: no data file, or a damaged one.
      ValueError: settings or data that do not fit each other, or a folder with another run: the differences are listed.
    """
    out = Path(out)
    how = preparation(experiment)
    if not isinstance(data, TrainingData):
        data = find_data(experiment, data, validation, split=split)
    check_resume(experiment, out, data=data.named)
    feed = batches(data.training, how, batch_size=experiment.batch_size, seed=experiment.seed)
    example = _first(feed)
    params_key, key = jax.random.split(jax.random.key(experiment.seed))
    params = jax.jit(batched(build(experiment.model)).init)(params_key, example[0])
    strategy = experiment.strategy
    if mesh is not None and isinstance(strategy, PGleam):
        strategy = strategy.on(mesh, n_updates=experiment.n_updates)
    on_devices = dataclasses.replace(experiment, strategy=strategy)
    update = make_update(on_devices, updates_per_epoch=feed.per_epoch, mesh=mesh)
    evaluate = None
    if len(data.validation):
        examples = labelled(data.validation, preparation(experiment, use="validation"))
        model = build(experiment.model)
        model = stopped(model.frozen or model, experiment.strategy)
        evaluate = evaluator(model, examples, variant=experiment.variant)
    return TrainingPlan(experiment, out, data, mesh, strategy, feed, example, params, update, evaluate, key)


def check_resume(experiment: Experiment, out: Path, *, data: Mapping[str, str] | None = None) -> None:
    """Refuse a folder that holds a run of another experiment, or of other data.

    Args:
      experiment: the run that is to go on.
      out: the run folder.
      data: what it learns from, by name, where the run keeps a record of that.

    Raises:
      ValueError: the fields that differ are listed.
    """
    folder = out / FOLDER
    if not folder.is_dir() or not any(p.name.isdigit() for p in folder.iterdir()):
        return
    stored = load_config(out)
    recorded = None
    if data is not None:
        # what a run of an earlier version has no record of, is not compared
        record = renewed(stored).get("learned_from", data)
        recorded = {name: data[name] for name in ("files",) if name in data} | record
    before = _flat(to_json(from_json(stored, where=out, own=experiment), learned_from=recorded))
    after = _flat(to_json(experiment, learned_from=data))
    names = sorted(before.keys() | after.keys())
    different = [
        f"{name} {before.get(name)}, now {after.get(name)}"
        for name in names
        if before.get(name) != after.get(name)
        and name not in MAY_CHANGE
        # one makes the updates of the other, from the same state
        and not {before.get(name), after.get(name)} <= {"gleam", "p_gleam"}
    ]
    if different:
        raise UserError(
            f"{out} holds a run of another experiment or of other data: {'; '.join(different)}. Choose another folder, "
            "or the options that it was made with"
        )


def rank_by(variant: str) -> tuple[str, Literal["min", "max"]]:
    """The metric that chooses the best weights, and whether its smallest or largest value does."""
    return ("nmse", "min") if "nmse" in VARIANTS[variant].metrics else ("psnr", "max")


def _flat(content, prefix=""):
    out: dict[str, Any] = {}
    for name, value in content.items():
        out |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return out


def _first(feed):
    """The first batch; its readers are ended."""
    iterator = iter(feed)
    try:
        return next(iterator)
    finally:
        iterator.close()

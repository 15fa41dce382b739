"""Training of an experiment: from its data to a run folder, which is its resume point."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from .. import struct
from ..checks import UserError
from ..data.pipeline import Batches, batches, labelled
from ..metrics import VARIANTS
from ..models import abstract_params, batched, build
from ..problem import Problem, Target
from ..strategies.configs import PGleam, StrategyConfig
from ..strategies.update import Update
from ..training import RunFolder, Scores, evaluator, fit, load_config, load_params, read_log
from ..training.checkpoints import FOLDER, check_length
from ..training.optimizers import depends_on_length
from ..trees import is_named, leaves_by_name
from ..typing import Key, Params
from .as_json import RECORDS, from_json, kind_of, to_json
from .data import Split, TrainingData, find_data
from .experiment import Experiment, make_update, trained_network
from .old_forms import renewed
from .preparation import draw_mask, preparation
from .starting import StartingWeights, starting_weights

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
    """A training that has ended, or was stopped.

    Attributes:
      out: the run folder, for `jaxrecon.load_network`.
      experiment: what was trained, and how.
      n_updates: updates made; fewer than the experiment's where it was stopped.
      n_empty: slices without signal that were left out.
    """

    out: Path
    experiment: Experiment
    n_updates: int
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
      start: where they are from; None: they are random.
      before: what the run in the folder has made, whose weights are those that it goes on with.
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
    start: StartingWeights | None
    before: "Resumed"
    update: Update
    evaluate: Callable[[Params], Scores] | None
    key: Key

    __repr__ = struct.shapes_repr

    @property
    def n_params(self) -> int:
        """How many parameters the network has."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.params))

    @property
    def n_frozen(self) -> int:
        """How many of them keep their values."""
        untrained = trained_network(self.experiment).untrained
        return sum(leaf.size for name, leaf in leaves_by_name(self.params).items() if is_named(name, untrained))

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

    def run(self, *, stop: Callable[[], bool] | None = None, progress: bool | Callable[[str], None] = False) -> Trained:
        """Train, or go on with the run in the folder.

        Args:
          stop: True from when on it shall stop, with a checkpoint of the step reached: see `jaxrecon.training.fit`.
          progress: show a progress bar; a function takes what is to be said line by line.

        Raises:
          ValueError: another training is at work in the folder, or its newest checkpoint is damaged.
          TrainingError: the training cannot go on; the message says why.
          OSError: the folder cannot be written.
        """
        experiment = self.experiment
        best = rank_by(experiment.variant) if self.evaluate else None
        started_from = self.start.named if self.start else self.before.started_from
        content = to_json(experiment, learned_from=self.data.named, started_from=started_from)
        state = fit(
            self.update,
            self.update.init(self.params, self.key),
            self.feed,
            out=RunFolder(self.out, content, best=best),
            n_updates=experiment.n_updates,
            evaluate=self.evaluate,
            every=experiment.every,
            stop=stop,
            progress=progress,
        )
        return Trained(self.out, experiment, int(state.step), self.feed.n_empty)


def train(
    experiment: Experiment,
    *,
    data: str | Path | TrainingData,
    out: str | Path,
    validation: str | Path | None = None,
    split: Split | None = None,
    weights: str | Path | None = None,
    freeze: str | Sequence[str] = (),
    mesh: Mesh | None = None,
    stop: Callable[[], bool] | None = None,
    progress: bool | Callable[[str], None] = False,
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
      weights: what to start from in place of random weights: a run folder, trained or converted, or a file of weights under
        published names. Parameters alone: the optimizer starts anew. A run that has started from them goes on.
      freeze: a pattern, or several, of the names of parameters that keep their values, beside those of `experiment.freeze`.
      mesh: devices, as `jaxrecon.strategies.module_mesh` makes it; p_gleam spreads its modules over them, other
        strategies the examples of a batch. None: one device.
      stop: True from when on it shall stop, with a checkpoint of the step reached, e.g. `threading.Event().is_set`; called
        again, it goes on from there.
      progress: show a progress bar; a function takes what is to be said line by line; nothing else is printed.

    Returns:
      Trained: the run folder, the weights to reconstruct with, and the records of the log.

    Raises:
      DataError: no data file, or a damaged one; no weights.
      ValueError: settings, data or weights that do not fit each other, a folder with another run (the differences are
        listed), with a damaged checkpoint, or at which another training is at work.
      TrainingError: a loss is not finite, the data end or cannot be read any more.
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
    plan = prepare_training(
        experiment, data=data, out=out, validation=validation, split=split, weights=weights, freeze=freeze, mesh=mesh
    )
    return plan.run(stop=stop, progress=progress)


def prepare_training(
    experiment: Experiment,
    *,
    data: str | Path | TrainingData,
    out: str | Path,
    validation: str | Path | None = None,
    split: Split | None = None,
    weights: str | Path | None = None,
    freeze: str | Sequence[str] = (),
    mesh: Mesh | None = None,
) -> TrainingPlan:
    """All of `train` up to the first update, for a look at what is going to be trained.

    Args:
      experiment: as in `train`.
      data: as in `train`.
      out: the run folder.
      validation: as in `train`.
      split: as in `train`.
      weights: as in `train`.
      freeze: as in `train`.
      mesh: devices; None: one.

    Raises:
      DataError: no data file, or a damaged one; no weights.
      ValueError: settings or data that do not fit each other, or a folder with another run: the differences are listed.
    """
    out = Path(out)
    frozen = (*experiment.freeze, *([freeze] if isinstance(freeze, str) else freeze))
    experiment = dataclasses.replace(experiment, freeze=tuple(dict.fromkeys(frozen)))
    how, model = preparation(experiment), batched(trained_network(experiment))
    start = None if weights is None else starting_weights(experiment, weights)
    if not isinstance(data, TrainingData):
        data = find_data(experiment, data, validation, split=split)
    before = check_resume(experiment, out, data=data.named, start=start)
    feed = batches(data.training, how, batch_size=experiment.batch_size, seed=experiment.seed)
    example = _first(feed)
    params_key, key = jax.random.split(jax.random.key(experiment.seed))
    if start is None:
        params = jax.jit(model.init)(params_key, example[0])
    else:
        like, own = jax.eval_shape(model.init, params_key, example[0]), leaves_by_name(start.params)
        leaves = [jnp.asarray(own[name], leaf.dtype) for name, leaf in leaves_by_name(like).items()]
        params = jax.tree.unflatten(jax.tree.structure(like), leaves)
    strategy = experiment.strategy
    if mesh is not None and isinstance(strategy, PGleam):
        # at least one: of a finished run nothing is left
        strategy = strategy.on(mesh, n_updates=max(experiment.n_updates - before.made, 1))
    on_devices = dataclasses.replace(experiment, strategy=strategy)
    update = make_update(on_devices, updates_per_epoch=feed.per_epoch, mesh=mesh)
    evaluate = None
    if len(data.validation):
        examples = labelled(data.validation, preparation(experiment, use="validation"))
        one = build(experiment.model)
        evaluate = evaluator(one.frozen or one, examples, variant=experiment.variant)
    return TrainingPlan(
        experiment, out, data, mesh, strategy, feed, example, params, start, before, update, evaluate, key
    )


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
    names = sorted(before.keys() | after.keys())
    different = [
        f"{name} {before.get(name)}, now {after.get(name)}"
        for name in names
        if before.get(name) != after.get(name)
        and name not in MAY_CHANGE
        # one makes the updates of the other, from the same state
        and not (name == "strategy.kind" and {before[name], after[name]} <= {"gleam", "p_gleam"})
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

"""Training of an experiment: from its data to a run folder, which is its resume point."""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from .. import struct
from ..checks import DataWarning, UserError
from ..data.pipeline import Batches, batches, labelled
from ..metrics import VARIANTS
from ..models import abstract_params, batched, build
from ..problem import Problem, Target
from ..strategies.configs import PGleam, StrategyConfig, stopped
from ..strategies.update import Update
from ..training import RunFolder, Scores, evaluator, fit, load_best, load_params, read_log
from ..training.fit import check_due
from ..training.stop import check_stop
from ..trees import is_named, leaves_by_name
from ..typing import Key, Params
from .as_json import to_json
from .catalog import CATALOG
from .data import Split, TrainingData, find_data
from .experiment import Experiment, make_update, trained_network
from .preparation import preparation
from .resume import Resumed, check_resume
from .samplings import draw_mask, samplings, warn_of_unused
from .starting import StartingWeights, starting_weights


@dataclasses.dataclass(frozen=True)
class Trained:
    """A training that has ended, or was stopped: `jaxrecon.reconstruct` and `jaxrecon.load_network` take it for its network.

    Attributes:
      out: the run folder.
      experiment: what was trained, and how.
      n_updates: updates made; fewer than the experiment's where it was stopped.
      n_empty: slices without signal that were left out.
      best: step and metrics of the evaluation whose weights are the best, as the checkpoints tell; None: there were none.
    """

    out: Path
    experiment: Experiment
    n_updates: int
    n_empty: int = 0
    best: dict[str, Any] | None = None

    @functools.cached_property
    def params(self) -> Params:
        """The weights to reconstruct with: the best by the evaluations, or the newest where there were none."""
        return load_params(self.out, abstract_params(self.experiment.model))

    @functools.cached_property
    def records(self) -> list[dict[str, Any]]:
        """The records of the log: see `jaxrecon.training.read_log`."""
        return read_log(self.out)


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
    before: Resumed
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
    def accelerations(self) -> tuple[float, ...]:
        """R that the first mask of each of `samplings` reaches at this size; none where the masks are those of the files."""
        if self.experiment.data.mask is None:
            return ()
        drawn = (draw_mask(one, self.size, 0) for one in samplings(self.experiment).values())
        return tuple(float(1 / np.mean(mask != 0)) for mask in drawn)

    def run(self, *, stop: Callable[[], bool] | None = None, progress: bool | Callable[[str], None] = False) -> Trained:
        """Train, or go on with the run in the folder.

        Args:
          stop: True from when on it shall stop, with a checkpoint of the step reached: see `jaxrecon.training.fit`.
          progress: show a progress bar; a function takes what is to be said line by line.

        Raises:
          ValueError: another training is at work in the folder, or its newest or its best checkpoint is damaged.
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
        # read here, where all processes are: they open checkpoints together
        return Trained(self.out, experiment, int(state.step), self.feed.n_empty, load_best(self.out))


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
      ...     [record["event"] for record in trained.records], jr.load_network(trained).name
      (['training', 'evaluation'], 'unet')
    """
    check_stop(stop)
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
      ValueError: no experiment, settings or data that do not fit each other, or a folder with another run: the differences are
        listed.
    """
    if not isinstance(experiment, Experiment):
        named = CATALOG.get(experiment) if isinstance(experiment, str) else None
        cure = f"jaxrecon.experiment.CATALOG[{(experiment if named else 'varnet')!r}].preset"
        raise UserError(f"experiment is {experiment!r}: expected a jaxrecon.Experiment, as {cure} is one")
    out = Path(out)
    check_due(experiment.n_updates, experiment.every)
    frozen = (*experiment.freeze, *([freeze] if isinstance(freeze, str) else freeze))
    experiment = dataclasses.replace(experiment, freeze=tuple(dict.fromkeys(frozen)))
    every = samplings(experiment)
    warn_of_unused(experiment)
    how, model = [preparation(one) for one in every.values()], batched(trained_network(experiment))
    start = None if weights is None else starting_weights(experiment, weights)
    given = data if isinstance(data, TrainingData) else None
    data = given or find_data(experiment, data, validation, split=split)  # type: ignore[arg-type]
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
        examples = {name: labelled(data.validation, preparation(one, use="validation")) for name, one in every.items()}
        one = build(experiment.model)
        evaluate = evaluator(stopped(one.frozen or one, experiment.strategy), examples, variant=experiment.variant)
    elif given is None:
        warnings.warn(
            f"there is no validation ({data.described}): no scores tell which weights are the best, the last ones are used; give "
            "validation (--validation), or data of several subjects",
            DataWarning,
            stacklevel=2,
        )
    return TrainingPlan(
        experiment, out, data, mesh, strategy, feed, example, params, start, before, update, evaluate, key
    )


def rank_by(variant: str) -> tuple[str, Literal["min", "max"]]:
    """The metric that chooses the best weights, and whether its smallest or largest value does."""
    return ("nmse", "min") if "nmse" in VARIANTS[variant].metrics else ("psnr", "max")


def _first(feed):
    """The first batch; its readers are ended."""
    iterator = iter(feed)
    try:
        return next(iterator)
    finally:
        iterator.close()

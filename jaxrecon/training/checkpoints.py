"""Checkpoints of a run folder: atomic, the last few and the best, checked against the model that asks for them.

All of orbax that the library uses is here. Each checkpoint holds the weights to reconstruct with (`weights`), all of
the training state (`state`) and, as JSON, the position in the data, the configuration, names, shapes and types of all
leaves, and the library's version. Trees are stored flat, leaves by name: reading needs no classes, and a wrong model is
told leaf by leaf.
"""

import contextlib
import dataclasses
import importlib.metadata
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import jax
import numpy as np

from ..checks import UserError
from ..strategies.update import TrainState
from ..trees import leaf_name, leaves_by_name
from ..typing import Params
from .damage import Damaged, harmless_left_out, read_or_damaged
from .leaves import check_same_leaves, in_double, signature
from .state import evaluation_params

T = TypeVar("T")

FOLDER = "checkpoints"
"""Where in a run folder the checkpoints are."""


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """A run's folder, and what is kept in it.

    Attributes:
      path: the folder.
      config: what the run is made with, for the record: a dataclass, or anything fit for JSON.
      keep: number of newest checkpoints kept.
      best: metric of the evaluation and whether its "min" or "max" is best: that checkpoint is kept besides the newest.
    """

    path: str | Path
    config: Any = None
    keep: int = 2
    best: tuple[str, Literal["min", "max"]] | None = None


class Restored(NamedTuple):
    """What a checkpoint gives back.

    Attributes:
      step: updates made.
      state: the training state.
      data: position in the data, as its iterator gave it.
      config: the configuration, as JSON holds it.
    """

    step: int
    state: TrainState
    data: Any
    config: Any


class Checkpoints:
    """The checkpoints of one run; a context manager.

    Args:
      out: the run folder.
      keep: how many of the newest to keep.
      best: name of a metric and whether its "min" or "max" is best; that checkpoint is kept besides. None: the newest
        only.

    Raises:
      ValueError: keep below 1, or a `best` of another form.
    """

    def __init__(self, out: str | Path, *, keep: int = 2, best: tuple[str, Literal["min", "max"]] | None = None):
        # orbax takes most of a second to import
        import orbax.checkpoint as ocp
        from orbax.checkpoint.checkpoint_managers import preservation_policy as policies

        if keep < 1 or (best is not None and best[1] not in ("min", "max")):
            raise UserError(f"wanted keep >= 1 and best as ('psnr', 'max'), got keep={keep}, best={best}")
        self.folder, self._ocp, self._best = Path(out).absolute() / FOLDER, ocp, best
        rules: list[Any] = [policies.LatestN(keep)]
        if best is not None:
            # max_to_keep with best_fn would delete the newest one whenever it is not the best
            name, mode = best
            rules.append(
                policies.BestN(
                    get_metric_fn=lambda metrics: metrics[name],
                    reverse=mode == "min",
                    n=1,
                    keep_checkpoints_without_metrics=False,
                )
            )
        # written before the next step runs: a checkpoint on its way in the background would read a donated state
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy(rules), enable_async_checkpointing=False
        )
        with contextlib.ExitStack() as opened:
            opened.enter_context(harmless_left_out())
            self._manager = opened.enter_context(ocp.CheckpointManager(self.folder, options=options))
            self._opened = opened.pop_all()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @property
    def latest(self) -> int | None:
        """Step of the newest checkpoint, or None."""
        return self._manager.latest_step()

    @property
    def best(self) -> dict[str, Any] | None:
        """Step and metrics of the evaluation whose weights are the best of those that are here: see `load_best`."""
        rule = self._read(self._about, self._existing(None))["best"]
        if rule is None:
            return None
        name, mode = rule
        evaluated = {step: self._metrics(step) for step in self._manager.all_steps()}
        known = [{"step": step, **metrics} for step, metrics in evaluated.items() if metrics and name in metrics]
        return (min if mode == "min" else max)(known, key=lambda one: one[name], default=None)

    def path(self, step: int) -> Path:
        """The folder of one checkpoint."""
        return self.folder / str(step)

    def save(
        self,
        state: TrainState,
        *,
        data: Any = None,
        metrics: Mapping[str, float] | None = None,
        config: Any = None,
    ) -> None:
        """Write the checkpoint of state.step; one that is there already stays.

        Args:
          state: the training state.
          data: position in the data, fit for JSON.
          metrics: the metrics of an evaluation, among them the one that `best` names.
          config: a dataclass, or anything fit for JSON.

        Raises:
          OSError: it cannot be written; those before are untouched.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        args = self._ocp.args
        weights = evaluation_params(state)
        items = args.Composite(
            state=args.StandardSave(leaves_by_name(state)),
            weights=args.StandardSave(leaves_by_name(weights)),
            about=args.JsonSave(
                {
                    "data": data,
                    "config": as_json(config),
                    "best": self._best,
                    "metrics": None if metrics is None else dict(metrics),
                    "state": signature(state),
                    "weights": signature(weights),
                    "jaxrecon": importlib.metadata.version("jaxrecon"),
                }
            ),
        )
        try:
            self._manager.save(step, args=items, metrics=None if metrics is None else dict(metrics))
        except (OSError, ValueError) as error:
            raise OSError(
                f"the checkpoint of step {step} could not be written to {self.folder}: {error}. Is the disk full? "
                f"The last one is that of step {self.latest}: start again with the same folder to go on from it"
            ) from error

    def restore(self, like: TrainState, *, step: int | None = None) -> Restored:
        """Read a checkpoint.

        Args:
          like: a state of the same model and optimizer (arrays or ShapeDtypeStructs), which says where leaves belong.
          step: which checkpoint; None: the newest.

        Raises:
          ValueError: there is none, it is damaged (which are whole is said), or of another model or optimizer: some of
            the differences are listed.
        """

        def read(step):
            about = self._about(step)
            what = f"checkpoint {self.path(step)} is of another model or optimizer"
            cure = "Choose another folder, or the configuration that it was made with"
            check_same_leaves(about["state"], signature(like), what=what, cure=cure)
            return Restored(step, self._tree("state", step, like), about["data"], about["config"])

        return self._read(read, self._existing(step))

    def weights(self, like: Params, *, step: int | None = None) -> Params:
        """Read the weights to reconstruct with (moving average or slow weights, where there are any).

        Args:
          like: parameters of the model, arrays or ShapeDtypeStructs, as `jax.eval_shape(model.init, key, problem)`
            gives them.
          step: which checkpoint; None: the best by the metric of the run's evaluations, the newest where there were none.

        Returns:
          Arrays as `like`; those stored in double precision, as published weights may be, come back in it.

        Raises:
          ValueError: there is none, it is damaged (which are whole is said), or of another model: some of the
            differences are listed.
        """

        def read(step):
            stored = self._about(step)["weights"]
            own = jax.tree_util.tree_map_with_path(
                lambda path, leaf: in_double(leaf, stored.get(leaf_name(path))), like
            )
            what = f"The weights of {self.path(step)} are of another model"
            cure = "Make the network as the weights have it, or give other weights"
            check_same_leaves(stored, signature(own), what=what, cure=cure)
            return self._tree("weights", step, own)

        return self._read(read, self._existing(self._best_step if step is None else step))

    def check_weights(self, like: Params) -> None:
        """Refuse a run whose newest or best weights cannot be read.

        Args:
          like: parameters of the model, as for `weights`.

        Raises:
          ValueError: as of `weights`.
        """
        for step in {self._existing(None), self._existing(self._best_step)}:
            self.weights(like, step=step)

    def config(self, *, step: int | None = None) -> Any:
        """The configuration in a checkpoint, as JSON holds it.

        Raises:
          ValueError: there is none, or it is damaged; which are whole is said.
        """
        return self._read(lambda step: self._about(step)["config"], self._existing(step))

    def _read(self, read: Callable[[int], T], step: int) -> T:
        """What `read` reads of a checkpoint; where that is damaged, the error names the newest from which it can be read."""
        try:
            return read(step)
        except Damaged as error:
            others = [s for s in sorted(self._manager.all_steps(), reverse=True) if s != step]
            whole = next((s for s in others if _can(read, s)), None)
            cure = "There is no whole one beside it: choose another run folder"
            if whole is not None:
                cure = f"The newest whole one is {self.path(whole)}: to go on with it, move {self.path(step)} elsewhere"
            raise UserError(f"the checkpoint {self.path(step)} is damaged ({error}). {cure}") from error

    def _existing(self, step):
        steps = sorted(self._manager.all_steps())
        if not steps or (step is not None and step not in steps):
            wanted = "a checkpoint" if step is None else f"the checkpoint of step {step}"
            raise UserError(f"{self.folder} does not hold {wanted}; there are {steps or 'none'}")
        return steps[-1] if step is None else step

    @property
    def _best_step(self):
        best = self.best
        return None if best is None else best["step"]

    def _metrics(self, step):
        """Of its evaluation, or None; a kill may have left an old one half deleted, which must not stand in the way."""
        try:
            about = self._about(step)
        except Damaged:
            about = {}
        # those of earlier versions are where orbax has them
        return about["metrics"] if "metrics" in about else self._manager.metrics(step)

    def _about(self, step):
        return self._item("about", step, self._ocp.args.JsonRestore())

    def _tree(self, item, step, like):
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

        def wanted(leaf):
            if leaf.dtype == np.float64 != jax.dtypes.canonicalize_dtype(np.float64):  # only the host holds it
                return np.empty(leaf.shape, leaf.dtype)
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None) or here)

        flat = {name: wanted(leaf) for name, leaf in leaves_by_name(like).items()}
        stored = self._item(item, step, self._ocp.args.StandardRestore(flat))
        return jax.tree.unflatten(jax.tree.structure(like), [stored[name] for name in flat])

    def _item(self, item, step, how):
        """One part of a checkpoint; Damaged where it cannot be read."""
        args = self._ocp.args.Composite(**{item: how})
        return read_or_damaged(item, lambda: self._manager.restore(step, args=args)[item])


def load_params(out: str | Path, like: Params, *, step: int | None = None) -> Params:
    """The weights of a run folder, for reconstruction: see `Checkpoints.weights`.

    Args:
      out: the run folder.
      like: parameters of the model, arrays or ShapeDtypeStructs.
      step: which checkpoint; None: the best, or the newest where there were no evaluations.

    Returns:
      Arrays as `like`.

    Raises:
      ValueError: it is no run folder, or one of another model: some of the differences are listed.
    """
    with _existing_folder(out) as checkpoints:
        return checkpoints.weights(like, step=step)


def load_best(out: str | Path) -> dict[str, Any] | None:
    """The evaluation whose weights are the best of a run folder, as the checkpoints themselves tell: what `load_params` gives.

    Args:
      out: the run folder; its log may be lost.

    Returns:
      The metrics by name, and the step; None: there were no evaluations.

    Raises:
      ValueError: it is no run folder, or its newest checkpoint is damaged.
    """
    with _existing_folder(out) as checkpoints:
        return checkpoints.best


def load_config(out: str | Path, *, step: int | None = None) -> Any:
    """The configuration of a run folder, as JSON holds it.

    Raises:
      ValueError: it is no run folder.
    """
    with _existing_folder(out) as checkpoints:
        return checkpoints.config(step=step)


def _can(read, step):
    try:
        read(step)
    except Damaged:
        return False
    return True


def _existing_folder(out):
    if not (Path(out) / FOLDER).is_dir():
        raise UserError(f"{out} is no run folder: it has no folder '{FOLDER}'")
    return Checkpoints(out)


def check_length(out: str | Path, made: int, n_updates: int) -> None:
    """Refuse a run that has made more updates than it is to have.

    Args:
      out: the run folder.
      made: updates of its newest checkpoint.
      n_updates: updates that are asked for.

    Raises:
      ValueError: there are more of them already.
    """
    if made > n_updates:
        raise UserError(f"{out} has {made} updates already, {n_updates} asked: ask for more, or choose another folder")


def as_json(config: Any) -> Any:
    """A configuration as JSON holds it: dataclasses as dicts, functions and types by their names.

    Raises:
      ValueError: there is something else in it.
    """
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        config = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {str(key): as_json(value) for key, value in config.items()}
    if isinstance(config, list | tuple | set | frozenset):
        return [as_json(value) for value in config]
    if isinstance(config, np.generic | np.ndarray | jax.Array):
        return np.asarray(config).tolist()
    if callable(config):
        return getattr(config, "__qualname__", repr(config))
    if isinstance(config, Path):
        return str(config)
    try:
        json.dumps(config)
    except TypeError as error:
        raise UserError(f"a configuration must be fit for JSON, but it holds {config!r}") from error
    return config

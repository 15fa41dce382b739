"""The one training loop: any UpdateFn, any data, a run folder that is log, checkpoints and resume point."""

import contextlib
import dataclasses
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..checks import UserError
from ..problem import Problem, Target
from ..strategies.devices import gather
from ..strategies.update import Metrics, TrainState, Update, UpdateFn, copy_state, nonfinite_names
from ..typing import Params
from .checkpoints import Checkpoints, RunFolder, check_length
from .evaluate import Evaluator, Scores
from .lock import locked
from .log import RunLog
from .state import evaluation_params, state_bytes
from .stop import StopRequest, check_stop


class TrainingError(UserError):
    """Training cannot go on: the message says at which step, why, and which checkpoint is the last good one."""


DIVERGED = "Try a smaller learning rate or clipped gradients, and look for batches without signal"


@dataclasses.dataclass(frozen=True)
class Every:
    """After how many updates something is due again; at the end of a run all of it is.

    Attributes:
      evaluate: updates from one evaluation to the next.
      checkpoint: updates from one checkpoint to the next; each evaluation makes one too.
      log: updates from one record to the next.
    """

    evaluate: int = 1000
    checkpoint: int = 1000
    log: int = 50


def check_due(n_updates: int, every: Every) -> None:
    """Raise ValueError for a training of no updates, or with something that is never due."""
    if min(n_updates, *dataclasses.astuple(every)) < 1:
        raise UserError("n_updates and the numbers of `every` must be 1 or more")


def fit(
    update_fn: UpdateFn,
    start: Params | TrainState,
    data: Iterable[tuple[Problem, Target]],
    *,
    out: str | Path | RunFolder,
    n_updates: int,
    evaluate: Callable[[Params], Scores] | None = None,
    every: Every = Every(),
    stop: Callable[[], bool] | None = None,
    progress: bool | Callable[[str], None] = True,
) -> TrainState:
    """Train until n_updates updates are made; with a folder that holds a run already, go on with that run.

    Killed at any moment and called again with the same arguments, it ends with the same parameters, bit for bit, and
    the same log. Asked to stop by `stop`, it keeps a checkpoint of the step reached and returns; called again, it ends with
    the same parameters, and a record of the interval that was cut. No other process can train into the folder meanwhile.

    The update function compiles once for each shape of a batch. The loss is looked at every `every.log`
    updates only, so that the device never waits for the host. An Update that takes several mini-batches in a call makes as
    many updates; what is due within them is done after the call. With several processes (`jaxrecon.strategies.join_hosts`)
    each calls this with the same data and a folder that all see; the first one writes the log.

    The folder gets log.jsonl (mean loss and gradient norm of each interval, evaluations), checkpoints/, images/ (a
    comparison at each evaluation) and tensorboard/ where tensorboardX is installed.

    Args:
      update_fn: `from_grad_fn(strategy(batched(model), loss), tx)`, or any UpdateFn.
      start: a TrainState, as `update.init(params, key)` makes it, or initial parameters: then update_fn must have `init`, as
        an `Update` has, and the randomness of training is that of key(0). Both are copied.
      data: batches of problems and targets; iterated again when they end. An iterator with `get_state` and `set_state`
        (`jaxrecon.data.pipeline.batches`) is set to its place after a restart, others are read up to it again.
      out: the run folder; a `RunFolder` says besides what is kept in it: the best checkpoint, the configuration.
      n_updates: updates of the whole run, with those before a restart.
      evaluate: weights -> Scores, e.g. of `evaluator`; called with the moving average or slow weights where there are
        any. It is tried before the first step of a run: what `evaluator` gives on one example, others as they are.
      every: when evaluations, checkpoints and records are due.
      stop: True from when on the run shall stop, e.g. `threading.Event().is_set`; asked after each update, and an evaluation
        that is due by then is made all the same. Of several processes, one that is asked stops all at one step.
      progress: True shows a progress bar; a function takes what is to be said line by line: what is compiled and for how
        long, from where a run goes on, where it was stopped.

    Returns:
      The state after n_updates updates, or at the step where it was stopped; `evaluation_params` gives the weights to
      reconstruct with.

    Raises:
      TrainingError: a loss or gradient is not finite, the data end or cannot be read any more; the last good checkpoint is
        named and kept.
      ValueError: the folder holds a run of another model (the differences are listed) or of more updates, another training is
        at work in it, its newest checkpoint or the best is damaged (which is whole is named), or options that do not fit.
      OSError: the folder cannot be written, or has no space for the checkpoints: found before training starts.
    """
    folder = out if isinstance(out, RunFolder) else RunFolder(out)
    check_due(n_updates, every)
    check_stop(stop)
    if folder.best is not None and evaluate is None:
        raise UserError(
            f"the best checkpoint by {folder.best[0]} is wanted, but there is no evaluation: give evaluate="
        )
    n_batches = update_fn.n_batches if isinstance(update_fn, Update) else 1
    if evaluate is not None and not callable(evaluate):
        raise UserError(f"evaluate must be a function from weights to Scores, not {evaluate!r}")
    state, path, first = _initial_state(update_fn, start), Path(folder.path), 0
    del start  # where it is the caller's no more, its memory is free
    _check_folder(path, (folder.keep + 2) * state_bytes(state))
    with (
        locked(path),
        contextlib.closing(_Feed(data)) as feed,
        Checkpoints(path, keep=folder.keep, best=folder.best) as checkpoints,
    ):
        if checkpoints.latest is not None:
            check_length(path, checkpoints.latest, n_updates)
            first, state, position, _ = checkpoints.restore(state)
            # of a run that is done they are all that is used
            checkpoints.check_weights(evaluation_params(state))
            feed.seek(position, first)
        if (n_updates - first) % n_batches:
            raise UserError(
                f"{n_updates - first} updates to go are no multiple of the {n_batches} mini-batches that one call takes"
            )
        with RunLog(path, start=first, n_updates=n_updates, progress=progress) as log:
            run = _Run(folder, every, evaluate, n_updates, n_batches, feed, checkpoints, log, StopRequest(stop))
            run.begin(first, state)
            for step in run.steps(first):
                state, metrics = run.update(update_fn, step, state)
                run.take(step, state, metrics)
    return state


@dataclasses.dataclass
class _Run:
    """A run on its way: what is due when, where it goes, and the metrics that are not yet written."""

    folder: RunFolder
    every: Every
    evaluate: Callable[[Params], Scores] | None
    n_updates: int
    n_batches: int
    feed: "_Feed"
    checkpoints: Checkpoints
    log: RunLog
    stop: StopRequest
    stopping: bool = False
    compiled: set[tuple] = dataclasses.field(default_factory=set)
    pending: list[Metrics] = dataclasses.field(default_factory=list)
    started: float = dataclasses.field(default_factory=lambda: time.monotonic())

    def begin(self, first: int, state: TrainState) -> None:
        """Say from where the run goes on; a new one finds out whether its evaluation works."""
        if first:
            self.log.message(f"{self.folder.path}: going on from step {first}")
            if self.log.known < first:
                lost = f"{self.log.known + 1} to {first}"
                self.log.message(
                    f"{self.log.path} holds nothing of the updates {lost}: their losses and evaluations are not known; which "
                    "weights are the best, the checkpoints tell"
                )
        elif self.evaluate is not None:
            one = self.evaluate.of_the_first() if isinstance(self.evaluate, Evaluator) else self.evaluate
            with self.log.waiting("trying the evaluation, which is compiled"):
                # initial weights may give no number
                _check_scores(self.folder.best, one(gather(evaluation_params(state))), finite=False)

    def steps(self, first: int) -> Iterator[int]:
        """The last update of each call that is to come, up to the end or until the run is asked to stop."""
        for step in range(first + self.n_batches, self.n_updates + 1, self.n_batches):
            if self.stopping:
                return
            yield step

    def update(self, update_fn: UpdateFn, step: int, state: TrainState) -> tuple[TrainState, Metrics]:
        """One call of the update function, whose last update is `step`."""
        batch = self._batch(step, state)
        shapes = tuple(leaf.shape for leaf in jax.tree.leaves(batch))
        if shapes in self.compiled:
            return update_fn(state, *batch)
        self.compiled.add(shapes)
        with self.log.waiting(f"compiling the training step for k-space of shape {batch[0].kspace.shape}"):
            return update_fn(state, *batch)

    def take(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Take what a call of the update function gave, whose last update is `step`, and do what is due by then."""
        self.pending.append(metrics)
        self.stopping = self.stop() and step < self.n_updates
        evaluates = self.evaluate is not None and self._is_due(step, self.every.evaluate)
        saves = evaluates or self.stopping or self._is_due(step, self.every.checkpoint)
        if saves or self._is_due(step, self.every.log):
            self._record(step, state.params)
        if saves:
            self._save(step, state, evaluates=evaluates)
        if self.stopping:
            self.log.message(
                f"{self.folder.path}: stopped at step {step} of {self.n_updates}; started again, it goes on from there"
            )

    def _batch(self, step, state):
        """The data of a call; where they cannot be read, the updates made so far are kept."""
        try:
            return self.feed.next(step, self.n_batches)
        except (UserError, OSError) as error:
            made = step - self.n_batches
            # other processes may have their data: a checkpoint is made by all or none
            if made > (self.checkpoints.latest or 0) and jax.process_count() == 1:
                self._record(made, state.params)
                self._save(made, state, evaluates=False)
            cure = "Mend that, and start with the same folder to go on"
            raise self._stopped(step, str(error), cure) from error

    def _is_due(self, step, every):
        """Within the updates of this call."""
        return step // every > (step - self.n_batches) // every or step == self.n_updates

    def _record(self, step, params):
        """Fetch the metrics since the last call in one transfer, write their means; stop at what is not finite."""
        if not self.pending:
            return
        records = jax.device_get(self.pending)
        if self.n_batches > 1:
            records = [jax.tree.map(lambda a, i=i: a[i], m) for m in records for i in range(self.n_batches)]
        for i, metrics in enumerate(records):
            flags = metrics.get("nonfinite", ~np.isfinite(metrics["loss"])[None])
            if np.any(flags):
                raise self._stopped(step - len(records) + 1 + i, _what_is_nonfinite(flags, metrics, params), DIVERGED)
        names = [name for name in records[-1] if name != "nonfinite"]
        means = {name: np.mean([m[name] for m in records], axis=0, dtype=float).tolist() for name in names}
        # only now: the steps were dispatched without waiting for them
        speed = len(records) / max(time.monotonic() - self.started, 1e-9)
        self.log.record("training", step, {**means, "steps_per_second": speed})
        self.log.advance(step, means["loss"], speed)
        self.pending, self.started = [], time.monotonic()

    def _save(self, step, state, *, evaluates):
        """Write a checkpoint, after an evaluation where one is due."""
        if not bool(_all_finite(state)):
            raise self._stopped(step, "the weights are not finite", DIVERGED)
        try:
            scores = self._scores(step, state) if evaluates else None
        except Exception:
            # whatever fails there costs no step
            self._write(state, None)
            raise
        self._write(state, None if scores is None else scores.metrics)
        if scores is not None and scores.images and jax.process_index() == 0:
            _picture(Path(self.folder.path) / "images" / f"step_{step:08d}.png", step, scores)
        self.started = time.monotonic()

    def _scores(self, step, state):
        assert self.evaluate is not None  # else no evaluation is due
        scores = self.evaluate(gather(evaluation_params(state)))
        _check_scores(self.folder.best, scores)
        self.log.record("evaluation", step, scores.metrics)
        return scores

    def _write(self, state, metrics):
        self.checkpoints.save(state, data=self.feed.position, metrics=metrics, config=self.folder.config)

    def _stopped(self, step: int, what: str, cure: str) -> TrainingError:
        """The error that ends a run, also written to its log."""
        latest, good = self.checkpoints.latest, "there is no checkpoint yet"
        if latest is not None:
            good = f"the last good checkpoint is {self.checkpoints.path(latest)}"
        self.log.record("stopped", step, {"reason": what})
        return TrainingError(f"training stopped at step {step}: {what}; {good}. {cure}")


class _Feed:
    """Batches one after the other, epoch after epoch, and the place in them."""

    def __init__(self, data: Iterable[tuple[Problem, Target]]):
        self._data, self._iterator = data, iter(data)

    def next(self, step: int, n: int) -> tuple[Problem, Target]:
        """The next batch; of n above 1 the next n, the last of them for `step`, with a leading axis."""
        if n == 1:
            return self._one(step)
        batches = [self._one(step - n + 1 + i) for i in range(n)]
        shapes = {tuple(leaf.shape for leaf in jax.tree.leaves(batch)) for batch in batches}
        if len(shapes) > 1:
            raise UserError(f"the {n} mini-batches of one call have different shapes: crop or pad the data to one")
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)

    def _one(self, step: int) -> tuple[Problem, Target]:
        for fresh in (False, True):
            if fresh:
                self.close()
                self._iterator = iter(self._data)
            try:
                return next(self._iterator)
            except StopIteration:
                continue
        raise TrainingError(
            f"there are no data for step {step}: give more of them, or an iterable that can be repeated"
        )

    @property
    def position(self) -> Any:
        get_state = getattr(self._iterator, "get_state", None)
        return None if get_state is None else get_state()

    def seek(self, position: Any, n_read: int) -> None:
        if position is not None:
            self._iterator.set_state(position)  # type: ignore[attr-defined]
        else:
            for step in range(1, n_read + 1):
                self._one(step)

    def close(self) -> None:
        if self._iterator is not self._data and hasattr(self._iterator, "close"):
            self._iterator.close()


def _initial_state(update_fn, start):
    if isinstance(start, TrainState):
        return copy_state(start)
    if not isinstance(update_fn, Update):
        raise UserError("this update function does not say how a run starts: give a TrainState instead of parameters")
    return update_fn.init(start, jax.random.key(0))


def _check_folder(out: Path, n_bytes: int) -> None:
    """Raise OSError unless files of n_bytes can be written to the folder, which is made where need be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".probe-{os.getpid()}"
        probe.write_bytes(b"0")
        probe.unlink()
    except OSError as error:
        raise OSError(f"cannot write to the run folder {out}: {error.strerror or error}. Choose another one") from error
    free = shutil.disk_usage(out).free
    if free < n_bytes:
        raise OSError(
            f"{out} has {free / 2**20:.3g} MiB free, but the checkpoints of this model need {n_bytes / 2**20:.3g} MiB: "
            "free some space, choose another folder, or keep fewer of them"
        )


def _what_is_nonfinite(flags, metrics, params):
    names = nonfinite_names(params)
    bad = [name for name, flag in zip(names, flags, strict=False) if flag]
    text = ", ".join(bad[:6]) + (f" and {len(bad) - 6} more" if len(bad) > 6 else "")
    text += " is not finite" if len(bad) == 1 else " are not finite"
    losses = np.ravel(metrics.get("losses", []))
    if not np.isfinite(losses).all():
        text += f", first the loss of module {int(np.argmin(np.isfinite(losses)))} of {len(losses)}"
    return text


@jax.jit
def _all_finite(state):
    leaves = [a for a in jax.tree.leaves((state.params, state.ema)) if jnp.issubdtype(a.dtype, jnp.inexact)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(a)) for a in leaves]))


def _check_scores(best, scores, *, finite=True):
    if not isinstance(scores, Scores):
        raise UserError(f"evaluate must return jaxrecon.training.Scores, but it returns {scores!r}")
    score = 0.0 if best is None else scores.metrics.get(best[0])
    if score is None or (finite and not math.isfinite(score)):
        raise UserError(
            f"the evaluation gives no finite '{best[0]}' to choose the best checkpoint by; it gives {scores.metrics}"
        )


def _picture(path, step, scores):
    from .. import plots

    images = dict(scores.images)
    reference = images.pop("target")
    captions = {"reconstruction": caption(scores.metrics)}
    plots.save(plots.comparison(reference, images, captions=captions, title=f"step {step}"), path)


def caption(metrics: Mapping[str, float]) -> str:
    """PSNR and SSIM, else the first two metrics: what has room above a picture."""
    names = [name for name in ("psnr", "ssim") if name in metrics] or list(metrics)[:2]
    return ", ".join(f"{name.upper()} {metrics[name]:.3g}" for name in names)

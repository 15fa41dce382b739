"""The one training loop: any UpdateFn, any data, a run folder that is log, checkpoints and resume point."""

import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from ..problem import Problem, Target
from ..strategies.devices import gather
from ..strategies.update import Metrics, TrainState, Update, UpdateFn, copy_state, nonfinite_names
from ..typing import Key, Params
from .checkpoints import Checkpoints, state_bytes
from .evaluate import Scores
from .log import RunLog
from .state import evaluation_params


class TrainingError(ValueError):
    """Training cannot go on: the message says at which step, why, and which checkpoint is the last good one."""


def fit(
    update_fn: UpdateFn,
    start: Params | TrainState,
    data: Iterable[tuple[Problem, Target]],
    *,
    out: str | Path,
    n_steps: int,
    evaluate: Callable[[Params], Scores] | None = None,
    evaluate_every: int = 1000,
    best: tuple[str, Literal["min", "max"]] | None = None,
    checkpoint_every: int = 1000,
    keep: int = 2,
    log_every: int = 50,
    config: Any = None,
    key: Key | None = None,
    progress: bool = True,
) -> TrainState:
    """Train until n_steps updates are made; with a folder that holds a run already, go on with that run.

    Killed at any moment and called again with the same arguments, it ends with the same parameters, bit for bit, and
    the same log. The update function compiles once for each shape of a batch. The loss is looked at every `log_every`
    steps only, so that the device never waits for the host. An Update that takes several mini-batches in a call makes as
    many steps; what is due within them is done after the call. With several processes (`jaxrecon.strategies.join_hosts`)
    each calls this with the same data and a folder that all see; the first one writes the log.

    The folder gets log.jsonl (mean loss and gradient norm of each interval, evaluations), checkpoints/, images/ (a
    comparison at each evaluation) and tensorboard/ where tensorboardX is installed.

    Args:
      update_fn: `from_grad_fn(strategy(batched(model), loss), tx)`, or any UpdateFn.
      start: initial parameters (then update_fn must have `init`, as an `Update` has), or a TrainState; both are copied.
      data: batches of problems and targets; iterated again when they end. An iterator with `get_state` and `set_state`
        (`jaxrecon.data.pipeline.batches`) is set to its place after a restart, others are read up to it again.
      out: the run folder.
      n_steps: updates of the whole run, with those before a restart.
      evaluate: weights -> Scores, e.g. of `evaluator`; called with the moving average or slow weights where there are
        any.
      evaluate_every: steps from one evaluation to the next; the last step is evaluated too.
      best: metric of the evaluation and whether its "min" or "max" is best: that checkpoint is kept besides the newest.
      checkpoint_every: steps from one checkpoint to the next; each evaluation and the last step make one too.
      keep: number of newest checkpoints kept.
      log_every: steps from one record to the next.
      config: what the run was made with, for the record: a dataclass, or anything fit for JSON.
      key: randomness of training; default key(0).
      progress: show a progress bar.

    Returns:
      The state after n_steps updates; `evaluation_params` gives the weights to reconstruct with.

    Raises:
      TrainingError: a loss or gradient is not finite (the last good checkpoint is named and kept), or the data end.
      ValueError: the folder holds a run of another model (the differences are listed), or options that do not fit.
      OSError: the folder cannot be written, or has no space for the checkpoints: found before training starts.
    """
    if min(n_steps, evaluate_every, checkpoint_every, log_every) < 1:
        raise ValueError("n_steps, evaluate_every, checkpoint_every and log_every must be 1 or more")
    if best is not None and evaluate is None:
        raise ValueError(f"the best checkpoint by {best[0]} is wanted, but there is no evaluation: give evaluate=")
    n_batches = update_fn.n_batches if isinstance(update_fn, Update) else 1
    state = _initial_state(update_fn, start, key)
    out = Path(out)
    _check_folder(out, (keep + 2) * state_bytes(state))
    feed = _Feed(data)
    with Checkpoints(out, keep=keep, best=best) as checkpoints:
        first = 0
        if checkpoints.latest is not None:
            first, state, position, _ = checkpoints.restore(state)
            feed.seek(position, first)
        if (n_steps - first) % n_batches:
            raise ValueError(
                f"{n_steps - first} steps to go are no multiple of the {n_batches} mini-batches that one call takes"
            )
        try:
            with RunLog(out, start=first, n_steps=n_steps, progress=progress) as log:
                if first:
                    log.message(f"{out}: going on from step {first}")
                pending: list[Metrics] = []
                started = time.monotonic()
                for step in range(first + n_batches, n_steps + 1, n_batches):
                    # within the steps of this call
                    due = lambda every, step=step: step // every > (step - n_batches) // every or step == n_steps
                    problem, target = feed.next(step) if n_batches == 1 else feed.stack(step, n_batches)
                    state, metrics = update_fn(state, problem, target)
                    pending.append(metrics)
                    evaluates = evaluate is not None and due(evaluate_every)
                    saves = evaluates or due(checkpoint_every)
                    if saves or due(log_every):
                        if n_batches > 1:
                            pending = [
                                jax.tree.map(lambda a, i=i: a[i], m)
                                for m in jax.device_get(pending)
                                for i in range(n_batches)
                            ]
                        _flush(pending, step, log, started, state.params, checkpoints)
                        pending, started = [], time.monotonic()
                    if saves:
                        if not bool(_all_finite(state)):
                            raise _stop(step, "the weights are not finite", checkpoints, log)
                        scores = None
                        try:
                            if evaluates and evaluate:
                                scores = evaluate(gather(evaluation_params(state)))
                                _check_best(best, scores)
                                log.record("evaluation", step, scores.metrics)
                        except Exception:
                            # whatever fails there costs no step
                            checkpoints.save(state, data=feed.position, config=config)
                            raise
                        checkpoints.save(state, data=feed.position, metrics=scores and scores.metrics, config=config)
                        if scores is not None and scores.images and jax.process_index() == 0:
                            _picture(out / "images" / f"step_{step:08d}.png", step, scores)
                        started = time.monotonic()
        finally:
            feed.close()
    return state


class _Feed:
    """Batches one after the other, epoch after epoch, and the place in them."""

    def __init__(self, data: Iterable[tuple[Problem, Target]]):
        self._data, self._iterator = data, iter(data)

    def next(self, step: int) -> tuple[Problem, Target]:
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

    def stack(self, step: int, n: int) -> tuple[Problem, Target]:
        """The next n batches, the last of them for `step`, with a leading axis."""
        batches = [self.next(step - n + 1 + i) for i in range(n)]
        shapes = {tuple(leaf.shape for leaf in jax.tree.leaves(batch)) for batch in batches}
        if len(shapes) > 1:
            raise ValueError(f"the {n} mini-batches of one call have different shapes: crop or pad the data to one")
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)

    @property
    def position(self) -> Any:
        get_state = getattr(self._iterator, "get_state", None)
        return None if get_state is None else get_state()

    def seek(self, position: Any, n_read: int) -> None:
        if position is not None:
            self._iterator.set_state(position)  # type: ignore[attr-defined]
        else:
            for step in range(1, n_read + 1):
                self.next(step)

    def close(self) -> None:
        if self._iterator is not self._data and hasattr(self._iterator, "close"):
            self._iterator.close()


def _initial_state(update_fn, start, key):
    if isinstance(start, TrainState):
        return copy_state(start)
    if not isinstance(update_fn, Update):
        raise ValueError("this update function does not say how a run starts: give a TrainState instead of parameters")
    return update_fn.init(start, jax.random.key(0) if key is None else key)


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


def _flush(pending, step, log, started, params, checkpoints):
    """Fetch the metrics since the last call in one transfer, write their means; stop at what is not finite."""
    records = jax.device_get(pending)
    for i, metrics in enumerate(records):
        flags = metrics.get("nonfinite", ~np.isfinite(metrics["loss"])[None])
        if np.any(flags):
            raise _stop(step - len(records) + 1 + i, _what_is_nonfinite(flags, metrics, params), checkpoints, log)
    names = [name for name in records[-1] if name != "nonfinite"]
    means = {name: np.mean([m[name] for m in records], axis=0, dtype=float).tolist() for name in names}
    # only now: the steps were dispatched without waiting for them
    speed = len(records) / max(time.monotonic() - started, 1e-9)
    log.record("training", step, {**means, "steps_per_second": speed})
    log.advance(step, means["loss"], speed)


def _what_is_nonfinite(flags, metrics, params):
    names = nonfinite_names(params)
    bad = [name for name, flag in zip(names, flags, strict=False) if flag]
    text = ", ".join(bad[:6]) + (f" and {len(bad) - 6} more" if len(bad) > 6 else "")
    text += " is not finite" if len(bad) == 1 else " are not finite"
    losses = np.ravel(metrics.get("losses", []))
    if not np.isfinite(losses).all():
        text += f", first the loss of module {int(np.argmin(np.isfinite(losses)))} of {len(losses)}"
    return text


def _stop(step, what, checkpoints, log):
    """The error that ends a run, also written to its log."""
    latest = checkpoints.latest
    good = "there is no checkpoint yet" if latest is None else f"the last good checkpoint is {checkpoints.path(latest)}"
    log.record("stopped", step, {"reason": what})
    return TrainingError(
        f"training stopped at step {step}: {what}; {good}. Try a smaller learning rate or clipped gradients, and look "
        "for batches without signal"
    )


@jax.jit
def _all_finite(state):
    leaves = [a for a in jax.tree.leaves((state.params, state.ema)) if jnp.issubdtype(a.dtype, jnp.inexact)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(a)) for a in leaves]))


def _check_best(best, scores):
    if best is not None and not math.isfinite(scores.metrics.get(best[0], math.nan)):
        raise ValueError(
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

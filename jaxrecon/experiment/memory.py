"""Memory of an experiment's training step under every strategy, as the compiler plans it; nothing is computed."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from ..checks import UserError
from ..losses import LOSSES
from ..models import Unrolled, build
from ..problem import Problem, Target
from ..strategies import Strategy, UpdateStrategy
from ..strategies.configs import Gleam, GleamShared, modules_of
from ..training import memory_report, standard_strategies
from ..training.memory import Row
from ..training.optimizers import Course
from .experiment import Experiment, trained_network
from .preparation import preparation
from .samplings import mask_kind, samplings

SHAPE, N_COILS = (320, 256), 8
"""Matrix (y, x) and receive coils of the data, where the experiment does not fix them."""


def memory(experiment: Experiment, *, frames: int = 20) -> list[Row]:
    """Tell the memory of a training step under every strategy before it is run: compiled for this device, not computed.

    Args:
      experiment: the network, its optimizer, loss and batch, of `data.shape` and `data.n_coils`, or else of SHAPE and N_COILS.
      frames: frames of the data, for networks of frames: they see the whole of a time series.

    Returns:
      A row for each strategy of `every_strategy`; `jaxrecon.training.format_memory` makes a table of them.

    Raises:
      ValueError: masks and sizes that do not exist, or numbers that make no optimizer.

    Example:
      >>> tiny = jr.models.UNetConfig(features=2, pools=1)
      >>> data = jr.experiment.DataConfig(shape=(16, 16), n_coils=2)
      >>> rows = jr.experiment.memory(jr.Experiment(tiny, loss="l1", data=data))
      >>> [row.name for row in rows if row.memory is not None][:3]
      ['end_to_end, Python loop', 'end_to_end', 'checkpointed']
    """
    problem, target = abstract_batch(experiment, frames=frames)
    model = trained_network(experiment)
    tx = experiment.optimizer.build(Course(experiment.n_updates, updates_per_epoch=1))
    strategies, loss = every_strategy(experiment, model, tx), LOSSES[experiment.loss].function
    return memory_report(model, loss, tx, problem, target, strategies=strategies)


def every_strategy(
    experiment: Experiment, model: Unrolled, tx: optax.GradientTransformation
) -> dict[str, Strategy | UpdateStrategy]:
    """Those of `standard_strategies`, for shared weights gleam_shared too, and the experiment's own.

    Args:
      experiment: the experiment.
      model: its network, one example at a time.
      tx: its optimizer.

    Returns:
      label -> strategy; that of the experiment's own is `experiment.strategy.label(model)`.
    """
    strategies: dict[str, Strategy | UpdateStrategy] = {
        **standard_strategies(model, n_modules=modules_of(Gleam(), model))
    }
    more = [GleamShared(model.n_steps)] if model.shared else []
    for config in (*more, experiment.strategy):
        strategies.setdefault(config.label(model), functools.partial(config.build, tx=tx))
    return strategies


def check_fits(report: Sequence[Row], own: str, limit: int | None = None) -> None:
    """Refuse a strategy that cannot train the network, or needs more bytes than there are.

    Args:
      report: the rows of `memory`.
      own: label of the strategy.
      limit: bytes that there are; None: any number.

    Raises:
      ValueError: why, and which strategies fit.
    """
    chosen = next(row for row in report if row.name == own)
    if chosen.memory is None:
        raise UserError(f"strategy {own} cannot train this network: {chosen.reason}")
    if limit is None or chosen.memory.total <= limit:
        return
    fitting = [f"{r.name} ({r.memory.total / 2**20:.0f} MiB)" for r in report if r.memory and r.memory.total <= limit]
    cure = f"these fit: {', '.join(fitting)}" if fitting else "no strategy fits: smaller batches, or a smaller network"
    raise UserError(
        f"strategy {own} needs {chosen.memory.total / 2**20:.0f} MiB, more than the limit of {limit / 2**20:.0f} MiB; "
        f"{cure}"
    )


def abstract_batch(experiment: Experiment, *, frames: int = 20) -> tuple[Problem, Target]:
    """A batch of an experiment as shapes and types.

    Args:
      experiment: the network, its mask and its batch, of `data.shape` and `data.n_coils`, or else of SHAPE and N_COILS.
      frames: frames of the data, for networks of frames.

    Raises:
      ValueError: masks and sizes that do not exist.
    """
    first, *_ = samplings(experiment).values()
    encoding, wants, kind = preparation(first).encoding, build(experiment.model).wants, mask_kind(experiment)
    data, batch = experiment.data, experiment.batch_size
    size = SHAPE if data.shape is None else data.shape
    coils = N_COILS if data.n_coils is None else data.n_coils
    if min(*size, coils, batch, frames) < 1:
        raise UserError("shape, n_coils, frames and batch_size must be 1 or more")
    of_series = (frames,) if wants.input == "series" else ()
    adjacent = (wants.window,) if wants.input == "window" else ()
    own = (*of_series, *adjacent) if kind == "frames" or of_series else ()  # frames that have masks of their own
    maps = wants.maps == "given"

    mask = (*own, *(1 for _ in own), 1 if kind in ("lines", "frames") else size[0], size[1])
    arrays = encoding.abstract((*of_series, *adjacent, coils, *size), mask)
    if maps:
        arrays["maps"] = jax.ShapeDtypeStruct((coils, *size), jnp.complex64)

    def zeros():
        example = {name: jnp.zeros((batch, *array.shape), array.dtype) for name, array in arrays.items()}
        dtype = jnp.complex64 if maps and experiment.data.target != "file" else jnp.float32
        image = jnp.zeros((batch, *of_series, *size), dtype)
        return Problem.from_example(example, encoding), Target(image, jnp.zeros(batch))

    return jax.eval_shape(zeros)

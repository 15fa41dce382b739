"""Strategies as configurations, which an experiment holds, and one table of their names.

A configuration is a frozen dataclass whose `build` makes the training step of a network by its strategy.
"""

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import jax
import optax
from jax.sharding import Mesh

from ..models.unrolled import Unrolled
from .blockwise import blockwise, only_block
from .devices import MODULE, data_parallel
from .end_to_end import checkpointed, deep_supervision, end_to_end
from .gleam import gleam
from .gleam_shared import gleam_shared
from .invertible import invertible
from .modules import per_module
from .p_gleam import Schedule, p_gleam
from .types import Strategy
from .update import Update, from_grad_fn


@runtime_checkable
class StrategyConfig(Protocol):
    """The configuration of a strategy: a frozen dataclass, of this module or of your own."""

    if TYPE_CHECKING:  # what has only methods can be asked of at run time too, as the command line does
        __dataclass_fields__: ClassVar[dict[str, Any]]

    def build(
        self, model: Unrolled, loss: Any, tx: Any, *, ema_decay: float | None = None, mesh: Mesh | None = None
    ) -> Update:
        """One training step, for `jaxrecon.training.fit`.

        Args:
          model: the network over a batch (`batched`).
          loss: the loss over a batch; a sequence of one for each module where the strategy has modules.
          tx: the optimizer; likewise.
          ema_decay: decay of a moving average of the weights; None: there is none.
          mesh: devices, as `module_mesh` makes it, over which the strategy spreads its modules or the examples of a batch;
            None: one device.

        Raises:
          ValueError: the strategy cannot train this network; the message says why.
        """
        ...

    def label(self, model: Unrolled) -> str:
        """The strategy in a few words, for tables: its name and what is not as usual."""
        ...


class _Config:
    """What strategies have in common but p_gleam: other devices than one share the examples of a batch."""

    def build(
        self, model: Unrolled, loss: Any, tx: Any, *, ema_decay: float | None = None, mesh: Mesh | None = None
    ) -> Update:
        """See `StrategyConfig.build`."""
        update = self._update(model, loss, tx, ema_decay)
        return update if mesh is None else data_parallel(update, mesh)

    def _update(self, model, loss, tx, ema_decay) -> Update:
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class EndToEnd(_Config):
    """Ordinary reverse mode: see `end_to_end`."""

    def _update(self, model, loss, tx, ema_decay):
        return _by_gradient(end_to_end(), model, loss, tx, ema_decay)

    def label(self, model: Unrolled) -> str:
        """The strategy in a few words."""
        return "end_to_end"


@dataclasses.dataclass(frozen=True)
class Checkpointed(_Config):
    """Reverse mode that computes steps again: see `checkpointed`.

    Attributes:
      every: steps between checkpoints, a divisor of the number of steps.
    """

    every: int = 1

    def _update(self, model, loss, tx, ema_decay):
        return _by_gradient(checkpointed(every=self.every), model, loss, tx, ema_decay)

    def label(self, model: Unrolled) -> str:
        """The strategy in a few words."""
        return "checkpointed" + (f", every {self.every} steps" if self.every != 1 else "")


@dataclasses.dataclass(frozen=True)
class Invertible(_Config):
    """Reverse mode that rebuilds activations from the output: see `invertible`.

    Attributes:
      n_checkpoints: number of carries that are kept, 0 .. N - 1; None: those before all steps but the last.
    """

    n_checkpoints: int | None = None

    def _update(self, model, loss, tx, ema_decay):
        return _by_gradient(invertible(self.n_checkpoints), model, loss, tx, ema_decay)

    def label(self, model: Unrolled) -> str:
        """The strategy in a few words."""
        if self.n_checkpoints is None:
            return "invertible"
        return "invertible, " + ("all steps" if self.n_checkpoints == 0 else f"{self.n_checkpoints} checkpoints")


@dataclasses.dataclass(frozen=True)
class DeepSupervision(_Config):
    """The mean of the losses after every step, end to end: see `deep_supervision`."""

    def _update(self, model, loss, tx, ema_decay):
        weights = [1 / model.n_steps] * model.n_steps
        return _by_gradient(deep_supervision(weights), model, loss, tx, ema_decay)

    def label(self, model: Unrolled) -> str:
        """The strategy in a few words."""
        return "deep_supervision"


@dataclasses.dataclass(frozen=True)
class Blockwise(_Config):
    """Some neighbouring steps learn, and the network stops behind them: see `blockwise`.

    Reconstructions by its run stop there too (`stopped`).

    Attributes:
      first: number of the first step that learns, from 0.
      last: number of the last one; None: that of the network.
      checkpoint: keep the carries between the steps only, and compute the rest again.
    """

    first: int = 0
    last: int | None = None
    checkpoint: bool = False

    def _update(self, model, loss, tx, ema_decay):
        first, last = self.block(model)
        tx = only_block(tx, first, last)
        return _by_gradient(blockwise(first, last, checkpoint=self.checkpoint), model, loss, tx, ema_decay)

    def block(self, model: Unrolled) -> tuple[int, int]:
        """The numbers of the first and of the last step that learn."""
        return self.first, model.n_steps - 1 if self.last is None else self.last

    def label(self, model: Unrolled) -> str:
        """The strategy in a few words."""
        first, last = self.block(model)
        return f"blockwise, steps {first} to {last}"


@dataclasses.dataclass(frozen=True)
class Gleam(_Config):
    """Greedy learning of modules, each with a state of the optimizer of its own: see `gleam` and `per_module`.

    Attributes:
      n_modules: number of modules that the steps are divided into; None: one for each step, or as many as leave each of them
        the steps that the network wants of a module (`Wants.steps_per_module`).
    """

    n_modules: int | None = None

    def _update(self, model, loss, tx, ema_decay):
        n = modules_of(self, model)
        return from_grad_fn(gleam(n)(model, loss), per_module(tx, n, untrained=model.untrained), ema_decay=ema_decay)

    def label(self, model: Unrolled) -> str:
        """The strategy in a few words."""
        return f"gleam, {modules_of(self, model)} modules"


@dataclasses.dataclass(frozen=True)
class GleamShared(_Config):
    """Greedy learning of shared weights, updated after each module: see `gleam_shared`.

    Attributes:
      n_modules: number of modules, as in `Gleam`.
    """

    n_modules: int | None = None

    def _update(self, model, loss, tx, ema_decay):
        return gleam_shared(modules_of(self, model), tx, ema_decay=ema_decay)(model, loss)

    def label(self, model: Unrolled) -> str:
        """The strategy in a few words."""
        return f"gleam_shared, {modules_of(self, model)} modules"


@dataclasses.dataclass(frozen=True)
class PGleam:
    """Greedy learning of modules side by side on several devices: see `p_gleam`.

    Attributes:
      n_modules: number of modules, as in `Gleam`.
      schedule: how the devices are used; None: pipeline, with several hosts spmd.
      n_batches: mini-batches that are handed over at once; None: 1, for schedules that are one program up to four times the
        devices (see `on`): with T of them on D devices T / (T + D - 1) of the time is used.
    """

    n_modules: int | None = None
    schedule: Schedule | None = None
    n_batches: int | None = None

    def on(self, mesh: Mesh, *, n_updates: int) -> "PGleam":
        """The same with schedule and n_batches chosen for these devices, where they are left open.

        Args:
          mesh: the devices.
          n_updates: updates of the whole run, of which n_batches is made a divisor.
        """
        several_hosts = any(device.process_index != jax.process_index() for device in mesh.devices.flat)
        schedule = self.schedule or ("spmd" if several_hosts else "pipeline")
        n_batches = 1 if self.n_batches is None else self.n_batches
        if self.n_batches is None and schedule in ("spmd", "pmap"):
            n_batches = max(t for t in range(1, 4 * mesh.shape[MODULE] + 1) if n_updates % t == 0)
        return dataclasses.replace(self, schedule=schedule, n_batches=n_batches)

    def build(
        self, model: Unrolled, loss: Any, tx: Any, *, ema_decay: float | None = None, mesh: Mesh | None = None
    ) -> Update:
        """One training step: see `StrategyConfig.build`; on one device it is that of `Gleam`.

        Args:
          model: the network over a batch.
          loss: the loss over a batch, or one for each module.
          tx: the optimizer, or one for each module.
          ema_decay: decay of a moving average of the weights; None: there is none.
          mesh: devices to spread modules and examples over; None: one device.
        """
        if mesh is None:
            return Gleam(self.n_modules).build(model, loss, tx, ema_decay=ema_decay)
        strategy = p_gleam(
            modules_of(self, model),
            mesh,
            tx,
            schedule=self.schedule or "pipeline",
            n_batches=1 if self.n_batches is None else self.n_batches,
            ema_decay=ema_decay,
        )
        return strategy(model, loss)

    def label(self, model: Unrolled) -> str:
        """The strategy in a few words."""
        return f"p_gleam, {modules_of(self, model)} modules"


STRATEGIES: dict[str, type] = {
    "end_to_end": EndToEnd,
    "checkpointed": Checkpointed,
    "invertible": Invertible,
    "blockwise": Blockwise,
    "gleam": Gleam,
    "gleam_shared": GleamShared,
    "p_gleam": PGleam,
    "deep_supervision": DeepSupervision,
}
"""Name -> the strategy's configuration."""


def modules_of(strategy: StrategyConfig, model: Unrolled) -> int:
    """How many modules a strategy divides a network into; 1 where it has no modules."""
    if not isinstance(strategy, Gleam | GleamShared | PGleam):
        return 1
    if strategy.n_modules is not None:
        return strategy.n_modules
    n_steps, least = model.n_steps, model.wants.steps_per_module
    return max((m for m in range(1, n_steps + 1) if n_steps % m == 0 and n_steps // m >= least), default=1)


def stopped(model: Unrolled, strategy: StrategyConfig) -> Unrolled:
    """The network as a strategy leaves it: of one that trains blockwise, the steps up to its last."""
    if not isinstance(strategy, Blockwise):
        return model
    return dataclasses.replace(model, n_steps=strategy.block(model)[1] + 1)  # `run` leaves further weights out


def _by_gradient(
    strategy: Strategy, model: Unrolled, loss: Any, tx: optax.GradientTransformation, ema_decay: float | None
) -> Update:
    """The training step of a strategy that is a function to a gradient."""
    grad_fn = strategy(model, loss)
    return from_grad_fn(grad_fn, tx, ema_decay=ema_decay, absorb=model.absorb, untrained=model.untrained)

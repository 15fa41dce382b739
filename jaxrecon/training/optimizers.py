"""Optimizers of the source works as configurations, and one table of their names.

A configuration is a frozen dataclass whose `build` makes the optax transformation. Schedules count updates: a recipe
whose paper counts epochs is told their length by `Course`. Rules that look beyond single elements (the norm of the
gradient) act on the whole network; wrapped in `jaxrecon.strategies.per_module` on each module by itself.
"""

import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import optax

from ..checks import UserError
from .transformations import clip_each_by_norm, lookahead, step_decay


class Course(NamedTuple):
    """What an optimizer is told of the training that it is for.

    Attributes:
      n_updates: updates of the whole run, for rates that fall over it; None: it is not known.
      updates_per_epoch: updates in one pass through the data, for recipes that count epochs; None: it is not known.
    """

    n_updates: int | None = None
    updates_per_epoch: int | None = None

    def whole(self) -> int:
        """The updates of the whole run.

        Raises:
          ValueError: it is not known.
        """
        if self.n_updates is None:
            raise UserError(
                "this optimizer's rate falls over the run: give its length, as build(Course(n_updates=1000))"
            )
        return self.n_updates

    def epochs(self, n: int) -> int:
        """Updates in n epochs.

        Raises:
          ValueError: updates_per_epoch is not known.
        """
        if self.updates_per_epoch is None:
            raise UserError("this optimizer counts epochs: give their length, as build(Course(updates_per_epoch=1000))")
        return n * self.updates_per_epoch


def depends_on_length(optimizer: "OptimizerConfig") -> bool:
    """Whether an optimizer asks for the length of the run, as for a rate that falls over it: with another length, another one.

    Args:
      optimizer: its configuration.

    Example:
      >>> depends_on_length(AdamCosine()), depends_on_length(Adam())
      (True, False)
    """
    asked = []

    class Watched(Course):
        @property
        def n_updates(self):  # type: ignore[override]
            asked.append(True)
            return self[0]

    optimizer.build(Watched(1000, 1000))
    return bool(asked)


UNKNOWN = Course()
"""Nothing is known: enough for optimizers at a constant rate."""


@runtime_checkable
class OptimizerConfig(Protocol):
    """The configuration of an optimizer: a frozen dataclass, of this module or of your own, that can build it."""

    if TYPE_CHECKING:  # what has only methods can be asked of at run time too, as the command line does
        __dataclass_fields__: ClassVar[dict[str, Any]]

    def build(self, course: Course = ..., /) -> optax.GradientTransformation:
        """The optimizer for a training.

        Args:
          course: what is known of that training.

        Raises:
          ValueError: numbers that make no optimizer, or it needs to know more of the training.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Adam:
    """Adam at a constant rate.

    Attributes:
      learning_rate: the rate.
    """

    learning_rate: float = 1e-3

    def build(self, course: Course = UNKNOWN) -> optax.GradientTransformation:
        """See `OptimizerConfig`."""
        return optax.adam(_rate(self.learning_rate))


@dataclasses.dataclass(frozen=True)
class AdamCosine:
    """Adam whose learning rate falls to zero along half a cosine over the run.

    Attributes:
      learning_rate: the rate at the start.
    """

    learning_rate: float = 1e-3

    def build(self, course: Course = UNKNOWN) -> optax.GradientTransformation:
        """See `OptimizerConfig`."""
        return optax.adam(optax.cosine_decay_schedule(_rate(self.learning_rate), course.whole()))


@dataclasses.dataclass(frozen=True)
class GleamAdam:
    """Adam with the L2 penalty added to the gradient before the moments (not AdamW), biases included.

    Attributes:
      learning_rate: the rate.
      weight_decay: the weight of the penalty.

    Source: GLEAM's code (torch.optim.Adam with weight_decay); the paper states neither number.
    """

    learning_rate: float = 1e-4
    weight_decay: float = 1e-4

    def build(self, course: Course = UNKNOWN) -> optax.GradientTransformation:
        """See `OptimizerConfig`."""
        return optax.chain(optax.add_decayed_weights(self.weight_decay), optax.adam(_rate(self.learning_rate)))


@dataclasses.dataclass(frozen=True)
class VarNetAdam:
    """Adam, learning rate times 0.1 at epoch 40 of 50.

    Attributes:
      learning_rate: 3e-4 for the leaderboard network of 12 cascades, 1e-3 for the demo of 8.

    Source: fastMRI's code for E2E-VarNet; no clipping, no weight decay.
    """

    learning_rate: float = 3e-4

    def build(self, course: Course = UNKNOWN) -> optax.GradientTransformation:
        """See `OptimizerConfig`."""
        return optax.adam(step_decay(_rate(self.learning_rate), factor=0.1, every=course.epochs(40)))


@dataclasses.dataclass(frozen=True)
class UNetRMSprop:
    """RMSprop as torch has it (decay 0.99, eps outside of the root), learning rate times 0.1 at epoch 40 of 50.

    Attributes:
      learning_rate: the rate at the start.

    Source: fastMRI's code for the U-Net.
    """

    learning_rate: float = 1e-3

    def build(self, course: Course = UNKNOWN) -> optax.GradientTransformation:
        """See `OptimizerConfig`."""
        schedule = step_decay(_rate(self.learning_rate), factor=0.1, every=course.epochs(40))
        return optax.rmsprop(schedule, decay=0.99, eps=1e-8, eps_in_sqrt=False)


@dataclasses.dataclass(frozen=True)
class MoDLAdam:
    """Gradient values clipped to [-1, 1], then Adam.

    Attributes:
      learning_rate: the rate.

    Source: MoDL's code. TensorFlow's Adam has eps before the bias correction: a difference of order eps.
    """

    learning_rate: float = 1e-3

    def build(self, course: Course = UNKNOWN) -> optax.GradientTransformation:
        """See `OptimizerConfig`."""
        return optax.chain(optax.clip(1.0), optax.adam(_rate(self.learning_rate)))


@dataclasses.dataclass(frozen=True)
class PromptMRAdamW:
    """Gradient clipped to a global norm of 0.01, then AdamW; learning rate times 0.1 at `decay_epoch`.

    Attributes:
      learning_rate: 1e-4 on fastMRI and Calgary-Campinas, 2e-4 on CMRxRecon.
      decay_epoch: 35 of 45 on fastMRI, 19 of 20 on Calgary-Campinas, 11 of 12 on CMRxRecon.
      weight_decay: decoupled, on all trained weights; prompts that keep their values have no part in it, nor in the norm
        (see `Unrolled.untrained`).
      max_norm: largest norm of the whole gradient.

    Source: PromptMR+'s code. torch divides by norm + 1e-6 when it clips: at most 1e-4 smaller.
    """

    learning_rate: float = 1e-4
    decay_epoch: int = 35
    weight_decay: float = 0.01
    max_norm: float = 0.01

    def build(self, course: Course = UNKNOWN) -> optax.GradientTransformation:
        """See `OptimizerConfig`."""
        schedule = step_decay(_rate(self.learning_rate), factor=0.1, every=course.epochs(self.decay_epoch))
        return optax.chain(
            optax.clip_by_global_norm(self.max_norm), optax.adamw(schedule, weight_decay=self.weight_decay)
        )


@dataclasses.dataclass(frozen=True)
class DeepJSenseAdam:
    """Clipped gradient, then Adam; learning rate halved every 10 epochs.

    Attributes:
      learning_rate: 2e-4 in the code, not given in the paper.
      clip: "value": each element to [-0.1, 0.1] (paper); "norm": global norm 1 (code).

    Source: Deep J-Sense.
    """

    learning_rate: float = 2e-4
    clip: Literal["value", "norm"] = "value"

    def build(self, course: Course = UNKNOWN) -> optax.GradientTransformation:
        """See `OptimizerConfig`.

        Raises:
          ValueError: another way of clipping.
        """
        if self.clip not in ("value", "norm"):
            raise UserError(f"DeepJSenseAdam clips by 'value' or by 'norm', not by '{self.clip}'")
        clipping = optax.clip(0.1) if self.clip == "value" else optax.clip_by_global_norm(1.0)
        return optax.chain(
            clipping, optax.adam(step_decay(_rate(self.learning_rate), factor=0.5, every=course.epochs(10)))
        )


@dataclasses.dataclass(frozen=True)
class BenchmarkAdam:
    """Each variable's gradient clipped to norm 1, then Adam.

    Weights stacked over unrolled steps are one leaf here: `per_module(BenchmarkAdam().build(), model.n_steps)` clips the
    variables of each step.

    Attributes:
      learning_rate: the rate at the start.
      in_thirds: the rate falls to a tenth after each third of the run (KIKI-net); else it is constant.

    Source: Ramzi et al. 2020, benchmark of reconstruction networks (Keras, clipnorm=1).
    """

    learning_rate: float = 1e-3
    in_thirds: bool = False

    def build(self, course: Course = UNKNOWN) -> optax.GradientTransformation:
        """See `OptimizerConfig`."""
        rate: Any = _rate(self.learning_rate)
        if self.in_thirds:
            rate = step_decay(rate, factor=0.1, every=max(course.whole() // 3, 1))
        return optax.chain(clip_each_by_norm(1.0), optax.adam(rate))


@dataclasses.dataclass(frozen=True)
class RamziRAdam:
    """Rectified Adam with the eps of TensorFlow Addons, 1e-7.

    Attributes:
      learning_rate: 1e-4; 1e-7 for fine-tuning on one contrast.

    Source: XPDNet, NC-PDNet.
    """

    learning_rate: float = 1e-4

    def build(self, course: Course = UNKNOWN) -> optax.GradientTransformation:
        """See `OptimizerConfig`."""
        return optax.radam(_rate(self.learning_rate), eps=1e-7)


@dataclasses.dataclass(frozen=True)
class ReconODELookahead:
    """Rectified Adam with Lookahead; reconstruct with the slow weights (`evaluation_params`).

    Attributes:
      learning_rate: the rate of the fast weights.
      sync_period: updates from one step of the slow weights to the next.
      slow_step: the part of the way to the fast weights that they go.

    Source: ReconODE names the pair and no numbers: those of the Lookahead paper.
    """

    learning_rate: float = 1e-3
    sync_period: int = 5
    slow_step: float = 0.5

    def build(self, course: Course = UNKNOWN) -> optax.GradientTransformation:
        """See `OptimizerConfig`."""
        fast = optax.radam(_rate(self.learning_rate))
        return lookahead(fast, sync_period=self.sync_period, slow_step=self.slow_step)


OPTIMIZERS: dict[str, OptimizerConfig] = {
    "adam": Adam(),
    "adam_cosine": AdamCosine(),
    "gleam": GleamAdam(),
    "modl": MoDLAdam(),
    "fastmri_unet": UNetRMSprop(),
    "fastmri_varnet": VarNetAdam(),
    "deep_jsense": DeepJSenseAdam(),
    "deep_jsense_by_norm": DeepJSenseAdam(clip="norm"),
    "promptmr": PromptMRAdamW(),
    "promptmr_calgary": PromptMRAdamW(decay_epoch=19),
    "promptmr_cmrxrecon": PromptMRAdamW(learning_rate=2e-4, decay_epoch=11),
    "benchmark": BenchmarkAdam(),
    "ramzi": RamziRAdam(),
    "recon_ode": ReconODELookahead(),
}
"""Name -> the optimizer with its published numbers."""


def _rate(learning_rate: float) -> float:
    """A learning rate, checked."""
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise UserError(f"the learning rate must be positive, but it is {learning_rate}")
    return learning_rate

"""Modules of steps that learn apart: a loss and an optimizer each, and states that do not depend on their number."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax

from ..checks import UserError
from ..models.unrolled import Carry, Context, Unrolled, iterate_steps
from .freeze import freeze
from .types import Loss, Target, group_steps, refuse_absorb
from .update import TrainState, keep_where, moving_average, nonfinite_flags

T = TypeVar("T")


def one_per_module(value: T | Sequence[T], n_modules: int, what: str) -> tuple[T, ...]:
    """A tuple of M from one thing for all modules, or from a sequence with one for each.

    Raises:
      ValueError: a sequence of another length.
    """
    # an optax transformation is a tuple itself
    if not isinstance(value, Sequence) or isinstance(value, optax.GradientTransformation):
        return (value,) * n_modules  # type: ignore[return-value]
    if len(value) != n_modules:
        raise UserError(f"{len(value)} {what} for {n_modules} modules: give one for all, or one for each")
    return tuple(value)


def choose(functions: Sequence[Callable], m: int | jax.Array) -> Callable:
    """The function of module m, which may be traced: then all that differ are compiled and one is run."""
    kinds = list(dict.fromkeys(functions))
    if len(kinds) == 1:
        return kinds[0]
    if isinstance(m, int):
        return functions[m]
    which = jnp.array([kinds.index(f) for f in functions])[m]
    return lambda *args: jax.lax.switch(which, kinds, *args)


def check_modules(model: Unrolled, n_modules: int, strategy: str) -> None:
    """Raise ValueError for a model that cannot be split: shared weights, batch norm, or M does not divide N."""
    refuse_absorb(model, strategy)
    if model.shared:
        raise UserError(f"{strategy} needs a model with separate weights per step (shared=False)")
    if n_modules < 1 or model.n_steps % n_modules:
        raise UserError(f"{strategy}: {n_modules} modules do not divide the model's {model.n_steps} steps evenly")


class ModuleOptimizers:
    """The optimizers of M modules: `init` and `update` of each, and one layout for the states of all.

    The layout has a leading axis of N steps on every leaf: what is as large as the module's steps (moments) is laid out
    like the parameters, what a module has once (counts) is repeated for each of its steps. So a state serves any number
    of modules (a new module goes on with the counts of its first step), and is sharded as the parameters are.

    Args:
      tx: the optimizer of each module, or a sequence of M, which may differ in their numbers but not in what their states
        are made of.
      n_modules: M.
      untrained: patterns of leaves that they leave alone: `Unrolled.untrained`.

    Attributes:
      all: the optimizer of each module.
      start: that of the parameters of `start`: module 0's.
      n_modules: M.
    """

    def __init__(
        self,
        tx: optax.GradientTransformation | Sequence[optax.GradientTransformation],
        n_modules: int,
        untrained: Sequence[str] = (),
    ):
        given = one_per_module(tx, n_modules, "optimizers")
        # equal ones stay equal: they are compiled once
        kinds = {one: freeze(one, untrained, part="steps/") for one in given}
        self.all = tuple(kinds[one] for one in given)
        self.start = freeze(given[0], untrained, part="start/")
        self.n_modules = n_modules

    def update_module(self, gradient: Any, state: Any, theta: Any, m: int | jax.Array) -> tuple[Any, Any]:
        """Updates of module m, and its next state."""
        return choose([tx.update for tx in self.all], m)(gradient, state, theta)

    def init(self, steps: Any) -> Any:
        """States of all modules in the common layout, from parameters (N, ...).

        Raises:
          ValueError: the optimizers differ in what their states are made of.
        """
        modules = group_steps(steps, self.n_modules)
        states = [tx.init(jax.tree.map(lambda a, m=m: a[m], modules)) for m, tx in enumerate(self.all)]
        if len({_signature(state) for state in states}) > 1:
            raise UserError(
                "the optimizers of modules may differ in their numbers, as [optax.adam(rate) for rate in rates] do, but "
                "their states must be made of the same arrays: give all modules one kind, and schedules to all or to none"
            )
        return self.ungroup(jax.tree.map(lambda *a: jnp.stack(a), *states), modules)

    def group(self, states: Any, modules: Any) -> Any:
        """The common layout (N, ...), or any run of whole modules of it, as one state per module (M, ...).

        Args:
          states: states in the common layout.
          modules: the parameters, grouped: leaves (M, N / M, ...).
        """
        n = _steps_per_module(modules)

        def split(a, per_step):
            return a.reshape(-1, n, *a.shape[1:]) if per_step else a[::n]

        return jax.tree.map(split, states, self._is_per_step(modules))

    def ungroup(self, states: Any, modules: Any) -> Any:
        """The inverse of `group`."""
        n = _steps_per_module(modules)

        def join(a, per_step):
            return a.reshape(-1, *a.shape[2:]) if per_step else jnp.repeat(a, n, axis=0)

        return jax.tree.map(join, states, self._is_per_step(modules))

    def _is_per_step(self, modules):
        """Which leaves of a module's state grow with its number of steps."""

        def shapes(n):
            theta = jax.tree.map(lambda a: jax.ShapeDtypeStruct((n, *a.shape[2:]), a.dtype), modules)
            return jax.eval_shape(self.all[0].init, theta)

        return jax.tree.map(lambda a, b: a.shape != b.shape, shapes(2), shapes(3))


def per_module(
    tx: optax.GradientTransformation | Sequence[optax.GradientTransformation],
    n_modules: int,
    *,
    untrained: Sequence[str] = (),
) -> optax.GradientTransformation:
    """One optimizer for each module of steps: for rules that look beyond single elements, or modules that differ.

    params["steps"] is seen as M modules of N / M steps, params["start"] has a state of its own (of module 0's optimizer).
    Elementwise rules (Adam, SGD) that are the same for all modules give the same with or without it. Its states are those
    of `p_gleam`, and serve any number of modules.

    Args:
      tx: the transformation of each module, or a sequence of M (see `ModuleOptimizers`).
      n_modules: M, a divisor of the number of steps.
      untrained: patterns of leaves that it leaves alone: `Unrolled.untrained` of the network.

    Raises:
      ValueError: a sequence of another length; (in init) M does not divide the number of steps, or the states of the
        sequence differ in what they are made of.

    Source: GLEAM, Algorithm 1, where each module is updated by itself.
    """
    own = ModuleOptimizers(tx, n_modules, untrained)

    def init(params):
        return {"start": own.start.init(params["start"]), "steps": own.init(params["steps"])}

    def update(updates, state, params=None):
        start, theta = (None, None) if params is None else (params["start"], group_steps(params["steps"], n_modules))
        start_updates, start_state = own.start.update(updates["start"], state["start"], start)
        gradients = group_steps(updates["steps"], n_modules)
        mapped = jax.vmap(own.update_module, (0, 0, None if params is None else 0, 0))
        steps, states = mapped(gradients, own.group(state["steps"], gradients), theta, jnp.arange(n_modules))
        steps = jax.tree.map(lambda a, like: a.reshape(like.shape), steps, updates["steps"])
        return {"start": start_updates, "steps": steps}, {
            "start": start_state,
            "steps": own.ungroup(states, gradients),
        }

    return optax.GradientTransformation(init, update)


class Learner(NamedTuple):
    """What learns by itself, a module or `start`: its weights, the state of its optimizer, its moving average or None."""

    params: Any
    opt_state: Any
    ema: Any


def learners_of(state: TrainState) -> tuple[Learner, Learner]:
    """What learns in a state: (`start`, steps); its optimizer's state is a dict of the two, as that of `per_module`."""
    ema = state.ema or {"start": None, "steps": None}
    start, steps = (Learner(state.params[part], state.opt_state[part], ema[part]) for part in ("start", "steps"))
    return start, steps


def with_learners(state: TrainState, start: Learner, steps: Learner, step: jax.Array) -> TrainState:
    """The state after these have learned."""
    params, opt_state, ema = ({"start": a, "steps": b} for a, b in zip(start, steps, strict=True))
    return TrainState(step, params, opt_state, state.key, None if state.ema is None else ema)


class Report(NamedTuple):
    """What a module tells of one update.

    Attributes:
      loss: its local loss.
      squared_norm: the squared norm of its gradient, for module 0 with that of `start`.
      nonfinite: flags as `nonfinite_flags` gives them: the loss, `start`, its steps.
    """

    loss: jax.Array
    squared_norm: jax.Array
    nonfinite: jax.Array


def local_loss(
    model: Unrolled, loss: Loss, theta: Any, state: Carry, context: Context, target: Target, indices: jax.Array
) -> tuple[jax.Array, Carry]:
    """(loss after the module's steps, the carry it hands on): what one module learns from."""
    state, _ = iterate_steps(model, theta, state, context, indices=indices)
    return loss(model.finish(state, context), target), state


def learn(update: Callable, learner: Learner, gradient: Any, bad: jax.Array, ema_decay: float | None) -> Learner:
    """One update of a learner by a gradient (conjugated); none at all where `bad` is set.

    Args:
      update: (gradient, opt_state, params) -> (updates, opt_state).
      learner: what learns.
      gradient: the gradient of its parameters.
      bad: a flag.
      ema_decay: decay of its moving average; None: it has none.
    """
    updates, opt_state = update(gradient, learner.opt_state, learner.params)
    params = optax.apply_updates(learner.params, updates)
    new = Learner(params, opt_state, moving_average(learner.ema, params, ema_decay))
    return keep_where(bad, learner, new)


def report(loss: jax.Array, g_start: Any, g_theta: Any) -> Report:
    """The report of a module's loss and gradients."""
    squares = [jnp.sum(jnp.abs(g) ** 2) for g in jax.tree.leaves((g_start, g_theta))]
    return Report(loss, jnp.stack(squares).sum(), nonfinite_flags(loss, {"start": g_start, "steps": g_theta}))


def metrics_of(reports: Report) -> dict[str, jax.Array]:
    """Metrics as `from_grad_fn` and `gleam` name them, from reports with a leading axis of M modules."""
    loss, start = (jnp.any(reports.nonfinite[:, i])[None] for i in (0, 1))
    return {
        "loss": reports.loss[-1],
        "losses": reports.loss,
        "grad_norm": jnp.sqrt(jnp.sum(reports.squared_norm)),
        "nonfinite": jnp.concatenate([loss, start, reports.nonfinite[:, 2:].ravel()]),
    }


def _signature(state):
    return jax.tree.structure(state), tuple((a.shape, str(a.dtype)) for a in jax.tree.leaves(state))


def _steps_per_module(modules):
    return jax.tree.leaves(modules)[0].shape[1]

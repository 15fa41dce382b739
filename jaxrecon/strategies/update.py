"""The state of a training run, and one training step: from a GradFn and an optimizer, or in a strategy's own order."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Int

from ..checks import UserError
from ..models.unrolled import Carry, Unrolled
from ..problem import Problem
from ..struct import shapes_repr
from ..typing import Key, Params
from .freeze import freeze
from .types import GradFn, Loss, Target

Metrics = dict[str, Any]
"""Arrays by name; "loss" is always there, "nonfinite" (see `nonfinite_flags`) where the update looks for NaN."""


@struct.dataclass
class TrainState:
    """All that a run needs to go on exactly where it was, but the position in the data.

    Attributes:
      step: updates made, int32.
      params: the weights that are trained.
      opt_state: state of the optimizer.
      key: randomness of training (dropout, noise), folded with `step`; itself constant.
      ema: exponential moving average of the weights, or None.
    """

    step: Int[Array, ""]
    params: Params
    opt_state: Any
    key: Key
    ema: Params | None = None

    __repr__ = shapes_repr


UpdateFn = Callable[[TrainState, Problem, Target], tuple[TrainState, Metrics]]
"""(state, problem, target) -> (state, metrics), over one batch."""


@dataclasses.dataclass(frozen=True)
class Update:
    """An UpdateFn together with the state that it starts from, as optax bundles init and update.

    Attributes:
      init: (params, key) -> TrainState.
      step: the UpdateFn itself, jitted; the state that it is given is donated: never use it again.
      n_batches: mini-batches that one call takes, each an update; above 1 all leaves of problem, target and metrics have
        a leading axis of that many.
    """

    init: Callable[[Params, Key], TrainState]
    step: UpdateFn
    n_batches: int = 1

    __repr__ = shapes_repr

    def __call__(self, state: TrainState, problem: Problem, target: Target) -> tuple[TrainState, Metrics]:
        """One training step, or n_batches of them.

        Args:
          state: the state before; it is donated, never use it again.
          problem: a batch of problems.
          target: its targets.

        Returns:
          (the state after, metrics).
        """
        return self.step(state, problem, target)


UpdateStrategy = Callable[[Unrolled, Loss | Sequence[Loss]], Update]
"""A strategy that owns the order of its updates; the loss may be a sequence, one for each module."""


def create_state(
    params: Params, tx: optax.GradientTransformation, key: Key | None = None, *, ema: bool = False
) -> TrainState:
    """The state before the first step; params are copied, so that donating the state leaves the caller's alone.

    Args:
      params: initial weights.
      tx: the optimizer.
      key: randomness of training; default key(0).
      ema: keep a moving average, which starts at params.
    """
    key = jax.random.key(0) if key is None else key
    state = TrainState(jnp.zeros((), jnp.int32), params, tx.init(params), key, params if ema else None)
    return copy_state(state)


def copy_state(state: TrainState) -> TrainState:
    """A copy whose leaves share no buffer and have no weak type: a weak one would compile the second step again."""
    return jax.tree.map(lambda a: jnp.array(a, dtype=a.dtype) if hasattr(a, "dtype") else jnp.asarray(a), state)


def from_grad_fn(
    grad_fn: GradFn,
    tx: optax.GradientTransformation,
    *,
    ema_decay: float | None = None,
    absorb: Callable[[Params, Carry], Params] | None = None,
    untrained: Sequence[str] = (),
) -> Update:
    """One training step of any GradFn: gradient, optimizer, moving average; jitted, with the state donated.

    ema <- ema + (1 - d) (params - ema)

    A step whose loss or gradient is not finite leaves the state as it was, and says so in metrics["nonfinite"].
    Gradients of complex leaves are conjugated for optax: `jax.grad` gives the conjugate of the ascent direction. Where
    problems have keys, these are mixed with the state's key and step, so that data seen again get new noise.

    Args:
      grad_fn: the GradFn of a strategy: `strategy(batched(model), loss)`.
      tx: the optimizer.
      ema_decay: d; None: no moving average.
      absorb: that of the model, where it has one: (params, carry) -> params, for weights that no gradient moves, batch
        norm's moving averages. The GradFn hands the last carry over as aux["carry"].
      untrained: that of the model: patterns of leaves that the optimizer leaves alone (`per_module` is told by itself).

    Returns:
      Update; its metrics are loss, grad_norm (before clipping), nonfinite, and the GradFn's aux.

    Raises:
      ValueError: ema_decay outside [0, 1); (when traced) the model's `absorb` was not handed on.

    Example:
      >>> loss = lambda params: (jnp.sum(params["steps"] ** 2), {})
      >>> grad_fn = lambda params, problem, target: jax.value_and_grad(loss, has_aux=True)(params)
      >>> update = from_grad_fn(grad_fn, optax.sgd(0.25))
      >>> state = update.init({"start": {}, "steps": jnp.array([4.0])}, jax.random.key(0))
      >>> state, metrics = update(state, None, None)
      >>> state.params["steps"].tolist(), float(metrics["loss"])
      ([2.0], 16.0)
    """
    check_decay(ema_decay)
    tx = freeze(tx, untrained)

    def update(state, problem, target):
        problem = with_fresh_keys(problem, state.key, state.step)
        (loss, aux), gradients = grad_fn(state.params, problem, target)
        gradients = conjugated(gradients)
        nonfinite = nonfinite_flags(loss, gradients)
        updates, opt_state = tx.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        if absorb is not None:
            params = absorb(params, aux["carry"])
            aux = {name: value for name, value in aux.items() if name != "carry"}
        elif "carry" in aux:
            raise UserError(
                "this network takes something back from its last carry: from_grad_fn needs absorb=model.absorb"
            )
        old = (state.step, state.params, state.opt_state, state.ema)
        new = (state.step + 1, params, opt_state, moving_average(state.ema, params, ema_decay))
        step, params, opt_state, ema = keep_where(jnp.any(nonfinite), old, new)
        metrics = {"loss": loss, "grad_norm": optax.tree.norm(gradients), "nonfinite": nonfinite, **aux}
        return TrainState(step, params, opt_state, state.key, ema), metrics

    def init(params, key):
        return create_state(params, tx, key, ema=ema_decay is not None)

    return Update(init, jax.jit(update, donate_argnums=0))


def check_decay(ema_decay: float | None) -> None:
    """Raise ValueError for a decay of the moving average outside [0, 1)."""
    if ema_decay is not None and not 0 <= ema_decay < 1:
        raise UserError(f"ema_decay must be within [0, 1), not {ema_decay}")


def conjugated(gradients: Params) -> Params:
    """Gradients as optax wants them: those of complex leaves conjugated."""
    return jax.tree.map(lambda g: jnp.conj(g) if jnp.iscomplexobj(g) else g, gradients)


def moving_average(ema: Params | None, params: Params, decay: float | None) -> Params | None:
    """ema + (1 - d) (params - ema), d the decay: what does not move stays as it is, bit for bit; None stays None."""
    if decay is None:
        return ema
    return jax.tree.map(lambda e, p: (e + (1 - decay) * (p - e)).astype(e.dtype), ema, params)


def keep_where(keep: jax.Array, old: Any, new: Any) -> Any:
    """The old tree where a flag is set, else the new one."""
    return jax.tree.map(lambda a, b: jnp.where(keep, a, b), old, new)


def nonfinite_flags(loss: jax.Array, gradients: Params) -> jax.Array:
    """Where NaN or infinity is, as one vector of bools whose entries `nonfinite_names` names."""
    parts = [~jnp.isfinite(loss)[None], _any_nonfinite(gradients.get("start"))[None]]
    steps = jax.tree.leaves(gradients.get("steps"))
    if _n_separate(gradients):
        flags = [jnp.any(~jnp.isfinite(g), axis=tuple(range(1, g.ndim))) for g in steps]
        parts.append(jnp.any(jnp.stack(flags), axis=0))
    else:
        parts.append(_any_nonfinite(steps)[None])
    return jnp.concatenate(parts)


def nonfinite_names(params: Params) -> list[str]:
    """What each entry of `nonfinite_flags` stands for."""
    n = _n_separate(params)
    steps = [f"the gradient of step {i}" for i in range(n)] if n else ["the gradient of the steps"]
    return ["the loss", "the gradient of start", *steps]


def with_fresh_keys(problem: Problem, key: Key, step: jax.Array) -> Problem:
    """The problem with its keys, where it has any, mixed with a run's key and the number of the step."""
    keys = getattr(problem, "key", None)
    if keys is None:
        return problem
    salt = jax.random.bits(jax.random.fold_in(key, step))
    mixed = jax.vmap(jax.random.fold_in, (0, None))(keys.reshape(-1), salt)
    changed: Any = problem
    return changed.replace(key=mixed.reshape(keys.shape))


def _n_separate(params):
    """The number of steps if all leaves of "steps" share their first axis, as separate weights do; else 0."""
    sizes = {leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(params.get("steps"))}
    return sizes.pop() if len(sizes) == 1 else 0


def _any_nonfinite(tree):
    flags = [jnp.any(~jnp.isfinite(g)) for g in jax.tree.leaves(tree)]
    return jnp.any(jnp.stack(flags)) if flags else jnp.zeros((), bool)

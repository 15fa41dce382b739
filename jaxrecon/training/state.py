"""The state of a training run, what a batch is compared with, and one training step from a GradFn and an optimizer."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Inexact, Int

from ..problem import Problem
from ..strategies import GradFn
from ..typing import Key, Mask, Params

Metrics = dict[str, Any]
"""Arrays by name; "loss" is always there, "nonfinite" (see `nonfinite_flags`) where the update looks for NaN."""


@struct.dataclass
class Target:
    """What a reconstruction is compared with; a batch has a leading axis on each leaf.

    Attributes:
      image: reference (..., y, x), complex or magnitude; may be smaller than the problem's matrix: losses crop.
      data_range: scalar per example in units of the image, the peak of SSIM, e.g. the maximum of the volume; None:
        losses that need it raise.
      mask: samples of k-space held out for a self-supervised loss.
      scale: what k-space and image were divided by; multiply a reconstruction by it to undo. None: 1.
    """

    image: Inexact[Array, "*batch y x"]
    data_range: Float[Array, "..."] | None = None
    mask: Mask | None = None
    scale: Float[Array, "..."] | None = None


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


UpdateFn = Callable[[TrainState, Problem, Target], tuple[TrainState, Metrics]]
"""(state, problem, target) -> (state, metrics), over one batch."""


@dataclasses.dataclass(frozen=True)
class Update:
    """An UpdateFn together with the state that it starts from, as optax bundles init and update.

    Attributes:
      init: (params, key) -> TrainState.
      step: the UpdateFn itself, jitted; the state that it is given is donated: never use it again.
    """

    init: Callable[[Params, Key], TrainState]
    step: UpdateFn

    def __call__(self, state: TrainState, problem: Problem, target: Target) -> tuple[TrainState, Metrics]:
        """One training step."""
        return self.step(state, problem, target)


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
    after: Callable[[Params, Metrics], tuple[Params, Metrics]] | None = None,
) -> Update:
    """One training step of any GradFn: gradient, optimizer, moving average; jitted, with the state donated.

    ema <- d ema + (1 - d) params

    A step whose loss or gradient is not finite leaves the state as it was, and says so in metrics["nonfinite"].
    Gradients of complex leaves are conjugated for optax: `jax.grad` gives the conjugate of the ascent direction. Where
    problems have keys, these are mixed with the state's key and step, so that data seen again get new noise.

    Args:
      grad_fn: of a strategy: `strategy(batched(model), loss)`.
      tx: the optimizer.
      ema_decay: d; None: no moving average.
      after: (params, aux) -> (params, metrics), for weights that no gradient moves: batch norm's moving averages, which
        GradFn hands over in aux. What it returns takes the place of aux in the metrics.

    Returns:
      Update; its metrics are loss, grad_norm (before clipping), nonfinite, and the GradFn's aux.

    Raises:
      ValueError: ema_decay outside [0, 1).
    """
    if ema_decay is not None and not 0 <= ema_decay < 1:
        raise ValueError(f"ema_decay must be within [0, 1), not {ema_decay}")

    def update(state, problem, target):
        problem = _with_fresh_keys(problem, state)
        (loss, aux), gradients = grad_fn(state.params, problem, target)
        gradients = jax.tree.map(lambda g: jnp.conj(g) if jnp.iscomplexobj(g) else g, gradients)
        nonfinite = nonfinite_flags(loss, gradients)
        updates, opt_state = tx.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        if after is not None:
            params, aux = after(params, aux)
        ema = state.ema
        if ema_decay is not None:
            ema = jax.tree.map(lambda e, p: (ema_decay * e + (1 - ema_decay) * p).astype(e.dtype), ema, params)
        old = (state.step, state.params, state.opt_state, state.ema)
        new = (state.step + 1, params, opt_state, ema)
        bad = jnp.any(nonfinite)
        step, params, opt_state, ema = jax.tree.map(lambda a, b: jnp.where(bad, a, b), old, new)
        metrics = {"loss": loss, "grad_norm": optax.global_norm(gradients), "nonfinite": nonfinite, **aux}
        return TrainState(step, params, opt_state, state.key, ema), metrics

    def init(params, key):
        return create_state(params, tx, key, ema=ema_decay is not None)

    return Update(init, jax.jit(update, donate_argnums=0))


def evaluation_params(state: TrainState) -> Params:
    """The weights to reconstruct with: the moving average or Lookahead's slow weights, else params."""
    if state.ema is not None:
        return state.ema
    slow = optax.tree.get(state.opt_state, "slow_params")
    if slow is None:
        return state.params
    # leaves that the optimizer never sees (`freeze`) have no slow weight
    masked = lambda leaf: isinstance(leaf, optax.MaskedNode)
    return jax.tree.map(lambda s, p: p if masked(s) else s, slow, state.params, is_leaf=masked)


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


def _n_separate(params):
    """The number of steps if all leaves of "steps" share their first axis, as separate weights do; else 0."""
    sizes = {leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(params.get("steps"))}
    return sizes.pop() if len(sizes) == 1 else 0


def _any_nonfinite(tree):
    flags = [jnp.any(~jnp.isfinite(g)) for g in jax.tree.leaves(tree)]
    return jnp.any(jnp.stack(flags)) if flags else jnp.zeros((), bool)


def _with_fresh_keys(problem, state):
    key = getattr(problem, "key", None)
    if key is None:
        return problem
    salt = jax.random.bits(jax.random.fold_in(state.key, state.step))
    mixed = jax.vmap(jax.random.fold_in, (0, None))(key.reshape(-1), salt)
    return problem.replace(key=mixed.reshape(key.shape))

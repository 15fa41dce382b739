"""Parts of optimizers that optax does not have in this form: step decay, clipping of each leaf, Lookahead."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..checks import UserError
from ..typing import Params


def step_decay(learning_rate: float, *, factor: float, every: int) -> optax.Schedule:
    """Learning rate times `factor` after each `every` updates: lr factor^floor(step / every), torch's StepLR.

    Args:
      learning_rate: lr, the rate at the start.
      factor: what it is multiplied by.
      every: number of updates.

    Raises:
      ValueError: `every` is below 1.

    Example:
      >>> [float(step_decay(8.0, factor=0.5, every=2)(step)) for step in range(5)]
      [8.0, 8.0, 4.0, 4.0, 2.0]
    """
    if every < 1:
        raise UserError(f"step_decay needs every >= 1 update, not {every}")
    return lambda step: learning_rate * jnp.power(factor, step // every)


def clip_each_by_norm(max_norm: float) -> optax.GradientTransformation:
    """Each leaf by itself scaled to a norm of at most max_norm: g min(1, max_norm / ||g||)."""

    def clip(g):
        norm = optax.tree.norm(g)
        return g * (max_norm / jnp.maximum(norm, max_norm)).astype(g.dtype)

    return optax.stateless(lambda updates, params: jax.tree.map(clip, updates))


class LookaheadState(NamedTuple):
    """State of `lookahead`.

    Attributes:
      inner: optax's own state.
      slow_params: the slow weights.
    """

    inner: Any
    slow_params: Params


def lookahead(tx: optax.GradientTransformation, *, sync_period: int, slow_step: float) -> optax.GradientTransformation:
    """Lookahead around any optimizer, with the slow weights in its state, so that parameters stay one ordinary tree.

    Every k updates: slow <- slow + a (fast - slow), fast <- slow.

    Args:
      tx: the fast optimizer.
      sync_period: k, updates from one step of the slow weights to the next.
      slow_step: a, the part of the way to the fast weights that they go.

    Source: Zhang et al. 2019, by optax.lookahead, which wants its parameters in pairs.
    """
    pairs = optax.lookahead(tx, sync_period, slow_step)

    def init(params):
        return LookaheadState(pairs.init(optax.LookaheadParams.init_synced(params)), params)

    def update(updates, state, params=None):
        both = optax.LookaheadParams(fast=params, slow=state.slow_params)
        updates, inner = pairs.update(updates, state.inner, both)
        return updates.fast, LookaheadState(inner, optax.apply_updates(state.slow_params, updates.slow))

    return optax.GradientTransformation(init, update)

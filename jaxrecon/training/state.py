"""The weights of a training state to reconstruct with, and its size.

The state itself and the training step are in jaxrecon.strategies.update, as strategies may own their order of updates.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax.contrib import ScheduleFreeState

from ..strategies.update import TrainState
from ..typing import Params
from .transformations import LookaheadState


def evaluation_params(state: TrainState) -> Params:
    """The weights to reconstruct with: the moving average, those that the optimizer keeps for it, else params.

    Lookahead has slow weights, schedule-free optimizers of optax.contrib the average that they are named for.
    """
    if state.ema is not None:
        return state.ema
    if isinstance(state.opt_state, dict):  # as `per_module` keeps it: start and steps have states of their own
        return {part: _of_optimizer(state.opt_state[part], state.params[part]) for part in state.params}
    return _of_optimizer(state.opt_state, state.params)


def state_bytes(state: TrainState) -> int:
    """Bytes of one checkpoint on disk, without compression."""
    leaves = jax.tree.leaves((state, evaluation_params(state)))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def _of_optimizer(opt_state, params):
    """The weights that an optimizer keeps for evaluation; params where it keeps none."""
    has_own = lambda node: isinstance(node, LookaheadState | ScheduleFreeState)
    for node in filter(has_own, jax.tree.leaves(opt_state, is_leaf=has_own)):
        if isinstance(node, LookaheadState):
            params = _where_seen(lambda _, slow: slow, params, node.slow_params)
        else:
            params = _where_seen(functools.partial(_averaged, b1=node.b1), params, node.z)
    return params


def _averaged(y: jax.Array, z: jax.Array, *, b1: Any) -> jax.Array:
    """x of y = (1 - b1) z + b1 x: the average of a schedule-free optimizer."""
    b1 = jnp.reshape(b1, jnp.shape(b1) + (1,) * (y.ndim - jnp.ndim(b1)))  # modules have a b1 each
    return ((y - (1 - b1) * z) / b1).astype(y.dtype)


def _where_seen(function, params, kept):
    """function(leaf, what is kept of it) of leaves that the optimizer sees; it never sees others (`freeze`)."""
    unseen = lambda leaf: isinstance(leaf, optax.MaskedNode)
    return jax.tree.map(lambda k, p: p if unseen(k) else function(p, k), kept, params, is_leaf=unseen)

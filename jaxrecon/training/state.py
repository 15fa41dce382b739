"""The weights of a training state to reconstruct with.

The state itself and the training step are in jaxrecon.strategies.update, as strategies may own their order of updates.
"""

import jax
import optax

from ..strategies.update import TrainState
from ..typing import Params


def evaluation_params(state: TrainState) -> Params:
    """The weights to reconstruct with: the moving average or Lookahead's slow weights, else params."""
    if state.ema is not None:
        return state.ema
    if isinstance(state.opt_state, dict):  # as `per_module` keeps it: start and steps have states of their own
        return {part: _slow_weights(state.opt_state[part], state.params[part]) for part in state.params}
    return _slow_weights(state.opt_state, state.params)


def _slow_weights(opt_state, params):
    """Lookahead's slow weights; params where there are none."""
    slow = optax.tree.get(opt_state, "slow_params")
    if slow is None:
        return params
    # leaves that the optimizer never sees (`freeze`) have no slow weight
    masked = lambda leaf: isinstance(leaf, optax.MaskedNode)
    return jax.tree.map(lambda s, p: p if masked(s) else s, slow, params, is_leaf=masked)

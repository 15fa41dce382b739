"""What a batch is compared with, and the weights of a training state to reconstruct with.

The state itself and the training step are in jaxrecon.strategies.update, as strategies may own their order of updates.
"""

import jax
import optax
from flax import struct
from jaxtyping import Array, Float, Inexact

from ..strategies.update import TrainState
from ..typing import Mask, Params


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


def evaluation_params(state: TrainState) -> Params:
    """The weights to reconstruct with: the moving average or Lookahead's slow weights, else params."""
    if state.ema is not None:
        return state.ema
    if isinstance(state.opt_state, dict):  # of `per_module`: start and steps have states of their own
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

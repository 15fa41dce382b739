"""Optimizers of the source works, one function each, Adam with a falling rate, and their parts.

The parts are clipping, step decay, Lookahead and frozen leaves.

Schedules count updates: a recipe whose paper counts epochs is given `steps_per_epoch`. Rules that look beyond single
elements (the norm of the gradient) act on the whole network; wrapped in `jaxrecon.strategies.per_module` on each module
by itself.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ..trees import leaf_name
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
        raise ValueError(f"step_decay needs every >= 1 update, not {every}")
    return lambda step: learning_rate * jnp.power(factor, step // every)


def adam_cosine(n_steps: int, *, learning_rate: float = 1e-3) -> optax.GradientTransformation:
    """Adam whose learning rate falls to zero along half a cosine.

    Args:
      n_steps: updates of the run.
      learning_rate: the rate at the start.
    """
    return optax.adam(optax.cosine_decay_schedule(learning_rate, n_steps))


def gleam(learning_rate: float = 1e-4, *, weight_decay: float = 1e-4) -> optax.GradientTransformation:
    """Adam with the L2 penalty added to the gradient before the moments (not AdamW), biases included.

    Source: GLEAM's code (torch.optim.Adam with weight_decay); the paper states neither number.
    """
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.adam(learning_rate))


def fastmri_varnet(steps_per_epoch: int, *, learning_rate: float = 3e-4) -> optax.GradientTransformation:
    """Adam, learning rate times 0.1 at epoch 40 of 50.

    Args:
      steps_per_epoch: updates per epoch.
      learning_rate: 3e-4 for the leaderboard network of 12 cascades, 1e-3 for the demo of 8.

    Source: fastMRI's code for E2E-VarNet; no clipping, no weight decay.
    """
    return optax.adam(step_decay(learning_rate, factor=0.1, every=40 * steps_per_epoch))


def fastmri_unet(steps_per_epoch: int, *, learning_rate: float = 1e-3) -> optax.GradientTransformation:
    """RMSprop as torch has it (decay 0.99, eps outside of the root), learning rate times 0.1 at epoch 40 of 50.

    Source: fastMRI's code for the U-Net.
    """
    schedule = step_decay(learning_rate, factor=0.1, every=40 * steps_per_epoch)
    return optax.rmsprop(schedule, decay=0.99, eps=1e-8, eps_in_sqrt=False)


def modl(learning_rate: float = 1e-3) -> optax.GradientTransformation:
    """Gradient values clipped to [-1, 1], then Adam.

    Source: MoDL's code. TensorFlow's Adam has eps before the bias correction: a difference of order eps.
    """
    return optax.chain(optax.clip(1.0), optax.adam(learning_rate))


def promptmr(
    steps_per_epoch: int,
    *,
    learning_rate: float = 1e-4,
    decay_epoch: int = 35,
    weight_decay: float = 0.01,
    max_norm: float = 0.01,
) -> optax.GradientTransformation:
    """Gradient clipped to a global norm of 0.01, then AdamW; learning rate times 0.1 at `decay_epoch`.

    Args:
      steps_per_epoch: updates per epoch.
      learning_rate: 1e-4 on fastMRI and Calgary-Campinas, 2e-4 on CMRxRecon.
      decay_epoch: 35 of 45 on fastMRI, 19 of 20 on Calgary-Campinas, 11 of 12 on CMRxRecon.
      weight_decay: decoupled, on all trained weights.
      max_norm: largest norm of the whole gradient. Keep frozen prompts out of it by `freeze`.

    Source: PromptMR+'s code. torch divides by norm + 1e-6 when it clips: at most 1e-4 smaller.
    """
    schedule = step_decay(learning_rate, factor=0.1, every=decay_epoch * steps_per_epoch)
    return optax.chain(optax.clip_by_global_norm(max_norm), optax.adamw(schedule, weight_decay=weight_decay))


def deep_jsense(
    steps_per_epoch: int, *, learning_rate: float = 2e-4, clip: Literal["value", "norm"] = "value"
) -> optax.GradientTransformation:
    """Clipped gradient, then Adam; learning rate halved every 10 epochs.

    Args:
      steps_per_epoch: updates per epoch.
      learning_rate: 2e-4 in the code, not given in the paper.
      clip: "value": each element to [-0.1, 0.1] (paper); "norm": global norm 1 (code).

    Raises:
      ValueError: another way of clipping.

    Source: Deep J-Sense.
    """
    if clip not in ("value", "norm"):
        raise ValueError(f"deep_jsense clips by 'value' or by 'norm', not by '{clip}'")
    clipping = optax.clip(0.1) if clip == "value" else optax.clip_by_global_norm(1.0)
    return optax.chain(clipping, optax.adam(step_decay(learning_rate, factor=0.5, every=10 * steps_per_epoch)))


def benchmark(n_steps: int | None = None, *, learning_rate: float = 1e-3) -> optax.GradientTransformation:
    """Each variable's gradient clipped to norm 1, then Adam.

    Weights stacked over unrolled steps are one leaf here: `per_module(benchmark(), model.n_steps)` clips the variables
    of each step.

    Args:
      n_steps: updates of a run whose learning rate falls to a tenth after each third (KIKI-net); None: constant.
      learning_rate: the rate at the start.

    Source: Ramzi et al. 2020, benchmark of reconstruction networks (Keras, clipnorm=1).
    """
    rate = learning_rate if n_steps is None else step_decay(learning_rate, factor=0.1, every=max(n_steps // 3, 1))
    return optax.chain(clip_each_by_norm(1.0), optax.adam(rate))


def ramzi(learning_rate: float = 1e-4) -> optax.GradientTransformation:
    """Rectified Adam with the eps of TensorFlow Addons, 1e-7.

    Args:
      learning_rate: 1e-4; 1e-7 for fine-tuning on one contrast.

    Source: XPDNet, NC-PDNet.
    """
    return optax.radam(learning_rate, eps=1e-7)


def recon_ode(
    learning_rate: float = 1e-3, *, sync_period: int = 5, slow_step: float = 0.5
) -> optax.GradientTransformation:
    """Rectified Adam with Lookahead; reconstruct with the slow weights (`evaluation_params`).

    Args:
      learning_rate: the rate of the fast weights.
      sync_period: updates from one step of the slow weights to the next.
      slow_step: the part of the way to the fast weights that they go.

    Source: ReconODE names the pair and no numbers: those of the Lookahead paper.
    """
    return lookahead(optax.radam(learning_rate), sync_period=sync_period, slow_step=slow_step)


def clip_each_by_norm(max_norm: float) -> optax.GradientTransformation:
    """Each leaf by itself scaled to a norm of at most max_norm: g min(1, max_norm / ||g||)."""

    def clip(g):
        norm = optax.global_norm(g)
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


def freeze(tx: optax.GradientTransformation, is_frozen: Callable[[str], bool]) -> optax.GradientTransformation:
    """Leave some leaves alone: no update, no weight decay, no part in a clipping norm.

    Args:
      tx: the optimizer of the others.
      is_frozen: name of a leaf, such as "start/batch_stats/norm_0/mean", to whether it is frozen.

    Example:
      >>> params = {"prompt": jnp.ones(2), "kernel": jnp.ones(2)}
      >>> tx = freeze(optax.sgd(1.0), lambda name: name.endswith("prompt"))
      >>> updates, _ = tx.update(params, tx.init(params), params)
      >>> updates["prompt"].tolist(), updates["kernel"].tolist()
      ([0.0, 0.0], [-1.0, -1.0])
    """

    def labels(params):
        def label(path, _):
            return "frozen" if is_frozen(leaf_name(path)) else "trained"

        return jax.tree_util.tree_map_with_path(label, params)

    return optax.partition({"trained": tx, "frozen": optax.set_to_zero()}, labels)

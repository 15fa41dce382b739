"""Blockwise training: some neighbouring steps learn, those before them are as they are, those behind are not run."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from ..checks import UserError
from ..models.unrolled import Unrolled, iterate_steps
from .types import GradFn, Loss, Strategy, refuse_absorb


def blockwise(first: int, last: int, *, checkpoint: bool = False) -> "Strategy":
    """Gradients of steps first .. last of the loss after step `last`, where the network stops; all others are 0.

    x = step_last( ... step_first(stop_gradient(x_first)));  g = d loss(finish(x), target) / d (theta_first ... theta_last)

    Parameters of `start` learn with step 0 only. The memory is that of the steps that learn. Optimizers that move weights
    without a gradient, by weight decay or by moments of an earlier training, are held by `only_block`.

    Args:
      first: number of the first step that learns, from 0.
      last: number of the last one.
      checkpoint: keep the carries between the steps that learn, and compute the rest of them again.

    Raises:
      ValueError: (when it is given the model) steps that it does not have, shared weights, or batch norm.

    Source: the reference code of XPDNet (`blocks_to_train`), for networks that do not fit on a device as a whole.
    """

    def strategy(model: Unrolled, loss: Loss) -> GradFn:
        check_block(model, first, last)
        wrap = (lambda step: jax.checkpoint(step, prevent_cse=False)) if checkpoint else (lambda step: step)
        block = slice(first, last + 1)

        def grad_fn(params, problem, target):
            def begin(start_params):
                state, context = model.start(start_params, problem)
                before = jax.tree.map(lambda a: a[:first], params["steps"])
                return iterate_steps(model, before, state, context, indices=jnp.arange(first))[0], context

            begun = begin(params["start"]) if first else None

            def value(start_params, theta):
                state, context = begun or begin(start_params)
                indices = jnp.arange(first, last + 1)
                state, _ = iterate_steps(model, theta, state, context, indices=indices, wrap=wrap)
                return loss(model.finish(state, context), target), {}

            theta = jax.tree.map(lambda a: a[block], params["steps"])
            if first:
                start = jax.tree.map(jnp.zeros_like, params["start"])
                out, own = jax.value_and_grad(value, 1, has_aux=True)(params["start"], theta)
            else:
                out, (start, own) = jax.value_and_grad(value, (0, 1), has_aux=True)(params["start"], theta)
            steps = jax.tree.map(lambda a, g: jnp.zeros_like(a).at[block].set(g), params["steps"], own)
            return out, {"start": start, "steps": steps}

        return grad_fn

    return strategy


def only_block(tx: optax.GradientTransformation, first: int, last: int) -> optax.GradientTransformation:
    """An optimizer that leaves all weights as they are but those of steps first .. last, and with step 0 those of `start`."""

    def hold(updates: Any, _: Any) -> Any:
        def steps(a):
            i = jnp.arange(a.shape[0]).reshape((-1,) + (1,) * (a.ndim - 1))
            return jnp.where((first <= i) & (i <= last), a, 0)

        start = jax.tree.map(jnp.zeros_like, updates["start"]) if first else updates["start"]
        return {"start": start, "steps": jax.tree.map(steps, updates["steps"])}

    return optax.chain(tx, optax.stateless(hold))


def check_block(model: Unrolled, first: int, last: int) -> None:
    """Raise ValueError for a network that has no such steps, or whose steps do not learn apart."""
    refuse_absorb(model, "blockwise")
    if model.shared:
        raise UserError("blockwise needs a model with separate weights per step (shared=False)")
    if not 0 <= first <= last < model.n_steps:
        raise UserError(
            f"blockwise: there are no steps {first} to {last}: expected first <= last, of the steps 0 to {model.n_steps - 1}"
        )

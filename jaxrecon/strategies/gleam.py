"""GLEAM: greedy learning of modules of steps, each by its own local loss, in the memory of one module."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ..models.unrolled import Unrolled
from .modules import check_modules, choose, local_loss, one_per_module
from .start import Differentiable, has_parameters, start_with_pullback
from .types import GradFn, Loss, Strategy, group_steps


def gleam(n_modules: int) -> "Strategy":
    """Gradients of M local losses, each of its own module of N / M steps only.

    For m = 1..M:  x_m = module_m(stop_gradient(x_{m-1}));  g_m = d loss(finish(x_m), target) / d theta_m

    The gradient is taken inside the body of a scan over modules, so that one module's activations are alive at a time:
    stop_gradient in one summed loss would keep them all. Parameters of `start` (learned maps) learn from module 0's loss only,
    later modules see a detached context: the paper has fixed maps, hence no such parameters.

    Modules of several steps in about the memory of one: hand it a model whose step is recomputed,
    `dataclasses.replace(model, step=jax.checkpoint(model.step))`.

    Args:
      n_modules: M, a divisor of the number of steps; N is the paper's usual choice, 1 is end to end.

    Returns:
      Strategy, whose loss may be a sequence of M; its GradFn reports the last module's loss as the loss, and all as
      aux["losses"], (module,). Optimizers of their own: `per_module`.

    Raises:
      ValueError: shared weights (see `gleam_shared`), M does not divide N, or losses of another number.

    Source: GLEAM, Algorithm 1; x_m is computed with theta_m before its update.
    """

    def strategy(model: Unrolled, loss: Loss | Sequence[Loss]) -> GradFn:
        check_modules(model, n_modules, "gleam")
        losses = one_per_module(loss, n_modules, "losses")

        def grad_fn(params, problem, target):
            state, context, pull_start = start_with_pullback(model, params["start"], problem)
            learned_start = has_parameters(params["start"])

            def body(carried, scanned):
                state, first = carried
                theta, m, indices = scanned
                inputs, loss_m = Differentiable((state, context)), choose(losses, m)
                if learned_start:

                    def module(theta, leaves):
                        state, context = inputs.merge(leaves)
                        return local_loss(model, loss_m, theta, state, context, target, indices)

                    gradient = jax.value_and_grad(module, (0, 1), has_aux=True)
                    (value, state), (g_theta, g_inputs) = gradient(theta, inputs.leaves)
                    # only module 0 may teach `start`
                    first = [jnp.where(m == 0, g, f) for g, f in zip(g_inputs, first, strict=True)]
                else:
                    alone = lambda theta: local_loss(model, loss_m, theta, state, context, target, indices)
                    (value, state), g_theta = jax.value_and_grad(alone, has_aux=True)(theta)
                return (state, first), (g_theta, value)

            modules = group_steps(params["steps"], n_modules)
            indices = jnp.arange(model.n_steps).reshape(n_modules, -1)
            zeros = [jnp.zeros_like(leaf) for leaf in Differentiable((state, context)).leaves] if learned_start else []
            scanned = (modules, jnp.arange(n_modules), indices)
            (_, first), (g_steps, values) = jax.lax.scan(body, (state, zeros), scanned)
            g_steps = jax.tree.map(lambda g, like: g.reshape(like.shape), g_steps, params["steps"])
            gradients = {"start": pull_start(first) if learned_start else params["start"], "steps": g_steps}
            return (values[-1], {"losses": values}), gradients

        return grad_fn

    return strategy

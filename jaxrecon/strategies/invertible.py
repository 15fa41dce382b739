"""Memory-efficient learning (MEL): activations are rebuilt from the output by inverting the steps."""

import jax
import jax.numpy as jnp

from ..checks import UserError
from ..models.unrolled import Unrolled
from ..operators import real_vdot
from .start import Differentiable, has_parameters, start_with_pullback
from .types import GradFn, Loss, Strategy, refuse_absorb


def invertible(n_checkpoints: int | None = None) -> "Strategy":
    """Reverse mode that keeps the carries before the first n_checkpoints steps and rebuilds the others by `inverse`.

    For i = N-1 .. 0: x_i = checkpoint_i or inverse_i(x_{i+1}); run step i again from it; pull the cotangent back.
    It is exact only as far as the inversion is (converged CG, a contractive network): the round-trip error is reported.

    Args:
      n_checkpoints: N_cp, 0 .. N - 1; None is N - 1, the paper's choice: only the last step is inverted.

    Returns:
      Strategy; its GradFn reports aux["round_trip"], the relative difference between the rebuilt carry before step N_cp and the
      one computed forward.

    Raises:
      ValueError: the model has no inverse, or N_cp is out of range.

    Source: Kellman et al. 2020 and Wang et al. 2021 as described in GLEAM, eq. 11. GLEAM's code inverts the data consistency step to
      z + x in place of z; here it is the paper's equation.
    """

    def strategy(model: Unrolled, loss: Loss) -> GradFn:
        inverse = model.inverse
        if inverse is None:
            raise UserError("invertible needs a model with an inverse step; use checkpointed() for others")
        refuse_absorb(model, "invertible")
        n_kept = model.n_steps - 1 if n_checkpoints is None else n_checkpoints
        if not 0 <= n_kept < model.n_steps:
            raise UserError(f"n_checkpoints must be within 0 and {model.n_steps - 1}, not {n_kept}")

        def theta_of(steps, i):
            return steps if model.shared else jax.tree.map(lambda a: a[i], steps)

        def grad_fn(params, problem, target):
            state, context, pull_start = start_with_pullback(model, params["start"], problem)
            learned_start = has_parameters(params["start"])
            steps, shared_context = params["steps"], Differentiable(context)

            def forward(state, i):
                return model.step(theta_of(steps, i), state, context, i), state

            state, checkpoints = jax.lax.scan(forward, state, jnp.arange(n_kept))
            anchor = state  # the carry before step N_cp, known exactly
            state, _ = jax.lax.scan(lambda s, i: (forward(s, i)[0], None), state, jnp.arange(n_kept, model.n_steps))

            def last(leaves, context_leaves):
                state_, context_ = final.merge(leaves), shared_context.merge(context_leaves)
                return loss(model.finish(state_, context_), target)

            final = Differentiable(state)
            value, (g_state, g_context) = jax.value_and_grad(last, (0, 1))(final.leaves, shared_context.leaves)
            if not learned_start:
                g_context = []

            def pull(before, g_state, g_context, i):
                """Cotangents before step i from those after it, and the gradient of its parameters."""
                inputs = Differentiable(before)

                def step(theta, leaves, context_leaves):
                    context_ = shared_context.merge(context_leaves) if learned_start else context
                    return Differentiable(model.step(theta, inputs.merge(leaves), context_, i)).leaves

                context_leaves = shared_context.leaves if learned_start else []
                _, vjp = jax.vjp(step, theta_of(steps, i), inputs.leaves, context_leaves)
                g_theta, g_before, g_more = vjp(g_state)
                return g_theta, g_before, [a + b for a, b in zip(g_context, g_more, strict=True)]

            def backward_inverting(carried, i):
                after, g_state, g_context = carried
                before = inverse(theta_of(steps, i), after, context, i)
                g_theta, g_state, g_context = pull(before, g_state, g_context, i)
                return (before, g_state, g_context), g_theta

            def backward_kept(carried, scanned):
                (before, i), (g_state, g_context) = scanned, carried
                g_theta, g_state, g_context = pull(before, g_state, g_context, i)
                return (g_state, g_context), g_theta

            (rebuilt, g_state, g_context), g_late = jax.lax.scan(
                backward_inverting, (state, g_state, g_context), jnp.arange(n_kept, model.n_steps), reverse=True
            )
            (g_state, g_context), g_early = jax.lax.scan(
                backward_kept, (g_state, g_context), (checkpoints, jnp.arange(n_kept)), reverse=True
            )
            join = jnp.add if model.shared else lambda a, b: jnp.concatenate([a, b])
            if model.shared:
                g_early, g_late = (jax.tree.map(lambda g: g.sum(0), g) for g in (g_early, g_late))
            gradients = {
                "start": pull_start([*g_state, *g_context]) if learned_start else params["start"],
                "steps": jax.tree.map(join, g_early, g_late),
            }
            return (value, {"round_trip": _relative_error(rebuilt, anchor)}), gradients

        return grad_fn

    return strategy


def _relative_error(a, b):
    a, b = Differentiable(a).leaves, Differentiable(b).leaves
    difference = jax.tree.map(jnp.subtract, a, b)
    reference = real_vdot(b, b)
    return jnp.sqrt(real_vdot(difference, difference) / jnp.where(reference > 0, reference, 1))

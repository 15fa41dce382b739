"""GLEAM for shared weights: one network updated after each module, within a mini-batch."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from ..checks import UserError
from ..models.unrolled import Unrolled
from .freeze import freeze
from .modules import choose, learn, learners_of, local_loss, one_per_module, with_learners
from .start import Differentiable, has_parameters, start_with_pullback
from .types import Loss, refuse_absorb
from .update import (
    Update,
    UpdateStrategy,
    check_decay,
    conjugated,
    create_state,
    keep_where,
    nonfinite_flags,
    with_fresh_keys,
)


def gleam_shared(
    n_modules: int, tx: optax.GradientTransformation, *, ema_decay: float | None = None
) -> "UpdateStrategy":
    """Greedy training of shared weights: M updates in each mini-batch, one after each module's local gradient.

    For m = 1..M:  x_m = f_theta(stop_gradient(x_{m-1})), N / M steps;  theta <- tx(theta, d loss(finish(x_m)) / d theta)

    The optimizer runs inside the scan over modules: module m + 1 has the weights that module m has changed. Parameters of
    `start` learn once in a mini-batch, from module 0's loss.

    Args:
      n_modules: M, a divisor of the number of steps.
      tx: the one optimizer; it has a state for the steps and one for `start`, and counts M updates in a mini-batch.
      ema_decay: decay of a moving average of the weights, taken after each module; None: no average.

    Returns:
      (model, loss) -> Update; loss may be a sequence of M. Its metrics are loss (of the last module), losses (module,),
      grad_norm (of all gradients together) and nonfinite; a mini-batch with a loss or gradient that is not finite changes
      nothing.

    Raises:
      ValueError: separate weights (see `gleam`), or M does not divide N.

    Source: ours, not in GLEAM: Algorithm 1 with theta_m = theta and one Adam state, for models such as the original MoDL.
    """
    check_decay(ema_decay)

    def strategy(model: Unrolled, loss: Loss | Sequence[Loss]) -> Update:
        refuse_absorb(model, "gleam_shared")
        if not model.shared:
            raise UserError("gleam_shared needs a model with shared weights (shared=True); gleam trains separate ones")
        if n_modules < 1 or model.n_steps % n_modules:
            raise UserError(f"gleam_shared: {n_modules} modules do not divide the model's {model.n_steps} steps evenly")
        losses = one_per_module(loss, n_modules, "losses")
        own = {part: freeze(tx, model.untrained, part=f"{part}/") for part in ("start", "steps")}

        def update(state, problem, target):
            problem = with_fresh_keys(problem, state.key, state.step)
            carry, context, pull_start = start_with_pullback(model, state.params["start"], problem)
            learned_start = has_parameters(state.params["start"])
            never = jnp.zeros((), bool)  # modules learn in any case, and all is undone at the end where need be

            def body(carried, scanned):
                steps, carry, first = carried
                m, indices = scanned
                inputs = Differentiable((carry, context))

                def module(theta, leaves):
                    carry, context = inputs.merge(leaves)
                    return local_loss(model, choose(losses, m), theta, carry, context, target, indices)

                over = (0, 1) if learned_start else 0
                (value, carry), gradients = jax.value_and_grad(module, over, has_aux=True)(steps.params, inputs.leaves)
                g_steps = conjugated(gradients[0] if learned_start else gradients)
                if learned_start:
                    first = [jnp.where(m == 0, g, f) for g, f in zip(gradients[1], first, strict=True)]
                flags = nonfinite_flags(value, {"steps": g_steps})
                steps = learn(own["steps"].update, steps, g_steps, never, ema_decay)
                return (steps, carry, first), (value, optax.tree.norm(g_steps) ** 2, flags)

            zeros = [jnp.zeros_like(leaf) for leaf in Differentiable((carry, context)).leaves] if learned_start else []
            start, steps = learners_of(state)
            modules = (jnp.arange(n_modules), jnp.arange(model.n_steps).reshape(n_modules, -1))
            (steps, _, first), (values, squares, flags) = jax.lax.scan(body, (steps, carry, zeros), modules)
            g_start = conjugated(pull_start(first)) if learned_start else state.params["start"]
            if learned_start:
                start = learn(own["start"].update, start, g_start, never, ema_decay)
            nonfinite = jnp.any(flags, axis=0)
            nonfinite = nonfinite.at[1].set(nonfinite_flags(values[-1], {"start": g_start})[1])
            new = with_learners(state, start, steps, state.step + 1)
            new = keep_where(jnp.any(nonfinite), state, new)
            norm = jnp.sqrt(jnp.sum(squares) + (optax.tree.norm(g_start) ** 2 if learned_start else 0))
            metrics = {"loss": values[-1], "losses": values, "grad_norm": norm, "nonfinite": nonfinite}
            return new, metrics

        def init(params, key):
            apart = optax.GradientTransformation(lambda p: {part: own[part].init(p[part]) for part in p}, tx.update)
            return create_state(params, apart, key, ema=ema_decay is not None)

        return Update(init, jax.jit(update, donate_argnums=0))

    return strategy

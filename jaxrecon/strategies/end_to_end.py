"""End-to-end training: ordinary reverse mode, with checkpoints, and with a loss on every step."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import cast

import jax
import jax.numpy as jnp

from ..checks import UserError
from ..models.unrolled import Unrolled, iterate_steps, run
from ..problem import Problem
from .types import GradFn, Loss, Strategy, group_steps, refuse_absorb


def end_to_end(*, loop: bool = False) -> "Strategy":
    """Reverse mode through all steps: activations of all steps are alive at the peak.

    Args:
      loop: a Python loop over the steps in place of lax.scan, as most users would write it: the baseline of memory tables.

    Source: backpropagation, the baseline of GLEAM.
    """

    def strategy(model: Unrolled, loss: Loss) -> GradFn:
        def forward(params, problem):
            return run(model, params, problem, loop=loop, carry=True)[:2]

        return _differentiate(model, forward, loss)

    return strategy


def checkpointed(*, every: int = 1, policy: Callable | None = None) -> "Strategy":
    """Reverse mode that keeps one carry per `every` steps and computes the rest again: the same gradient in less memory.

    Args:
      every: steps between checkpoints, a divisor of the number of steps.
      policy: what to keep within a step, as `jax.checkpoint_policies`; None keeps nothing.

    Raises:
      ValueError: (when the gradient is traced) `every` does not divide the number of steps.

    Source: gradient checkpointing as GLEAM's baseline: N_cp = N at every = 1.
    """

    def strategy(model: Unrolled, loss: Loss) -> GradFn:
        if every < 1 or model.n_steps % every:
            raise UserError(f"checkpointed(every={every}) does not divide the model's {model.n_steps} steps evenly")
        n_groups = model.n_steps // every

        def forward(params, problem):
            state, context = model.start(params["start"], problem)

            def group(theta, state, context, indices):
                return iterate_steps(model, theta, state, context, indices=indices)[0]

            # prevent_cse is needless inside a scan and would cost speed
            group = jax.checkpoint(group, policy=policy, prevent_cse=False)

            def body(state, scanned):
                theta, indices = scanned
                return group(params["steps"] if model.shared else theta, state, context, indices), None

            steps = None if model.shared else group_steps(params["steps"], n_groups)
            state, _ = jax.lax.scan(body, state, (steps, jnp.arange(model.n_steps).reshape(n_groups, every)))
            return model.finish(state, context), state

        return _differentiate(model, forward, loss)

    return strategy


def deep_supervision(weights: Sequence[float], *, underneath: "Strategy | None" = None) -> "Strategy":
    """The weighted sum of the losses after every step: sum_i w_i loss(finish(carry_i), target).

    Args:
      weights: one number per step.
      underneath: how its gradient is obtained: end_to_end (the default), checkpointed or invertible.

    Raises:
      ValueError: (when it is given the model) not as many weights as steps.

    Source: Lee et al. 2015, deeply supervised nets, on unrolled steps.
    """
    inner = end_to_end() if underneath is None else underneath

    def strategy(model: Unrolled, loss: Loss) -> GradFn:
        refuse_absorb(model, "deep_supervision")
        if len(weights) != model.n_steps:
            raise UserError(f"deep_supervision got {len(weights)} weights for a model of {model.n_steps} steps")

        # the sum of losses rides in the carry, so that every strategy underneath sees an ordinary unrolled network
        def local_loss(state, context_and_target, i):
            context, target = context_and_target
            return jnp.asarray(weights)[i] * loss(model.finish(state, context), target)

        def start(params, problem_and_target):
            problem, target = problem_and_target
            state, context = model.start(params, problem)
            value = jax.eval_shape(local_loss, state, (context, target), jnp.int32(0))
            return (state, jnp.zeros((), value.dtype)), (context, target)

        def step(theta, carry, context, i):
            state, total = carry
            state = model.step(theta, state, context[0], i)
            return state, total + local_loss(state, context, i)

        def inverse(theta, carry, context, i):
            state, total = carry
            assert model.inverse is not None  # else `inverse` is not handed on
            return model.inverse(theta, state, context[0], i), total - local_loss(state, context, i)

        supervised = dataclasses.replace(
            model,
            start=start,
            step=step,
            finish=lambda carry, _: carry[1],
            inverse=inverse if model.inverse else None,
        )
        grad_fn = inner(supervised, lambda total, _: total)
        return lambda params, problem, target: grad_fn(params, cast(Problem, (problem, target)), target)

    return strategy


def _differentiate(model, forward, loss):
    """The gradient of the whole; where something rides in the carry that the model absorbs, aux["carry"] is the last one."""

    def grad_fn(params, problem, target):
        def value(params):
            reconstruction, carry = forward(params, problem)
            return loss(reconstruction, target), ({"carry": carry} if model.absorb else {})

        return jax.value_and_grad(value, has_aux=True)(params)

    return grad_fn

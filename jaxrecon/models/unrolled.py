"""One abstraction for every unrolled network: start, then n_steps times step, then finish.

Models say what is computed (here), strategies say how its gradient is obtained (jaxrecon.strategies), operators are data.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ..problem import Problem
from ..typing import Key

Params = Any
Carry = Any
Context = Any
Reconstruction = jax.Array

BATCH_AXIS = "batch"
"""The name of the axis that `batched` maps over, for steps that look at the whole batch (batch norm, joint CG)."""


@dataclasses.dataclass(frozen=True)
class Unrolled:
    """An unrolled network as plain functions, bundled as optax bundles init and update; static under jit.

    Parameters are a dict {"start": tree, "steps": tree}; with separate weights each leaf of "steps" has a leading axis of n_steps.
    The carry has the same structure, shapes and dtypes at each step; the context is constant over the steps. `finish` has no
    parameters, so that every step has a picture and a loss.

    Attributes:
      n_steps: number of steps N.
      shared: all steps have the same weights.
      init: (key, problem) -> params.
      start: (params["start"], problem) -> (carry, context).
      step: (theta, carry, context, i) -> carry; theta is ONE step's parameters, i a traced int32.
      finish: (carry, context) -> reconstruction, (y, x), (z, y, x) or (frame, y, x).
      inverse: (theta, carry, context, i) -> the carry before the step, for invertible learning; None where there is none.
      n_batch: leading example axes of the carry; `batched` adds one.
    """

    n_steps: int
    shared: bool
    init: Callable[[Key, Problem], Params]
    start: Callable[[Any, Problem], tuple[Carry, Context]]
    step: Callable[[Any, Carry, Context, jax.Array], Carry]
    finish: Callable[[Carry, Context], Reconstruction]
    inverse: Callable[[Any, Carry, Context, jax.Array], Carry] | None = None
    n_batch: int = 0


def unrolled(
    *,
    n_steps: int,
    shared: bool,
    init_step: Callable[[Key, Carry, Context], Any],
    start: Callable[[Any, Problem], tuple[Carry, Context]],
    step: Callable[[Any, Carry, Context, jax.Array], Carry],
    finish: Callable[[Carry, Context], Reconstruction],
    init_start: Callable[[Key, Problem], Any] | None = None,
    inverse: Callable[[Any, Carry, Context, jax.Array], Carry] | None = None,
) -> Unrolled:
    """Build an Unrolled from its parts; `init` follows from the initialisation of one step, by vmap over n_steps keys.

    Args:
      n_steps: number of steps.
      shared: one set of weights for all steps.
      init_step: (key, carry, context) -> theta of one step.
      start: as in Unrolled.
      step: as in Unrolled.
      finish: as in Unrolled.
      init_start: (key, problem) -> parameters of `start`; None where it has none.
      inverse: as in Unrolled.

    Raises:
      ValueError: n_steps below 1.
    """
    if n_steps < 1:
        raise ValueError(f"n_steps must be 1 or more, not {n_steps}")

    def init(key, problem):
        start_key, steps_key = jax.random.split(key)
        start_params = init_start(start_key, problem) if init_start else {}
        # shapes are enough to initialise: nothing of the forward model is computed
        carry, context = jax.eval_shape(start, start_params, problem)
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), (carry, context))
        one = lambda k: init_step(k, *zeros)
        steps = one(steps_key) if shared else jax.vmap(one)(jax.random.split(steps_key, n_steps))
        return {"start": start_params, "steps": steps}

    return Unrolled(n_steps, shared, init, start, step, finish, inverse)


def run(
    model: Unrolled,
    params: Params,
    problem: Problem | tuple[Problem, Any],  # the second where `deep_supervision` calls: its model takes the target too
    *,
    n_steps: int | None = None,
    every_step: bool = False,
    loop: bool = False,
    carry: bool = False,
) -> Any:
    """Reconstruct: start, the steps under lax.scan, finish.

    Args:
      model: the network.
      params: its parameters.
      problem: one problem, or a batch of them for a model made by `batched`.
      n_steps: fewer than model.n_steps is early exit; shared weights may also run longer.
      every_step: stack the reconstructions after each step, (step, ...).
      loop: a Python loop in place of the scan: the same numbers, other memory and compile time.
      carry: return (reconstruction, last carry, context), e.g. to look at estimated maps.

    Returns:
      The reconstruction, or as `every_step` and `carry` say.

    Raises:
      ValueError: more steps than there are weights.
    """
    n_steps = model.n_steps if n_steps is None else n_steps
    if n_steps < 1 or (n_steps > model.n_steps and not model.shared):
        raise ValueError(f"n_steps must be within 1 and the model's {model.n_steps} steps, not {n_steps}")
    state, context = model.start(params["start"], problem)  # type: ignore[arg-type]
    state, pictures = iterate_steps(
        model,
        params["steps"] if model.shared else jax.tree.map(lambda a: a[:n_steps], params["steps"]),
        state,
        context,
        indices=jnp.arange(n_steps),
        every_step=every_step,
        loop=loop,
    )
    out = pictures if every_step else model.finish(state, context)
    return (out, state, context) if carry else out


def iterate_steps(
    model: Unrolled,
    steps: Any,
    state: Carry,
    context: Context,
    *,
    indices: jax.Array,
    every_step: bool = False,
    loop: bool = False,
    wrap: Callable[[Callable], Callable] = lambda step: step,
) -> tuple[Carry, Reconstruction | None]:
    """Run the steps `indices` from a carry; the one loop that `run` and all strategies share.

    Args:
      model: the network.
      steps: parameters of exactly these steps (leading axis len(indices)), or the shared ones.
      state: the carry before the first of them.
      context: the context.
      indices: (step,) int32, their numbers i.
      every_step: also stack finish after each step.
      loop: a Python loop in place of lax.scan.
      wrap: applied to the step function, e.g. jax.checkpoint.

    Returns:
      (carry after the last, stacked reconstructions or None).
    """
    step = wrap(model.step)

    def body(state, scanned):
        i, theta = scanned
        state = step(steps if model.shared else theta, state, context, i)
        return state, (model.finish(state, context) if every_step else None)

    scanned = (indices, None if model.shared else steps)
    if not loop:
        return jax.lax.scan(body, state, scanned)
    pictures = []
    for n in range(len(indices)):
        state, picture = body(state, jax.tree.map(lambda a, n=n: a[n], scanned))
        pictures.append(picture)
    return state, (jnp.stack(pictures) if every_step else None)


def batched(model: Unrolled) -> Unrolled:
    """The same network over a leading axis of problems; parameters are not mapped. A batch is made by `stack_problems`."""
    return dataclasses.replace(
        model,
        init=lambda key, problems: model.init(key, jax.tree.map(lambda a: a[0], problems)),
        start=jax.vmap(model.start, (None, 0), axis_name=BATCH_AXIS),
        step=jax.vmap(model.step, (None, 0, 0, None), axis_name=BATCH_AXIS),
        finish=jax.vmap(model.finish),
        inverse=model.inverse and jax.vmap(model.inverse, (None, 0, 0, None)),
        n_batch=model.n_batch + 1,
    )


def stack_steps(steps: Sequence[Any]) -> Any:
    """[theta_0, theta_1, ...] to one tree with a leading step axis, as imported weights are stacked."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *steps)


def unstack_steps(steps: Any) -> list[Any]:
    """The inverse of `stack_steps`."""
    n_steps = jax.tree.leaves(steps)[0].shape[0]
    return [jax.tree.map(lambda a, i=i: a[i], steps) for i in range(n_steps)]


def stack_problems(problems: Sequence[Any]) -> Any:
    """Problems (or targets) of equal shapes to a batch: a leading axis on each leaf."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)

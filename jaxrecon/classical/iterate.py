"""The one loop of the iterative methods: a step function under lax.scan, with something watched at each step if wanted."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Int


def iterate(
    step: Callable[[Any], Any], state: Any, *, n_iter: int, watch: Callable[[Any], Any] | None = None
) -> tuple[Any, Any]:
    """Apply `step` n_iter times; differentiable; reverse mode keeps all n_iter states.

    Args:
      step: state -> state, same structure, shapes and dtypes.
      state: the start.
      n_iter: number of steps, static.
      watch: state -> anything, e.g. the objective; evaluated at the start and after each step.

    Returns:
      (last state, history): history has a leading axis of n_iter + 1, or is None without `watch`.

    Example:
      >>> state, history = iterate(lambda x: x / 2, jnp.array(8.0), n_iter=3, watch=lambda x: x)
      >>> float(state), history.tolist()
      (1.0, [8.0, 4.0, 2.0, 1.0])
    """
    if watch is None:
        return jax.lax.scan(lambda s, _: (step(s), None), state, length=n_iter)[0], None

    def body(s, _):
        s = step(s)
        return s, watch(s)

    first = watch(state)
    state, history = jax.lax.scan(body, state, length=n_iter)
    history = jax.tree.map(lambda a, b: jax.numpy.concatenate([a[None], b]), first, history)
    return state, history


def iterate_until(
    step: Callable[[Any], Any], state: Any, *, n_iter: int, done: Callable[[Any], jax.Array]
) -> tuple[Any, Int[Array, ""]]:
    """Apply `step` until `done`, n_iter times at most; differentiable: it is a loop of n_iter that passes over the rest.

    Args:
      step: state -> state, same structure, shapes and dtypes.
      state: the start.
      n_iter: number of steps at most, static.
      done: state -> whether it is the last, a boolean (). The start is not asked.

    Returns:
      (last state, number of steps that were made).

    Example:
      >>> state, made = iterate_until(lambda x: x / 2, jnp.array(8.0), n_iter=9, done=lambda x: x < 3)
      >>> float(state), int(made)
      (2.0, 2)
    """

    def going(carry):
        state, made, _ = carry
        state = step(state)
        return state, made + 1, done(state)

    def body(carry, _):
        return jax.lax.cond(carry[2], lambda carry: carry, going, carry), None

    start = (state, jax.numpy.int32(0), jax.numpy.array(False))
    (state, made, _), _ = jax.lax.scan(body, start, length=n_iter)
    return state, made

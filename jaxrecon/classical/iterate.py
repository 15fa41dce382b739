"""The one loop of the iterative methods: a step function under lax.scan, with something watched at each step if wanted."""

from collections.abc import Callable
from typing import Any

import jax


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

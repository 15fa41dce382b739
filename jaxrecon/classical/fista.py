"""Proximal gradient methods: ISTA and FISTA."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..typing import Scalar

Tree = Any


class FistaState(NamedTuple):
    """Iterate x, extrapolated point z, momentum number t."""

    x: Tree
    z: Tree
    t: jax.Array


def fista_start(x: Tree) -> FistaState:
    """The state before the first iteration: z = x, t = 1."""
    return FistaState(x, x, jnp.ones((), jax.tree.leaves(x)[0].real.dtype))


def fista_step(
    gradient: Callable[[Tree], Tree],
    prox: Callable[[Tree, Scalar], Tree],
    state: FistaState,
    *,
    step: Scalar,
) -> FistaState:
    """x+ = prox(z - step grad(z)); t+ = (1 + sqrt(1 + 4 t^2)) / 2; z+ = x+ + (t - 1) / t+ (x+ - x).

    Args:
      gradient: z -> gradient of the smooth term.
      prox: (x, step) -> prox of step times the other term.
      state: the state before the step.
      step: 1 / Lipschitz constant of the gradient.

    Source: Beck and Teboulle 2009, eq. 4.1-4.3.
    """
    x = ista_step(gradient, prox, state.z, step=step)
    t = (1 + jnp.sqrt(1 + 4 * state.t**2)) / 2
    z = jax.tree.map(lambda new, old: new + (state.t - 1) / t * (new - old), x, state.x)
    return FistaState(x, z, t)


def ista_step(
    gradient: Callable[[Tree], Tree],
    prox: Callable[[Tree, Scalar], Tree],
    x: Tree,
    *,
    step: Scalar,
) -> Tree:
    """x+ = prox(x - step grad(x)).

    Args:
      gradient: x -> gradient of the smooth term.
      prox: (x, step) -> prox of step times the other term.
      x: the iterate.
      step: 1 / Lipschitz constant of the gradient.

    Source: Beck and Teboulle 2009 (ISTA).
    """
    return prox(jax.tree.map(lambda a, g: a - step * g, x, gradient(x)), step)

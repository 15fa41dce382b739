"""Primal-dual hybrid gradient: min_x f(A x) with a prox for the conjugate of f."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..operators import LinearOperator
from ..typing import Scalar

Tree = Any


class PdhgState(NamedTuple):
    """Primal iterate, its extrapolation, dual iterate."""

    x: Tree
    x_ext: Tree
    u: Tree


def pdhg_start(op: LinearOperator, x: Tree) -> PdhgState:
    """The state before the first iteration: dual 0."""
    dual = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(op.forward, x))
    return PdhgState(x, x, dual)


def pdhg_step(
    op: LinearOperator,
    prox_conjugate: Callable[[Tree, Scalar], Tree],
    state: PdhgState,
    *,
    tau: Scalar,
    sigma: Scalar = 1.0,
    theta: Scalar = 1.0,
) -> PdhgState:
    """u+ = prox_{sigma f*}(u + sigma A x_ext); x+ = x - tau A^H u+; x_ext+ = x+ + theta (x+ - x).

    Args:
      op: the operator A, e.g. a Stack.
      prox_conjugate: (u, sigma) -> prox of sigma f*.
      state: the state before the step.
      tau: primal step, tau sigma ||A||^2 <= 1.
      sigma: dual step.
      theta: extrapolation.

    Source: Chambolle and Pock 2011, algorithm 1, in the order of sigpy.
    """
    u = jax.tree.map(lambda a, b: a + sigma * b, state.u, op.forward(state.x_ext))
    u = prox_conjugate(u, sigma)
    x = jax.tree.map(lambda a, g: a - tau * g, state.x, op.adjoint(u))
    x_ext = jax.tree.map(lambda new, old: new + theta * (new - old), x, state.x)
    return PdhgState(x, x_ext, u)

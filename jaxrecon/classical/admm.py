"""Alternating direction method of multipliers: min_x 1/2 ||A x - y||^2 + g(G x)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..operators import LinearOperator
from ..typing import Scalar
from .cg import cg

Tree = Any


class AdmmState(NamedTuple):
    """Iterate x, split variable z of G x, scaled dual u."""

    x: Tree
    z: Tree
    u: Tree


def admm_start(op: LinearOperator, x: Tree) -> AdmmState:
    """The state before the first iteration: z = G x, dual 0; `op` is G."""
    z = op.forward(x)
    return AdmmState(x, z, jax.tree.map(jnp.zeros_like, z))


def admm_step(
    normal: Callable[[Tree], Tree],
    adjoint_data: Tree,
    op: LinearOperator,
    prox: Callable[[Tree, Scalar], Tree],
    state: AdmmState,
    *,
    rho: Scalar,
    n_cg: int = 10,
) -> AdmmState:
    """x+ = (A^H A + rho G^H G)^-1 (A^H y + rho G^H (z - u)) by CG; z+ = prox_{g / rho}(G x+ + u); u+ = u + G x+ - z+.

    Args:
      normal: x -> A^H A x.
      adjoint_data: A^H y.
      op: the operator G.
      prox: (z, 1 / rho) -> prox of g / rho.
      state: the state before the step; CG starts warm from its x.
      rho: penalty.
      n_cg: CG iterations per step.

    Source: Boyd et al. 2011, section 3.1.1 (scaled form).
    """
    back = op.adjoint(jax.tree.map(jnp.subtract, state.z, state.u))
    rhs = jax.tree.map(lambda b, g: b + rho * g, adjoint_data, back)
    system = lambda v: jax.tree.map(lambda a, g: a + rho * g, normal(v), op.normal(v))
    x = cg(system, rhs, x0=state.x, n_iter=n_cg)
    gx = op.forward(x)
    z = prox(jax.tree.map(jnp.add, gx, state.u), 1 / rho)
    u = jax.tree.map(lambda a, b, c: a + b - c, state.u, gx, z)
    return AdmmState(x, z, u)

"""Alternating direction method of multipliers: min_x 1/2 ||A x - y||^2 + lam g(G x), at one product with A^H A an iteration."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from ..complex_ops import rss
from ..operators import LinearOperator, real_vdot
from ..typing import Image, Scalar

BALANCE = 4.0
"""The threshold changes by a factor of 2 where one relative residual is this many times the other."""


class AdmmState(NamedTuple):
    """What an iteration needs of the one before.

    Attributes:
      x: image (..., y, x).
      normal_x: A^H A x, of the shape of x.
      z: split variable of G x, (axis, ..., y, x).
      u: scaled dual, of the shape of z.
      threshold: t, a number () in units of the data; the penalty is rho = lam / t.
      change: ||x - x_before|| / ||x||, a number ().
    """

    x: Image
    normal_x: Image
    z: Inexact[Array, "..."]
    u: Inexact[Array, "..."]
    threshold: Float[Array, ""]
    change: Float[Array, ""]


def admm_start(op: LinearOperator, x: Image, threshold: Scalar) -> AdmmState:
    """The state before the first iteration, from x = 0 and duals of 0; `op` is G."""
    z = op.forward(x)
    threshold = jnp.asarray(threshold, x.real.dtype)
    return AdmmState(x, x, z, z, threshold, jnp.full_like(threshold, jnp.inf))


def admm_step(
    normal: Callable[[Image], Image],
    adjoint_data: Image,
    op: LinearOperator,
    prox: Callable[[Inexact[Array, "..."], Scalar], Inexact[Array, "..."]],
    precondition: Callable[[Image, Scalar], Image],
    state: AdmmState,
    *,
    lam: Scalar,
) -> AdmmState:
    """One iteration, with rho = lam / t.

    r = A^H y - A^H A x + rho G^H (z - u - G x),  d = P r,  x+ = x + d r^H d / d^H (A^H A + rho G^H G) d;
    z+ = prox_t(G x+ + u);  u+ = u + G x+ - z+;  then t is halved or doubled, and u with it, where the relative residuals
    ||G x+ - z+|| / max(||G x+||, ||z+||) and ||G^H (z+ - z)|| / ||G^H u+|| are far apart.

    Args:
      normal: x -> A^H A x.
      adjoint_data: A^H y.
      op: the operator G.
      prox: (z, t) -> prox of t g.
      precondition: (r, rho) -> P r, about (A^H A + rho G^H G)^-1 r.
      state: the state before the step.
      lam: weight of g.

    Source: Boyd et al. 2011, section 3.1.1 (scaled form), 3.4.1 (penalty), the residuals relative as in Wohlberg 2017; the
    quadratic problem by one step of steepest descent from the last x (section 3.4.4).
    """
    x, normal_x, z, u, threshold, _ = state
    rho = lam / threshold
    residual = adjoint_data - normal_x + rho * op.adjoint(z - u - op.forward(x))
    direction = precondition(residual, rho)
    normal_d = normal(direction)
    curvature = real_vdot(direction, normal_d + rho * op.normal(direction))
    step = _quotient(real_vdot(residual, direction), curvature)
    x, normal_x = x + step * direction, normal_x + step * normal_d
    change = step * _quotient(_norm(direction), _norm(x))
    gx = op.forward(x)
    z_before, z = z, prox(gx + u, threshold)
    u = u + gx - z
    primal = _norm(gx - z) * _norm(op.adjoint(u))
    dual = _norm(op.adjoint(z - z_before)) * jnp.maximum(_norm(gx), _norm(z))
    factor = jnp.where(primal > BALANCE * dual, 0.5, jnp.where(dual > BALANCE * primal, 2.0, 1.0))
    return AdmmState(x, normal_x, z, u * factor, threshold * factor, change)


def _norm(x):
    return rss(x.ravel(), 0)


def _quotient(a, b):
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), 0)

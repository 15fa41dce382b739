"""Conjugate gradients for Hermitian maps on PyTrees: unrolled, and with implicit gradients.

Own code: with the field's library (lineax) single-precision problems of image size give NaN, since its breakdown guard compares
p^H A p with 200 eps n |r|^2.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..operators import real_vdot
from .iterate import iterate

Tree = Any
Normal = Callable[[Tree], Tree]

FREEZE = 2.0
"""Iterations stop changing anything once ||r|| <= FREEZE eps ||r_0||, eps of the precision in use: what follows is round-off."""


class CGState(NamedTuple):
    """Iterate x, residual r, direction p, and r^H r now and at the start."""

    x: Tree
    r: Tree
    p: Tree
    rr: jax.Array
    rr_first: jax.Array


def cg_start(normal: Normal, b: Tree, x0: Tree | None = None) -> CGState:
    """The state before the first iteration: r = b - A x0; x0 = None is zero and costs no product with A."""
    if x0 is None:
        x, r = jax.tree.map(jnp.zeros_like, b), b
    else:
        x, r = x0, jax.tree.map(jnp.subtract, b, normal(x0))
    rr = real_vdot(r, r)
    return CGState(x, r, r, rr, rr)


def cg_step(normal: Normal, state: CGState) -> CGState:
    """One iteration, frozen at convergence.

    alpha = r^H r / p^H A p; x += alpha p; r -= alpha A p; beta = r_new^H r_new / r^H r; p = r + beta p. All scalars are real. Once
    r^H r has fallen to round-off, or where p^H A p = 0, the quotients are replaced by 0 / 1 on both sides (a double `where`):
    otherwise r^H r goes on to underflow, and the gradient is NaN.
    """
    x, r, p, rr, rr_first = state
    going = rr > (FREEZE * jnp.finfo(rr.dtype).eps) ** 2 * rr_first
    ap = normal(p)
    alpha = _quotient(rr, real_vdot(p, ap), going)
    x = jax.tree.map(lambda a, d: a + alpha * d, x, p)
    r = jax.tree.map(lambda a, d: a - alpha * d, r, ap)
    rr_new = jnp.where(going, real_vdot(r, r), rr)
    beta = _quotient(rr_new, rr, going)
    p = jax.tree.map(lambda a, d: a + beta * d, r, p)
    return CGState(x, r, p, rr_new, rr_first)


def cg(normal: Normal, b: Tree, *, x0: Tree | None = None, n_iter: int = 10) -> Tree:
    """Solve A x = b by a fixed number of conjugate gradient iterations; gradients are those of the unrolled iterations.

    Args:
      normal: x -> A x, Hermitian, e.g. `op.normal`. Where it is indefinite the iterates solve but do not minimise.
      b: right-hand side, any PyTree.
      x0: start, None for zero.
      n_iter: iterations, static. The result depends on it until CG has converged; after that the iterations change nothing.

    Returns:
      x, structured as b; 0 for b = 0.

    Source: Hestenes and Stiefel 1952.

    Example:
      >>> diagonal = jnp.array([1.0, 2.0, 4.0])
      >>> x = cg(lambda x: diagonal * x, jnp.array([3.0, 2.0, 4.0]), n_iter=3)
      >>> np.allclose(x, [3, 1, 1])
      True
    """
    return iterate(lambda s: cg_step(normal, s), cg_start(normal, b, x0), n_iter=n_iter)[0].x


def cg_implicit(normal: Normal, b: Tree, *, n_iter: int = 10) -> Tree:
    """As `cg` from zero, with the gradient of the solution itself: one more CG in reverse mode, no stored iterations.

    It equals the gradient of `cg` only where CG has converged (at 10 iterations of a SENSE problem they differ by several per cent).

    Args:
      normal: x -> A x, Hermitian, as for `cg`.
      b: right-hand side, any PyTree.
      n_iter: iterations, static, of the solution and of its gradient.

    Returns:
      x, structured as b.

    Source: the custom gradient of MoDL's CG block (Aggarwal et al. 2019).
    """
    is_complex = jax.tree.map(jnp.iscomplexobj, b)
    # a Hermitian map of complex numbers is a symmetric one of their parts: nothing is transposed, so that A may have a gradient of its own
    apart = lambda tree: jax.tree.map(lambda a: jnp.stack([a.real, a.imag]) if jnp.iscomplexobj(a) else a, tree)
    whole = lambda tree: jax.tree.map(lambda a, c: jax.lax.complex(a[0], a[1]) if c else a, tree, is_complex)

    def solve(matvec, rhs):
        return apart(cg(lambda v: whole(matvec(apart(v))), whole(rhs), n_iter=n_iter))

    return whole(jax.lax.custom_linear_solve(lambda v: apart(normal(whole(v))), apart(b), solve, symmetric=True))


def _quotient(a, b, going):
    # b of either sign: a learned weight below 0 makes the matrix indefinite, and the iterates are those of the quotients all the same
    safe = going & (b != 0)
    return _divide(jnp.where(safe, a, 0), jnp.where(safe, b, 1))


@jax.custom_jvp
def _divide(a, b):
    return a / b


@_divide.defjvp
def _divide_jvp(primals, tangents):
    # the built-in rule holds 1 / b^2, which overflows in single precision for b of 1e-20, long before a / b does
    (a, b), (da, db) = primals, tangents
    quotient = a / b
    return quotient, (da - quotient * db) / b

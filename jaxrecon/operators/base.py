"""Linear operators as data: frozen PyTrees with forward, adjoint and the fast normal operator; composition, scaling, stacking.

To add one: a dataclass by `jaxrecon.struct` that derives from LinearOperator and has the three methods; arrays are leaves, sizes are
static fields. Domain and codomain may be any PyTree of arrays.
"""

import abc
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from .. import struct
from ..complex_ops import abs2
from ..typing import AnyArray, Key

Tree = Any


class LinearOperator(abc.ABC):
    """A linear map A; `A @ x` applies it, `A @ B` composes, `A.H` is the adjoint, `A.normal(x)` is A^H A x.

    Example:
      >>> difference, blocks = jr.operators.FiniteDifference((-1,)), jr.operators.Blocks((6,), (2,), (2,))
      >>> op = difference @ blocks
      >>> (op @ jnp.arange(6.0)).tolist()
      [[[-1.0, 1.0], [-1.0, 1.0], [-1.0, 1.0]]]
      >>> jax.eval_shape(op.H.forward, op @ jnp.arange(6.0)).shape
      (6,)
    """

    @abc.abstractmethod
    def forward(self, x: Tree) -> Tree:
        """A x."""

    @abc.abstractmethod
    def adjoint(self, y: Tree) -> Tree:
        """A^H y, with <A x, y> = <x, A^H y>."""

    @abc.abstractmethod
    def normal(self, x: Tree) -> Tree:
        """A^H A x, in the fastest form."""

    @property
    def H(self) -> "Adjoint":
        """The adjoint as an operator."""
        return Adjoint(self)

    def __matmul__(self, other):
        return Compose(self, other) if isinstance(other, LinearOperator) else self.forward(other)


@struct.dataclass
class Adjoint(LinearOperator):
    """A^H as an operator.

    Attributes:
      op: the operator A.
    """

    op: LinearOperator

    def forward(self, x: Tree) -> Tree:
        """A^H x."""
        return self.op.adjoint(x)

    def adjoint(self, y: Tree) -> Tree:
        """A y."""
        return self.op.forward(y)

    def normal(self, x: Tree) -> Tree:
        """A A^H x."""
        return self.op.forward(self.op.adjoint(x))


@struct.dataclass
class Compose(LinearOperator):
    """A B: first `inner` (B), then `outer` (A).

    Attributes:
      outer: A.
      inner: B.
    """

    outer: LinearOperator
    inner: LinearOperator

    def forward(self, x: Tree) -> Tree:
        """A B x."""
        return self.outer.forward(self.inner.forward(x))

    def adjoint(self, y: Tree) -> Tree:
        """B^H A^H y."""
        return self.inner.adjoint(self.outer.adjoint(y))

    def normal(self, x: Tree) -> Tree:
        """B^H (A^H A) B x, with the fast normal operator of A."""
        return self.inner.adjoint(self.outer.normal(self.inner.forward(x)))


@struct.dataclass
class Scale(LinearOperator):
    """s A, with s a number or an array that broadcasts against A's output (then a diagonal operator after A).

    Attributes:
      factor: s.
      op: A.
    """

    factor: Inexact[AnyArray, "..."] | complex
    op: LinearOperator

    def forward(self, x: Tree) -> Tree:
        """s A x."""
        return jax.tree.map(lambda y: self.factor * y, self.op.forward(x))

    def adjoint(self, y: Tree) -> Tree:
        """A^H conj(s) y."""
        return self.op.adjoint(jax.tree.map(lambda y: jnp.conj(self.factor) * y, y))

    def normal(self, x: Tree) -> Tree:
        """A^H |s|^2 A x; for a plain number by A's fast normal operator."""
        if jnp.ndim(self.factor) == 0:
            return jax.tree.map(lambda y: abs2(jnp.asarray(self.factor)) * y, self.op.normal(x))
        return self.adjoint(self.forward(x))


@struct.dataclass
class Stack(LinearOperator):
    """[A_1; A_2; ...]: the outputs as a tuple.

    Attributes:
      ops: A_1, A_2, ..., all with the same domain.
    """

    ops: tuple[LinearOperator, ...]

    def forward(self, x: Tree) -> tuple:
        """(A_1 x, A_2 x, ...)."""
        return tuple(op.forward(x) for op in self.ops)

    def adjoint(self, y: tuple) -> Tree:
        """Sum of A_i^H y_i."""
        return _sum([op.adjoint(part) for op, part in zip(self.ops, y, strict=True)])

    def normal(self, x: Tree) -> Tree:
        """Sum of A_i^H A_i x."""
        return _sum([op.normal(x) for op in self.ops])


def _sum(trees):
    return jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]), *trees)


def adjoint_of(forward: Callable[[Tree], Tree], x: Tree) -> Callable[[Tree], Tree]:
    """The adjoint of a linear function, derived from its code: y -> conj(forward^T(conj(y))).

    Args:
      forward: a linear function (complex-linear where it is complex).
      x: an example of its input, or ShapeDtypeStructs.

    Returns:
      The function y -> A^H y.

    Example:
      >>> adjoint = adjoint_of(lambda x: x[::2], jnp.zeros(5))
      >>> adjoint(jnp.array([1.0, 2.0, 3.0])).tolist()
      [1.0, 0.0, 2.0, 0.0, 3.0]
    """
    transpose = jax.linear_transpose(forward, x)

    def adjoint(y):
        (out,) = transpose(jax.tree.map(jnp.conj, y))
        return jax.tree.map(jnp.conj, out)

    return adjoint


def vdot(x: Tree, y: Tree) -> Inexact[Array, ""]:
    """Inner product <x, y> = sum conj(x) y over all leaves of two PyTrees, a number ()."""
    return _sum([jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True)])


def real_vdot(x: Tree, y: Tree) -> Float[Array, ""]:
    """Re <x, y>, a number (), in real arithmetic: a third faster than `vdot` on a CPU; the iterative solvers use it."""

    def leaf(a, b):
        return jnp.sum(a.real * b.real + a.imag * b.imag) if jnp.iscomplexobj(a) else jnp.sum(a * b)

    return _sum(list(map(leaf, jax.tree.leaves(x), jax.tree.leaves(y))))


def max_eigenvalue(normal: Callable[[Tree], Tree], x: Tree, *, n_iter: int = 30) -> Float[Array, ""]:
    """Largest eigenvalue of a Hermitian positive semi-definite map by power iteration.

    Args:
      normal: the map, e.g. `op.normal`.
      x: the start, not zero; a random one is safest (`random_like`).
      n_iter: iterations; 30 as sigpy's.

    Returns:
      The estimate, a real number (), never too large: the iteration approaches the largest eigenvalue from below.

    Example:
      >>> round(float(max_eigenvalue(lambda x: jnp.array([3.0, 2.0]) * x, jnp.ones(2))), 4)
      3.0
    """

    def body(carry, _):
        x, norm = carry
        scale = 1 / jnp.where(norm > 0, norm, 1)
        x = normal(jax.tree.map(lambda a: a * scale, x))
        return (x, jnp.sqrt(real_vdot(x, x))), None

    (_, eigenvalue), _ = jax.lax.scan(body, (x, jnp.sqrt(real_vdot(x, x))), length=n_iter)
    return eigenvalue


def operator_norm(op: LinearOperator, x: Tree, *, n_iter: int = 30) -> Float[Array, ""]:
    """Spectral norm ||A||: the root of the largest eigenvalue of A^H A, by `max_eigenvalue`.

    Args:
      op: the operator A.
      x: the start of the power iteration, not zero; a random one is safest (`random_like`).
      n_iter: iterations.

    Returns:
      The estimate, a real number ().
    """
    return jnp.sqrt(max_eigenvalue(op.normal, x, n_iter=n_iter))


def random_like(key: Key, x: Tree) -> Tree:
    """Unit normal noise (complex where the leaf is) with the structure, shapes and dtypes of x."""
    leaves, structure = jax.tree.flatten(x)
    keys = jax.random.split(key, len(leaves))
    noise = [jax.random.normal(k, a.shape, a.dtype) for k, a in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, noise)

"""Finite differences in space and time, the operator of total variation."""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Inexact

from ..typing import AnyArray
from .base import LinearOperator


@struct.dataclass
class FiniteDifference(LinearOperator):
    """(G x)_a = w_a (x - roll(x, +1, axis a)): circular backward differences, stacked on a new first axis.

    Source: the convention of sigpy's TotalVariationRecon (circular boundary).

    Attributes:
      axes: the axes to difference, e.g. (-2, -1) in space, (-3, -2, -1) with frames.
      weights: one number per axis (space and time may weigh differently), or None for ones.
    """

    axes: tuple[int, ...] = struct.field(pytree_node=False, default=(-2, -1))
    weights: Float[AnyArray, " axis"] | None = None

    def forward(self, x: Inexact[AnyArray, "*shape"]) -> Inexact[Array, " axis *shape"]:
        """(...) to (axis, ...)."""
        return jnp.stack([w * (x - jnp.roll(x, 1, a)) for a, w in self._weighted(x)])

    def adjoint(self, y: Inexact[AnyArray, " axis *shape"]) -> Inexact[Array, "*shape"]:
        """(axis, ...) to (...)."""
        parts = [w * (d - jnp.roll(d, -1, a)) for d, (a, w) in zip(y, self._weighted(y), strict=True)]
        return sum(parts[1:], parts[0])

    def normal(self, x: Inexact[AnyArray, "*shape"]) -> Inexact[Array, "*shape"]:
        """Sum over the axes of w^2 (2 x - roll(x, 1) - roll(x, -1))."""
        parts = [w**2 * (2 * x - jnp.roll(x, 1, a) - jnp.roll(x, -1, a)) for a, w in self._weighted(x)]
        return sum(parts[1:], parts[0])

    def _weighted(self, x):
        weights = jnp.ones(len(self.axes), x.real.dtype) if self.weights is None else self.weights
        return list(zip(self.axes, weights, strict=True))

"""Finite differences in space and time, the operator of total variation."""

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from .. import struct
from ..typing import AnyArray
from .base import LinearOperator


@struct.dataclass
class FiniteDifference(LinearOperator):
    """(G x)_a = w_a (x - roll(x, +1, axis a)): circular backward differences, stacked on a new first axis.

    Source: the convention of sigpy's TotalVariationRecon (circular boundary).

    Attributes:
      axes: the axes to difference, e.g. (-2, -1) in space, (-3, -2, -1) with frames.
      weights: one number per axis (space and time may weigh differently), or None for ones.

    Example:
      >>> (jr.operators.FiniteDifference(axes=(-1,)) @ jnp.array([1.0, 4.0, 9.0])).tolist()
      [[-8.0, 3.0, 5.0]]
    """

    axes: tuple[int, ...] = struct.static(default=(-2, -1))
    weights: Inexact[AnyArray, " axes"] | None = None

    def forward(self, x: Inexact[AnyArray, "*shape"]) -> Inexact[Array, " axis *shape"]:
        """(...) to (axis, ...)."""
        return jnp.stack([w * (x - jnp.roll(x, 1, a)) for a, w in self._weighted(x)])

    def adjoint(self, y: Inexact[AnyArray, " axis *shape"]) -> Inexact[Array, "*shape"]:
        """(axis, ...) to (...)."""
        parts = [w * (d - jnp.roll(d, -1, a)) for d, (a, w) in zip(y, self._weighted(y), strict=True)]
        return sum(parts[1:], parts[0])

    def normal(self, x: Inexact[AnyArray, "*shape"]) -> Inexact[Array, "*shape"]:
        """sum_a w_a^2 (2 x - roll(x, 1, a) - roll(x, -1, a)), of the shape of x (...)."""
        parts = [w**2 * (2 * x - jnp.roll(x, 1, a) - jnp.roll(x, -1, a)) for a, w in self._weighted(x)]
        return sum(parts[1:], parts[0])

    def _weighted(self, x):
        weights = jnp.ones(len(self.axes), x.real.dtype) if self.weights is None else self.weights
        return list(zip(self.axes, weights, strict=True))

"""Sliding blocks of an image, as calibration matrices and local low-rank methods take them."""

import itertools

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Inexact

from .base import LinearOperator, adjoint_of


@struct.dataclass
class Blocks(LinearOperator):
    """All blocks of `size` at `stride` of an image whose last axes have `shape`: (..., *shape) to (..., *n_blocks, *size).

    Attributes:
      shape: (y, x) or (z, y, x).
      size: the size of a block.
      stride: the step between blocks, 1 for a calibration matrix.
    """

    shape: tuple[int, ...] = struct.field(pytree_node=False)
    size: tuple[int, ...] = struct.field(pytree_node=False)
    stride: tuple[int, ...] = struct.field(pytree_node=False)

    def forward(self, x: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Image to blocks."""
        ndim = len(self.shape)
        counts = [(n - k) // s + 1 for n, k, s in zip(self.shape, self.size, self.stride, strict=True)]
        shifted = []
        for offset in itertools.product(*map(range, self.size)):
            where = (slice(o, o + s * (c - 1) + 1, s) for o, s, c in zip(offset, self.stride, counts, strict=True))
            shifted.append(x[(..., *where)])
        return jnp.stack(shifted, -1).reshape((*x.shape[: x.ndim - ndim], *counts, *self.size))

    def adjoint(self, y: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """Blocks to image: overlapping blocks add up."""
        batch = y.shape[: y.ndim - 2 * len(self.shape)]
        return adjoint_of(self.forward, jax.ShapeDtypeStruct((*batch, *self.shape), y.dtype))(y)

    def normal(self, x: Inexact[Array, "*shape"]) -> Inexact[Array, "*shape"]:
        """Each pixel times the number of blocks that hold it."""
        return self.adjoint(self.forward(x))

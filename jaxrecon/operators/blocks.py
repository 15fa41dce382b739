"""Sliding blocks of an image, as calibration matrices and local low-rank methods take them."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from .. import struct
from ..typing import AnyArray
from .base import LinearOperator, adjoint_of


@struct.dataclass
class Blocks(LinearOperator):
    """All blocks of `size` at `stride` of an image whose last axes have `shape`: (..., *shape) to (..., *n_blocks, *size).

    Attributes:
      shape: (y, x) or (z, y, x).
      size: the size of a block.
      stride: the step between blocks, 1 for a calibration matrix.

    Example:
      >>> blocks = jr.operators.Blocks((4, 4), size=(2, 2), stride=(2, 2))
      >>> (blocks @ jnp.arange(16).reshape(4, 4))[0, 1].tolist()
      [[2, 3], [6, 7]]
    """

    shape: tuple[int, ...] = struct.static()
    size: tuple[int, ...] = struct.static()
    stride: tuple[int, ...] = struct.static()

    def forward(self, x: Inexact[AnyArray, "..."]) -> Inexact[Array, "..."]:
        """Image (..., *shape) to blocks (..., *n_blocks, *size)."""
        ndim = len(self.shape)
        counts = [(n - k) // s + 1 for n, k, s in zip(self.shape, self.size, self.stride, strict=True)]
        shifted = []
        for offset in itertools.product(*map(range, self.size)):
            steps = zip(offset, self.stride, counts, strict=True)
            where: tuple[Any, ...] = (..., *(slice(o, o + s * (c - 1) + 1, s) for o, s, c in steps))
            shifted.append(x[where])
        return jnp.stack(shifted, -1).reshape((*x.shape[: x.ndim - ndim], *counts, *self.size))

    def adjoint(self, y: Inexact[AnyArray, "..."]) -> Inexact[Array, "..."]:
        """Blocks (..., *n_blocks, *size) to image (..., *shape): overlapping blocks add up."""
        batch = y.shape[: y.ndim - 2 * len(self.shape)]
        return adjoint_of(self.forward, jax.ShapeDtypeStruct((*batch, *self.shape), y.dtype))(y)

    def normal(self, x: Inexact[AnyArray, "*shape"]) -> Inexact[Array, "*shape"]:
        """Each pixel of (..., *shape) times the number of blocks that hold it."""
        return self.adjoint(self.forward(x))

"""Activations: ReLU, leaky ReLU, and PReLU with one slope for all or one for each channel."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen
from jaxtyping import Array, Float

from .conv import leaky_relu, parameter_dtype

Activation = Literal["relu", "leaky_relu", "prelu"]
"""ReLU; leaky ReLU of slope 0.1; PReLU, whose slopes are learned, one for each channel, and begin at 0."""
LEAKY_SLOPE = 0.1
"""The slope of "leaky_relu"."""


def prelu(x: Float[Array, "*axes c"], slope: Float[Array, "*c"]) -> Float[Array, "*axes c"]:
    """x where positive, slope x elsewhere.

    Args:
      x: (..., channel).
      slope: learned: one number (), or one for each channel (channel,).

    Returns:
      The shape and dtype of x.
    """
    slope = slope.astype(x.dtype)
    if slope.ndim:
        slope = slope.reshape((1,) * (x.ndim - 1) + slope.shape)
    return jnp.where(x > 0, x, slope * x)


class Activate(linen.Module):
    """An activation, and where it has slopes its parameter `slope` (channel,).

    Source: the benchmark of Ramzi et al. 2020, whose leaky ReLU has the slope 0.1 and whose PReLU begins as ReLU.

    Attributes:
      kind: which.
    """

    kind: Activation = "relu"

    @linen.compact
    def __call__(self, x: Float[Array, "*axes c"]) -> Float[Array, "*axes c"]:
        """(..., channel) to the same shape."""
        if self.kind == "relu":
            return jax.nn.relu(x)
        if self.kind == "leaky_relu":
            return leaky_relu(x, LEAKY_SLOPE)
        return prelu(x, self.param("slope", linen.initializers.zeros, (x.shape[-1],), parameter_dtype(x)))

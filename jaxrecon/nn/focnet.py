"""FocNet: chains of convolutions at several scales with fractional-order skips, which exchange features at given nodes.

Parameter tree, beside the layers of the reference code (S scales, the finest first; blocks, switches and transposed
convolutions of a scale are numbered in the order of their use):

  first/{kernel,bias}           first convolution
  conv_{s}_{i}/kernel           block i of scale s, without bias
  switch_{s}_{j} ()             gate of what scale s takes from another one
  unpool_{s}_{j}/{kernel,bias}  transposed convolution from scale s + 1 to s, kernel (y, x, out, in)
  last/{kernel,bias}            1x1
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen
from jaxtyping import Array, Float

from .conv import average_pool_2x2, glorot_conv, parameter_dtype
from .resampling import ConvTranspose3x3, check_multiple

BLOCKS = (5, 11, 11, 7)
"""Convolutions of each scale."""
COMMUNICATIONS = (
    ((1, 0), (1, 2), (2, 3), (2, 5), (3, 6), (3, 8), (4, 9), (4, 11)),
    ((1, 0), (1, 2), (4, 3), (4, 5), (7, 6), (7, 8), (10, 9), (10, 11)),
    ((1, 0), (1, 1), (4, 2), (4, 3), (7, 4), (7, 5), (10, 6), (10, 7)),
)
"""Between scale s and s + 1: (feature above, feature below), alternately down and up."""
BETA = 0.2
"""The order of the fractional skips."""
INITIAL_SWITCH = 2.0
"""What the gates begin with, before the sigmoid."""


def fractional_weights(n: int) -> list[float]:
    """The weights of the n oldest features in the next one: w_n = beta, w_{k-1} = w_k (1 - (1 + beta) / (n - k + 1)).

    Args:
      n: how many, 1 or more.

    Source: Jia et al. 2019, CVPR, and Ramzi's code, which pairs the list with the oldest features first.
    """
    weights = [BETA]
    for k in range(n - 1, 0, -1):
        weights.insert(0, weights[0] * (1 - (1 + BETA) / (n - k + 1)))
    return weights


class FocNet(linen.Module):
    """Fractional optimal control network: h_{t+1} = relu(conv(h_t)) + sum_k w_k h_k at each of several scales.

    Source: Jia et al. 2019, CVPR, as in Ramzi's code.

    Attributes:
      out_features: output channels.
      features: channels inside.
      scales: 1 to 4.
      dtype: what the convolutions compute in; the result has the input's dtype.
    """

    out_features: int
    features: int = 32
    scales: int = 4
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Float[Array, "*batch y x i"]) -> Float[Array, "*batch y x {self.out_features}"]:
        """(..., y, x, in) to (..., y, x, out_features).

        Raises:
          ValueError: y or x is no multiple of 2^(scales - 1).
        """
        check_multiple(x, 2 ** (self.scales - 1), f"a FocNet of {self.scales} scales")
        first = glorot_conv(self.features, dtype=self.dtype, name="first")(x)
        chains: list[list[Float[Array, "*batch y x c"]]] = [[first], *([] for _ in range(self.scales - 1))]
        gates = [0] * self.scales

        def feature(scale, index):
            """A feature of a scale, and before it all that it needs."""
            chain = chains[scale]
            while len(chain) <= index:
                extend(scale, max(len(chain) - 1, 0))
            return chain[index]

        def extend(scale, block):
            """Run the next block of a scale."""
            chain, received = chains[scale], None
            if scale and (above := _partner(scale - 1, block, down=True)) is not None:
                received = average_pool_2x2(feature(scale - 1, above))
            if scale < self.scales - 1 and (below := _partner(scale, block, down=False)) is not None:
                unpool = ConvTranspose3x3(self.features, self.dtype, name=f"unpool_{scale}_{_order(scale, block)}")
                received = unpool(feature(scale + 1, below))
            if received is not None:
                received = received * gate(scale, received)
                if not chain:
                    chain.append(received)
                    h = received
                else:
                    h = jnp.concatenate([chain[-1], received], -1)
            else:
                h = chain[-1]
            layer = glorot_conv(self.features, bias=False, dtype=self.dtype, name=f"conv_{scale}_{block}")
            new = jax.nn.relu(layer(h))
            weighted = [w * old for w, old in zip(fractional_weights(max(block, 1)), chain, strict=False)]
            chain.append(new + sum(weighted[1:], weighted[0]))

        def gate(scale, received):
            name = f"switch_{scale}_{gates[scale]}"
            gates[scale] += 1
            switch = self.param(name, linen.initializers.constant(INITIAL_SWITCH), (), parameter_dtype(x))
            return jax.nn.sigmoid(switch).astype(received.dtype)

        last = feature(0, BLOCKS[0])
        return glorot_conv(self.out_features, 1, dtype=self.dtype, name="last")(last).astype(x.dtype)


def _partner(scale, block, *, down):
    """The feature that a block takes from the other one of the scales `scale`, `scale` + 1; None: it takes none."""
    pairs = COMMUNICATIONS[scale][0 if down else 1 :: 2]
    return next((above if down else below for above, below in pairs if block == (below if down else above)), None)


def _order(scale, block):
    """Which of the transposed convolutions of a scale a block has."""
    return [above for above, _ in COMMUNICATIONS[scale][1::2]].index(block)

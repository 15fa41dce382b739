"""The U-Net of Ramzi's benchmark: biases, no normalisation, maximum pooling, optional channel attention.

Parameter tree (L levels, the finest first), which is that of the reference's layers:

  down_{l}/conv_{i}/{kernel,bias}    l = 0 .. L-2
  bottom/conv_{i}/...
  up_{l}/up_conv/{kernel,bias}, up_{l}/conv_{i}/...
  out_0/{kernel,bias}, out_1/...     the two 1x1 convolutions of the end

With PReLU each layer before an activation has a sibling: conv_{i}_act/slope, up_conv_act/slope, out_0_act/slope. Channel
attention is down_{l}/attention, up_{l}/attention and out_0_attention, each with squeeze/{kernel,bias}, expand/{kernel,bias} and
act/slope.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen
from jaxtyping import Array, Float

from .activations import Activate, Activation
from .conv import glorot_conv
from .resampling import UpConv, check_multiple, max_pool_2x2

Attention = Literal["none", "top", "all"]
"""Channel attention nowhere; after the convolutions of the finest level, down and up, and near the end; at every level."""
REDUCTION = 4
"""How many times fewer channels channel attention has inside."""


class BenchmarkUNet(linen.Module):
    """U-Net with convolutions 3x3, biases and maximum pooling, and two 1x1 convolutions at the end.

    Source: Ramzi et al. 2020, Applied Sciences 10(5) 1816, and its code, where attention is "top" and the benchmark's own
    weights were trained with penultimate_activation=False.

    Attributes:
      out_features: output channels.
      features: channels of each level, the finest first.
      convs: convolutions of each level, on the way down and again on the way up.
      activation: after each of them.
      penultimate_activation: one after the first 1x1 convolution of the end, which has max(4, out_features) channels.
      attention: where there is channel attention.
      residual: the result is the input minus what the network gives.
      dtype: what the convolutions compute in; the result has the input's dtype.
    """

    out_features: int
    features: tuple[int, ...] = (16, 32, 64, 128)
    convs: int = 2
    activation: Activation = "relu"
    penultimate_activation: bool = True
    attention: Attention = "none"
    residual: bool = False
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Float[Array, "*batch y x i"]) -> Float[Array, "*batch y x {self.out_features}"]:
        """(..., y, x, in) to (..., y, x, out_features).

        Raises:
          ValueError: y or x is no multiple of 2^(levels - 1).
        """
        pools = len(self.features) - 1
        check_multiple(x, 2**pools, f"a U-Net of {pools} poolings")
        h, skips = x, []
        for level, features in enumerate(self.features[:-1]):
            h = self._convs(features, level, f"down_{level}")(h)
            skips.append(h)
            h = max_pool_2x2(h)
        h = self._convs(self.features[-1], pools, "bottom")(h)
        for level in reversed(range(pools)):
            h = self._convs(self.features[level], level, f"up_{level}")(h, skips[level])
        h = glorot_conv(max(4, self.out_features), 1, dtype=self.dtype, name="out_0")(h)
        if self.penultimate_activation:
            h = Activate(self.activation, name="out_0_act")(h)
        if self.attention != "none":
            h = ChannelAttention(self.activation, name="out_0_attention")(h)
        h = glorot_conv(self.out_features, 1, dtype=self.dtype, name="out_1")(h).astype(x.dtype)
        return x - h if self.residual else h

    def _convs(self, features, level, name):
        attends = self.attention == "all" or (self.attention == "top" and level == 0 and name != "bottom")
        return Level(features, self.convs, self.activation, attends, self.dtype, name=name)


class Level(linen.Module):
    """Convolutions 3x3 with activations, after an `UpConv` and the skip connection [skip, up] where there is a skip."""

    features: int
    convs: int
    activation: Activation
    attention: bool
    dtype: Any = None

    @linen.compact
    def __call__(
        self, x: Float[Array, "*batch y x i"], skip: Float[Array, "*batch Y X s"] | None = None
    ) -> Float[Array, "*batch Y X {self.features}"]:
        """(..., y, x, in) to (..., y, x, features), or to the skip's (..., 2 y, 2 x, features)."""
        if skip is not None:
            x = Activate(self.activation, name="up_conv_act")(UpConv(self.features, self.dtype, name="up_conv")(x))
            x = jnp.concatenate([skip, x], -1)
        for i in range(self.convs):
            x = glorot_conv(self.features, dtype=self.dtype, name=f"conv_{i}")(x)
            x = Activate(self.activation, name=f"conv_{i}_act")(x)
        return ChannelAttention(self.activation, name="attention")(x) if self.attention else x


class ChannelAttention(linen.Module):
    """x sigmoid(expand(act(squeeze(mean(x))))): a weight for each channel, a quarter of the channels inside.

    Source: Hu et al. 2018, arXiv 1709.01507, as in the benchmark's code.

    Attributes:
      activation: the one inside.
    """

    activation: Activation = "relu"

    @linen.compact
    def __call__(self, x: Float[Array, "*batch y x c"]) -> Float[Array, "*batch y x c"]:
        """(..., y, x, channel) to the same shape."""
        channels = x.shape[-1]
        gate = jnp.mean(x, (-3, -2), keepdims=True)
        gate = glorot_conv(max(channels // REDUCTION, 1), 1, name="squeeze")(gate)
        gate = glorot_conv(channels, 1, name="expand")(Activate(self.activation, name="act")(gate))
        return x * jax.nn.sigmoid(gate)

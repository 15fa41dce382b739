"""Blocks of the PromptUnet: channel attention (CAB), prompts, encoder, skip and decoder levels.

Parameter trees, beside the names of PromptMR's state dicts:

  CAB:          conv_{0,1}/kernel               body.{0,2}.weight
                slope (first CAB only)          body.1.weight
                attention_{0,1}/kernel          CA.conv_du.{0,2}.weight
  EncoderLevel: encoder/cab_{i}/...             encoder.{i}...
                down/{kernel,bias}              down.{weight,bias}
  PromptBlock:  prompt (length, y, x, channel)  prompt_param (1, length, channel, y, x)
                weights/{kernel,bias}           linear_layer.{weight,bias}
                conv/kernel                     dec_conv3x3.weight
  DecoderLevel: momentum, momentum_cab/...      momentum.0.weight, momentum.1...
                fuse_{i}/..., reduce/kernel     fuse.{i}..., reduce.weight
                up/kernel, cab/...              up.1.weight, ca...

Nearly all CABs of a model share the one slope of their PReLU: it is handed in, see PromptUnet. Kernels are (y, x, in,
out).
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen
from jax import lax
from jaxtyping import Array, Float

from .activations import prelu
from .conv import Conv, conv, parameter_dtype, uniform_fan_in

Features = Float[Array, "*batch y x c"]
Slope = Float[Array, ""]

INITIAL_SLOPE = 0.25
"""The slope with which all PReLUs begin."""


def upsample_2x(x: Features) -> Float[Array, "*batch 2*y 2*x c"]:
    """Twice the size in y and x by bilinear interpolation; pixels are areas, the border is repeated.

    Args:
      x: (..., y, x, channel).

    Returns:
      (..., 2 y, 2 x, channel).

    Example:
      >>> jax.jit(upsample_2x)(np.array([0.0, 4.0]).reshape(1, 2, 1))[0, :, 0].tolist()
      [0.0, 1.0, 3.0, 4.0]
    """
    return _double(_double(x, x.ndim - 3), x.ndim - 2)


def _double(x, axis):
    n = x.shape[axis]
    part = lambda start, stop: lax.slice_in_dim(x, start, stop, axis=axis)
    before = jnp.concatenate([part(0, 1), part(0, n - 1)], axis)
    after = jnp.concatenate([part(1, n), part(n - 1, n)], axis)
    pairs = jnp.stack([0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after], axis + 1)
    return pairs.reshape(*x.shape[:axis], 2 * n, *x.shape[axis + 1 :])


class CAB(linen.Module):
    """Channel attention block: x + g r, r = conv(PReLU(conv(x))), g = sigmoid(W_1 ReLU(W_0 mean(r))).

    Source: PromptMR's code; no bias, no normalisation, a quarter of the channels (rounded down) between W_0 and W_1.

    Attributes:
      attention: False: g = 1.
      own_slope: the PReLU has a slope of its own in place of the shared one.
      dtype: what the convolutions compute in.
    """

    attention: bool = True
    own_slope: bool = False
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Features, slope: Slope) -> Features:
        """(..., y, x, channel) to the same shape."""
        n = x.shape[-1]
        if self.own_slope:
            slope = self.param("slope", linen.initializers.constant(INITIAL_SLOPE), (), parameter_dtype(x))
        layer = lambda features, size, name: Conv(features, size, bias=False, dtype=self.dtype, name=name)
        r = layer(n, 3, "conv_1")(prelu(layer(n, 3, "conv_0")(x), slope))
        if self.attention:
            gate = jnp.mean(r, (-3, -2), keepdims=True)
            gate = jax.nn.relu(layer(n // 4, 1, "attention_0")(gate))
            r = r * jax.nn.sigmoid(layer(n, 1, "attention_1")(gate))
        return x + r


class CABs(linen.Module):
    """CABs in a row, cab_{i}.

    Attributes:
      number: how many.
      attention: as in CAB.
      first_slope: the first one has a slope of its own.
      dtype: as in CAB.
    """

    number: int
    attention: bool = True
    first_slope: bool = False
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Features, slope: Slope) -> Features:
        """(..., y, x, channel) to the same shape; unchanged where the number is 0."""
        for i in range(self.number):
            x = CAB(self.attention, self.first_slope and i == 0, self.dtype, name=f"cab_{i}")(x, slope)
        return x


class EncoderLevel(linen.Module):
    """CABs, then a convolution 3x3 of stride 2 with bias to the next width.

    Attributes:
      features: channels of the next level.
      number: CABs.
      attention: as in CAB.
      first_slope: the first CAB has a slope of its own.
      dtype: as in CAB.
    """

    features: int
    number: int
    attention: bool = True
    first_slope: bool = False
    dtype: Any = None

    @linen.compact
    def __call__(
        self, x: Features, slope: Slope
    ) -> tuple[Float[Array, "*batch (y+1)//2 (x+1)//2 {self.features}"], Features]:
        """(..., y, x, channel) to (the next level's (..., ceil(y/2), ceil(x/2), features), what the skip block sees)."""
        x = CABs(self.number, self.attention, self.first_slope, self.dtype, name="encoder")(x, slope)
        return Conv(self.features, stride=2, dtype=self.dtype, name="down")(x), x


class PromptBlock(linen.Module):
    """A learned mixture of prompts: conv(resize(sum_l w_l P_l)), w = softmax(W mean(x) + b).

    Source: PromptMR, where the prompts P_l keep their random initial values.

    Attributes:
      features: channels of a prompt.
      length: number of prompts.
      size: pixels of a prompt in y and x, before it is resized (bilinear, without antialiasing).
      dtype: what the convolution computes in.
    """

    features: int
    length: int
    size: int
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Features) -> Float[Array, "*batch y x {self.features}"]:
        """(..., y, x, channel) to (..., y, x, features)."""
        dtype = parameter_dtype(x)
        shape = (self.length, self.size, self.size, self.features)
        prompt = self.param("prompt", linen.initializers.uniform(1.0), shape, dtype)
        mixed = jnp.tensordot(PromptWeights(self.length, name="weights")(x), prompt, 1)
        resized = jax.image.resize(mixed, (*x.shape[:-1], self.features), "bilinear", antialias=False)
        return Conv(self.features, bias=False, dtype=self.dtype, name="conv")(resized)


class PromptWeights(linen.Module):
    """The share of each prompt: softmax(W mean(x) + b).

    Attributes:
      length: number of prompts.
    """

    length: int

    @linen.compact
    def __call__(self, x: Features) -> Float[Array, "*batch {self.length}"]:
        """(..., y, x, channel) to (..., length), in at least single precision."""
        dtype, n = parameter_dtype(x), x.shape[-1]
        bound = n**-0.5
        uniform = lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound)
        kernel = self.param("kernel", uniform, (n, self.length), dtype)
        bias = self.param("bias", uniform, (self.length,), dtype)
        scores = jnp.tensordot(jnp.mean(x.astype(dtype), (-3, -2)), kernel, 1)
        return jax.nn.softmax(scores + bias.reshape((1,) * (scores.ndim - 1) + (-1,)))


class DecoderLevel(linen.Module):
    """Momentum over the history, CABs on [features, prompt], two 1x1 convolutions, upsampling, a CAB with the skip.

    F' = CAB(W [F_t, F_{t-1}, ...]);  h = CABs([F', prompt]);  out = CAB(up(W_up W_reduce h) + skip)

    Source: PromptMR, PromptMR+; there the upsampling comes before W_up, with which it commutes.

    Attributes:
      features: output channels.
      number: CABs on [features, prompt].
      n_history: how many past features the momentum layer sees; 0: no such layer.
      attention: as in CAB.
      dtype: as in CAB.
    """

    features: int
    number: int
    n_history: int = 0
    attention: bool = True
    dtype: Any = None

    @linen.compact
    def __call__(
        self,
        x: Features,
        prompt: Float[Array, "*batch y x p"],
        skip: Float[Array, "*batch 2*y 2*x {self.features}"],
        slope: Slope,
        history: Float[Array, "*batch y x {self.n_history}*c"] | None = None,
    ) -> Float[Array, "*batch 2*y 2*x {self.features}"]:
        """One level up.

        Args:
          x: features (..., y, x, channel).
          prompt: (..., y, x, prompt channel).
          skip: (..., 2 y, 2 x, features).
          slope: the slope of the shared PReLU, ().
          history: past features (..., y, x, n_history channel), the newest first.

        Returns:
          (..., 2 y, 2 x, features).
        """
        n = x.shape[-1]
        layer = lambda features, name: Conv(features, 1, bias=False, dtype=self.dtype, name=name)
        cab = lambda name: CAB(self.attention, dtype=self.dtype, name=name)
        if self.n_history:
            assert history is not None
            shape = (1, 1, (self.n_history + 1) * n, n)
            kernel = self.param("momentum", uniform_fan_in, shape, parameter_dtype(x)).astype(x.dtype)
            # in two halves: the concatenation of present and past is never made
            x = conv(x, kernel[:, :, :n]) + conv(history, kernel[:, :, n:])
            x = cab("momentum_cab")(x, slope)
        h = jnp.concatenate([x, prompt], -1)
        for i in range(self.number):
            h = cab(f"fuse_{i}")(h, slope)
        h = upsample_2x(layer(self.features, "up")(layer(n, "reduce")(h)))
        return cab("cab")(h + skip, slope)

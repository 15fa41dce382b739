"""Residual networks: those of unrolled PGD and of Deep J-Sense, and MoDL's plain CNN with or without batch norm; 2D and 3D.

Parameter trees, beside the names of the reference codes (GLEAM, PyTorch; MoDL, TensorFlow; l is the layer's position in
its block; Deep J-Sense, PyTorch):

  ResNet:  block_{i}/conv_{j}/kernel            res_blocks.{i}.layers.{j}.layers.{l}.weight
           block_0/shortcut/{kernel,bias}       res_blocks.0.resample.{weight,bias}
           out/{kernel,bias}                    final_layer.{weight,bias}
  CNN:     conv_{i}/kernel                      conv{i+1}.net.1.weight; Wts/Layer{i+1}/W
           norm_{i}/{scale,bias}                Wts/Layer{i+1}/BN/{gamma,beta}
           norm_{i}/{mean,var} (batch_stats)    Wts/Layer{i+1}/BN/{moving_mean,moving_variance}
  BiasFreeResNet:
           block_{i}/conv_{j}/kernel            ResNetBlocks.{i}.conv{j+1}.net.1.weight
           block_{i}/shortcut/kernel            ResNetBlocks.{i}.conv0.net.1.weight (first and last block)

Kernels are (*size, in, out): PyTorch's (out, in, *size) transposed, TensorFlow's as they are. In 2D+time the axes are
(frame, y, x).
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen
from jax import lax
from jaxtyping import Array, Float

from .conv import Conv, Initializer, Padding, parameter_dtype, uniform_fan_in


class ResNet(linen.Module):
    """Residual blocks between a widening and a narrowing convolution, with a global residual: y = conv(blocks(x)) + x.

    Source: GLEAM's code: 2D has reflect padding and ReLU before each convolution (also on the network's input), 3D edge
    padding and ReLU after it. The first block's shortcut is a 1x1 convolution; the last layer is padded with zeros in
    both.

    Attributes:
      features: channels inside.
      blocks: residual blocks of two convolutions.
      ndim: 2 or 3.
      padding: what lies beyond the border for the convolutions in the blocks, see `conv`.
      activation_first: ReLU, convolution; else convolution, ReLU.
      dtype: what the convolutions compute in; the result has the input's dtype.
    """

    features: int
    blocks: int = 2
    ndim: int = 2
    padding: Padding = "reflect"
    activation_first: bool = True
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Float[Array, "*batch y x c"]) -> Float[Array, "*batch y x c"]:
        """(..., y, x, channel) to the same shape; (..., frame, y, x, channel) in 3D."""
        h = x
        for i in range(self.blocks):
            h = ResidualBlock(
                self.features, self.ndim, self.padding, self.activation_first, self.dtype, name=f"block_{i}"
            )(h)
        h = Conv(x.shape[-1], ndim=self.ndim, dtype=self.dtype, name="out")(h)
        return h.astype(x.dtype) + x


class ResidualBlock(linen.Module):
    """Two convolutions without bias and their ReLUs, plus the input (by a 1x1 convolution where channels differ)."""

    features: int
    ndim: int
    padding: Padding
    activation_first: bool
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Float[Array, "*batch y x i"]) -> Float[Array, "*batch y x {self.features}"]:
        """(..., y, x, in) to (..., y, x, features)."""
        h = x
        for j in range(2):
            layer = Conv(
                self.features, ndim=self.ndim, padding=self.padding, bias=False, dtype=self.dtype, name=f"conv_{j}"
            )
            h = layer(jax.nn.relu(h)) if self.activation_first else jax.nn.relu(layer(h))
        if x.shape[-1] != self.features:
            x = Conv(self.features, kernel_size=1, ndim=self.ndim, dtype=self.dtype, name="shortcut")(x)
        return h + x


class BiasFreeResNet(linen.Module):
    """Residual blocks alone, without a single bias, and a global residual: y = blocks(x) + x.

    block(x) = conv_1(relu(conv_0(relu(x)))) + shortcut(x), without the second ReLU in the last block, which has the
    channels of x. Hence D(c x) = c D(x) for c > 0.

    Source: Deep J-Sense, supplement, and its code: 4 blocks of 64 features, 223,744 parameters.

    Attributes:
      features: channels inside.
      blocks: residual blocks of two convolutions 3x3, reflect padding; two or more.
      dtype: what the convolutions compute in; the result has the input's dtype.
    """

    features: int = 64
    blocks: int = 4
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Float[Array, "*batch y x c"]) -> Float[Array, "*batch y x c"]:
        """(..., y, x, channel) to the same shape; y and x of 2 or more."""
        h = x
        for i in range(self.blocks):
            last = i == self.blocks - 1
            out = x.shape[-1] if last else self.features
            h = BiasFreeBlock(self.features, out, inner_relu=not last, dtype=self.dtype, name=f"block_{i}")(h)
        return h.astype(x.dtype) + x


class BiasFreeBlock(linen.Module):
    """One block of `BiasFreeResNet`; its shortcut is a 1x1 convolution where channels differ."""

    features: int
    out_features: int
    inner_relu: bool = True
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Float[Array, "*batch y x i"]) -> Float[Array, "*batch y x {self.out_features}"]:
        """(..., y, x, in) to (..., y, x, out_features)."""

        def layer(features, name, kernel_size=3):
            return Conv(features, kernel_size, padding="reflect", bias=False, dtype=self.dtype, name=name)

        h = layer(self.features, "conv_0")(jax.nn.relu(x))
        h = layer(self.out_features, "conv_1")(jax.nn.relu(h) if self.inner_relu else h)
        return h + (x if x.shape[-1] == self.out_features else layer(self.out_features, "shortcut", 1)(x))


class CNN(linen.Module):
    """The residual part N_w(x) of MoDL's denoiser D_w(x) = x + N_w(x): convolutions, norm, ReLU (none after the last).

    Source: Aggarwal et al. 2019 and its code (zeros, batch norm, 64 features); GLEAM (reflect in 2D, edge in 3D).

    Attributes:
      features: channels inside.
      layers: convolutions.
      ndim: 2 or 3.
      padding: see `conv`.
      bias: biases in the convolutions.
      norm: "none"; "frozen": batch norm with the moving averages of the collection "batch_stats"; "batch": with the
        statistics of the batch, and the moving averages updated (a mutable collection).
      batch_axis: name of the mapped axis of examples over which "batch" takes its statistics, where there is one.
      kernel_init: initializer of the kernels.
      bias_init: of the biases, as in Conv.
      out_features: output channels; None: as many as the input has.
      dtype: what the convolutions compute in; the result has the input's dtype, statistics have at least float32.
    """

    features: int
    layers: int = 5
    ndim: int = 2
    padding: Padding = "zeros"
    bias: bool = False
    norm: Literal["none", "frozen", "batch"] = "none"
    batch_axis: str | None = None
    kernel_init: Initializer = uniform_fan_in
    bias_init: Initializer | None = None
    out_features: int | None = None
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Float[Array, "*batch y x i"]) -> Float[Array, "*batch y x o"]:
        """(..., y, x, channel) to (..., y, x, out_features or channel); (frame, y, x, channel) in 3D."""
        h = x
        for i in range(self.layers):
            last = i == self.layers - 1
            h = Conv(
                (self.out_features or x.shape[-1]) if last else self.features,
                ndim=self.ndim,
                padding=self.padding,
                bias=self.bias,
                kernel_init=self.kernel_init,
                bias_init=self.bias_init,
                dtype=self.dtype,
                name=f"conv_{i}",
            )(h)
            if self.norm != "none":
                h = BatchNorm(frozen=self.norm == "frozen", batch_axis=self.batch_axis, name=f"norm_{i}")(h)
            h = h if last else jax.nn.relu(h)
        return h.astype(x.dtype)


class BatchNorm(linen.Module):
    """Batch norm of one example whose batch is a mapped axis: scale (x - mean) / sqrt(var + eps) + bias per channel.

    In training, mean and biased variance are taken over all spatial axes and over `batch_axis`, and the moving averages
    (variable collection "batch_stats") become momentum * old + (1 - momentum) * new, with the unbiased variance.
    Frozen, the moving averages are used.

    Source: TensorFlow's fused batch norm: eps 1e-3, momentum 0.99.

    Attributes:
      frozen: use the moving averages and leave them as they are.
      batch_axis: name of the mapped axis of examples; None: one example is its own batch.
      eps: added to the variance.
      momentum: how much the moving averages keep in each update.
    """

    frozen: bool
    batch_axis: str | None = None
    eps: float = 1e-3
    momentum: float = 0.99

    @linen.compact
    def __call__(self, x: Float[Array, "*axes c"]) -> Float[Array, "*axes c"]:
        """(..., channel) to the same shape: all other axes are one example's."""
        dtype = parameter_dtype(x)
        n_features = (x.shape[-1],)
        scale = self.param("scale", linen.initializers.ones, n_features, dtype)
        bias = self.param("bias", linen.initializers.zeros, n_features, dtype)
        moving_mean = self.variable("batch_stats", "mean", jnp.zeros, n_features, dtype)
        moving_var = self.variable("batch_stats", "var", jnp.ones, n_features, dtype)
        values = x.astype(dtype)
        if self.frozen:
            mean, var = moving_mean.value, moving_var.value
        else:
            axes = tuple(range(x.ndim - 1))
            average = lambda a: _over_batch(jnp.mean(a, axes), self.batch_axis)
            mean = average(values)
            var = average((values - _channels(mean, x)) ** 2)
            if not self.is_initializing():
                n = x.size // x.shape[-1] * axis_size(self.batch_axis)
                step = 1 - self.momentum
                moving_mean.value += step * lax.stop_gradient(mean - moving_mean.value)
                moving_var.value += step * lax.stop_gradient(var * (n / max(n - 1, 1)) - moving_var.value)
        factor = scale * lax.rsqrt(var + self.eps)
        return ((values - _channels(mean, x)) * _channels(factor, x) + _channels(bias, x)).astype(x.dtype)


def _channels(a, x):
    return a.reshape((1,) * (x.ndim - 1) + (-1,))


def axis_size(axis: str | None) -> int:
    """Size of a mapped axis of examples; 1 where nothing is mapped: a single example is its own batch."""
    if axis is None:
        return 1
    try:
        return lax.axis_size(axis)
    except NameError:
        return 1


def _over_batch(x, axis):
    return lax.pmean(x, axis) if axis_size(axis) > 1 else x

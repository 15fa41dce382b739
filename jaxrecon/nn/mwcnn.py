"""MWCNN: a U-shaped network that pools by the Haar transform and goes up by its inverse.

Parameter tree, beside the layers of the reference code (S scales with n_s convolutions each, finest first; F first ones):

  first_{i}/{kernel,bias}       first convolutions i = 0 .. F-1
  down_{s}_{i}/{kernel,bias}    scale s on the way down, i = 0 .. n_s-1
  up_{s}_{i}/{kernel,bias}      scale s on the way up, i = 0 .. n_s-1
  last_{i}/{kernel,bias}        the convolutions at full resolution at the end, i = 0 .. F-1
"""

from typing import Any

import jax
from flax import linen
from jaxtyping import Array, Float

from ..checks import UserError
from .conv import glorot_conv
from .resampling import check_multiple, haar, inverse_haar


class MWCNN(linen.Module):
    """Multi-level wavelet CNN: convolutions 3x3 with ReLU and bias, skip connections added.

    Source: Liu et al. 2018, arXiv 1805.07071, as in Ramzi's code (no batch norm; ReLU before each inverse transform too).

    Attributes:
      out_features: output channels.
      features: channels of each scale, the finest (half the size) first.
      convs: convolutions of each scale, on the way down and again on the way up.
      first_features: channels at full resolution; out_features or more.
      first_convs: convolutions at full resolution before the first transform, and again at the end; 0: none.
      dtype: what the convolutions compute in; the result has the input's dtype.
    """

    out_features: int
    features: tuple[int, ...] = (64, 128, 256)
    convs: tuple[int, ...] = (3, 3, 3)
    first_features: int = 32
    first_convs: int = 2
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Float[Array, "*batch y x i"]) -> Float[Array, "*batch y x {self.out_features}"]:
        """(..., y, x, in) to (..., y, x, out_features).

        Raises:
          ValueError: y or x is no multiple of 2^scales, or first_features is less than out_features.
        """
        scales = len(self.features)
        check_multiple(x, 2**scales, f"an MWCNN of {scales} scales")
        if self.first_convs and self.first_features < self.out_features:
            raise UserError(
                f"first_features {self.first_features} is less than the {self.out_features} output channels"
            )
        layer = lambda features, name: glorot_conv(features, dtype=self.dtype, name=name)
        h, skips = x, []
        for i in range(self.first_convs):
            h = jax.nn.relu(layer(self.first_features, f"first_{i}")(h))
        skips.append(h)
        for scale, (features, convs) in enumerate(zip(self.features, self.convs, strict=True)):
            h = haar(h)
            for i in range(convs):
                h = jax.nn.relu(layer(features, f"down_{scale}_{i}")(h))
            skips.append(h)
        finest = self.first_features if self.first_convs else self.out_features
        for scale in reversed(range(scales)):
            above = self.features[scale - 1] if scale else finest
            for i in range(self.convs[scale]):
                is_last = i == self.convs[scale] - 1
                h = layer(4 * above if is_last else self.features[scale], f"up_{scale}_{i}")(h)
                h = h if is_last and not scale and not self.first_convs else jax.nn.relu(h)
            h = inverse_haar(h)
            h = h + skips[scale] if scale or self.first_convs else h
        for i in range(self.first_convs):
            is_last = i == self.first_convs - 1
            h = layer(self.out_features if is_last else self.first_features, f"last_{i}")(h)
            h = h if is_last else jax.nn.relu(h)
        return h.astype(x.dtype)

"""DIDN: a chain of down-up blocks at half the size, whose outputs all pass through one reconstruction block.

Parameter tree, beside the layers of the reference code (kernels HWIO; `act/slope` (c,) there (1, 1, c)):

  first/{conv,act}/...                     first convolution
  pool/{kernel,bias}                       to half the size
  block_{b}/down_{s}_{i}/{conv,act}/...    scale s on the way down
  block_{b}/pool_{s}/...                   from scale s to s + 1
  block_{b}/unpool_{s}/..., merge_{s}/...  from scale s + 1 to s, 1x1 each
  block_{b}/up_{s}_{i}/{conv,act}/...      scale s on the way up
  block_{b}/last/{conv,act}/...
  recon/conv_{i}/{conv,act}/..., recon/out/{kernel,bias}
  merge/..., after_merge/{conv,act}/..., last/{kernel,bias}
"""

from typing import Any

import jax.numpy as jnp
from flax import linen
from jaxtyping import Array, Float

from ..checks import UserError
from .activations import Activate
from .conv import glorot_conv
from .resampling import check_multiple, depth_to_space

Image = Float[Array, "*batch y x c"]
DOWN_CONVS = (2, 1, 1)
"""Convolutions of a down-up block at each scale on the way down, the finest first."""
UP_CONVS = (2, 1)
"""The same on the way up."""


class DIDN(linen.Module):
    """Deep iterative down-up network.

    Source: Yu et al. 2019, CVPR workshops, as in Ramzi's code.

    Attributes:
      out_features: output channels.
      features: channels at half the size, a multiple of 4.
      blocks: down-up blocks.
      recon_convs: convolutions of the reconstruction block, which all outputs of blocks share.
      dtype: what the convolutions compute in; the result has the input's dtype.
    """

    out_features: int
    features: int = 64
    blocks: int = 2
    recon_convs: int = 2
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Float[Array, "*batch y x i"]) -> Float[Array, "*batch y x {self.out_features}"]:
        """(..., y, x, in) to (..., y, x, out_features).

        Raises:
          ValueError: y or x is no multiple of 8, or features is no multiple of 4.
        """
        check_multiple(x, 2 ** len(DOWN_CONVS), "a DIDN")
        if self.features % 4:
            raise UserError(f"the features of a DIDN must be a multiple of 4, not {self.features}")
        h = ConvPReLU(self.features, self.dtype, name="first")(x)
        h = glorot_conv(self.features, stride=2, dtype=self.dtype, name="pool")(h)
        recon = ReconBlock(self.features, self.recon_convs, self.dtype, name="recon")
        outputs = []
        for block in range(self.blocks):
            h = DownUpBlock(self.features, self.dtype, name=f"block_{block}")(h)
            outputs.append(recon(h))
        h = glorot_conv(self.features, 1, dtype=self.dtype, name="merge")(jnp.concatenate(outputs, -1))
        h = depth_to_space(ConvPReLU(self.features, self.dtype, name="after_merge")(h))
        return glorot_conv(self.out_features, dtype=self.dtype, name="last")(h).astype(x.dtype)


class ConvPReLU(linen.Module):
    """Convolution 3x3 with bias, then PReLU."""

    features: int
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Image) -> Float[Array, "*batch y x {self.features}"]:
        """(..., y, x, in) to (..., y, x, features)."""
        return Activate("prelu", name="act")(glorot_conv(self.features, dtype=self.dtype, name="conv")(x))


class DownUpBlock(linen.Module):
    """Down over three scales and up again, with a shortcut around each group of convolutions and around the whole."""

    features: int
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Image) -> Image:
        """(..., y, x, features) to the same shape."""
        h, skips, deepest = x, [], len(DOWN_CONVS) - 1
        for scale, convs in enumerate(DOWN_CONVS):
            h = h + self._convs(h, convs, f"down_{scale}")
            if scale < deepest:
                skips.append(h)
                h = glorot_conv(2 * h.shape[-1], stride=2, dtype=self.dtype, name=f"pool_{scale}")(h)
        for scale in reversed(range(deepest)):
            features = skips[scale].shape[-1]
            layer = lambda features, name: glorot_conv(features, 1, dtype=self.dtype, name=name)
            up = depth_to_space(layer(4 * features, f"unpool_{scale}")(h))
            h = layer(features, f"merge_{scale}")(jnp.concatenate([up, skips[scale]], -1))
            h = h + self._convs(h, UP_CONVS[scale], f"up_{scale}")
        return x + ConvPReLU(self.features, self.dtype, name="last")(h)

    def _convs(self, h, number, name):
        features = h.shape[-1]
        for i in range(number):
            h = ConvPReLU(features, self.dtype, name=f"{name}_{i}")(h)
        return h


class ReconBlock(linen.Module):
    """Convolutions with PReLU, the last one without, plus the input."""

    features: int
    convs: int
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Image) -> Image:
        """(..., y, x, features) to the same shape."""
        h = x
        for i in range(self.convs - 1):
            h = ConvPReLU(self.features, self.dtype, name=f"conv_{i}")(h)
        return x + glorot_conv(self.features, dtype=self.dtype, name="out")(h)

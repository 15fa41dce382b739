"""Plain convolutional networks of complex channels: those of KIKI-net, Cascade net, PDNet and XPDNet's k-space.

Parameter tree: conv_{j}/{kernel,bias}, j = 0 .. layers - 1.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen
from jaxtyping import Array, Complex

from ..complex_ops import pack_channels, unpack_channels
from .conv import glorot_conv, leaky_relu


class ComplexCNN(linen.Module):
    """Convolutions 3x3 with bias on packed channels, an activation after all but the last.

    y = [x +] unpack(conv(act(conv(... act(conv(pack(x)))))))

    Source: Ramzi et al. 2020, whose text and functional code count the activated convolutions only, one less than here.

    Attributes:
      out_features: complex channels of the result.
      features: real channels inside.
      layers: convolutions, the linear one at the end included.
      slope: of the leaky ReLU; 0: ReLU.
      residual: add the first `out_features` channels of the input.
      last_kernel: size of the last convolution's kernel.
      dtype: what the convolutions compute in; the result has the input's precision.
    """

    out_features: int
    features: int
    layers: int
    slope: float = 0.0
    residual: bool = True
    last_kernel: int = 3
    dtype: Any = None

    @linen.compact
    def __call__(self, x: Complex[Array, "*batch i y x"]) -> Complex[Array, "*batch o y x"]:
        """(..., in, y, x) to (..., out, y, x); leading axes are examples."""
        parts = pack_channels(jnp.moveaxis(x, -3, -1))
        h = parts
        for j in range(self.layers):
            is_last = j == self.layers - 1
            features, size = (2 * self.out_features, self.last_kernel) if is_last else (self.features, 3)
            h = glorot_conv(features, size, dtype=self.dtype, name=f"conv_{j}")(h)
            if not is_last:
                h = leaky_relu(h, self.slope) if self.slope else jax.nn.relu(h)
        out = jnp.moveaxis(unpack_channels(h.astype(parts.dtype)), -1, -3)
        return x[..., : self.out_features, :, :] + out if self.residual else out

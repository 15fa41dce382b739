"""Networks of real channels on complex images of any size: padded, packed, and added to the first channels.

Parameter tree: net/... as the network within.
"""

from typing import Any

import jax.numpy as jnp
from flax import linen
from jaxtyping import Array, Complex

from ..complex_ops import pack_channels, unpack_channels
from .denoisers import BenchmarkUNetConfig, Denoiser
from .unet import pad_to_multiple, unpad


class MultiscaleComplex(linen.Module):
    """A network of real channels on complex channels: all real parts first, then all imaginary parts.

    Zeros around the image, the larger half in front, bring both its sizes to multiples; they are cut off again.

    Source: XPDNet, Ramzi et al. 2020, arXiv 2010.07290; its code crops the width alone.

    Attributes:
      net: real (..., y, x, 2 in) to (..., y, x, 2 out).
      multiple: what the sizes that it sees are multiples of.
      residual: add the first `out` channels of the input.
    """

    net: linen.Module
    multiple: int = 1
    residual: bool = True

    @linen.compact
    def __call__(self, x: Complex[Array, "*batch i y x"]) -> Complex[Array, "*batch o y x"]:
        """(..., in, y, x) to (..., out, y, x); leading axes are examples."""
        channels = pad_to_multiple(pack_channels(jnp.moveaxis(x, -3, -1)), self.multiple, more_in_front=True)
        channels = unpad(self.net(channels), *x.shape[-2:], more_in_front=True)
        h = jnp.moveaxis(unpack_channels(channels), -1, -3)
        return x[..., : h.shape[-3], :, :] + h if self.residual else h


def multiscale_complex(denoiser: Denoiser, out_features: int, *, dtype: Any = None) -> MultiscaleComplex:
    """The complex network of a denoiser, as XPDNet uses it.

    Args:
      denoiser: configuration of the network within.
      out_features: complex channels of the result.
      dtype: what its convolutions compute in; None: single precision, or double for double input.
    """
    net = denoiser.build(2 * out_features, dtype=dtype)
    return MultiscaleComplex(net, denoiser.multiple, denoiser.residual)


def complex_unet(unet: BenchmarkUNetConfig, out_features: int, *, dtype: Any = None) -> MultiscaleComplex:
    """The complex U-Net of UPDNet and of the refinement of maps: padded to 2^(levels - 1), not more.

    Args:
      unet: configuration of the U-Net.
      out_features: complex channels of the result.
      dtype: as in `multiscale_complex`.
    """
    net = unet.build(2 * out_features, dtype=dtype)
    return MultiscaleComplex(net, 2 ** (len(unet.features) - 1), unet.residual)

"""Networks that estimate coil sensitivity maps from the calibration region.

Parameter tree of SensitivityNet: norm_unet/unet/... as in unet.py; fastMRI's names have the prefix
sens_net.norm_unet.unet.
"""

from typing import Any

import jax.numpy as jnp
from flax import linen

from ..complex_ops import rss
from ..fourier import ifftc
from ..sampling.acs import acs_from_mask
from ..typing import KSpace, Maps, Mask
from .unet import NormUNet


class SensitivityNet(linen.Module):
    """Maps from low-resolution coil images, each coil by the same network.

    S = U / rss(U),  U_c = NormUNet(F^-1 (acs y_c))

    Source: Sriram et al. 2020, the code of fastMRI (varnet.py); where rss is 0 the maps are 0 (there NaN).

    Attributes:
      features: as in UNet; 8 in the published networks.
      pools: as in UNet; 4 in the published networks.
      dtype: as in UNet.
    """

    features: int = 8
    pools: int = 4
    dtype: Any = None

    @linen.compact
    def __call__(self, calibration: KSpace) -> Maps:
        """K-space (coil, y, x) of the calibration region, zero elsewhere, to maps (coil, y, x) of unit rss."""
        images = ifftc(calibration)[:, None]  # (coil, 1, y, x): each coil is an example
        maps = NormUNet(self.features, self.pools, self.dtype, name="norm_unet")(images)[:, 0]
        norm = rss(maps)
        return maps / jnp.where(norm > 0, norm, 1)[None]


def calibration_mask(mask: Mask | None, acs: Mask | None = None) -> Mask | None:
    """The calibration region: `acs` if given, else found in the sampling mask (traced, so it may differ per example).

    Args:
      mask: sampling mask without frames: (x,), (1, x), (y, x), leading axes of size 1 allowed; None: all is measured.
      acs: mask of the calibration region.

    Returns:
      A mask that broadcasts against k-space (coil, y, x); None: everything.

    Raises:
      ValueError: the mask has frames.
    """
    if acs is None and mask is not None:
        while mask.ndim > 2 and mask.shape[0] == 1:
            mask = mask[0]
        acs = acs_from_mask(mask)
    return acs

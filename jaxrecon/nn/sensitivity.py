"""Networks that estimate coil sensitivity maps from the calibration region.

Parameter trees. SensitivityNet: norm_unet/unet/... as in unet.py; fastMRI's names have the prefix sens_net.norm_unet.unet.
SensitivityRefiner: unet/net/... as in benchmark_unet.py.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen

from ..complex_ops import rss
from ..fourier import ifftc
from ..sampling.acs import acs_from_mask
from ..typing import KSpace, Maps, Mask
from .denoisers import BenchmarkUNetConfig
from .multiscale import complex_unet
from .unet import NormUNet

REFINER_SMALL = (4, 8, 16)
"""Features of the small `SensitivityRefiner`: 7,458 parameters."""
REFINER_BIG = (8, 16, 32, 64)
"""Features of the big one: 120,790 parameters."""


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
        return unit_rss(NormUNet(self.features, self.pools, self.dtype, name="norm_unet")(images)[:, 0])


class SensitivityRefiner(linen.Module):
    """Better maps from given ones, each coil by the same complex U-Net.

    S' = V / rss(V),  V_c = S_c + UNet(S_c)

    Source: XPDNet, Ramzi et al. 2020, arXiv 2010.07290, and its code; where rss is 0 the maps are 0 (there NaN).

    Attributes:
      features: channels of each level of the U-Net, the finest first.
      dtype: what its convolutions compute in.
    """

    features: tuple[int, ...] = REFINER_SMALL
    dtype: Any = None

    def setup(self):
        """The U-Net."""
        self.unet = complex_unet(BenchmarkUNetConfig(self.features, activation="leaky_relu"), 1, dtype=self.dtype)

    def __call__(self, maps: Maps) -> Maps:
        """(..., coil, y, x) to the same shape, of unit rss over the coils."""
        refined = self.unet(jnp.asarray(maps)[..., None, :, :])
        return unit_rss(refined[..., 0, :, :])


def prompt_maps(
    net: Callable[[Maps], Maps], calibration: KSpace, *, adjacent: bool = True, one_at_a_time: bool = False
) -> Maps:
    """Maps of neighbouring slices (or frames) from their calibration regions, as PromptMR and PromptMR+ estimate them.

    S = U / rss(U) per slice;  adjacent: U_c = net(all slices of coil c);  else: U_ac = net(slice a of coil c)

    Maps vary slowly from slice to slice: with all slices of a coil as channels of one example there are as many fewer
    examples, and as much less memory.

    Args:
      net: complex (example, channel, y, x) to the same shape, each example for itself.
      calibration: k-space (adjacent, coil, y, x) of the calibration region, zero elsewhere.
      adjacent: whether the network sees all slices of a coil at once.
      one_at_a_time: the examples one after the other, computed again for the gradient: the same maps in the memory of
        one example.

    Returns:
      Maps (adjacent, coil, y, x) of unit rss over the coils; 0 where the network's rss is 0 (there NaN).

    Source: PromptMR+, section on memory-efficient sensitivity maps; PromptMR.
    """
    images = ifftc(calibration)
    # (example, channel, y, x): each coil, or each coil of each slice, is an example
    examples = images.swapaxes(0, 1) if adjacent else images.reshape(-1, 1, *images.shape[-2:])
    if one_at_a_time:
        maps = jax.lax.map(jax.checkpoint(lambda x: net(x[None])[0], prevent_cse=False), examples)
    else:
        maps = net(examples)
    return unit_rss(maps.swapaxes(0, 1) if adjacent else maps.reshape(images.shape))


def unit_rss(maps: Maps) -> Maps:
    """Maps (..., coil, y, x) divided by their rss over the coils; 0 where it is 0."""
    norm = rss(maps)
    return maps / jnp.where(norm > 0, norm, 1)[..., None, :, :]


def calibration_mask(mask: Mask | None, acs: Mask | None = None) -> Mask | None:
    """The calibration region: `acs` if given, else found in the sampling mask (traced, so it may differ per example).

    Args:
      mask: sampling mask without frames: (x,), (1, x), (y, x), leading axes of size 1 allowed; None: all is measured.
      acs: mask of the calibration region, (x,), (1, x) or (y, x).

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

"""XPDNet: primal-dual steps with a strong denoiser in the image, for several coils.

Parameter tree: steps/image_net/params/net/... as the denoiser's (jaxrecon.nn), steps/kspace_net/params/... where there is one,
each leaf with a leading axis of n_steps; start/refiner/params/... with a refiner.

Source: Ramzi et al. 2020, arXiv 2010.07290, and its code.
"""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp

from .. import nn
from ..checks import check_choices, check_sizes
from .cross_domain import Domains, RefinerName, cross_domain, maps_refiner
from .unrolled import Unrolled


@dataclasses.dataclass(frozen=True)
class XPDNetConfig:
    """Configuration of `xpdnet`; the defaults have 62,211,620 parameters.

    Attributes:
      n_steps: iterations.
      n_primal: image channels.
      denoiser: the configuration of the network in the image; any `nn.Denoiser` will do.
      dual_net: the network in k-space: "none": the residual A x - y (primal-only); "cnn": three
        convolutions; "didn": a DIDN of 32 features, 2 blocks and 3 convolutions of the reconstruction block.
      n_dual: k-space channels, where there is a network in k-space.
      dual_features: channels of "cnn".
      consistency: "residual": the networks see what the samples leave over; "replacement": an image with the samples put in.
      refiner: network that refines the coil maps, of 7,458 (small) or 120,790 (big) parameters.
      center: part of k-space along y and x, in its middle, that coil maps are made of before they are refined; 0: maps are given.
      normalize: divide by the maximum of A^H y, and by that of what comes from k-space in each step.
      bfloat16: convolutions in bfloat16.
    """

    n_steps: int = 10
    n_primal: int = 5
    denoiser: nn.AnyDenoiser = nn.MWCNN_MEDIUM
    dual_net: Literal["none", "cnn", "didn"] = "none"
    n_dual: int = 1
    dual_features: int = 16
    consistency: Literal["residual", "replacement"] = "residual"
    refiner: RefinerName = "none"
    center: float = 0.0
    normalize: bool = False
    bfloat16: bool = False

    def build(self) -> Unrolled:
        """`xpdnet` of this configuration."""
        return xpdnet(self)


XPDNET_BRAIN_2020 = XPDNetConfig(n_steps=25, refiner="big", center=0.08)
"""The released network of the fastMRI challenge 2020 for R = 4, second place: 155,649,840 parameters; for R = 8 center 0.04."""
XPDNET_BRAIN_2020_SUBMITTED = dataclasses.replace(XPDNET_BRAIN_2020, refiner="small")
"""The network of the submission: 155,536,508 parameters."""


def xpdnet(config: XPDNetConfig) -> Unrolled:
    """Primal-dual steps whose image network is a denoiser, of several scales or not.

    X+ = X + D([X, A^H (A X_0 - y)]);  image = |X_0|

    Args:
      config: sizes.

    Returns:
      Model with carry {"image"} (n_primal, y, x) and, with a network in k-space, {"kspace"} (n_dual, coil, y, x), complex;
      reconstruction real (y, x). Primal-only with given maps, any encoding will do. With the strategy `gleam` two steps or more in
      a module, else all channels but the first never learn.

    Raises:
      ValueError: sizes that make no network; see `cross_domain` for the problem.

    Source: Ramzi et al. 2020, arXiv 2010.07290: second place in the fastMRI challenge 2020. Its code takes the maximum for
      `normalize` over axes that do not exist with several coils; here it is that of the image.
    """
    check_choices(config)
    check_sizes(1, dual_features=config.dual_features)
    dtype = jnp.bfloat16 if config.bfloat16 else None
    domains = Domains(
        n_image=config.n_primal,
        n_kspace=config.n_dual,
        consistency=config.consistency,
        normalize=config.normalize,
    )
    dual_net: Any = None
    if config.dual_net == "cnn":
        dual_net = nn.ComplexCNN(config.n_dual, config.dual_features, 3, dtype=dtype)
    elif config.dual_net == "didn":
        dual_net = nn.multiscale_complex(nn.DIDNConfig(32, 2, 3), config.n_dual, dtype=dtype)
    return cross_domain(
        domains,
        n_steps=config.n_steps,
        image_net=nn.multiscale_complex(config.denoiser, config.n_primal, dtype=dtype),
        kspace_net=dual_net,
        refiner=maps_refiner(config.refiner, dtype),
        center=config.center,
    )

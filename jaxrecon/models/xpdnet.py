"""XPDNet: primal-dual steps with a strong denoiser in the image, for several coils.

Parameter tree: steps/image_net/params/net/... as the denoiser's (jaxrecon.nn), steps/kspace_net/params/... where there is one,
each leaf with a leading axis of n_steps; start/refiner/params/... with a refiner.

Source: Ramzi et al. 2020, arXiv 2010.07290, and its code.
"""

import dataclasses
from typing import Literal

import jax.numpy as jnp

from ..checks import check_choices, check_sizes
from ..nn import (
    DNCNN_BIG,
    DNCNN_MEDIUM,
    DNCNN_SMALL,
    MWCNN_BIG,
    MWCNN_MEDIUM,
    MWCNN_SMALL,
    ComplexCNN,
    Denoiser,
    multiscale_complex,
)
from .cross_domain import Domains, cross_domain
from .unrolled import Unrolled

DENOISERS: dict[str, Denoiser] = {
    "dncnn-small": DNCNN_SMALL,
    "dncnn-medium": DNCNN_MEDIUM,
    "dncnn-big": DNCNN_BIG,
    "mwcnn-small": MWCNN_SMALL,
    "mwcnn-medium": MWCNN_MEDIUM,
    "mwcnn-big": MWCNN_BIG,
}
"""Name -> the published denoisers; any other is an argument of `xpdnet`."""
DenoiserName = Literal["dncnn-small", "dncnn-medium", "dncnn-big", "mwcnn-small", "mwcnn-medium", "mwcnn-big"]


@dataclasses.dataclass(frozen=True)
class XPDNetConfig:
    """Configuration of `xpdnet`; the defaults have 62,211,620 parameters.

    Attributes:
      n_steps: iterations.
      n_primal: image channels.
      denoiser: the network in the image, a name of DENOISERS.
      dual_net: the network in k-space: "none": the residual A x - y (primal-only); "cnn": three convolutions.
      n_dual: k-space channels, where there is a network in k-space.
      dual_features: channels of that network.
      consistency: "residual": the networks see what the samples leave over; "replacement": an image with the samples put in.
      refiner: network that refines the coil maps: none, of 7,458 or of 120,790 parameters.
      center: part of k-space along y and x, in its middle, that coil maps are made of before they are refined; 0: maps are given.
      normalize: divide by the maximum of A^H y, and by that of what comes from k-space in each step.
      bfloat16: convolutions in bfloat16.
    """

    n_steps: int = 10
    n_primal: int = 5
    denoiser: DenoiserName = "mwcnn-medium"
    dual_net: Literal["none", "cnn"] = "none"
    n_dual: int = 1
    dual_features: int = 16
    consistency: Literal["residual", "replacement"] = "residual"
    center: float = 0.0
    normalize: bool = False
    bfloat16: bool = False

    def build(self) -> Unrolled:
        """`xpdnet` of this configuration."""
        return xpdnet(self)


def xpdnet(config: XPDNetConfig, *, denoiser: Denoiser | None = None) -> Unrolled:
    """Primal-dual steps whose image network is a denoiser, of several scales or not.

    X+ = X + D([X, A^H (A X_0 - y)]);  image = |X_0|

    Args:
      config: sizes.
      denoiser: the network in the image, in the place of the one that the configuration names.

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
    dual_net = ComplexCNN(config.n_dual, config.dual_features, 3, dtype=dtype) if config.dual_net == "cnn" else None
    return cross_domain(
        domains,
        n_steps=config.n_steps,
        image_net=multiscale_complex(denoiser or DENOISERS[config.denoiser], config.n_primal, dtype=dtype),
        kspace_net=dual_net,
        center=config.center,
    )

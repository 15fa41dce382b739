"""UPDNet: primal-dual steps whose networks are U-Nets.

Parameter tree: steps/{image_net,kspace_net}/params/net/... as BenchmarkUNet (jaxrecon.nn.benchmark_unet), each leaf with a leading
axis of n_steps; primal-only without kspace_net; start/refiner/params/... with a refiner.

Source: the reference code of Ramzi et al., the knee entries of its authors on fastMRI's leaderboard.
"""

import dataclasses

import jax.numpy as jnp

from ..checks import check_choices
from ..nn import BenchmarkUNetConfig, complex_unet
from ..nn.activations import Activation
from ..nn.benchmark_unet import Attention
from .cross_domain import Domains, RefinerName, cross_domain, maps_refiner
from .unrolled import Unrolled


@dataclasses.dataclass(frozen=True)
class UPDNetConfig:
    """Configuration of `updnet`; the defaults have 607,520 parameters.

    Attributes:
      n_steps: iterations.
      n_primal: image channels.
      n_dual: k-space channels.
      features: channels of each level of the U-Nets, the finest first.
      convs: convolutions of each level, on the way down and again on the way up.
      activation: after each of them.
      attention: where there is channel attention: nowhere, at the top level and near the end, or at every level.
      primal_only: the residual A x - y in place of networks in k-space.
      refiner: network that refines the coil maps, of 7,458 (small) or 120,790 (big) parameters.
      center: part of k-space along y and x, in its middle, that coil maps are made of before they are refined; 0: maps are given.
      bfloat16: convolutions in bfloat16.
    """

    n_steps: int = 10
    n_primal: int = 5
    n_dual: int = 5
    features: tuple[int, ...] = (8, 16, 32)
    convs: int = 2
    activation: Activation = "relu"
    attention: Attention = "none"
    primal_only: bool = False
    refiner: RefinerName = "none"
    center: float = 0.0
    bfloat16: bool = False

    def build(self) -> Unrolled:
        """`updnet` of this configuration."""
        return updnet(self)


UPDNET_KNEE = UPDNetConfig(
    n_steps=25,
    features=(16, 32, 64, 128),
    activation="prelu",
    attention="top",
    primal_only=True,
    refiner="small",
    center=0.08,
)
"""fastMRI's multi-coil knee at R = 4: 12,126,858 parameters; for R = 8 center 0.04."""


def updnet(config: UPDNetConfig) -> Unrolled:
    """The learned primal-dual method with U-Nets.

    K+ = K + U([K, A X_0, y]);  X+ = X + U([X, A^H K+_0]);  image = |X_0|

    Args:
      config: sizes.

    Returns:
      Model with carry {"image"} (n_primal, y, x) and, unless it is primal-only, {"kspace"} (n_dual, coil, y, x), complex;
      reconstruction real (y, x). With the strategy `gleam` two steps or more in a module, else all channels but the first never learn.

    Raises:
      ValueError: sizes that make no network; see `cross_domain` for the problem.

    Source: the reference code of Ramzi et al.
    """
    check_choices(config)
    dtype = jnp.bfloat16 if config.bfloat16 else None
    unet = BenchmarkUNetConfig(config.features, config.convs, config.activation, attention=config.attention)
    return cross_domain(
        Domains(n_image=config.n_primal, n_kspace=config.n_dual),
        n_steps=config.n_steps,
        image_net=complex_unet(unet, config.n_primal, dtype=dtype),
        kspace_net=None if config.primal_only else complex_unet(unet, config.n_dual, dtype=dtype),
        refiner=maps_refiner(config.refiner, dtype),
        center=config.center,
    )

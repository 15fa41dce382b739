"""PDNet: the learned primal-dual method with the Fourier transform.

Parameter tree: steps/{image_net,kspace_net}/params/conv_{j}/{kernel,bias}, each leaf with a leading axis of n_steps; primal-only
without kspace_net.

Source: Adler and Oktem 2018; Cheng et al. 2019, as in the benchmark of Ramzi et al. 2020 and its code.
"""

import dataclasses
from typing import Literal

import jax.numpy as jnp

from ..checks import check_choices, check_sizes
from ..nn import ComplexCNN
from .cross_domain import Domains, cross_domain
from .unrolled import Unrolled


@dataclasses.dataclass(frozen=True)
class PDNetConfig:
    """Configuration of `pdnet`; the defaults have 318,280 parameters, primal-only 156,260.

    Attributes:
      n_steps: iterations.
      n_primal: image channels.
      n_dual: k-space channels.
      features: channels of each network.
      layers: convolutions of each network.
      primal_only: the residual A x - y in place of networks in k-space.
      begin: channels begin as copies of A^H y and y, or as zeros.
      forward_channel: image channel that is brought to k-space.
      bfloat16: convolutions in bfloat16.
    """

    n_steps: int = 10
    n_primal: int = 5
    n_dual: int = 5
    features: int = 32
    layers: int = 3
    primal_only: bool = False
    begin: Literal["adjoint", "zero"] = "adjoint"
    forward_channel: int = 0
    bfloat16: bool = False

    def build(self) -> Unrolled:
        """`pdnet` of this configuration."""
        return pdnet(self)


PDNET_BENCHMARK = PDNetConfig(begin="zero", forward_channel=1)
"""The network of the benchmark's table, whose weights are published: it begins with zeros, and brings its second channel to k-space."""


def pdnet(config: PDNetConfig) -> Unrolled:
    """The learned primal-dual method.

    K+ = K + CNN([K, A X_0, y]);  X+ = X + CNN([X, A^H K+_0]);  image = |X_0|

    Args:
      config: sizes.

    Returns:
      Model with carry {"image"} (n_primal, y, x) and, unless it is primal-only, {"kspace"} (n_dual, coil, y, x), complex;
      reconstruction real (y, x). Networks in k-space see each coil for itself, several coils are combined by their maps.
      With the strategy `gleam` two steps or more in a module, else all channels but the first never learn.

    Raises:
      ValueError: sizes that make no network; see `cross_domain` for the problem.

    Source: Ramzi et al. 2020; its two implementations differ in `begin` and `forward_channel`, see `PDNET_BENCHMARK`.
    """
    check_choices(config)
    check_sizes(1, features=config.features, layers=config.layers)
    dtype = jnp.bfloat16 if config.bfloat16 else None
    domains = Domains(
        n_image=config.n_primal, n_kspace=config.n_dual, begin=config.begin, forward_channel=config.forward_channel
    )
    net = lambda out: ComplexCNN(out, config.features, config.layers, dtype=dtype)
    return cross_domain(
        domains,
        n_steps=config.n_steps,
        image_net=net(config.n_primal),
        kspace_net=None if config.primal_only else net(config.n_dual),
    )

"""E2E-VarNet: learned maps, and gradient steps in k-space with a U-Net.

Parameter tree: start/params/... as SensitivityNet, steps/net/params/... as NormUNet (jaxrecon.nn), steps/dc_weight;
each leaf of steps has a leading axis of n_steps. fastMRI's names: sens_net..., cascades.{i}.model...,
cascades.{i}.dc_weight (1,).

Source: Sriram et al. 2020, and the code of fastMRI (varnet.py).
"""

import dataclasses

import jax.numpy as jnp

from ..checks import check_sizes
from ..complex_ops import rss
from ..fourier import fftc, ifftc
from ..nn import NormUNet, SensitivityNet, calibration_mask
from ..typing import KSpace, Mask
from .unrolled import Unrolled, Wants, unrolled


@dataclasses.dataclass(frozen=True)
class VarNetConfig:
    """Configuration of `varnet`; the defaults are the leaderboard network (29,936,966 parameters).

    Attributes:
      n_steps: cascades.
      features: channels of the first level of each cascade's U-Net.
      pools: levels of pooling of each cascade's U-Net.
      sens_features: the same as features, for the sensitivity network.
      sens_pools: the same as pools, for the sensitivity network.
      mask_center: the sensitivity network sees the calibration region only.
      bfloat16: convolutions in bfloat16.
    """

    n_steps: int = 12
    features: int = 18
    pools: int = 4
    sens_features: int = 8
    sens_pools: int = 4
    mask_center: bool = True
    bfloat16: bool = False

    def build(self) -> Unrolled:
        """`varnet` of this configuration."""
        return varnet(self)


VARNET_DEMO = VarNetConfig(n_steps=8)
"""fastMRI's demo script: 20,119,610 parameters."""
VARNET_DEEP_JSENSE = VarNetConfig(n_steps=6, features=12, pools=3, sens_pools=3)
"""The baseline of the Deep J-Sense paper: 1,744,404 parameters."""


def varnet(config: VarNetConfig) -> Unrolled:
    """End-to-end variational network.

    k_0 = y;  k_{i+1} = k_i - M (k_i - y) eta_i - F(S U_i(S^H F^-1 k_i));  image = rss(F^-1 k_N)

    Args:
      config: sizes.

    Returns:
      Model with carry k-space (coil, y, x); reconstruction real (y, x). The operator is given without maps; the
      sensitivity network fills them in (any that are there are replaced). The calibration region is problem.acs, else
      found in the mask.

    Raises:
      ValueError: sizes that make no network.

    Source: Sriram et al. 2020 and the code of fastMRI, whose sign of the refinement differs from the paper's (the
      weights need it). With k_0 = y the first eta never receives a gradient.
    """
    check_sizes(1, n_steps=config.n_steps, features=config.features, sens_features=config.sens_features)
    check_sizes(0, pools=config.pools, sens_pools=config.sens_pools)
    dtype = jnp.bfloat16 if config.bfloat16 else None
    sens_net = SensitivityNet(config.sens_features, config.sens_pools, dtype)
    net = NormUNet(config.features, config.pools, dtype)

    def start(params, problem):
        acs = calibration_mask(problem.op.encoding.mask, problem.acs) if config.mask_center else None
        maps = sens_net.apply(params, masked(problem.kspace, acs))
        return problem.kspace, (problem.kspace, problem.op.replace(maps=maps))

    def step(theta, kspace, context, i):
        measured, op = context
        image = op.combine(ifftc(kspace))
        refinement = fftc(op.expand(net.apply(theta["net"], image[None])[0]))
        return kspace - masked(kspace - measured, op.encoding.mask) * theta["dc_weight"] - refinement

    def init_step(key, kspace, context):
        return {"net": net.lazy_init(key, kspace[:1]), "dc_weight": jnp.ones((), kspace.real.dtype)}

    return unrolled(
        n_steps=config.n_steps,
        shared=False,
        init_start=lambda key, problem: sens_net.lazy_init(key, problem.kspace),
        init_step=init_step,
        start=start,
        step=step,
        finish=lambda kspace, _: rss(ifftc(kspace)),
        wants=Wants(
            maps="estimated" if config.mask_center else "none",
            encoding="cartesian",
            image="magnitude",
            example_size=2 ** max(6, config.pools, config.sens_pools),
            uses_index=False,
        ),
    )


def masked(kspace: KSpace, mask: Mask | None) -> KSpace:
    """K-space where the mask, which broadcasts against it, is not 0, else 0; None: all of it."""
    if mask is None:
        return kspace
    return jnp.where(mask.reshape((1,) * (kspace.ndim - mask.ndim) + mask.shape) != 0, kspace, 0)

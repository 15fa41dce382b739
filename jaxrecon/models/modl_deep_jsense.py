"""The MoDL that Deep J-Sense is compared with: its image network and its solves, with maps that are given and stay.

Parameter tree: as that of Deep J-Sense without its maps: steps/image_net/params/... as BiasFreeResNet
(jaxrecon.nn.resnet), steps/image_lam. With separate networks only these are in steps, with a leading axis of n_steps;
the lam that they share is in start.

Source: Arvinte et al., MICCAI 2021, and its code.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp

from ..checks import UserError, check_axes, check_choices, check_sizes
from ..complex_ops import rss, to_channels
from ..nn import BiasFreeResNet
from .deep_jsense import refine, solve_from_estimate
from .unrolled import Unrolled, Wants, unrolled


@dataclasses.dataclass(frozen=True)
class MoDLDeepJSenseConfig:
    """Configuration of `modl_deep_jsense`; the defaults are the paper's (223,745 parameters).

    Attributes:
      n_steps: unrolled steps N.
      image_iters: conjugate gradient iterations for the image.
      features: channels of the network.
      blocks: its residual blocks.
      image_net: refine the image by a network after each solve.
      shared: one network for all steps; False: one for each, while lam stays shared.
      lam: weight of the prior, its first value: it is learned, raw (nothing keeps it positive).
      prior: what a solve is drawn to: the estimate before it ("previous": the network's output), or "zero".
      implicit: gradients of the exact solutions in place of those of the iterations, equal only at convergence.
      bfloat16: convolutions in bfloat16.
    """

    n_steps: int = 6
    image_iters: int = 6
    features: int = 64
    blocks: int = 4
    image_net: bool = True
    shared: bool = True
    lam: float = 0.01
    prior: Literal["previous", "zero"] = "previous"
    implicit: bool = False
    bfloat16: bool = False

    def build(self) -> Unrolled:
        """`modl_deep_jsense` of this configuration."""
        return modl_deep_jsense(self)


def modl_deep_jsense(config: MoDLDeepJSenseConfig) -> Unrolled:
    """MoDL with the image network of Deep J-Sense.

    x = argmin ||A x - y||^2 + lam ||x - x_j||^2;  x_{j+1} = D(x);      image = rss(S x_N)

    By a fixed number of CG iterations from the present estimate, x_0 = A^H y; in the first step the right-hand side has
    no prior term, as in the reference code.

    Args:
      config: sizes and variants.

    Returns:
      Model with carry {"image": (y, x)}; reconstruction real (y, x). The operator is given with maps.

    Raises:
      ValueError: options that exclude each other or are none; when called, an operator without maps.

    Source: Arvinte et al., MICCAI 2021, and its code.
    """
    check_choices(config)
    check_sizes(1, n_steps=config.n_steps, image_iters=config.image_iters, features=config.features)
    check_sizes(2, blocks=config.blocks)
    if not config.shared and not config.image_net:
        raise UserError("separate image networks (shared=False) need image_net=True")
    net = BiasFreeResNet(config.features, config.blocks, jnp.bfloat16 if config.bfloat16 else None)

    def first_lam(dtype):
        return {"image_lam": jnp.asarray(config.lam, dtype)}

    def init_step(key, carry, context):
        image = carry["image"]
        theta: dict[str, Any] = first_lam(image.real.dtype) if config.shared else {}
        if config.image_net:
            theta["image_net"] = net.lazy_init(jax.random.split(key)[1], to_channels(image))
        return theta

    def start(params, problem):
        check_axes("kspace", problem.kspace, ("coil", "y", "x"))
        if problem.op.maps is None:
            raise UserError("maps are needed: this network does not estimate them (ESPIRiT does)")
        zero_filled = problem.op.adjoint(problem.kspace)
        return {"image": zero_filled}, (problem.op, zero_filled, params)

    def step(theta, carry, context, i):
        op, zero_filled, common = context
        theta = {**common, **theta}
        image = solve_from_estimate(
            op.normal,
            zero_filled,
            carry["image"],
            theta["image_lam"],
            i,
            n_iter=config.image_iters,
            prior=config.prior,
            implicit=config.implicit,
        )
        return {"image": refine(net, theta["image_net"], image) if config.image_net else image}

    return unrolled(
        n_steps=config.n_steps,
        shared=config.shared,
        init_start=None if config.shared else (lambda key, problem: first_lam(problem.kspace.real.dtype)),
        init_step=init_step,
        start=start,
        step=step,
        finish=lambda carry, context: rss(context[0].expand(carry["image"])),
        wants=Wants(maps="given", image="magnitude", uses_index=config.prior == "previous"),
    )

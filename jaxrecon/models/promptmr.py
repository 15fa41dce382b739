"""PromptMR: learned maps of neighbouring slices, and gradient steps in k-space with a PromptUnet.

Parameter tree: start/slope, the one slope of (nearly) all PReLUs of the model; start/sens_net/params/... and
steps/net/params/... as NormPromptUnet (jaxrecon.nn), steps/dc_weight; each leaf of steps has a leading axis of n_steps.
PromptMR's names: sens_net.norm_unet..., cascades.{i}.model..., cascades.{i}.dc_weight (1,).

Source: Xin et al. 2023, arXiv 2309.13839, and its code.
"""

import dataclasses
import functools
from typing import Literal

import jax.numpy as jnp

from ..checks import UserError, check_broadcasts, check_sizes
from ..complex_ops import rss
from ..fourier import fftc, ifftc
from ..nn import NormPromptUnet, PromptUnet, calibration_mask, prompt_maps
from ..nn.prompt_blocks import INITIAL_SLOPE
from ..problem import Problem
from ..typing import Maps
from .unrolled import Unrolled, Wants, unrolled
from .varnet import masked

PROMPTS = ("*/prompt",)
"""The leaves that only `learn_prompts` trains."""


@dataclasses.dataclass(frozen=True)
class PromptSizes:
    """Sizes of the networks of `promptmr` and `promptmr_plus`: of each cascade, and of the one that estimates the maps.

    Tuples have one entry per level, the finest first; the published networks, whose sizes are the defaults, have three.

    Attributes:
      features: channels of the first level of each cascade's PromptUnet.
      level_features: channels of the levels below.
      prompt_features: channels of the prompts of each level.
      sens_features: the same as features, for the sensitivity network.
      sens_level_features: the same as level_features, for the sensitivity network.
      sens_prompt_features: the same as prompt_features, for the sensitivity network.
      prompt_lengths: prompts of each level; this and all below hold for both networks.
      prompt_sizes: pixels of a prompt, along y and along x.
      enc_cabs: channel attention blocks of each encoder level.
      dec_cabs: such blocks of each decoder level.
      skip_cabs: such blocks of each skip connection.
      bottleneck_cabs: such blocks between encoder and decoder.
      attention: False leaves channel attention out of these blocks.

    Raises:
      ValueError: tuples of unequal length, or a size that is too small.
    """

    features: int = 48
    level_features: tuple[int, ...] = (72, 96, 120)
    prompt_features: tuple[int, ...] = (24, 48, 72)
    sens_features: int = 24
    sens_level_features: tuple[int, ...] = (36, 48, 60)
    sens_prompt_features: tuple[int, ...] = (12, 24, 36)
    prompt_lengths: tuple[int, ...] = (5, 5, 5)
    prompt_sizes: tuple[int, ...] = (64, 32, 16)
    enc_cabs: tuple[int, ...] = (2, 3, 3)
    dec_cabs: tuple[int, ...] = (2, 2, 3)
    skip_cabs: tuple[int, ...] = (1, 1, 1)
    bottleneck_cabs: int = 3
    attention: bool = True

    def __post_init__(self):
        levels = len(self.level_features)
        if levels < 1 or any(
            len(getattr(self, field.name)) != levels
            for field in dataclasses.fields(self)
            if isinstance(getattr(self, field.name), tuple)
        ):
            raise UserError(
                f"level_features has {levels} levels: all tuples need one entry for each, and there must be one"
            )
        least = 4 if self.attention else 1  # channel attention has a quarter of the channels inside
        widths = (self.features, *self.level_features, self.sens_features, *self.sens_level_features)
        if min(*widths, *self.prompt_features, *self.sens_prompt_features) < least:
            raise UserError(f"every level needs {least} channels or more, not {widths}")
        if min(*self.prompt_lengths, *self.prompt_sizes, self.enc_cabs[0]) < 1:
            raise UserError("prompt_lengths, prompt_sizes and enc_cabs of the first level must be 1 or more")
        cabs = {"enc_cabs": self.enc_cabs, "dec_cabs": self.dec_cabs, "skip_cabs": self.skip_cabs}
        check_sizes(0, **cabs, bottleneck_cabs=self.bottleneck_cabs)


SIZES = PromptSizes()
"""Calgary-Campinas and CMRxRecon."""
SIZES_KNEE = PromptSizes(attention=False)
"""fastMRI knee."""
SIZES_BRAIN = dataclasses.replace(
    SIZES_KNEE, sens_features=12, sens_level_features=(18, 24, 30), sens_prompt_features=(6, 12, 18)
)
"""fastMRI brain."""


@dataclasses.dataclass(frozen=True)
class PromptMRConfig:
    """Configuration of `promptmr`; the defaults are the published network of 12 cascades (81,528,317 parameters).

    Attributes:
      n_steps: cascades.
      n_adjacent: neighbouring slices or frames that are reconstructed together, odd; the middle one is the result.
      sizes: of the networks.
      learn_prompts: train the prompts; else they keep their values.
      mask_center: the sensitivity network sees the calibration region only.
      one_map_at_a_time: estimate the maps in the memory of one coil, at the cost of time.
      bfloat16: convolutions in bfloat16.
    """

    n_steps: int = 12
    n_adjacent: int = 5
    sizes: PromptSizes = SIZES
    learn_prompts: bool = False
    mask_center: bool = True
    one_map_at_a_time: bool = False
    bfloat16: bool = False

    def build(self) -> Unrolled:
        """`promptmr` of this configuration."""
        return promptmr(self)


PROMPTMR_KNEE = PromptMRConfig(n_adjacent=3, sizes=SIZES_KNEE)
"""fastMRI knee: 79,643,645 parameters."""
PROMPTMR_BRAIN = PromptMRConfig(n_adjacent=3, sizes=SIZES_BRAIN)
"""fastMRI brain: 78,376,853 parameters."""
PROMPTMR_16 = PromptMRConfig(n_steps=16)
"""CMRxRecon 2023 with 16 cascades: 108,082,753 parameters; the other data sets have the defaults."""


def promptmr(config: PromptMRConfig) -> Unrolled:
    """PromptMR: gradient steps in k-space on several neighbouring slices at once.

    k_0 = y;  k_{i+1} = k_i - M (k_i - y) eta_i - F(S U_i(S^H F^-1 k_i));  image = rss(F^-1 k_N) of the middle slice

    Args:
      config: sizes.

    Returns:
      Model with carry k-space (adjacent, coil, y, x); reconstruction real (y, x). The problem's k-space is (adjacent,
      coil, y, x), its mask broadcasts against it, its operator is given without maps; the sensitivity network fills
      them in (any that are there are replaced). The calibration region is problem.acs, else found in the mask.

    Raises:
      ValueError: sizes that make no network; when called, k-space that is no window of n_adjacent slices.

    Source: Xin et al. 2023, arXiv 2309.13839, and its code. With k_0 = y the first eta never receives a gradient.
    """
    check_sizes(1, n_steps=config.n_steps)
    maps_net, net = prompt_nets(config.sizes, bfloat16=config.bfloat16)
    wants = wants_window(config.n_adjacent, config.mask_center)

    def start(params, problem):
        check_window(problem, config.n_adjacent)
        maps = estimate_maps(
            maps_net,
            params,
            problem,
            adjacent=False,
            mask_center=config.mask_center,
            one_at_a_time=config.one_map_at_a_time,
        )
        return problem.kspace, (problem.kspace, problem.op.replace(maps=maps, sets=False), params["slope"])

    def step(theta, kspace, context, i):
        measured, op, slope = context
        change, _ = net.apply(theta["net"], op.combine(ifftc(kspace)), slope)
        refinement = fftc(op.expand(change))
        return kspace - masked(kspace - measured, op.encoding.mask) * theta["dc_weight"] - refinement

    def init_step(key, kspace, context):
        theta = net.lazy_init(key, kspace[:, 0], context[-1])
        return {"net": theta, "dc_weight": jnp.ones((), kspace.real.dtype)}

    return unrolled(
        n_steps=config.n_steps,
        shared=False,
        init_start=functools.partial(init_maps_net, maps_net, adjacent=False),
        init_step=init_step,
        start=start,
        step=step,
        finish=lambda kspace, _: rss(ifftc(kspace[config.n_adjacent // 2])),
        wants=dataclasses.replace(wants, uses_index=False),
        untrained=() if config.learn_prompts else PROMPTS,
    )


def wants_window(n_adjacent: int, mask_center: bool) -> Wants:
    """What `promptmr` and `promptmr_plus` want."""
    if n_adjacent < 1 or n_adjacent % 2 == 0:
        raise UserError(f"n_adjacent must be odd and positive, a slice and its neighbours, not {n_adjacent}")
    maps: Literal["estimated", "none"] = "estimated" if mask_center else "none"
    return Wants(maps=maps, input="window", window=n_adjacent, encoding="cartesian", image="magnitude")


def prompt_nets(
    sizes: PromptSizes, *, n_history: int = 0, bfloat16: bool = False
) -> tuple[NormPromptUnet, NormPromptUnet]:
    """(the sensitivity network, the network of one cascade) of some sizes; only the latter has a history."""
    of_both = functools.partial(
        PromptUnet,
        prompt_lengths=sizes.prompt_lengths,
        prompt_sizes=sizes.prompt_sizes,
        enc_cabs=sizes.enc_cabs,
        dec_cabs=sizes.dec_cabs,
        skip_cabs=sizes.skip_cabs,
        bottleneck_cabs=sizes.bottleneck_cabs,
        attention=sizes.attention,
        dtype=jnp.bfloat16 if bfloat16 else None,
    )
    of_maps = of_both(
        features=sizes.sens_features,
        level_features=sizes.sens_level_features,
        prompt_features=sizes.sens_prompt_features,
    )
    of_cascade = of_both(
        features=sizes.features,
        level_features=sizes.level_features,
        prompt_features=sizes.prompt_features,
        n_history=n_history,
    )
    return NormPromptUnet(of_maps), NormPromptUnet(of_cascade)


def init_maps_net(net: NormPromptUnet, key, problem: Problem, *, adjacent: bool):
    """Parameters of `start`: the shared slope and the sensitivity network."""
    slope = jnp.asarray(INITIAL_SLOPE, problem.kspace.real.dtype)
    channels = problem.kspace[:, 0] if adjacent else problem.kspace[:1, 0]
    return {"slope": slope, "sens_net": net.lazy_init(key, channels, slope)}


def estimate_maps(
    net: NormPromptUnet,
    params,
    problem: Problem,
    *,
    adjacent: bool,
    mask_center: bool = True,
    one_at_a_time: bool = False,
) -> Maps:
    """Maps (adjacent, coil, y, x) by the sensitivity network with the parameters of `start`; options as in the configurations."""
    calibration = problem.kspace
    if mask_center:
        mask = problem.op.encoding.mask
        if mask is not None and mask.ndim > 3:
            mask = jnp.min(mask, 0)[0]  # frames have masks of their own: what all of them sample
        calibration = masked(calibration, calibration_mask(mask, problem.acs))
    return prompt_maps(
        lambda x: net.apply(params["sens_net"], x, params["slope"])[0],
        calibration,
        adjacent=adjacent,
        one_at_a_time=one_at_a_time,
    )


def check_window(problem: Problem, n_adjacent: int) -> None:
    """Raise ValueError unless k-space is (adjacent, coil, y, x) and the mask broadcasts against it."""
    shape = problem.kspace.shape
    if len(shape) != 4 or shape[0] != n_adjacent:
        raise UserError(
            f"this network reconstructs {n_adjacent} neighbouring slices at once: kspace must be ({n_adjacent}, "
            f"coil, y, x), but its shape is {tuple(shape)}; scan.adjacent(index, {n_adjacent}) reads such a window"
        )
    mask = problem.op.encoding.mask
    if mask is not None:
        check_broadcasts("mask", mask.shape, "kspace", shape)

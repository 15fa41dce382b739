"""PromptMR+: adaptive unrolling in the image domain, history features, and maps estimated from neighbouring slices at once.

Parameter tree as that of PromptMR (promptmr.py); with history the PromptUnets have momentum layers.

The classical view. Gradient descent on 1/2 ||A x - y||^2 + R(x) takes x_{t+1} = x_t - eta g_t with g_t = A^H (A x_t - y)
+ grad R(x_t). The adaptive gradient method (AdaGrad) divides each pixel's step by the size of its past gradients,

  x_{t+1} = x_t - eta g_t - E_t g_t,   E_t = eta / sqrt(sum_{s <= t} g_s^2 + eps) - eta   (element by element),

and momentum adds past steps. Unrolled, E_t g_t becomes a network that sees all that it depends on: x_t, A^H A x_t, A^H
y, and a latent image s_t that carries the past; momentum becomes layers that mix the features of all cascades so far. No
E_t is ever computed. experiments/promptmr_plus/convex.py shows the three classical methods on a convex problem.

Source: Xin et al. 2024, PromptMR+, and its code.
"""

import dataclasses
import functools

import jax.numpy as jnp

from ..checks import UserError, check_sizes
from ..complex_ops import rss
from .promptmr import (
    PROMPTS,
    SIZES,
    SIZES_BRAIN,
    SIZES_KNEE,
    PromptSizes,
    check_window,
    estimate_maps,
    init_maps_net,
    prompt_nets,
    wants_window,
)
from .unrolled import Unrolled, unrolled


@dataclasses.dataclass(frozen=True)
class PromptMRPlusConfig:
    """Configuration of `promptmr_plus`; the defaults are the published network of all data sets (92,859,005 parameters).

    Attributes:
      n_steps: cascades.
      n_adjacent: neighbouring slices or frames that are reconstructed together, odd; the middle one is the result.
      n_buffers: images that the network sees beside x: A^H A x, the latent s, A^H y, then copies of the data gradient;
        0: adaptive input is off, else 3 or more.
      n_history: past features that the momentum layers see; 0: none.
      adjacent_maps: estimate the maps of all slices of a coil at once, else each for itself.
      sizes: of the networks.
      learn_prompts: train the prompts; else they keep their values.
      mask_center: the sensitivity network sees the calibration region only.
      one_map_at_a_time: estimate the maps in the memory of one coil, at the cost of time.
      bfloat16: convolutions in bfloat16.
    """

    n_steps: int = 12
    n_adjacent: int = 5
    n_buffers: int = 4
    n_history: int = 11
    adjacent_maps: bool = True
    sizes: PromptSizes = SIZES
    learn_prompts: bool = False
    mask_center: bool = True
    one_map_at_a_time: bool = False
    bfloat16: bool = False

    def build(self) -> Unrolled:
        """`promptmr_plus` of this configuration."""
        return promptmr_plus(self)


PROMPTMR_PLUS_BASELINE = PromptMRPlusConfig(n_buffers=0, n_history=0, adjacent_maps=False)
"""What PromptMR+ is compared with: the size of PromptMR, in the image domain (81,528,317 parameters)."""
PROMPTMR_PLUS_BASELINE_KNEE = dataclasses.replace(PROMPTMR_PLUS_BASELINE, n_adjacent=3, sizes=SIZES_KNEE)
"""The same for fastMRI knee: 79,643,645 parameters."""
PROMPTMR_PLUS_BASELINE_BRAIN = dataclasses.replace(PROMPTMR_PLUS_BASELINE_KNEE, sizes=SIZES_BRAIN)
"""The same for fastMRI brain: 78,376,853 parameters."""
PROMPTMR_PLUS_KNEE = PromptMRPlusConfig(one_map_at_a_time=True)
"""fastMRI knee, whose published training also recomputes each cascade: the strategy `checkpointed`."""


def promptmr_plus(config: PromptMRPlusConfig) -> Unrolled:
    """PromptMR+: adaptive gradient steps with history on the images of several neighbouring slices at once.

    x_0 = s_0 = A^H y;  g_i = A^H A x_i - A^H y;
    (m_i, s_{i+1}, h_{i+1}) = U_i([x_i, A^H A x_i, s_i, A^H y, g_i ...], h_i);  x_{i+1} = x_i - eta_i g_i - m_i;
    image = rss(S x_N) of the middle slice

    The history h holds the features of the coarser decoder levels of the cascades so far, the newest first; before there
    are n_history of them, the first cascade's fill the places.

    Args:
      config: sizes and what is switched off.

    Returns:
      Model with carry {"image", "latent", "history"} (latent and history only where the configuration has them): images
      (adjacent, y, x), history three maps (y, x, n_history channel) at 1/8, 1/4 and 1/2 of the size; reconstruction real
      (y, x). The problem is that of `promptmr`. The latent of the last cascade is not used: with the strategy `gleam`
      two or more cascades in a module, else the latents never learn.

    Raises:
      ValueError: sizes that make no network; when called, k-space that is no window of n_adjacent slices.

    Source: Xin et al. 2024 and its code, which trains with a wrong gradient where it recomputes cascades with history.
    """
    check_sizes(1, n_steps=config.n_steps)
    check_sizes(0, n_history=config.n_history)
    if config.n_buffers < 0 or config.n_buffers in (1, 2):
        raise UserError(f"n_buffers must be 0 (no adaptive input) or 3 and more, not {config.n_buffers}")
    maps_net, net = prompt_nets(config.sizes, n_history=config.n_history, bfloat16=config.bfloat16)
    n = config.n_adjacent
    wants = wants_window(n, config.mask_center)

    def start(params, problem):
        check_window(problem, n)
        maps = estimate_maps(
            maps_net,
            params,
            problem,
            adjacent=config.adjacent_maps,
            mask_center=config.mask_center,
            one_at_a_time=config.one_map_at_a_time,
        )
        op = problem.op.replace(maps=maps, sets=False)
        zero_filled = op.adjoint(problem.kspace)
        carry = {"image": zero_filled}
        if config.n_buffers:
            carry["latent"] = zero_filled
        if config.n_history:
            carry["history"] = net.empty_history(zero_filled)
        return carry, (op, zero_filled, params["slope"])

    def network_input(carry, normal, zero_filled):
        gradient = normal - zero_filled
        if not config.n_buffers:
            return carry["image"]
        buffers = [normal, carry["latent"], zero_filled, *[gradient] * (config.n_buffers - 3)]
        return jnp.concatenate([carry["image"], *buffers])

    def step(theta, carry, context, i):
        op, zero_filled, slope = context
        image = carry["image"]
        normal = op.normal(image)
        out, history = net.apply(
            theta["net"], network_input(carry, normal, zero_filled), slope, carry.get("history"), i == 0
        )
        after = {"image": image - theta["dc_weight"] * (normal - zero_filled) - out[:n]}
        if config.n_buffers:
            after["latent"] = out[2 * n : 3 * n]
        if config.n_history:
            after["history"] = history
        return after

    def init_step(key, carry, context):
        _, zero_filled, slope = context
        theta = net.lazy_init(key, network_input(carry, zero_filled, zero_filled), slope, carry.get("history"), True)
        return {"net": theta, "dc_weight": jnp.ones((), zero_filled.real.dtype)}

    def finish(carry, context):
        middle = n // 2
        return rss(context[0].maps[middle] * carry["image"][middle][None])

    return unrolled(
        n_steps=config.n_steps,
        shared=False,
        init_start=functools.partial(init_maps_net, maps_net, adjacent=config.adjacent_maps),
        init_step=init_step,
        start=start,
        step=step,
        finish=finish,
        wants=dataclasses.replace(
            wants,
            # the latent of a module's last step is seen by no one
            steps_per_module=2 if config.n_buffers else 1,
            uses_index=config.n_history > 0,
        ),
        untrained=() if config.learn_prompts else PROMPTS,
    )

"""The networks by name: what is built from a configuration, and what it has to be given."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..models import (
    DeepJSenseConfig,
    MoDLConfig,
    PGDConfig,
    PromptMRConfig,
    PromptMRPlusConfig,
    UNetConfig,
    Unrolled,
    VarNetConfig,
    deep_jsense,
    keep_moving_averages,
    modl,
    pgd,
    promptmr,
    promptmr_plus,
    unet,
    varnet,
)
from ..operators import CartesianSense
from ..problem import Problem
from ..strategies.update import Metrics
from ..typing import Params

ModelConfig = (
    UNetConfig | VarNetConfig | MoDLConfig | PGDConfig | DeepJSenseConfig | PromptMRPlusConfig | PromptMRConfig
)
MODELS: dict[str, tuple[type, Callable[[Any], Unrolled]]] = {
    "unet": (UNetConfig, unet),
    "varnet": (VarNetConfig, varnet),
    "modl": (MoDLConfig, modl),
    "pgd": (PGDConfig, pgd),
    "deep-jsense": (DeepJSenseConfig, deep_jsense),
    "promptmr": (PromptMRConfig, promptmr),
    "promptmr-plus": (PromptMRPlusConfig, promptmr_plus),
}
"""Name in files and on the command line -> configuration and builder."""


def model_name(config: ModelConfig) -> str:
    """The name of a network's configuration in MODELS."""
    for name, (kind, _) in MODELS.items():
        if type(config) is kind:
            return name
    raise ValueError(f"{type(config).__name__} is no configuration of {', '.join(MODELS)}")


def build(config: ModelConfig, *, training: bool = False) -> Unrolled:
    """The network of a configuration; MoDL reconstructs with its moving averages and trains with the batch's statistics.

    Raises:
      ValueError: a size that makes no network.
    """
    _check_sizes(config)
    if isinstance(config, MoDLConfig) and config.norm == "batch" and not training:
        config = dataclasses.replace(config, norm="frozen")
    return MODELS[model_name(config)][1](config)


def _check_sizes(config: ModelConfig) -> None:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        sizes = value if isinstance(value, tuple) else (value,)
        least = 1 if field.name.endswith("features") or field.name in ("n_steps", "layers", "blocks") else 0
        if any(isinstance(size, int) and size < least for size in sizes):
            raise ValueError(f"{field.name} must be {least} or more, not {value}")
    if getattr(config, "ndim", 2) not in (2, 3):
        raise ValueError(f"ndim must be 2 for images or 3 for frames, not {getattr(config, 'ndim', 2)}")


def needs_maps(config: ModelConfig) -> bool:
    """Whether the network is given maps; the others estimate them or combine coils by the root of sum of squares."""
    return has_complex_image(config) or getattr(config, "given_maps", False)


def estimates_maps(config: ModelConfig) -> bool:
    """Whether the network estimates maps from the calibration region (`Problem.acs`), and sees nothing without one."""
    return getattr(config, "mask_center", False)


def has_complex_image(config: ModelConfig) -> bool:
    """Whether the network's image has a phase; the others' is a magnitude."""
    return isinstance(config, MoDLConfig | PGDConfig)


def in_time(config: ModelConfig) -> bool:
    """Whether the network takes frames: k-space (frame, coil, y, x), all of a time series, to images (frame, y, x)."""
    return getattr(config, "ndim", 2) == 3


def window(config: ModelConfig) -> int | None:
    """How many neighbouring slices the network reconstructs at once, of which the middle one is the result; None: one slice.

    K-space (adjacent, coil, y, x), images (y, x).
    """
    return getattr(config, "n_adjacent", None)


def least_steps(config: ModelConfig) -> int:
    """Steps that a module of gleam needs so that all weights learn: PromptMR+'s latent is seen by the next step only."""
    return 2 if isinstance(config, PromptMRPlusConfig) and config.n_buffers else 1


def after_update(config: ModelConfig) -> Callable[[Params, Metrics], tuple[Params, Metrics]] | None:
    """What `from_grad_fn` does after an update: batch norm keeps the moving averages that ride in the last carry.

    None: nothing. Otherwise the strategy must hand the carry on.
    """
    if isinstance(config, MoDLConfig) and config.norm == "batch":
        return lambda params, aux: (keep_moving_averages(params, aux["carry"]), {})
    return None


def abstract_params(config: ModelConfig) -> Params:
    """Shapes and types of the network's parameters, which no size of images changes; nothing is computed."""
    size = max(64, 2 ** (getattr(config, "pools", 0) + 2))
    frames = (window(config) or 2,) if in_time(config) or window(config) else ()

    def init():
        kspace = jnp.zeros((*frames, 2, size, size), jnp.complex64)
        maps = jnp.zeros((2, size, size), jnp.complex64) if needs_maps(config) else None
        problem = Problem(kspace, CartesianSense(maps, jnp.ones((1, size))))
        return build(config).init(jax.random.key(0), problem)

    return jax.eval_shape(init)

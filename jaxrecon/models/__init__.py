"""Unrolled networks: each a Config, a builder `name(config) -> Unrolled`, and the published configurations as constants."""

from .configs import ModelConfig, abstract_params, build
from .deep_jsense import DeepJSenseConfig, deep_jsense, rss_kernels
from .modl import (
    MODL_2D_GLEAM,
    MODL_2D_GLEAM_R16,
    MODL_3D_GLEAM,
    MODL_STAGE_1,
    MoDLConfig,
    modl,
)
from .modl_deep_jsense import MoDLDeepJSenseConfig, modl_deep_jsense
from .pgd import PGD_2D_FASTMRI_GLEAM, PGD_3D_CINE, PGD_3D_CINE_GLEAM, PGDConfig, pgd
from .promptmr import PROMPTMR_16, PROMPTMR_BRAIN, PROMPTMR_KNEE, PromptMRConfig, PromptSizes, promptmr
from .promptmr_plus import (
    PROMPTMR_PLUS_BASELINE,
    PROMPTMR_PLUS_BASELINE_BRAIN,
    PROMPTMR_PLUS_BASELINE_KNEE,
    PROMPTMR_PLUS_KNEE,
    PromptMRPlusConfig,
    promptmr_plus,
)
from .unet import UNET_LEADERBOARD, UNetConfig, unet
from .unrolled import (
    Unrolled,
    Wants,
    batched,
    iterate_steps,
    run,
    stack_problems,
    stack_steps,
    unrolled,
    unstack_steps,
    with_untrained,
)
from .varnet import VARNET_DEEP_JSENSE, VARNET_DEMO, VarNetConfig, varnet

__all__ = [
    "MODL_2D_GLEAM",
    "MODL_2D_GLEAM_R16",
    "MODL_3D_GLEAM",
    "MODL_STAGE_1",
    "PGD_2D_FASTMRI_GLEAM",
    "PGD_3D_CINE",
    "PGD_3D_CINE_GLEAM",
    "PROMPTMR_16",
    "PROMPTMR_BRAIN",
    "PROMPTMR_KNEE",
    "PROMPTMR_PLUS_BASELINE",
    "PROMPTMR_PLUS_BASELINE_BRAIN",
    "PROMPTMR_PLUS_BASELINE_KNEE",
    "PROMPTMR_PLUS_KNEE",
    "UNET_LEADERBOARD",
    "VARNET_DEEP_JSENSE",
    "VARNET_DEMO",
    "DeepJSenseConfig",
    "MoDLConfig",
    "MoDLDeepJSenseConfig",
    "ModelConfig",
    "PGDConfig",
    "PromptMRConfig",
    "PromptMRPlusConfig",
    "PromptSizes",
    "UNetConfig",
    "Unrolled",
    "VarNetConfig",
    "Wants",
    "abstract_params",
    "batched",
    "build",
    "deep_jsense",
    "iterate_steps",
    "modl",
    "modl_deep_jsense",
    "pgd",
    "promptmr",
    "promptmr_plus",
    "rss_kernels",
    "run",
    "stack_problems",
    "stack_steps",
    "unet",
    "unrolled",
    "unstack_steps",
    "varnet",
    "with_untrained",
]

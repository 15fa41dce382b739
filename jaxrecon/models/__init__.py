"""Unrolled networks: each a Config, a builder `name(config) -> Unrolled`, and the published configurations as constants."""

from .cascade import D5C5, CascadeConfig, cascade
from .configs import ModelConfig, abstract_params, build
from .cross_domain import Domains, cross_domain
from .deep_jsense import DeepJSenseConfig, deep_jsense, rss_kernels
from .kiki import KIKIConfig, kiki
from .magnitude_unet import MagnitudeUNetConfig, magnitude_unet
from .modl import (
    MODL_2D_GLEAM,
    MODL_2D_GLEAM_R16,
    MODL_3D_GLEAM,
    MODL_STAGE_1,
    MoDLConfig,
    modl,
)
from .modl_deep_jsense import MoDLDeepJSenseConfig, modl_deep_jsense
from .pdnet import PDNET_BENCHMARK, PDNetConfig, pdnet
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
from .updnet import UPDNET_KNEE, UPDNetConfig, updnet
from .varnet import VARNET_DEEP_JSENSE, VARNET_DEMO, VarNetConfig, varnet
from .xpdnet import XPDNET_BRAIN_2020, XPDNET_BRAIN_2020_SUBMITTED, XPDNetConfig, xpdnet

__all__ = [
    "D5C5",
    "MODL_2D_GLEAM",
    "MODL_2D_GLEAM_R16",
    "MODL_3D_GLEAM",
    "MODL_STAGE_1",
    "PDNET_BENCHMARK",
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
    "UPDNET_KNEE",
    "VARNET_DEEP_JSENSE",
    "VARNET_DEMO",
    "XPDNET_BRAIN_2020",
    "XPDNET_BRAIN_2020_SUBMITTED",
    "CascadeConfig",
    "DeepJSenseConfig",
    "Domains",
    "KIKIConfig",
    "MagnitudeUNetConfig",
    "MoDLConfig",
    "MoDLDeepJSenseConfig",
    "ModelConfig",
    "PDNetConfig",
    "PGDConfig",
    "PromptMRConfig",
    "PromptMRPlusConfig",
    "PromptSizes",
    "UNetConfig",
    "UPDNetConfig",
    "Unrolled",
    "VarNetConfig",
    "Wants",
    "XPDNetConfig",
    "abstract_params",
    "batched",
    "build",
    "cascade",
    "cross_domain",
    "deep_jsense",
    "iterate_steps",
    "kiki",
    "magnitude_unet",
    "modl",
    "modl_deep_jsense",
    "pdnet",
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
    "updnet",
    "varnet",
    "with_untrained",
    "xpdnet",
]

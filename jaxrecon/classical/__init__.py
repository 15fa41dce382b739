"""Classical reconstruction: a Problem in, an image out; jitted, differentiable, vmappable."""

from .cg import cg, cg_implicit
from .compressed_sensing import (
    l1_norm,
    l1_wavelet,
    l1_wavelet_cycle_spun,
    l1_wavelet_iteration,
    objective,
    wavelet_prox,
)
from .iterate import iterate, iterate_until
from .scale import data_scale, scale_problem
from .sense import cg_sense, rss_image, sense, zero_filled
from .total_variation import (
    TotalVariationResult,
    total_variation,
    total_variation_iteration,
    total_variation_result,
)

__all__ = [
    "TotalVariationResult",
    "cg",
    "cg_implicit",
    "cg_sense",
    "data_scale",
    "iterate",
    "iterate_until",
    "l1_norm",
    "l1_wavelet",
    "l1_wavelet_cycle_spun",
    "l1_wavelet_iteration",
    "objective",
    "rss_image",
    "scale_problem",
    "sense",
    "total_variation",
    "total_variation_iteration",
    "total_variation_result",
    "wavelet_prox",
    "zero_filled",
]

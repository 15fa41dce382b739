"""Classical reconstruction: a Problem in, an image out; jitted, differentiable, vmappable."""

from .cg import cg, cg_implicit
from .compressed_sensing import (
    l1_norm,
    l1_wavelet,
    l1_wavelet_cycle_spun,
    l1_wavelet_iteration,
    objective,
    total_variation,
    total_variation_admm,
    total_variation_iteration,
    wavelet_prox,
)
from .iterate import iterate
from .scale import data_scale, scale_problem
from .sense import cg_sense, rss_image, sense, zero_filled

__all__ = [
    "cg",
    "cg_implicit",
    "cg_sense",
    "data_scale",
    "iterate",
    "l1_norm",
    "l1_wavelet",
    "l1_wavelet_cycle_spun",
    "l1_wavelet_iteration",
    "objective",
    "rss_image",
    "scale_problem",
    "sense",
    "total_variation",
    "total_variation_admm",
    "total_variation_iteration",
    "wavelet_prox",
    "zero_filled",
]

"""Coils: sensitivity maps (ESPIRiT, JSENSE, Walsh, Inati), combination, compression, prewhitening."""

from ..complex_ops import rss
from .combine import (
    InatiResult,
    WalshResult,
    adaptive_combine,
    combine_coils,
    inati,
    low_resolution_maps,
    walsh,
)
from .compress import compress, gcc_compression, svd_compression
from .espirit import EspiritResult, calibration_matrix, espirit, espirit_eigen, soft_weight
from .jsense import JsenseResult, jsense, jsense_kernels
from .prewhiten import noise_covariance, whiten, whitening_matrix

__all__ = [
    "EspiritResult",
    "InatiResult",
    "JsenseResult",
    "WalshResult",
    "adaptive_combine",
    "calibration_matrix",
    "combine_coils",
    "compress",
    "espirit",
    "espirit_eigen",
    "gcc_compression",
    "inati",
    "jsense",
    "jsense_kernels",
    "low_resolution_maps",
    "noise_covariance",
    "rss",
    "soft_weight",
    "svd_compression",
    "walsh",
    "whiten",
    "whitening_matrix",
]

"""Image quality: pointwise errors, structural similarity, high-frequency error, and each source's rule for volumes."""

from .basic import mse, nmse, nrmse, psnr, rmse
from .crop import crop_to_smallest, crop_to_target
from .hfen import hfen, hfen_direct, log_kernel
from .multiscale import ms_ssim
from .ssim import FASTMRI_LOSS, GAUSSIAN, UNIFORM, UNIFORM_3D, SSIMVariant, ssim, ssim_map
from .variants import METRICS, VARIANTS, Variant, top_magnitude_scale
from .volume import Evaluation, Statistics, collect_volumes, evaluate, summarize

__all__ = [
    "FASTMRI_LOSS",
    "GAUSSIAN",
    "METRICS",
    "UNIFORM",
    "UNIFORM_3D",
    "VARIANTS",
    "Evaluation",
    "SSIMVariant",
    "Statistics",
    "Variant",
    "collect_volumes",
    "crop_to_smallest",
    "crop_to_target",
    "evaluate",
    "hfen",
    "hfen_direct",
    "log_kernel",
    "ms_ssim",
    "mse",
    "nmse",
    "nrmse",
    "psnr",
    "rmse",
    "ssim",
    "ssim_map",
    "summarize",
    "top_magnitude_scale",
]

"""Sampling patterns as functions of a random key, and (`compatible`) bit for bit as published experiments drew them."""

from . import compatible
from .acs import acs_disc, acs_from_mask, acs_square, detect_acs_lines, detect_acs_rectangle, measured_acceleration
from .cmrxrecon2024 import POOL, PoolKind, PoolMask, cmrxrecon2024_pool
from .kt_masks import (
    adjacent_frames,
    kt_gaussian_lines,
    kt_random_lines,
    kt_shear_lines,
    kt_uniform_lines,
    kt_variable_density,
    partial_echo,
)
from .line_masks import (
    cmrxrecon_lines,
    equispaced_fraction_lines,
    equispaced_lines,
    fixed_count_lines,
    gaussian_lines,
    integer_spaced_lines,
    magic_fraction_lines,
    magic_lines,
    outer_equispaced_lines,
    random_lines,
)
from .poisson import calgary_poisson, gaussian_2d, poisson_disc

__all__ = [
    "POOL",
    "PoolKind",
    "PoolMask",
    "acs_disc",
    "acs_from_mask",
    "acs_square",
    "adjacent_frames",
    "calgary_poisson",
    "cmrxrecon2024_pool",
    "cmrxrecon_lines",
    "compatible",
    "detect_acs_lines",
    "detect_acs_rectangle",
    "equispaced_fraction_lines",
    "equispaced_lines",
    "fixed_count_lines",
    "gaussian_2d",
    "gaussian_lines",
    "integer_spaced_lines",
    "kt_gaussian_lines",
    "kt_random_lines",
    "kt_shear_lines",
    "kt_uniform_lines",
    "kt_variable_density",
    "magic_fraction_lines",
    "magic_lines",
    "measured_acceleration",
    "outer_equispaced_lines",
    "partial_echo",
    "poisson_disc",
    "random_lines",
]

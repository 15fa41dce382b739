"""Linear operators as PyTrees."""

from .base import (
    Adjoint,
    Compose,
    LinearOperator,
    Scale,
    Stack,
    adjoint_of,
    max_eigenvalue,
    operator_norm,
    random_like,
    real_vdot,
    vdot,
)
from .blocks import Blocks
from .cartesian import CartesianSense
from .convolution import ImageConvolution, MapConvolution
from .finite_difference import FiniteDifference
from .kspace_kernels import kernels_to_maps, linear_grid, maps_to_kernels, pad_mask, to_grid
from .temporal import TemporalFFT
from .wavelet import Wavelet, pack

__all__ = [
    "Adjoint",
    "Blocks",
    "CartesianSense",
    "Compose",
    "FiniteDifference",
    "ImageConvolution",
    "LinearOperator",
    "MapConvolution",
    "Scale",
    "Stack",
    "TemporalFFT",
    "Wavelet",
    "adjoint_of",
    "kernels_to_maps",
    "linear_grid",
    "maps_to_kernels",
    "max_eigenvalue",
    "operator_norm",
    "pack",
    "pad_mask",
    "random_like",
    "real_vdot",
    "to_grid",
    "vdot",
]

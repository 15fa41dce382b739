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
from .cartesian import CartesianFFT, CartesianSense
from .convolution import ImageConvolution, MapConvolution
from .encodings import CARTESIAN, ENCODINGS, EncodingRecord
from .finite_difference import FiniteDifference
from .kspace_kernels import kernels_to_maps, linear_grid, maps_to_kernels, pad_mask, to_grid
from .sense import Encoding, Sense
from .temporal import TemporalFFT
from .wavelet import Wavelet, pack

__all__ = [
    "CARTESIAN",
    "ENCODINGS",
    "Adjoint",
    "Blocks",
    "CartesianFFT",
    "CartesianSense",
    "Compose",
    "Encoding",
    "EncodingRecord",
    "FiniteDifference",
    "ImageConvolution",
    "LinearOperator",
    "MapConvolution",
    "Scale",
    "Sense",
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

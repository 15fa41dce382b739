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
from .finite_difference import FiniteDifference
from .temporal import TemporalFFT
from .wavelet import Wavelet, pack

__all__ = [
    "Adjoint",
    "Blocks",
    "CartesianSense",
    "Compose",
    "FiniteDifference",
    "LinearOperator",
    "Scale",
    "Stack",
    "TemporalFFT",
    "Wavelet",
    "adjoint_of",
    "max_eigenvalue",
    "operator_norm",
    "pack",
    "random_like",
    "real_vdot",
    "vdot",
]

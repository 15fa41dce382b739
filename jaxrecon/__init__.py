"""Accelerated MRI reconstruction as pure functions in JAX.

Models say what is computed (`models`), strategies say how its gradient is obtained (`strategies`), operators are data (`Problem`).
"""

from . import classical, coils, data, fourier, metrics, models, operators, sampling, strategies, training, weights
from .checks import DataError
from .models import run
from .problem import Problem
from .training import losses

__all__ = [
    "DataError",
    "Problem",
    "classical",
    "coils",
    "data",
    "fourier",
    "losses",
    "metrics",
    "models",
    "operators",
    "run",
    "sampling",
    "strategies",
    "training",
    "weights",
]

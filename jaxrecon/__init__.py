"""Accelerated MRI reconstruction as pure functions in JAX.

Operators are data (`Problem`), models say what is computed, strategies say how its gradient is obtained.
"""

from . import classical, operators
from .checks import DataError
from .problem import Problem

__all__ = ["DataError", "Problem", "classical", "operators"]

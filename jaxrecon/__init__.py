"""Accelerated MRI reconstruction as pure functions in JAX.

Models say what is computed (`models`), strategies say how its gradient is obtained (`strategies`), operators are data (`Problem`).
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import (
        classical,
        coils,
        data,
        experiment,
        fourier,
        losses,
        metrics,
        models,
        operators,
        plots,
        recon,
        sampling,
        strategies,
        training,
        weights,
    )
    from .checks import DataError, UserError
    from .experiment import Experiment, train
    from .models import run
    from .problem import Problem, Target
    from .recon import evaluate, load_network, reconstruct

__all__ = [
    "DataError",
    "Experiment",
    "Problem",
    "Target",
    "UserError",
    "classical",
    "coils",
    "data",
    "evaluate",
    "experiment",
    "fourier",
    "load_network",
    "losses",
    "metrics",
    "models",
    "operators",
    "plots",
    "recon",
    "reconstruct",
    "run",
    "sampling",
    "strategies",
    "train",
    "training",
    "weights",
]

_HOMES = {
    "DataError": "checks",
    "Experiment": "experiment",
    "Problem": "problem",
    "Target": "problem",
    "UserError": "checks",
    "evaluate": "recon",
    "load_network": "recon",
    "reconstruct": "recon",
    "run": "models",
    "train": "experiment",
}
"""Name -> module that it is taken from; the other names are modules themselves."""


def __getattr__(name: str) -> Any:
    """A public name when it is first asked for: importing the package alone, as the command line does, costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'jaxrecon' has no attribute '{name}'")
    value = importlib.import_module(f".{_HOMES.get(name, name)}", __name__)
    globals()[name] = value = getattr(value, name) if name in _HOMES else value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

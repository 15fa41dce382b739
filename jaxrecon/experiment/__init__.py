"""Experiments: what a training run is made of, and the networks that are built in."""

from ..training.fit import Every
from .as_json import from_json, to_json
from .catalog import CATALOG, Entry
from .experiment import DataConfig, Experiment, SimulatedHeads, load_experiment, make_update

__all__ = [
    "CATALOG",
    "DataConfig",
    "Entry",
    "Every",
    "Experiment",
    "SimulatedHeads",
    "from_json",
    "load_experiment",
    "make_update",
    "to_json",
]

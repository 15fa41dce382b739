"""Experiments: what a training run is made of, and the networks that are built in."""

from ..training.fit import Every
from .as_json import from_json, to_json
from .catalog import CATALOG, Entry
from .convert import WEIGHTS, Converted, export_weights, import_weights
from .data import TrainingData, find_data
from .experiment import DataConfig, Experiment, SimulatedHeads, load_experiment, make_update
from .memory import memory
from .preparation import WithMaps, preparation
from .runs import Trained, TrainingPlan, prepare_training, train
from .samplings import samplings
from .simulated import simulated_slices

__all__ = [
    "CATALOG",
    "WEIGHTS",
    "Converted",
    "DataConfig",
    "Entry",
    "Every",
    "Experiment",
    "SimulatedHeads",
    "Trained",
    "TrainingData",
    "TrainingPlan",
    "WithMaps",
    "export_weights",
    "find_data",
    "from_json",
    "import_weights",
    "load_experiment",
    "make_update",
    "memory",
    "preparation",
    "prepare_training",
    "samplings",
    "simulated_slices",
    "to_json",
    "train",
]

"""How the gradient of an unrolled network is obtained: interchangeable, one signature."""

from .devices import data_parallel, join_hosts, module_mesh
from .end_to_end import checkpointed, deep_supervision, end_to_end
from .gleam import gleam
from .gleam_shared import gleam_shared
from .invertible import invertible
from .modules import per_module
from .p_gleam import Schedule, p_gleam
from .types import GradFn, Loss, Strategy
from .update import UpdateStrategy

__all__ = [
    "GradFn",
    "Loss",
    "Schedule",
    "Strategy",
    "UpdateStrategy",
    "checkpointed",
    "data_parallel",
    "deep_supervision",
    "end_to_end",
    "gleam",
    "gleam_shared",
    "invertible",
    "join_hosts",
    "module_mesh",
    "p_gleam",
    "per_module",
]

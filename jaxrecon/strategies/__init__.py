"""How the gradient of an unrolled network is obtained: interchangeable, one signature."""

from .end_to_end import checkpointed, deep_supervision, end_to_end
from .gleam import gleam
from .invertible import invertible
from .types import GradFn, Loss, Strategy, per_module

__all__ = [
    "GradFn",
    "Loss",
    "Strategy",
    "checkpointed",
    "deep_supervision",
    "end_to_end",
    "gleam",
    "invertible",
    "per_module",
]

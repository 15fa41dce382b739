"""Unrolled networks: each a Config and a builder `name(config) -> Unrolled`."""

from .modl import MoDLConfig, modl
from .pgd import PGDConfig, pgd
from .unet import UNetConfig, unet
from .unrolled import Unrolled, batched, iterate_steps, run, stack_problems, stack_steps, unrolled, unstack_steps
from .varnet import VarNetConfig, varnet

__all__ = [
    "MoDLConfig",
    "PGDConfig",
    "UNetConfig",
    "Unrolled",
    "VarNetConfig",
    "batched",
    "iterate_steps",
    "modl",
    "pgd",
    "run",
    "stack_problems",
    "stack_steps",
    "unet",
    "unrolled",
    "unstack_steps",
    "varnet",
]

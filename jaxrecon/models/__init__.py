"""Unrolled networks."""

from .unrolled import Unrolled, batched, iterate_steps, run, stack_problems, stack_steps, unrolled, unstack_steps

__all__ = [
    "Unrolled",
    "batched",
    "iterate_steps",
    "run",
    "stack_problems",
    "stack_steps",
    "unrolled",
    "unstack_steps",
]

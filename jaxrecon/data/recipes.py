"""The targets and the scales of training by their names: two tables, from which options and tests are made."""

import dataclasses
from collections.abc import Callable

import numpy as np

from .preparation import (
    Example,
    combined_target,
    constant,
    file_target,
    instance_std,
    kspace_maximum,
    maximum,
    rss_target,
    top_magnitude,
)
from .scan import Slice


def magnitude_target(part: Slice) -> np.ndarray:
    """The reference of the file, or, without one, the root of the sum of squares."""
    return rss_target(part) if part.target is None else file_target(part)


@dataclasses.dataclass(frozen=True)
class TargetRule:
    """How the target of a network is made from a slice.

    Attributes:
      complex: slice -> target, where the network's image has a phase.
      magnitude: the same where its image is a magnitude.
    """

    complex: Callable[[Slice], np.ndarray]
    magnitude: Callable[[Slice], np.ndarray]


TARGETS = {
    "auto": TargetRule(combined_target, magnitude_target),
    "file": TargetRule(file_target, file_target),
    "rss": TargetRule(rss_target, rss_target),
    "combined": TargetRule(combined_target, combined_target),
}
"""Name -> how targets are made."""
SCALES: dict[str, Callable[[Example], float] | None] = {
    "none": None,
    "maximum": maximum,
    "kspace_maximum": kspace_maximum,
    "top_magnitude": top_magnitude,
    "instance_std": instance_std,
    "1e-6": constant(1e-6),
}
"""Name -> what the data of an example are divided by; None: nothing."""

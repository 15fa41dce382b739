"""Seeds of the published masks, and what is drawn before the mask itself.

Source: the published code of fastMRI and CMRxRecon, run with the same seed.
"""

import contextlib
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from ...checks import UserError
from ..acs import acs_columns, check_acceleration, check_n_acs, low_lines

Seed: TypeAlias = int | Sequence[int] | str | np.random.RandomState
Numbers: TypeAlias = float | Sequence[float]


def random_state(seed: Seed) -> np.random.RandomState:
    """The generator that a seed stands for; a RandomState is handed through.

    Args:
      seed: int, tuple of ints, file name (its character codes, ending included), or RandomState.

    Raises:
      ValueError: none of these, for instance a path instead of a name.
    """
    if isinstance(seed, np.random.RandomState):
        return seed
    if isinstance(seed, str):
        if not seed or "/" in seed or "\\" in seed:
            raise UserError(f"a seed of characters is a bare file name such as 'file1000001.h5', got {seed!r}")
        seed = tuple(map(ord, seed))
    if seed is not None:  # which would be drawn from the operating system
        with contextlib.suppress(TypeError, ValueError):
            return np.random.RandomState(seed)
    raise UserError(f"a seed is an int of 32 bits, a tuple of them, a file name or a RandomState, got {seed!r}")


def draw_pair(seed: Seed, center_fraction: Numbers, acceleration: Numbers) -> tuple[float, float]:
    """The (center_fraction, acceleration) that the mask functions draw first from this seed: pair randint(n pairs).

    Args:
      seed: see `random_state`.
      center_fraction: a number, or a tuple of them.
      acceleration: a number, or a tuple as long as center_fraction.

    Raises:
      ValueError: the two are not equally long, or empty.
    """
    fractions, accelerations = np.atleast_1d(center_fraction), np.atleast_1d(acceleration)
    if len(fractions) != len(accelerations) or not len(fractions):
        raise UserError(
            f"center_fraction and acceleration come in pairs, got {len(fractions)} and {len(accelerations)} of them"
        )
    pair = random_state(seed).randint(len(fractions))
    return fractions[pair].item(), accelerations[pair].item()


def draw_low(rng, n, center_fraction, acceleration) -> tuple[int, float]:
    """The number of central lines and the acceleration, drawn as in fastMRI."""
    fraction, rate = draw_pair(rng, center_fraction, acceleration)
    return low_lines(n, fraction), check_acceleration(rate)


def draw_cmrxrecon(rng, n, n_acs, acceleration):
    """The ACS (x,) and the acceleration, drawn as in CMRxRecon."""
    acs = acs_columns(n, check_n_acs(n, rng.choice(np.atleast_1d(n_acs)).item()))
    return acs, check_acceleration(rng.choice(np.atleast_1d(acceleration)).item())

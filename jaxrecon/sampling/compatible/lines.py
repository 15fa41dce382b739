"""Masks of lines, (x,), for slices.

Source: the reference code that each function names, run with the same seed.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from .. import kt_masks, line_masks
from ..acs import (
    MASK_DTYPE,
    acquired,
    acs_columns,
    block,
    check_acceleration,
    check_budget,
    check_count,
    check_n_acs,
    low_lines,
)
from .seeds import Numbers, Seed, draw_cmrxrecon, draw_low, random_state

Lines = Float[np.ndarray, " x"]


def random_lines(
    seed: Seed, n: int, *, acceleration: Numbers, center_fraction: Numbers, padding: tuple[int, int] | None = None
) -> Lines:
    """fastMRI's RandomMaskFunc, (x,): `jaxrecon.sampling.random_lines` from uniform(size=n).

    Args:
      seed, n, acceleration, center_fraction, padding: see the module and the counterpart.
    """
    rng = random_state(seed)
    n_low, rate = draw_low(rng, n, center_fraction, acceleration)
    check_budget(n, n_low, rate)
    outer = rng.uniform(size=n) < line_masks.outer_probability(n, n_low, rate)
    return _finish(outer, acs_columns(n, n_low), padding)


def equispaced_lines(
    seed: Seed,
    n: int,
    *,
    acceleration: Numbers,
    center_fraction: Numbers,
    offset: int | None = None,
    padding: tuple[int, int] | None = None,
) -> Lines:
    """fastMRI's EquiSpacedMaskFunc, (x,): `jaxrecon.sampling.equispaced_lines` from randint(0, R).

    Args:
      seed, n, acceleration, center_fraction, offset, padding: see the module and the counterpart.
    """
    rng = random_state(seed)
    n_low, rate = draw_low(rng, n, center_fraction, acceleration)
    spacing = check_acceleration(rate, integer=True)
    outer = np.zeros(n, bool)
    outer[_draw_offset(rng, offset, spacing) :: spacing] = True
    return _finish(outer, acs_columns(n, n_low), padding)


def equispaced_fraction_lines(
    seed: Seed,
    n: int,
    *,
    acceleration: Numbers,
    center_fraction: Numbers,
    offset: int | None = None,
    padding: tuple[int, int] | None = None,
) -> Lines:
    """fastMRI's EquispacedMaskFractionFunc (brain), (x,): `jaxrecon.sampling.equispaced_fraction_lines` from randint.

    Args:
      seed, n, acceleration, center_fraction, offset, padding: see the module and the counterpart.
    """
    rng = random_state(seed)
    n_low, rate = draw_low(rng, n, center_fraction, acceleration)
    spacing = line_masks.fraction_spacing(n, n_low, rate)
    outer = line_masks.fraction_columns(n, spacing, _draw_offset(rng, offset, round(spacing)))
    return _finish(outer, acs_columns(n, n_low), padding)


def magic_lines(
    seed: Seed,
    n: int,
    *,
    acceleration: Numbers,
    center_fraction: Numbers,
    offset: int | None = None,
    padding: tuple[int, int] | None = None,
) -> Lines:
    """fastMRI's MagicMaskFunc, (x,): `jaxrecon.sampling.magic_lines` from randint(0, R).

    Args:
      seed, n, acceleration, center_fraction, offset, padding: see the module and the counterpart.
    """
    rng = random_state(seed)
    n_low, rate = draw_low(rng, n, center_fraction, acceleration)
    spacing = check_acceleration(rate, integer=True)
    outer = line_masks.magic_columns(n, spacing, _draw_offset(rng, offset, spacing))
    return _finish(outer, acs_columns(n, n_low), padding)


def magic_fraction_lines(
    seed: Seed,
    n: int,
    *,
    acceleration: Numbers,
    center_fraction: Numbers,
    offset: int | None = None,
    padding: tuple[int, int] | None = None,
) -> Lines:
    """fastMRI's MagicMaskFractionFunc, (x,): `jaxrecon.sampling.magic_fraction_lines` from randint(0, R').

    Args:
      seed, n, acceleration, center_fraction, offset, padding: see the module and the counterpart.
    """
    rng = random_state(seed)
    n_low, rate = draw_low(rng, n, center_fraction, acceleration)
    n_low, spacing = line_masks.magic_fraction_spacing(n, n_low, rate)
    outer = line_masks.magic_columns(n, spacing, _draw_offset(rng, offset, spacing))
    return _finish(outer, acs_columns(n, n_low), padding)


def benchmark_lines(seed: int, n: int, *, acceleration: float) -> Lines:
    """The benchmark's random columns (Ramzi et al. 2020): center_fraction = (32 // R)/100, drawn by default_rng.

    Args:
      seed: for numpy.random.default_rng, not for RandomState.
      n: number of columns.
      acceleration: R, an integer up to 32.

    Returns:
      (x,) float32.
    """
    acceleration = check_acceleration(acceleration, integer=True)
    n_low = low_lines(n, (32 // acceleration) / 100)
    check_budget(n, n_low, acceleration)
    outer = np.random.default_rng(seed).uniform(size=n) < line_masks.outer_probability(n, n_low, acceleration)
    return _finish(outer, acs_columns(n, n_low), None)


def fixed_count_lines(
    seed: Seed, n: int, *, acceleration: float, n_acs: int, padding: tuple[int, int] | None = None
) -> Lines:
    """csgm-mri-langevin, Deep J-Sense, (x,): `jaxrecon.sampling.fixed_count_lines` from choice(replace=False).

    Args:
      seed, n, acceleration, n_acs, padding: see the module and the counterpart.
    """
    n_acs, acceleration = check_n_acs(n, n_acs), check_acceleration(acceleration)
    check_budget(n, n_acs, acceleration)
    acs = block(n, (n - n_acs) // 2, n_acs)
    outer = np.zeros(n, bool)
    count = int(n / acceleration) - n_acs
    outer[random_state(seed).choice(np.flatnonzero(~acs), size=count, replace=False)] = True
    return _finish(outer, acs, padding)


def cmrxrecon_lines(
    seed: Seed, n: int, *, acceleration: Numbers = (4, 8, 10), n_acs: int | Sequence[int] = 24
) -> Lines:
    """CMRxRecon 2023, (x,): `jaxrecon.sampling.cmrxrecon_lines` from choice(n_acs), then choice(acceleration).

    The `uniform` masks of 2024 have n_acs=16; there the kind is drawn first: `jaxrecon.sampling.cmrxrecon2024_pool`.

    Args:
      seed, n, acceleration, n_acs: see the module and the counterpart.
    """
    acs, rate = draw_cmrxrecon(random_state(seed), n, n_acs, acceleration)
    return kt_masks.shear_lattice(n, 1, rate, acs, 0)[0].astype(MASK_DTYPE)


def _draw_offset(rng, offset, n_offsets) -> int:
    return rng.randint(0, n_offsets) if offset is None else check_count("offset", offset, 0)


def _finish(outer, acs, padding):
    return ((outer | acs) & acquired(len(acs), padding)).astype(MASK_DTYPE)

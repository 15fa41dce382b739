"""Masks of whole columns (phase-encode lines along x), as functions of a key: (x,), equal along the readout y.

Each function is `name(key, n, *, acceleration, ...) -> (x,)`, float32 of zeros and ones, jit-able with static n and
vmappable over keys; `kspace * mask` broadcasts it against (..., coil, y, x) (`mask[None, None]` where rank promotion
is off). `padding=(left, right)` clears the columns outside [left, right), which the scanner never acquired; the
acceleration is that of the whole matrix. The same masks as the published experiments drew them: `compatible`.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..checks import UserError
from ..typing import Key, Scalar
from .acs import (
    MASK_DTYPE,
    RANDOM_DTYPE,
    acquired,
    acs_columns,
    block,
    check_acceleration,
    check_budget,
    check_count,
    check_n_acs,
    low_lines,
)
from .draws import draw_weighted, first_ranks, normal_log_mass, outer_count

Lines = Float[Array, " x"]


def random_lines(
    key: Key, n: int, *, acceleration: Scalar, center_fraction: float, padding: tuple[int, int] | None = None
) -> Lines:
    """Random columns and a fully sampled centre: each outer column with p = (n/R - n_low)/(n - n_low).

    Args:
      key: random key.
      n: number of columns, static.
      acceleration: R of the mean number of columns, n/R; the actual number fluctuates. May be traced.
      center_fraction: n_low = round(n center_fraction) columns are the ACS. fastMRI: 0.08 at R = 4, 0.04 at R = 8.
      padding: (left, right), columns acquired.

    Returns:
      (x,) float32.

    Raises:
      ValueError: acceleration below 1, or an ACS of more than n/R columns.

    Source: Zbontar et al. 2018, fastMRI. The reproducible benchmark of Ramzi et al. 2020 is the same with
      center_fraction = (32 // R) / 100.

    Example:
      >>> random_lines(jax.random.key(0), 368, acceleration=4, center_fraction=0.08).shape
      (368,)
    """
    n_low = low_lines(n, center_fraction)
    acceleration = check_acceleration(acceleration)
    check_budget(n, n_low, acceleration)
    outer = jax.random.uniform(key, (n,), RANDOM_DTYPE) < outer_probability(n, n_low, acceleration)
    return _finish(outer, acs_columns(n, n_low), padding)


def equispaced_lines(
    key: Key,
    n: int,
    *,
    acceleration: Scalar,
    center_fraction: float,
    offset: int | Int[Array, ""] | None = None,
    padding: tuple[int, int] | None = None,
) -> Lines:
    """Every R-th column from a random offset in [0, R), and a fully sampled centre (so that the true R is below R).

    Args:
      key: random key; not used when the offset is given.
      n: number of columns, static.
      acceleration: R, an integer. May be traced.
      center_fraction: n_low = round(n center_fraction) columns are the ACS.
      offset: the first column, in place of a random one. May be traced.
      padding: (left, right), columns acquired.

    Returns:
      (x,) float32.

    Source: fastMRI, EquiSpacedMaskFunc.

    Example:
      >>> key = jax.random.key(0)
      >>> equispaced_lines(key, 12, acceleration=4, center_fraction=0.25, offset=0).astype(int).tolist()
      [1, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0]
    """
    n_low = low_lines(n, center_fraction)
    acceleration = check_acceleration(acceleration, integer=True)
    offset = _offset(key, offset, acceleration)
    return _finish((jnp.arange(n) - offset) % acceleration == 0, acs_columns(n, n_low), padding)


def equispaced_fraction_lines(
    key: Key,
    n: int,
    *,
    acceleration: Scalar,
    center_fraction: float,
    offset: int | Int[Array, ""] | None = None,
    padding: tuple[int, int] | None = None,
) -> Lines:
    """Columns at round(offset + i a), a = R (n_low - n)/(n_low R - n): with the ACS about n/R (fastMRI brain).

    Args:
      key: random key; not used when the offset is given.
      n: number of columns, static.
      acceleration: R including the ACS, static.
      center_fraction: n_low = round(n center_fraction) columns are the ACS.
      offset: a number in [0, round(a)), in place of a random one. May be traced.
      padding: (left, right), columns acquired.

    Returns:
      (x,) float32.

    Source: fastMRI, EquispacedMaskFractionFunc; as there, the positions end below n - 1, not n.
    """
    n_low = low_lines(n, center_fraction)
    spacing = fraction_spacing(n, n_low, check_acceleration(acceleration))
    outer = _by_offset(key, offset, round(spacing), lambda i: fraction_columns(n, spacing, i))
    return _finish(outer, acs_columns(n, n_low), padding)


def magic_lines(
    key: Key,
    n: int,
    *,
    acceleration: float,
    center_fraction: float,
    offset: int | Int[Array, ""] | None = None,
    padding: tuple[int, int] | None = None,
) -> Lines:
    """Every R-th column of either half of k-space, placed so that conjugate symmetry fills gaps, and an ACS.

    Args:
      key: random key; not used when the offset is given.
      n: number of columns, static.
      acceleration: R of the outer lines, a static integer.
      center_fraction: n_low = round(n center_fraction) columns are the ACS.
      offset: a number in [0, R), in place of a random one. May be traced.
      padding: (left, right), columns acquired.

    Returns:
      (x,) float32.

    Source: Defazio 2019, "Offset sampling improves deep learning based accelerated MRI reconstructions"; fastMRI.
    """
    n_low = low_lines(n, center_fraction)
    acceleration = check_acceleration(acceleration, integer=True)
    outer = _by_offset(key, offset, acceleration, lambda i: magic_columns(n, acceleration, i))
    return _finish(outer, acs_columns(n, n_low), padding)


def magic_fraction_lines(
    key: Key,
    n: int,
    *,
    acceleration: Scalar,
    center_fraction: float,
    offset: int | Int[Array, ""] | None = None,
    padding: tuple[int, int] | None = None,
) -> Lines:
    """`magic_lines` whose spacing R' = round(n/(round(n/R) - n_low)) makes the whole mask, ACS included, meet R.

    Args:
      key: random key; not used when the offset is given.
      n: number of columns, static.
      acceleration: R including the ACS, static.
      center_fraction: n_low = round(n center_fraction) columns, but at least 1, are the ACS.
      offset: a number in [0, R'), in place of a random one. May be traced.
      padding: (left, right), columns acquired.

    Returns:
      (x,) float32.

    Source: fastMRI, MagicMaskFractionFunc.
    """
    n_low, spacing = magic_fraction_spacing(n, low_lines(n, center_fraction), check_acceleration(acceleration))
    outer = _by_offset(key, offset, spacing, lambda i: magic_columns(n, spacing, i))
    return _finish(outer, acs_columns(n, n_low), padding)


def integer_spaced_lines(
    key: Key,
    n: int,
    *,
    acceleration: Scalar,
    center_fraction: float,
    offset: int | Int[Array, ""] | None = None,
    padding: tuple[int, int] | None = None,
) -> Lines:
    """Every s-th column, s = (n - n_low)//(n//R - n_low), from a random offset in [0, s), and a fully sampled centre.

    Args:
      key: random key; not used when the offset is given.
      n: number of columns, static.
      acceleration: R including the ACS, static; met from above or below, as s is an integer.
      center_fraction: n_low = round(n center_fraction) columns are the ACS; the benchmark has (32 // R) / 100.
      offset: a number in [0, s), in place of a random one. May be traced.
      padding: (left, right), columns acquired.

    Returns:
      (x,) float32.

    Source: Ramzi et al. 2020, the reproducible benchmark's equidistant masks.
    """
    n_low = low_lines(n, center_fraction)
    spacing = integer_spacing(n, n_low, check_acceleration(acceleration))
    outer = _by_offset(key, offset, spacing, lambda i: np.arange(n) % spacing == i)
    return _finish(outer, acs_columns(n, n_low), padding)


def gaussian_lines(
    key: Key, n: int, *, acceleration: float, center_fraction: float, padding: tuple[int, int] | None = None
) -> Lines:
    """Columns drawn without repetition from Normal(n//2, 6 sqrt(n//2)) until n/R are sampled, and an ACS.

    Args:
      key: random key.
      n: number of columns, static.
      acceleration: R, static; round(n/R - n_low - 1) + 1 columns are added to the ACS.
      center_fraction: n_low = round(n center_fraction) columns are the ACS.
      padding: (left, right), columns acquired.

    Returns:
      (x,) float32.

    Source: DIRECT, gaussian_1d. Drawing until a new one comes is drawing in turn with the weights of those left, which
      the largest of log(weight) + Gumbel noise do at once. (Its generator is C's, so there is no `compatible` form.)
    """
    n_low = low_lines(n, center_fraction)
    acceleration = check_acceleration(acceleration)
    check_budget(n, n_low, acceleration)
    acs = acs_columns(n, n_low)
    return _finish(draw_weighted(key, normal_log_mass(n), acs, outer_count(n, n_low, acceleration)), acs, padding)


def fixed_count_lines(
    key: Key, n: int, *, acceleration: Scalar, n_acs: int, padding: tuple[int, int] | None = None
) -> Lines:
    """Exactly floor(n/R) columns: the ACS [(n - n_acs)//2, (n + n_acs)//2), the others drawn without replacement.

    Args:
      key: random key.
      n: number of columns, static.
      acceleration: R, met exactly where it divides n. May be traced.
      n_acs: number of ACS columns. Deep J-Sense: round(0.08 n) for 2 <= R <= 6, else round(0.04 n).
      padding: (left, right), columns acquired.

    Returns:
      (x,) float32.

    Source: Jalal et al. 2021 (csgm-mri-langevin); Arvinte et al. 2021 (Deep J-Sense).
    """
    n_acs = check_n_acs(n, n_acs)
    acceleration = check_acceleration(acceleration)
    check_budget(n, n_acs, acceleration)
    acs = block(n, (n - n_acs) // 2, n_acs)
    count = jnp.floor(n / acceleration).astype(jnp.int32) - n_acs
    return _finish(first_ranks(jax.random.uniform(key, (n,), RANDOM_DTYPE), acs, count), acs, padding)


def outer_equispaced_lines(
    n: int, *, acceleration: Scalar, n_acs: int, padding: tuple[int, int] | None = None
) -> Lines:
    """Every R-th entry of the list of the columns outside the ACS [(n - n_acs)//2, (n + n_acs)//2), and the ACS.

    Args:
      n: number of columns, static.
      acceleration: R of the outer columns, an integer.
      n_acs: number of ACS columns.
      padding: (left, right), columns acquired.

    Returns:
      (x,) float32; nothing in it is random.

    Source: Jalal et al. 2021 (csgm-mri-langevin).
    """
    n_acs = check_n_acs(n, n_acs)
    acceleration = check_acceleration(acceleration, integer=True)
    acs = block(n, (n - n_acs) // 2, n_acs)
    outer = np.zeros(n, bool)
    outer[np.flatnonzero(~acs)[::acceleration]] = True
    return _finish(outer, acs, padding)


def cmrxrecon_lines(
    n: int, *, acceleration: Scalar, n_acs: int = 24, offset: int = 0, padding: tuple[int, int] | None = None
) -> Lines:
    """CMRxRecon's columns offset, offset + R, ..., and the ACS [pad, pad + n_acs), pad = (n - n_acs + 1)//2.

    Args:
      n: number of columns, static.
      acceleration: R of the outer columns, an integer: 4, 8 or 10 (the true R of 204 columns is 2.96, 4.34, 4.86).
      n_acs: number of ACS columns: 24 in 2023, 16 in 2024 (`uniform`).
      offset: the first column; 0 in the challenge.
      padding: (left, right), columns acquired.

    Returns:
      (x,) float32; nothing in it is random.

    Source: Wang et al., CMRxRecon 2023 and 2024.
    """
    n_acs = check_n_acs(n, n_acs)
    acceleration = check_acceleration(acceleration, integer=True)
    return _finish((np.arange(n) - offset) % acceleration == 0, acs_columns(n, n_acs), padding)


def outer_probability(n: int, n_low: int, acceleration):
    """Probability of an outer column with which n/R columns are expected in all."""
    return (n / acceleration - n_low) / max(n - n_low, 1)


def fraction_spacing(n: int, n_low: int, acceleration: float) -> float:
    """Spacing a = R (n_low - n)/(n_low R - n) with which n_low ACS columns and the others are n/R."""
    if n_low * acceleration >= n:
        raise UserError(
            f"acceleration {acceleration:g} leaves {n / acceleration:.4g} of {n} columns, but the ACS alone has "
            f"{n_low}: lower the acceleration or center_fraction"
        )
    return (acceleration * (n_low - n)) / (n_low * acceleration - n)


def fraction_columns(n: int, spacing: float, offset: int) -> Bool[np.ndarray, " x"]:
    """Columns round(arange(offset, n - 1, spacing)), halves to even."""
    outer = np.zeros(n, bool)
    outer[np.around(np.arange(offset, n - 1, spacing)).astype(int)] = True
    return outer


def magic_columns(n: int, acceleration: float, offset: int) -> Bool[np.ndarray, " x"]:
    """Every R-th column of the positive and of the flipped negative half, in centred order."""
    positive, negative = (offset + 2, offset - 1) if offset % 2 else (offset + 1, offset + 2)
    halves = np.zeros((n + 1) // 2, bool), np.zeros(n // 2, bool)
    halves[0][positive::acceleration] = True
    halves[1][negative::acceleration] = True
    return np.fft.fftshift(np.concatenate([halves[0], halves[1][::-1]]))


def magic_fraction_spacing(n: int, n_low: int, acceleration: float) -> tuple[int, int]:
    """(ACS columns, spacing of the outer ones) of `magic_fraction_lines`."""
    total = round(n / acceleration)
    n_low = max(min(n_low, total), 1)
    if n_low >= total:
        raise UserError(
            f"acceleration {acceleration:g} leaves {total} of {n} columns, and the ACS takes them all: lower the "
            "acceleration or center_fraction"
        )
    return n_low, round(n / (total - n_low))


def integer_spacing(n: int, n_low: int, acceleration: float) -> int:
    """The benchmark's integer spacing (n - n_low)//(n//R - n_low)."""
    outer = math.floor(n // acceleration) - n_low
    if outer < 1:
        raise UserError(
            f"acceleration {acceleration:g} leaves {n // acceleration:g} of {n} columns, and the ACS takes {n_low}: "
            "lower the acceleration or center_fraction"
        )
    return (n - n_low) // outer


def _offset(key, offset, n_offsets):
    if offset is None:
        return jax.random.randint(key, (), 0, n_offsets, jnp.int32)
    if not isinstance(offset, jax.Array) and not isinstance(n_offsets, jax.core.Tracer):
        if not 0 <= check_count("offset", offset, 0) < n_offsets:
            raise UserError(f"offset must be within 0 and {n_offsets - 1}, got {offset}")
    return offset


def _by_offset(key, offset, n_offsets, columns):
    """Row `offset` of the table of all outer masks: positions are rounded on the host, in double precision."""
    table = jnp.asarray(np.stack([columns(i) for i in range(n_offsets)]))
    return table[_offset(key, offset, n_offsets)]


def _finish(outer, acs, padding):
    return jnp.asarray((outer | acs) & acquired(acs.shape[0], padding), MASK_DTYPE)

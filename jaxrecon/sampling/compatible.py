"""The masks of the published experiments, bit for bit: drawn on the host by numpy's RandomState in the published order.

The functions are named as their counterparts in `jaxrecon.sampling`, whose docstrings hold the equations, arguments and
errors, but take a seed in place of a key: an int, a tuple of ints, a file name ("file1000001.h5" is the tuple of its
character codes, which the published evaluations use, so that a volume has one mask), or a RandomState to be drawn from.
They return numpy arrays, float32 of zeros and ones, (x,), (frame, x) or (y, x).

The fastMRI functions take one acceleration and center_fraction or equally long tuples of them; a pair is drawn first,
also when there is one. `draw_pair` says which. Those of CMRxRecon take numbers, or sequences to choose from.

Source: the reference code that each function names, run with the same seed.

Example:
  >>> mask = random_lines("file1000001.h5", 368, acceleration=(4, 8), center_fraction=(0.08, 0.04))
  >>> draw_pair("file1000001.h5", (0.08, 0.04), (4, 8))
  (0.04, 8)
"""

import contextlib
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from ..checks import UserError
from . import bridson, kt_masks, line_masks
from .acs import (
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

Seed: TypeAlias = int | Sequence[int] | str | np.random.RandomState
Lines = Float[np.ndarray, " x"]
Frames = Float[np.ndarray, "frame x"]
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


def random_lines(
    seed: Seed, n: int, *, acceleration: Numbers, center_fraction: Numbers, padding: tuple[int, int] | None = None
) -> Lines:
    """fastMRI's RandomMaskFunc, (x,): `jaxrecon.sampling.random_lines` from uniform(size=n).

    Args:
      seed, n, acceleration, center_fraction, padding: see the module and the counterpart.
    """
    rng = random_state(seed)
    n_low, rate = _draw_low(rng, n, center_fraction, acceleration)
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
    n_low, rate = _draw_low(rng, n, center_fraction, acceleration)
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
    n_low, rate = _draw_low(rng, n, center_fraction, acceleration)
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
    n_low, rate = _draw_low(rng, n, center_fraction, acceleration)
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
    n_low, rate = _draw_low(rng, n, center_fraction, acceleration)
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
    acs, rate = _draw_cmrxrecon(random_state(seed), n, n_acs, acceleration)
    return kt_masks.shear_lattice(n, 1, rate, acs, 0)[0].astype(MASK_DTYPE)


def kt_uniform_lines(
    seed: Seed, n: int, n_frames: int, *, acceleration: Numbers, n_acs: int | Sequence[int] = 16
) -> Frames:
    """CMRxRecon 2024, (frame, x): `jaxrecon.sampling.kt_uniform_lines` from choice(n_acs), then choice(acceleration).

    Args:
      seed, n, n_frames, acceleration, n_acs: see the module and the counterpart.
    """
    acs, rate = _draw_cmrxrecon(random_state(seed), n, n_acs, acceleration)
    return kt_masks.shear_lattice(n, n_frames, rate, acs, 0).astype(MASK_DTYPE)


def kt_random_lines(
    seed: Seed, n: int, n_frames: int, *, acceleration: Numbers, n_acs: int | Sequence[int] = 16
) -> Frames:
    """CMRxRecon 2024, (frame, x): `jaxrecon.sampling.kt_random_lines`; after the two choices one uniform(size=n) per frame.

    Args:
      seed, n, n_frames, acceleration, n_acs: see the module and the counterpart.
    """
    rng = random_state(seed)
    acs, rate = _draw_cmrxrecon(rng, n, n_acs, acceleration)
    outer = np.stack([rng.uniform(size=n) < 1 / rate for _ in range(check_count("n_frames", n_frames))])
    return (outer | acs).astype(MASK_DTYPE)


def kt_gaussian_lines(seed: Seed, n: int, n_frames: int, *, acceleration: float, n_acs: int = 10) -> Frames:
    """Deep cascade, (frame, x): `jaxrecon.sampling.kt_gaussian_lines` from one choice(n, count, replace=False, p) per frame.

    Args:
      seed, n, n_frames, acceleration, n_acs: see the module and the counterpart.
    """
    rng = random_state(seed)
    acs, density, count = kt_masks.gaussian_density(n, acceleration, n_acs)
    mask = np.tile(acs, (check_count("n_frames", n_frames), 1))
    for frame in mask:
        frame[rng.choice(n, count, False, density)] = True
    return mask.astype(MASK_DTYPE)


def kt_shear_lines(seed: Seed, n: int, n_frames: int, *, acceleration: float, n_acs: int = 10) -> Frames:
    """Deep cascade, (frame, x): `jaxrecon.sampling.kt_shear_lines` from randint(0, R).

    Args:
      seed, n, n_frames, acceleration, n_acs: see the module and the counterpart.
    """
    acceleration = check_acceleration(acceleration, integer=True)
    start = random_state(seed).randint(0, int(acceleration))
    n_acs = check_n_acs(n, n_acs)
    acs = block(n, n // 2 - n_acs // 2, n_acs)
    return kt_masks.shear_lattice(n, n_frames, acceleration, acs, start).astype(MASK_DTYPE)


def kt_variable_density(
    seed: Seed,
    n: int,
    n_frames: int,
    *,
    acceleration: float,
    n_cal: int = 1,
    vd_degree: float = 1.5,
    perturb: float = 0.4,
    adhere: float = 0.33,
) -> Frames:
    """GLEAM's cine masks, (frame, x): `jaxrecon.sampling.kt_variable_density` in double precision, one rand() per line that moves.

    The reference draws from numpy's global generator: the seed is that of numpy.random.seed before its call.

    Args:
      seed, n, n_frames, acceleration, n_cal, vd_degree, perturb, adhere: see the module and the counterpart.
    """
    kt_masks.check_kt(n, n_frames, acceleration, n_cal, vd_degree)
    rng = random_state(seed)
    mask = np.tile(kt_masks.calibration_columns(n, n_cal), (n_frames, 1))
    for frame, shift in zip(mask, kt_masks.comb_shifts(n_frames, acceleration), strict=True):
        own = np.zeros(n, bool)
        set_comb(own, rng, shift, acceleration, vd_degree, perturb, adhere)
        frame |= own
    return mask.astype(MASK_DTYPE)


def set_comb(mask, rng, shift, acceleration, degree, perturb, adhere) -> None:
    """Set the lines of one frame, but for calibration lines: the comb from `shift`, jittered, warped, snapped.

    Args:
      mask: (x,) bool, set in place.
      rng: a RandomState, drawn from once per line that moves.
      shift: the first line of the comb.
      acceleration, degree, perturb, adhere: as in `kt_variable_density`, degree being its vd_degree.
    """
    n = len(mask)
    comb = _jitter(rng, np.arange(shift, n, acceleration), n, perturb * acceleration, adhere)
    radius = (n - 1) / 2
    s = (np.clip(comb, 0, n - 1) - radius) / radius
    factor = acceleration ** (1 / degree) if degree else acceleration
    s = s * ((factor - 1) / factor * np.abs(s) + 1 / factor) ** degree
    s = s[np.argsort(np.abs(s), kind="stable")]
    _snap(mask, s[s >= 0], 1)
    _snap(mask, s[s < 0], -1)


def poisson_disc(
    seed: int,
    shape: tuple[int, int],
    *,
    acceleration: float,
    calib_size: tuple[int, int] = (20, 20),
    crop_corner: bool = True,
    max_attempts: int = 30,
    tol: float = 0.1,
) -> Float[np.ndarray, "y x"]:
    """SigPy's variable-density Poisson disc (GLEAM, mridata.org knee): Bridson's algorithm, bisection on the slope.

    Radii (1 + s r) (nx, ny)/max(nx, ny), at least 1, r the distance beyond the calibration region; the interval of s,
    [0, max(nx, ny)] at first, is halved towards |R - acceleration| < tol, each step from the same seed.

    Args:
      seed: an int of 32 bits.
      shape: (y, x).
      acceleration: R over the full matrix.
      calib_size: (cy, cx), fully sampled centre; GLEAM: 20 x 20.
      crop_corner: leave the corners, r >= 1, empty.
      max_attempts: candidates around a point before it is given up.
      tol: how near R must come.

    Returns:
      (y, x) float32.

    Raises:
      ValueError: R cannot be reached within tol; for a few seeds, whose first point lies amid the calibration region
        of a small matrix, none can, as in SigPy.

    Source: SigPy 0.1.27, mri.poisson (its older versions take no tol and give other masks); Bridson 2007. Fast with
      numba (`pip install 'jaxrecon[masks]'`), the same mask without: about 0.3 s and 5 to 20 s for 320 x 256 at R = 12.
    """
    return bridson.search_slope(seed, shape, acceleration, calib_size, crop_corner, max_attempts, tol).astype(
        MASK_DTYPE
    )


def _draw_low(rng, n, center_fraction, acceleration) -> tuple[int, float]:
    fraction, rate = draw_pair(rng, center_fraction, acceleration)
    return low_lines(n, fraction), check_acceleration(rate)


def _draw_offset(rng, offset, n_offsets) -> int:
    return rng.randint(0, n_offsets) if offset is None else check_count("offset", offset, 0)


def _draw_cmrxrecon(rng, n, n_acs, acceleration):
    """The ACS (x,) and the acceleration."""
    acs = acs_columns(n, check_n_acs(n, rng.choice(np.atleast_1d(n_acs)).item()))
    return acs, check_acceleration(rng.choice(np.atleast_1d(acceleration)).item())


def _finish(outer, acs, padding):
    return ((outer | acs) & acquired(len(acs), padding)).astype(MASK_DTYPE)


def _jitter(rng, comb, n, step, adhere):
    """The lines of a comb moved one after the other, each seeing what its predecessors did to it."""
    comb = comb.astype(float)
    for i in range(len(comb)):
        if comb[i] < step or comb[i] >= n - step:
            continue
        delta = step * (rng.rand() - 0.5)
        comb[i] += delta
        if i > 0:
            comb[i - 1] += adhere * delta
        if i + 1 < len(comb):
            comb[i + 1] += adhere * delta
    return comb


def _snap(mask, positions, sign):
    """Set one grid line per position, from the centre outwards, to the upper (sign 1) or lower (-1) side."""
    if not len(positions):
        return
    n = len(mask)
    radius = (n - 1) / 2

    def line(position):
        return min(max(int(np.floor(position * radius + radius + kt_masks.SNAP)), 0), n - 1)

    edge, off, adjust = line(positions[0]), 0.0, 1.0
    if sign < 0 and mask[edge]:
        edge, off = edge - 1, positions[0]
        adjust = (radius + (edge - radius)) / (radius * (1 - abs(off)))
    for s in positions:
        where = line(off + (s - off) * adjust)
        if not mask[where]:
            mask[where] = True
            # so in the reference on both sides; on the lower one where - 1 was meant
            edge = where + 1
        else:
            if 0 <= edge < n:
                mask[edge] = True
            off = s
            adjust = (radius - (edge - radius)) / (radius * max(1 - abs(off), kt_masks.SNAP))
            edge += sign

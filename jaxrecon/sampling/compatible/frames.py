"""Masks of lines that change with the frame, (frame, x).

Source: the reference code that each function names, run with the same seed.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from .. import kt_masks
from ..acs import MASK_DTYPE, block, check_acceleration, check_count, check_n_acs
from .seeds import Numbers, Seed, draw_cmrxrecon, random_state

Frames = Float[np.ndarray, "frame x"]


def kt_uniform_lines(
    seed: Seed, n: int, n_frames: int, *, acceleration: Numbers, n_acs: int | Sequence[int] = 16
) -> Frames:
    """CMRxRecon 2024, (frame, x): `jaxrecon.sampling.kt_uniform_lines` from choice(n_acs), then choice(acceleration).

    Args:
      seed, n, n_frames, acceleration, n_acs: see the module and the counterpart.
    """
    acs, rate = draw_cmrxrecon(random_state(seed), n, n_acs, acceleration)
    return kt_masks.shear_lattice(n, n_frames, rate, acs, 0).astype(MASK_DTYPE)


def kt_random_lines(
    seed: Seed, n: int, n_frames: int, *, acceleration: Numbers, n_acs: int | Sequence[int] = 16
) -> Frames:
    """CMRxRecon 2024, (frame, x): `jaxrecon.sampling.kt_random_lines`; after the two choices one uniform(size=n) per frame.

    Args:
      seed, n, n_frames, acceleration, n_acs: see the module and the counterpart.
    """
    rng = random_state(seed)
    acs, rate = draw_cmrxrecon(rng, n, n_acs, acceleration)
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

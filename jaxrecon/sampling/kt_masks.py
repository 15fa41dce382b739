"""Masks of columns that change from frame to frame (k-t sampling), as functions of a key: (frame, x).

`mask[:, None, None, :]` broadcasts against dynamic k-space (frame, coil, y, x). They are float32 of zeros and ones,
jit-able with static sizes and vmappable over keys. As the published experiments drew them: `compatible`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..checks import UserError
from ..typing import Key, Scalar
from .acs import (
    MASK_DTYPE,
    RANDOM_DTYPE,
    acs_columns,
    block,
    check_acceleration,
    check_budget,
    check_count,
    check_n_acs,
)
from .draws import draw_weighted

Frames = Float[Array, "frame x"]
GOLDEN_RATIO = 0.618034
SNAP = 1e-4
"""Positions this little below a grid point count as on it, as in the reference."""


def kt_uniform_lines(n: int, n_frames: int, *, acceleration: Scalar, n_acs: int = 16) -> Frames:
    """Every R-th column, from offset t mod R in frame t, and the ACS in all frames; nothing in it is random.

    Args:
      n: number of columns, static.
      n_frames: number of frames, static.
      acceleration: R of the outer columns, an integer: 4, 8, ..., 24.
      n_acs: number of ACS columns.

    Returns:
      (frame, x) float32.

    Source: CMRxRecon 2024, kt_uniform.

    Example:
      >>> kt_uniform_lines(8, 2, acceleration=4, n_acs=2).astype(int).tolist()
      [[1, 0, 0, 1, 1, 0, 0, 0], [0, 1, 0, 1, 1, 1, 0, 0]]
    """
    return jnp.asarray(shear_lattice(n, n_frames, acceleration, acs_columns(n, check_n_acs(n, n_acs)), 0), MASK_DTYPE)


def kt_random_lines(key: Key, n: int, n_frames: int, *, acceleration: Scalar, n_acs: int = 16) -> Frames:
    """Each column of each frame with probability 1/R, and the ACS in all frames (so that the true R is below R).

    Args:
      key: random key.
      n: number of columns, static.
      n_frames: number of frames, static.
      acceleration: R of the outer columns. May be traced.
      n_acs: number of ACS columns.

    Returns:
      (frame, x) float32.

    Source: CMRxRecon 2024, kt_random.
    """
    acs = acs_columns(n, check_n_acs(n, n_acs))
    drawn = jax.random.uniform(key, (check_count("n_frames", n_frames), n), RANDOM_DTYPE)
    return jnp.asarray((drawn < 1 / check_acceleration(acceleration)) | acs[None], MASK_DTYPE)


def kt_gaussian_lines(key: Key, n: int, n_frames: int, *, acceleration: float, n_acs: int = 10) -> Frames:
    """floor(n/R) columns in each frame: the ACS, the others without replacement from a Gaussian plus constant density.

    p(i) ~ exp(-(0.5/(n/10)^2)(i - n/2)^2) + 1/(2R) outside the ACS [n//2 - n_acs//2, ... + n_acs).

    Args:
      key: random key.
      n: number of columns, static.
      n_frames: number of frames, static.
      acceleration: R including the ACS, static.
      n_acs: number of ACS columns (`sample_n` in the reference, where an odd number loses one).

    Returns:
      (frame, x) float32, the same number of columns in each frame.

    Source: Schlemper et al. 2018, A Deep Cascade of CNNs for Dynamic MR Image Reconstruction.
    """
    acs, density, count = gaussian_density(n, acceleration, n_acs)
    keys = jax.random.split(key, check_count("n_frames", n_frames))
    with np.errstate(divide="ignore"):
        log_density = np.log(density)
    outer = jax.vmap(lambda k: draw_weighted(k, log_density, acs, count))(keys)
    return jnp.asarray(outer | acs[None], MASK_DTYPE)


def kt_shear_lines(
    key: Key,
    n: int,
    n_frames: int,
    *,
    acceleration: Scalar,
    n_acs: int = 10,
    start: int | Int[Array, ""] | None = None,
) -> Frames:
    """Every R-th column, from offset (start + t) mod R in frame t: a sheared grid; and the ACS in all frames.

    Args:
      key: random key; not used when the start is given.
      n: number of columns, static.
      n_frames: number of frames, static.
      acceleration: R of the outer columns, an integer.
      n_acs: number of ACS columns, [n//2 - n_acs//2, ... + n_acs).
      start: offset of frame 0, in place of a random one in [0, R). May be traced.

    Returns:
      (frame, x) float32.

    Source: Schlemper et al. 2018, A Deep Cascade of CNNs for Dynamic MR Image Reconstruction.
    """
    acceleration = check_acceleration(acceleration, integer=True)
    if start is None:
        start = jax.random.randint(key, (), 0, acceleration, jnp.int32)
    n_acs = check_n_acs(n, n_acs)
    acs = block(n, n // 2 - n_acs // 2, n_acs)
    return jnp.asarray(shear_lattice(n, n_frames, acceleration, acs, start), MASK_DTYPE)


def kt_variable_density(
    key: Key,
    n: int,
    n_frames: int,
    *,
    acceleration: float,
    n_cal: int = 1,
    vd_degree: float = 1.5,
    perturb: float = 0.4,
    adhere: float = 0.33,
) -> Frames:
    """Variable-density k-t mask: in each frame a comb, shifted by the golden ratio, jittered, warped, put on the grid.

    Comb shift + i R with shift = round(0.618034 t R) mod R; each line moves by perturb R (u - 1/2) and takes its
    neighbours along by the share `adhere`; positions s in [-1, 1] become s (a|s| + b)^d, a = (f-1)/f, b = 1/f,
    f = R^(1/d); the rounding to free grid lines stretches what lies further out.

    Args:
      key: random key.
      n: number of columns, static.
      n_frames: number of frames, static.
      acceleration: R; about n/R columns in each frame. Static.
      n_cal: calibration lines of all frames; the reference sets one less (`calibration_columns`), so that 1 sets none.
      vd_degree: d, default of GLEAM's cine experiments; 0 means no warping.
      perturb: size of the jitter in units of R.
      adhere: share of the jitter that the neighbours follow.

    Returns:
      (frame, x) float32. A frame has no contiguous ACS: take the maps from the average over time.

    Source: P. Lai 2018, as in Ozturkler et al. 2022 (GLEAM). The reference draws from a global generator, so its own
      masks do not follow from its seed.
    """
    check_kt(n, n_frames, acceleration, n_cal, vd_degree)
    size = max(int(np.ceil((n - s) / acceleration)) for s in comb_shifts(n_frames, acceleration))
    uniform = jax.random.uniform(key, (n_frames, size), RANDOM_DTYPE)
    shift = jnp.asarray(comb_shifts(n_frames, acceleration), uniform.dtype)
    outer = _frames(shift, uniform, n, acceleration, vd_degree, perturb, adhere)
    return jnp.asarray(outer | calibration_columns(n, n_cal)[None], MASK_DTYPE)


def partial_echo(n: int, *, fraction: float = 0.25) -> Float[Array, " y"]:
    """Readout samples of a partial echo: 0 on the first int(fraction n), 1 on the others; multiply it into a mask.

    Args:
      n: readout samples.
      fraction: share of the readout that is missing.

    Returns:
      (y,) float32; `mask[:, None, None, :] * partial_echo(y)[None, None, :, None]` is a mask (frame, 1, y, x).

    Raises:
      ValueError: the fraction is negative, or 1 and more.

    Source: the reference code of GLEAM does this by default (0.25); whether its R = 10 counts it is not known.
    """
    if not 0 <= fraction < 1:
        raise UserError(f"fraction must be at least 0 and below 1, got {fraction}")
    return jnp.asarray(np.arange(check_count("n", n)) >= int(fraction * n), MASK_DTYPE)


def adjacent_frames(frame: int, n_frames: int, n_adjacent: int = 5) -> Int[np.ndarray, " adjacent"]:
    """Indices of the frames around one, time being periodic: (frame + i) mod n_frames, i = -n_adjacent//2 ...

    With fewer frames than asked for, i goes over -n_frames//2 ... n_frames//2, and the first and the last are repeated.

    Args:
      frame: index of the frame in the middle.
      n_frames: number of frames of the series.
      n_adjacent: how many, odd.

    Returns:
      (adjacent,) integers, to gather from the leading axis of k-space or of a k-t mask.

    Raises:
      ValueError: n_adjacent is even.

    Source: PromptMR+.

    Example:
      >>> adjacent_frames(1, 12).tolist()
      [11, 0, 1, 2, 3]
    """
    check_count("n_frames", n_frames)
    if check_count("n_adjacent", n_adjacent) % 2 == 0:
        raise UserError(f"n_adjacent must be odd, got {n_adjacent}")
    half = n_adjacent // 2
    reach = half if n_frames >= n_adjacent else min(half, n_frames // 2)
    near = (frame + np.arange(-reach, reach + 1)) % n_frames
    return np.pad(near, half - reach, mode="edge")


def gaussian_density(n: int, acceleration: float, n_acs: int):
    """(ACS, density outside it, number of columns drawn) of `kt_gaussian_lines`."""
    n_acs = check_n_acs(n, n_acs)
    acceleration = check_acceleration(acceleration)
    check_budget(n, n_acs, acceleration)
    acs = block(n, n // 2 - n_acs // 2, n_acs)
    density = np.exp(-(0.5 / (n / 10.0) ** 2) * (np.arange(n) - n / 2) ** 2) + n / (2.0 * acceleration) * 1.0 / n
    density[acs] = 0
    if acs.all():  # nothing is drawn
        density[:] = 1
    return acs, density / density.sum(), int(n / acceleration) - n_acs


def check_kt(n, n_frames, acceleration, n_cal, vd_degree) -> None:
    """Arguments that a variable-density k-t mask can have."""
    check_count("n_frames", n_frames)
    check_count("n", n, 2)
    check_n_acs(n, check_count("n_cal", n_cal, 0), "n_cal")
    if vd_degree < 0:
        raise UserError(f"vd_degree must be at least 0, got {vd_degree}")
    if check_acceleration(acceleration) > n:
        raise UserError(f"acceleration {acceleration:g} leaves no line of {n}")


def comb_shifts(n_frames: int, acceleration: float) -> list[float]:
    """First line of the comb in each frame."""
    return [round(t * GOLDEN_RATIO * acceleration) % acceleration for t in range(n_frames)]


def calibration_columns(n: int, n_cal: int) -> Bool[np.ndarray, " x"]:
    """[n//2 - ceil(n_cal/2), n//2 + n_cal - 1 - ceil(n_cal/2)): one less than n_cal lines, as in the reference."""
    return block(n, n // 2 - (n_cal + 1) // 2, max(n_cal - 1, 0))


def shear_lattice(n, n_frames, acceleration, acs, start):
    """Every R-th column from offset start + t in frame t, and the ACS."""
    acceleration = check_acceleration(acceleration, integer=True)
    offset = start + np.arange(check_count("n_frames", n_frames))
    outer = (np.arange(n)[None] - offset[:, None]) % acceleration == 0
    return outer | acs[None]


@functools.partial(jax.jit, static_argnames=("n", "degree"))
def _frames(shift, uniform, n, acceleration, degree, perturb, adhere):
    """All frames (frame, x), compiled once per size and degree."""
    return jax.vmap(lambda s, u: _frame(s, u, n, acceleration, degree, perturb, adhere))(shift, uniform)


def _frame(shift, uniform, n, acceleration, degree, perturb, adhere):
    """One frame: the columns of a comb from `shift` on; each line that moves takes the next number of `uniform`."""
    valid = shift + acceleration * jnp.arange(uniform.shape[0], dtype=uniform.dtype) < n
    comb = _jitter(shift, uniform, valid, n, acceleration, perturb, adhere)
    radius = (n - 1) / 2
    s = (jnp.clip(comb, 0, n - 1) - radius) / radius
    factor = acceleration ** (1 / degree) if degree else acceleration
    s = s * ((factor - 1) / factor * jnp.abs(s) + 1 / factor) ** degree
    order = jnp.argsort(jnp.where(valid, jnp.abs(s), jnp.inf), stable=True)
    s, valid = s[order], valid[order]
    mask = _snap(jnp.zeros(n, bool), s, valid & (s >= 0), 1)
    return _snap(mask, s, valid & (s < 0), -1)


def _jitter(shift, uniform, valid, n, acceleration, perturb, adhere):
    """The comb after its lines moved one after the other, each seeing what its predecessors did to it."""
    size, step = uniform.shape[0], perturb * acceleration
    comb = shift + acceleration * jnp.arange(size, dtype=uniform.dtype)

    def move(i, state):
        comb, n_moved = state
        moves = valid[i] & (comb[i] >= step) & (comb[i] < n - step)
        delta = jnp.where(moves, step * (uniform[n_moved] - 0.5), 0.0)
        comb = comb.at[i].add(delta)
        # what leaves the comb at either end falls away
        comb = comb.at[jnp.where(i > 0, i - 1, size)].add(adhere * delta, mode="drop")
        return comb.at[i + 1].add(adhere * delta, mode="drop"), n_moved + moves

    return jax.lax.fori_loop(0, size, move, (comb, 0))[0]


def _snap(mask, s, chosen, sign):
    """Set one grid line per chosen position, from the centre outwards, to the upper (sign 1) or lower (-1) side."""
    n = mask.shape[0]
    radius = (n - 1) / 2

    def line(position):
        return jnp.clip(jnp.floor(position * radius + radius + SNAP).astype(jnp.int32), 0, n - 1)

    def stretch(off, edge, side):
        # a position at the very end leaves nothing to stretch
        return (radius - side * (edge - radius)) / (radius * jnp.maximum(1 - jnp.abs(off), SNAP))

    first = s[jnp.argmax(chosen)]
    edge, off, adjust = line(first), jnp.zeros_like(first), jnp.ones_like(first)
    if sign < 0:
        taken = mask[edge]
        edge = edge - taken
        off = jnp.where(taken, first, off)
        adjust = jnp.where(taken, stretch(first, edge, -1), adjust)

    def place(state, position):
        mask, edge, off, adjust = state
        s, chosen = position
        where = line(off + (s - off) * adjust)
        free = ~mask[where]
        mask = mask.at[jnp.where(chosen, jnp.where(free, where, edge), n)].set(True, mode="drop")
        # edge = where + 1 on the lower side too, and the upper side's stretch: so in the reference
        moved = (
            mask,
            jnp.where(free, where + 1, edge + sign),
            jnp.where(free, off, s),
            jnp.where(free, adjust, stretch(s, edge, 1)),
        )
        return jax.tree.map(lambda new, old: jnp.where(chosen, new, old), moved, state), None

    state, _ = jax.lax.scan(place, (mask, edge, off, adjust), (s, chosen))
    return state[0]

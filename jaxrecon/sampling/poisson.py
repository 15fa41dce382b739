"""Masks over two phase encodes, (y, x), as functions of a key: variable-density Poisson disc, Calgary-like, Gaussian.

The Poisson disc is a parallel dart throwing. Each pixel has one dart: a jittered position and a place in a random
order. One after the other in that order, a dart would stay unless it lies within the radius of one that stays already.
Here all are judged at once, round after round: a dart whose earlier neighbours are all out stays, and throws out the
later ones within its radius. Radii grow with the distance r from the calibration region, (1 + s r) pixels; the slope s
is searched until slightly more darts stay than wanted, and the last of these are taken away again. It is done in
integers, so that a key gives one mask on every device.

SigPy's masks, draw for draw: `compatible.poisson_disc`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..checks import UserError
from ..typing import Key
from .acs import MASK_DTYPE, acquired, block, check_acceleration, check_budget
from .bridson import check_plane, distance
from .draws import draw_weighted, first_ranks, normal_log_mass, outer_count

Plane = Float[Array, "y x"]
DEAD, UNDECIDED, ALIVE = 0, 1, 2
SURPLUS = 50
"""The search for the slope is content with up to 1/SURPLUS more darts than wanted; the last ones are taken away."""
SLOPE_BITS, DISTANCE_BITS = 8, 10
"""Slopes are multiples of 2**-SLOPE_BITS, distances from the calibration region of 2**-DISTANCE_BITS."""
UNITS = (16, 8, 4)
"""Positions and radii are multiples of 1/unit pixel: the finest with which squares of squares stay below 2**31."""
MAX_PAIRS = 2**29
"""Largest number of (neighbour, pixel) pairs, one byte each; steeper slopes than it allows are not tried."""


def poisson_disc(
    key: Key,
    shape: tuple[int, int],
    *,
    acceleration: float,
    calib_size: tuple[int, int] = (20, 20),
    crop_corner: bool = True,
    tol: float = 0.1,
    padding: tuple[int, int] | None = None,
) -> Plane:
    """Variable-density Poisson disc of exactly round(y x / R) samples, with a fully sampled rectangle in the centre.

    Two samples outside the rectangle are not nearer than the smaller of their radii: (dx/rx)^2 + (dy/ry)^2 >= 1 with
    (rx, ry) = max((1 + s r) (nx, ny)/max(nx, ny), 1) - 1/4, where positions are jittered by up to half a pixel. (The
    quarter and the half give, for a slope s, SigPy's density, whose samples are rounded down to pixels as they come.)

    Args:
      key: random key. Map over many with jax.lax.map rather than vmap: 320 x 256 at R = 12 holds 11 MB meanwhile.
      shape: (y, x), static.
      acceleration: R over the full matrix, static.
      calib_size: (cy, cx) of the rectangle [y//2 - cy//2, ... + cy), as `crop_or_pad` cuts it; GLEAM: 20 x 20.
      crop_corner: leave the corners empty, r >= 1, where r is the distance beyond the rectangle (1 at the edges).
      tol: largest |R - measured R| that is not an error.
      padding: (left, right), columns acquired.

    Returns:
      (y, x) float32; `kspace * mask` broadcasts it against (..., coil, y, x).

    Raises:
      ValueError: R is out of reach. Under jit, vmap or grad this cannot be checked: the nearest mask is returned, and
        `measured_acceleration` tells.

    Source: geometry of SigPy's mri.poisson (GLEAM, mridata.org knee); rounds as in Luby 1986.

    Example:
      >>> float(poisson_disc(jax.random.key(0), (48, 40), acceleration=6, calib_size=(8, 8)).sum())
      320.0
    """
    ny, nx, cy, cx = check_plane(shape, calib_size)
    calib = block(ny, ny // 2 - cy // 2, cy)[:, None] & block(nx, nx // 2 - cx // 2, cx)[None]
    r = distance(ny, nx, cy, cx)
    allowed = (r < 1 if crop_corner else np.ones_like(calib)) & acquired(nx, padding)[None]
    return _checked(key, r, calib, allowed, acceleration, tol)


def calgary_poisson(
    key: Key,
    shape: tuple[int, int] = (218, 170),
    *,
    acceleration: float,
    acs_radius: float = 16,
    acquired_share: float = 0.85,
    tol: float = 0.1,
) -> Plane:
    """Masks like those of Calgary-Campinas: Poisson disc, a fully sampled disc in the centre, the last columns empty.

    Args:
      key: random key.
      shape: (y, x), static: (218, 170), (218, 174) or (218, 180).
      acceleration: R over the full matrix, static: 5 or 10.
      acs_radius: pixels within this distance of (y//2, x//2) are all sampled; loaders take 16 or 18 of them.
      acquired_share: columns from ceil(acquired_share x) on were never acquired.
      tol: largest |R - measured R| that is not an error.

    Returns:
      (y, x) float32.

    Raises:
      ValueError: R is out of reach (as in `poisson_disc`).

    Source: Calgary-Campinas-359; a stand-in for its mask files R5_218x170.npy etc., which hold other draws.
    """
    ny, nx, *_ = check_plane(shape, (0, 0))
    if not 0 < acquired_share <= 1 or acs_radius < 0:
        raise UserError(
            f"acquired_share must be within 0 and 1, acs_radius not negative, got {acquired_share} and {acs_radius}"
        )
    y, x = np.arange(ny)[:, None] - ny // 2, np.arange(nx)[None] - nx // 2
    from_centre = np.hypot(y, x)
    # the part of the way from the centre that lies beyond the disc
    beyond = np.maximum(1 - acs_radius / np.maximum(from_centre, 1), 0)
    y, x = np.abs(y * beyond), np.abs(x * beyond)
    r = np.hypot(y / (y.max() or 1), x / (x.max() or 1))
    allowed = (r < 1) & acquired(nx, (0, int(np.ceil(acquired_share * nx))))[None]
    return _checked(key, r, (from_centre <= acs_radius) & allowed, allowed, acceleration, tol)


def gaussian_2d(
    key: Key, shape: tuple[int, int], *, acceleration: float, calib_size: tuple[int, int] = (20, 20)
) -> Plane:
    """Positions drawn without repetition from Normal(n//2, 6 sqrt(n//2)) in both axes, and a fully sampled rectangle.

    Args:
      key: random key.
      shape: (y, x), static.
      acceleration: R, static; round(y x/R - n_acs - 1) + 1 positions are added to the n_acs = cy cx of the centre.
      calib_size: (cy, cx) of the rectangle [y//2 - cy//2, ... + cy).

    Returns:
      (y, x) float32.

    Source: DIRECT, gaussian_2d (drawn there by C's generator, so there is no `compatible` form).
    """
    ny, nx, cy, cx = check_plane(shape, calib_size)
    acceleration = check_acceleration(acceleration)
    check_budget(ny * nx, cy * cx, acceleration)
    calib = block(ny, ny // 2 - cy // 2, cy)[:, None] & block(nx, nx // 2 - cx // 2, cx)[None]
    log_mass = normal_log_mass(ny)[:, None] + normal_log_mass(nx)[None]
    outer = draw_weighted(key, log_mass, calib, outer_count(ny * nx, cy * cx, acceleration))
    return jnp.asarray(outer | calib, MASK_DTYPE)


def _checked(key, r, calib, allowed, acceleration, tol):
    acceleration = check_acceleration(acceleration)
    if not tol > 0:
        raise UserError(f"tol must be above 0, got {tol}")
    check_budget(r.size, int(calib.sum()), acceleration)
    calib = calib & allowed
    mask = _draw(key, *_plan(r, calib, allowed, acceleration))
    if not isinstance(mask, jax.core.Tracer):
        reached = r.size / int(mask.sum())
        if abs(reached - acceleration) >= tol:
            raise UserError(
                f"no Poisson-disc mask of {r.shape[0]} x {r.shape[1]} has acceleration {acceleration:g} within "
                f"{tol:g}: the nearest has {reached:.4g}; change tol, the centre or the cropping of the corners"
            )
    return mask


def _plan(r, calib, allowed, acceleration):
    """What does not depend on the key, made on the host: the arguments of `_draw` after it."""
    ny, nx = r.shape
    stretch = np.array([ny, nx]) / max(ny, nx)
    wanted = round(r.size / acceleration)
    slopes, start = _slopes(r[allowed & ~calib], stretch, wanted - int(calib.sum()), max(ny, nx))
    # radii along y and x of the farthest dart, for each slope
    farthest = np.maximum((1 + slopes * r[allowed].max()) * stretch[:, None], 1)
    pairs = np.prod(2 * np.ceil(farthest) + 1, axis=0) * r.size
    fits = (pairs <= MAX_PAIRS) & (UNITS[-1] * (farthest.max(axis=0) + 2) < 2**7.5)
    if not fits[0]:
        raise UserError(f"a matrix of {ny} x {nx} is too large to be judged at once: use compatible.poisson_disc")
    slopes, farthest = slopes[fits], farthest[:, fits][:, -1]
    unit = next(u for u in UNITS if u * (farthest.max() + 2) < 2**7.5)
    growth = np.rint(r[None] * stretch[:, None, None] * 2**DISTANCE_BITS).astype(np.int32)
    base = tuple(round(s * 2 ** (SLOPE_BITS + DISTANCE_BITS)) for s in stretch)
    state = np.where(calib, ALIVE, np.where(allowed, UNDECIDED, DEAD)).astype(np.uint8)
    shifts, reach = _shifts(farthest)
    slopes = np.rint(slopes * 2**SLOPE_BITS).astype(np.int32)
    return (
        state,
        growth,
        slopes,
        np.argmin(np.abs(slopes - start * 2**SLOPE_BITS)),
        np.int32(wanted),
        shifts,
        base,
        unit,
        reach,
    )


def _slopes(r, stretch, wanted, largest):
    """Slopes to try, ascending: 0, and some around the expected one in steps of 1 % of the darts; the expected one."""
    trial = np.concatenate([[0], np.geomspace(2.0**-SLOPE_BITS, largest, 2000)])
    values, number = np.unique(np.rint(r * 256) / 256, return_counts=True)
    radius = np.maximum((1 + trial[:, None] * values)[..., None] * stretch, 1) - 0.25
    area = np.prod(radius, axis=-1)
    # darts per pixel where the radius is constant: a fit to drawn masks, 0.74 / radius^2 for large ones
    expected = (number / (1.36 * area + 0.6 * np.sqrt(area))).sum(axis=1)
    targets = max(wanted, 1) * 1.01 ** np.arange(40, -20, -1)
    slopes = np.interp(-np.log(targets), -np.log(np.maximum(expected, 1e-9)), trial)
    slopes = np.rint(np.append(slopes, 0) * 2**SLOPE_BITS) / 2**SLOPE_BITS
    return np.unique(slopes), slopes[39]


def _shifts(farthest):
    """Neighbours (shift, 2), without the pixel itself, that a dart of the largest radii could reach; the farthest."""
    half = np.ceil(farthest).astype(int)
    shifts = np.stack(np.meshgrid(*(np.arange(-h, h + 1) for h in half), indexing="ij"), -1).reshape(-1, 2)
    nearest = np.maximum(np.abs(shifts) - 0.5, 0)
    reached = ((nearest / farthest) ** 2).sum(axis=1) < 1
    return shifts[reached & shifts.any(axis=1)].astype(np.int32), tuple(half.tolist())


@functools.partial(jax.jit, static_argnames=("base", "unit", "reach"))
def _draw(key, state, growth, slopes, start, wanted, shifts, base, unit, reach):
    """The mask of the steepest slope that leaves at least `wanted` darts alive, the last surplus ones taken away."""
    key_order, key_jitter = jax.random.split(key)
    calib = state == ALIVE
    # darts of the calibration region come before all others
    order = jax.random.permutation(key_order, jnp.arange(state.size, dtype=jnp.int32)).reshape(state.shape)
    order = jnp.where(calib, -1, order)
    jitter = jax.random.randint(key_jitter, (2, *state.shape), 0, unit // 2, jnp.int32)
    n_calib = jnp.sum(calib, dtype=jnp.int32)
    surplus = jnp.maximum((wanted - n_calib) // SURPLUS, 2)

    def searching(search):
        low, high, _, _, count = search
        return (high - low > 1) & ~((count >= wanted) & (count <= wanted + surplus))

    def step(search):
        low, high, probe, best, best_count = search
        radii = [
            jnp.maximum(_radius(g, b, slopes[probe], unit), unit) - unit // 4 for g, b in zip(growth, base, strict=True)
        ]
        alive = _throw(state, order, jitter, jnp.stack(radii), unit, shifts, reach)
        count = jnp.sum(alive, dtype=jnp.int32)
        enough = count >= wanted
        low, high = jnp.where(enough, probe, low), jnp.where(enough, high, probe)
        better = enough | (count > best_count)
        best, best_count = jnp.where(better, alive, best), jnp.where(better, count, best_count)
        # the candidates are about 1 % of the outer darts apart
        ahead = (100 * (count - wanted - surplus // 2)) // jnp.maximum(wanted - n_calib, 1)
        return low, high, jnp.clip(probe + ahead, low + 1, jnp.maximum(high - 1, low + 1)), best, best_count

    first = (jnp.int32(-1), jnp.int32(slopes.shape[0]), start.astype(jnp.int32), calib, jnp.int32(0))
    *_, alive, _ = jax.lax.while_loop(searching, step, first)
    return (first_ranks(order, calib | ~alive, wanted - n_calib) | calib).astype(MASK_DTYPE)


def _radius(growth, base, slope, unit):
    """Radius (1 + slope r) stretch in units, in integers."""
    return ((base + slope * growth) * unit) >> (SLOPE_BITS + DISTANCE_BITS)


def _throw(state, order, jitter, radii, unit, shifts, reach):
    """The darts that stay when each is thrown out by any that stays, comes earlier and has it within its radii."""
    padding = [(half, half) for half in reach]
    earlier = jnp.pad(order, padding, constant_values=state.size)
    positions, areas = (jnp.pad(a, [(0, 0), *padding]) for a in (jitter, radii**2))

    def neighbours(array, shift):
        start = (*([0] * (array.ndim - 2)), *(shift + jnp.array(reach)))
        return jax.lax.dynamic_slice(array, start, (*array.shape[:-2], *state.shape))

    def threatens(shift):
        distance = (shift[:, None, None] * unit + neighbours(positions, shift) - jitter) ** 2
        area = neighbours(areas, shift)
        near = distance[0] * area[1] + distance[1] * area[0] < area[0] * area[1]
        return near & (neighbours(earlier, shift) < order)

    threats = jax.lax.map(threatens, shifts)  # (shift, y, x)

    def judge(state):
        padded = jnp.pad(state, padding)

        def worst(i, most):
            return jnp.maximum(most, jnp.where(threats[i], neighbours(padded, shifts[i]), DEAD))

        most = jax.lax.fori_loop(0, shifts.shape[0], worst, jnp.full_like(state, DEAD))
        verdict = jnp.where(most == ALIVE, DEAD, jnp.where(most == UNDECIDED, UNDECIDED, ALIVE)).astype(state.dtype)
        return jnp.where(state == UNDECIDED, verdict, state)

    return jax.lax.while_loop(lambda state: jnp.any(state == UNDECIDED), judge, state) == ALIVE

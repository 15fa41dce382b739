"""SigPy's Poisson-disc masks on the host: Bridson's algorithm, draw for draw, by numba if installed, else Python."""

import functools
import math
import operator
import random
import typing

import numpy as np

from ..checks import UserError
from .acs import check_acceleration, check_budget, check_count, check_n_acs

CLOSED = 1e-9
"""Slopes this near each other, in pixels, count as one: the search has failed."""


def search_slope(seed, shape, acceleration, calib_size, crop_corner, max_attempts, tol):
    """The mask (y, x), bool, of the first slope that bisection finds within tol; see `compatible.poisson_disc`."""
    seed, ny, nx, cy, cx = check_poisson(seed, shape, acceleration, calib_size)
    if not tol > 0:
        raise UserError(f"tol must be above 0, got {tol}")
    sample = kernel()
    r = distance(ny, nx, cy, cx)
    inside = r < 1 if crop_corner else np.ones((ny, nx), bool)
    longer = max(ny, nx)
    low, high, nearest = 0.0, float(longer), math.inf
    while high - low > CLOSED:
        slope = (low + high) / 2
        radius = 1 + slope * r
        mask = np.zeros((ny, nx), np.uint8)
        mask[int(ny / 2 - cy / 2) : int(ny / 2 + cy / 2), int(nx / 2 - cx / 2) : int(nx / 2 + cx / 2)] = 1
        sample(seed, mask, np.maximum(radius * nx / longer, 1), np.maximum(radius * ny / longer, 1), max_attempts)
        mask = mask.astype(bool) & inside
        actual = ny * nx / mask.sum() if mask.any() else math.inf
        if abs(actual - acceleration) < tol:
            return mask
        nearest = min(nearest, actual, key=lambda a: abs(a - acceleration))
        low, high = (slope, high) if actual < acceleration else (low, slope)
    raise UserError(
        f"no Poisson-disc mask of {ny} x {nx} with calib_size {(cy, cx)} has acceleration {acceleration:g} within "
        f"{tol:g}: the nearest has {nearest:.4g}; change tol, calib_size or the seed"
    )


def distance(ny: int, nx: int, cy: float, cx: float):
    """Distance (y, x) beyond the calibration rectangle, each axis divided by its own maximum."""
    y = np.maximum(np.abs(np.arange(ny) - ny / 2) - cy / 2, 0)
    x = np.maximum(np.abs(np.arange(nx) - nx / 2) - cx / 2, 0)
    # a rectangle as long as its axis leaves no distance to normalise
    y, x = y / (y.max() or 1), x / (x.max() or 1)
    return np.sqrt(x[None] ** 2 + y[:, None] ** 2)


def check_poisson(seed, shape, acceleration, calib_size) -> tuple[int, int, int, int, int]:
    """(seed, ny, nx, cy, cx), checked."""
    if isinstance(seed, np.random.RandomState | str) or np.ndim(seed):
        raise UserError(f"every step of the search starts from the seed again: it must be an int, got {seed!r}")
    seed = operator.index(seed)
    if not 0 <= seed < 2**32:
        raise UserError(f"the seed must be within 0 and 2**32 - 1, got {seed}")
    ny, nx, cy, cx = check_plane(shape, calib_size)
    check_budget(ny * nx, cy * cx, check_acceleration(acceleration))
    return seed, ny, nx, cy, cx


def check_plane(shape, calib_size) -> tuple[int, int, int, int]:
    """(ny, nx, cy, cx) of a mask and its calibration rectangle."""
    if len(shape) != 2 or len(calib_size) != 2:
        raise UserError(f"shape is (y, x) and calib_size (cy, cx), got {shape} and {calib_size}")
    (ny, nx), (cy, cx) = shape, calib_size
    return (
        check_count("shape", ny),
        check_count("shape", nx),
        check_n_acs(ny, cy, "calib_size"),
        check_n_acs(nx, cx, "calib_size"),
    )


@functools.cache
def kernel():
    """The compiled sampler where numba is installed, otherwise the one in Python."""
    try:
        import numba
    except ImportError:
        return sample_python
    try:
        return numba.njit(cache=True)(sample_numba)
    except RuntimeError:  # no folder in which a compiled function could be kept
        return numba.njit(sample_numba)


@typing.no_type_check  # a checked function cannot be compiled
def sample_numba(seed, mask, radius_x, radius_y, max_attempts):
    """Bridson's algorithm with varying radii; written for numba, whose generator draws as numpy's RandomState does.

    Args:
      seed: the generator's seed.
      mask: (y, x) uint8, the calibration region set; the samples are added in place.
      radius_x: (y, x), least distance of new points along x from a sample at (y, x).
      radius_y: the same along y.
      max_attempts: candidates around a point before it is given up.
    """
    np.random.seed(seed)
    ny, nx = mask.shape
    xs, ys = np.empty(nx * ny, np.int32), np.empty(nx * ny, np.int32)
    xs[0], ys[0] = np.random.randint(0, nx), np.random.randint(0, ny)
    n_active = 1
    while 0 < n_active < nx * ny:
        i = np.random.randint(0, n_active)
        px, py = xs[i], ys[i]
        rx, ry = radius_x[py, px], radius_y[py, px]
        accepted = False
        for _ in range(max_attempts):
            v = math.sqrt(np.random.random_sample() * 3 + 1)
            t = 2 * math.pi * np.random.random_sample()
            qx, qy = px + v * rx * math.cos(t), py + v * ry * math.sin(t)
            if not (0 <= qx < nx and 0 <= qy < ny):
                continue
            accepted = True
            for y in range(max(int(qy - ry), 0), min(int(qy + ry + 1), ny)):
                for x in range(max(int(qx - rx), 0), min(int(qx + rx + 1), nx)):
                    if mask[y, x] == 1:
                        dx, dy = (qx - x) / radius_x[y, x], (qy - y) / radius_y[y, x]
                        accepted = accepted and dx * dx + dy * dy >= 1
                if not accepted:
                    break
            if accepted:
                xs[n_active], ys[n_active] = int(qx), int(qy)
                mask[int(qy), int(qx)] = 1
                n_active += 1
                break
        if not accepted:
            n_active -= 1
            xs[i], ys[i] = xs[n_active], ys[n_active]


def sample_python(seed, mask, radius_x, radius_y, max_attempts):
    """`sample_numba` without numba, sample for sample.

    Rows of bytes, whose `find` skips the empty positions; the full calibration region, where the radii are 1, apart.
    """
    ny, nx = mask.shape
    unit = (mask == 1) & (radius_x == 1) & (radius_y == 1)
    fixed = [bytes(row) for row in unit.astype(np.uint8)]
    samples = [bytearray(row) for row in mask * ~unit]
    radius_x, radius_y = radius_x.tolist(), radius_y.tolist()
    rng = _python_generator(seed)
    uniform = rng.random
    active = [(_integer(rng, nx), _integer(rng, ny))]
    while 0 < len(active) < nx * ny:
        i = _integer(rng, len(active))
        px, py = active[i]
        rx, ry = radius_x[py][px], radius_y[py][px]
        for _ in range(max_attempts):
            v = math.sqrt(uniform() * 3 + 1)
            t = 2 * math.pi * uniform()
            qx, qy = px + v * rx * math.cos(t), py + v * ry * math.sin(t)
            if not (0 <= qx < nx and 0 <= qy < ny) or _meets_fixed(fixed, qx, qy):
                continue
            x0, x1 = max(int(qx - rx), 0), min(int(qx + rx + 1), nx)
            y0, y1, middle = max(int(qy - ry), 0), min(int(qy + ry + 1), ny), int(qy)
            # the nearest rows first: most candidates fail there
            for y in (*range(middle, y1), *range(middle - 1, y0 - 1, -1)):
                x = samples[y].find(1, x0, x1)
                while x >= 0:
                    dx, dy = (qx - x) / radius_x[y][x], (qy - y) / radius_y[y][x]
                    if dx * dx + dy * dy < 1:
                        break
                    x = samples[y].find(1, x + 1, x1)
                if x >= 0:
                    break
            else:
                active.append((int(qx), middle))
                samples[middle][int(qx)] = 1
                break
        else:
            active[i] = active[-1]
            active.pop()
    for row, new in zip(mask, samples, strict=True):
        row |= np.frombuffer(new, np.uint8)


def _python_generator(seed):
    """Python's Mersenne Twister in the state of RandomState(seed): the same doubles, cheaper one at a time."""
    state = np.random.RandomState(seed).get_state(legacy=False)["state"]
    rng = random.Random()
    rng.setstate((3, (*state["key"].tolist(), state["pos"]), None))
    return rng


def _integer(rng, n):
    """RandomState.randint(0, n): the low bits of word after word until one is below n; none is drawn for n = 1."""
    bits = (1 << (n - 1).bit_length()) - 1
    while bits and (value := rng.getrandbits(32) & bits) >= n:
        pass
    return value if bits else 0


def _meets_fixed(fixed, qx, qy):
    """Whether a fixed sample, all of radius 1, is nearer than 1: only the four grid points around can be."""
    for y in (int(qy), int(qy) + 1):
        for x in (int(qx), int(qx) + 1):
            if y < len(fixed) and x < len(fixed[0]) and fixed[y][x] and (qx - x) ** 2 + (qy - y) ** 2 < 1:
                return True
    return False

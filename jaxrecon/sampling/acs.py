"""What every mask has: a fully sampled centre (ACS), an acceleration, columns never acquired, arguments to check.

Source: fastMRI for the place of the ACS and how it is found in lines; the rectangle extends this to planes.
"""

import math
import operator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Real

from ..checks import UserError
from ..typing import AnyArray, Mask

MASK_DTYPE = np.float32
"""Masks hold 0 and 1 as float32 in either precision: a product with complex64 or complex128 keeps that type."""
RANDOM_DTYPE = np.float32
"""Random numbers behind a mask are single in either precision: a key gives one mask, not one per precision."""


def measured_acceleration(mask: Mask, *, padding: tuple[int, int] | None = None) -> Float[Array, ""]:
    """The acceleration that a mask really has: R = (number of positions) / (number of samples).

    Args:
      mask: any shape, 1 = measured. Give it without axes along which it is constant, or with all of them.
      padding: (left, right): count only the acquired columns [left, right) of the last axis, as the scanner does.

    Returns:
      R as a scalar; infinity for an empty mask.

    Example:
      >>> float(measured_acceleration(jnp.array([1, 0, 1, 0])))
      2.0
    """
    if padding is not None:
        left, right = check_padding(padding, mask.shape[-1])
        mask = mask[..., left:right]
    return mask.size / jnp.sum(jnp.asarray(mask) != 0)


def detect_acs_lines(mask: Bool[AnyArray, " x"] | Real[AnyArray, " x"]) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """Start and size of the fully sampled block of columns around the centre; start + jnp.arange(n) are its columns.

    n = max(2 min(left, right), 1), left = run of samples that ends at x//2 - 1, right = run that starts at x//2;
    start = (x - n + 1)//2. So a line beside the ACS enlarges it where both sides have one, and an odd ACS loses a line.

    Args:
      mask: (x,), 1 = measured column.

    Returns:
      (start, n), traced integers.

    Source: fastMRI, VarNet's sensitivity model. There a side that is sampled to its end counts as 0, so that a full
      mask has n = 1; here it has n = x.
    """
    sampled = jnp.asarray(mask) != 0
    width = sampled.shape[0]
    right = jnp.sum(jnp.cumprod(sampled[width // 2 :].astype(jnp.int32)))
    left = jnp.sum(jnp.cumprod(sampled[: width // 2][::-1].astype(jnp.int32)))
    n = jnp.where(jnp.all(sampled), width, jnp.maximum(2 * jnp.minimum(left, right), 1))
    return (width - n + 1) // 2, n


def detect_acs_rectangle(mask: Bool[AnyArray, "y x"] | Real[AnyArray, "y x"]) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """Size (cy, cx) of the largest centred rectangle that is completely sampled; the squarest of those of equal area.

    The rectangle is [y//2 - cy//2, y//2 - cy//2 + cy) and the same in x: what `crop_or_pad(kspace, (cy, cx))` cuts out.

    Args:
      mask: (y, x), 1 = measured.

    Returns:
      (cy, cx), traced integers; (0, 0) when the centre itself is missing.

    Example:
      >>> [int(n) for n in jax.jit(detect_acs_rectangle)(jnp.ones((6, 5)))]
      [6, 5]
    """
    sampled = jnp.asarray(mask) != 0
    # width[c] of the best rectangle of c + 1 rows: the least centred run among its rows, taken from the centre outwards
    runs = _centred_run(sampled)[_outwards(sampled.shape[0])]
    width = jax.lax.cummin(runs)
    height = jnp.arange(1, sampled.shape[0] + 1)
    longer = jnp.maximum(height, width)
    area = height * width
    squarest = jnp.where(area == jnp.max(area), -longer, -jnp.iinfo(longer.dtype).max)
    best = jnp.argmax(squarest)
    return jnp.where(area[best] > 0, height[best], 0), width[best]


def acs_from_mask(mask: Mask) -> Mask:
    """The ACS of a mask as a mask of its own shape: 1 on the fully sampled centre, 0 elsewhere.

    Args:
      mask: columns (x,) or (1, x), by the rule of `detect_acs_lines`; or (y, x), by that of `detect_acs_rectangle`.

    Returns:
      A float32 mask of the same shape.

    Raises:
      ValueError: the mask has more axes (map this function over frames with vmap).

    Example:
      >>> jax.jit(acs_from_mask)(jnp.array([1.0, 0, 1, 1, 0, 0])).tolist()
      [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]
    """
    if mask.ndim not in (1, 2):
        raise UserError(
            f"the mask must be (x,), (1, x) or (y, x), but its shape is {tuple(mask.shape)}: take one coil's (mask[0], as all "
            "coils have the same), or vmap over frames"
        )
    columns = jnp.arange(mask.shape[-1])
    if mask.ndim == 1 or mask.shape[0] == 1:
        start, n = detect_acs_lines(mask.reshape(-1))
        return ((columns >= start) & (columns < start + n)).astype(MASK_DTYPE).reshape(mask.shape)
    inside = [
        (jnp.arange(n) >= n // 2 - c // 2) & (jnp.arange(n) < n // 2 - c // 2 + c)
        for n, c in zip(mask.shape, detect_acs_rectangle(mask), strict=True)
    ]
    return (inside[0][:, None] & inside[1][None, :]).astype(MASK_DTYPE)


def _outwards(n):
    """Indices in the order in which the block [n//2 - c//2, ... + c) takes them in as c grows: n//2, n//2 - 1, ..."""
    order = [i for step in range(n) for i in ((n // 2,) if step == 0 else (n // 2 - step, n // 2 + step))]
    return np.array([i for i in order if 0 <= i < n])


def _centred_run(sampled: Bool[Array, "y x"]) -> Int[Array, " y"]:
    """For each row the size of its largest centred block without a gap."""
    return jnp.sum(jnp.cumprod(sampled[:, _outwards(sampled.shape[1])].astype(jnp.int32), axis=1), axis=1)


def acs_columns(n: int, n_acs: int) -> Bool[np.ndarray, " x"]:
    """Columns [pad, pad + n_acs), pad = (n - n_acs + 1)//2: fastMRI's and CMRxRecon's place of the ACS."""
    pad = (n - n_acs + 1) // 2
    return block(n, pad, n_acs)


def acs_disc(shape: tuple[int, int], radius: float) -> Bool[np.ndarray, "y x"]:
    """Positions (y, x) within `radius` of (y//2, x//2).

    Source: PromptMR+ for the Poisson discs of Calgary-Campinas, radius 18.
    """
    y, x = (np.arange(n) - n // 2 for n in shape)
    return y[:, None] ** 2 + x[None] ** 2 <= radius**2


def acs_square(shape: tuple[int, int], n_acs: int) -> Bool[np.ndarray, "y x"]:
    """The square [y//2 - n_acs//2, ... + n_acs) and the same in x, as (y, x).

    Source: PromptMR+ for k-t radial masks, 16 wide.
    """
    rows, columns = (block(n, n // 2 - n_acs // 2, n_acs) for n in shape)
    return rows[:, None] & columns[None]


def block(n: int, start: int, size: int) -> Bool[np.ndarray, " x"]:
    """True on [start, start + size) of n positions."""
    columns = np.arange(n)
    return (columns >= start) & (columns < start + size)


def check_count(name: str, value, least: int = 1) -> int:
    """An integer argument that is at least `least`."""
    try:
        value = operator.index(value)
    except TypeError:
        raise UserError(f"{name} must be an integer, got {value!r}") from None
    if value < least:
        raise UserError(f"{name} must be at least {least}, got {value}")
    return value


def check_acceleration(acceleration, *, integer: bool = False):
    """An acceleration of at least 1; a traced one passes unchecked."""
    if isinstance(acceleration, jax.core.Tracer):
        return acceleration
    acceleration = float(acceleration)
    if not (math.isfinite(acceleration) and acceleration >= 1):
        raise UserError(f"acceleration must be at least 1, got {acceleration:g}")
    if integer:
        if acceleration != int(acceleration):
            raise UserError(f"this mask takes every R-th line: acceleration must be an integer, got {acceleration:g}")
        return int(acceleration)
    return acceleration


def check_n_acs(n: int, n_acs: int, name: str = "n_acs") -> int:
    """A number of ACS lines that n lines can hold."""
    n_acs = check_count(name, n_acs, 0)
    if n_acs > check_count("n", n):
        raise UserError(f"{name}: {n_acs} fully sampled lines do not fit into {n}")
    return n_acs


def check_budget(n: int, n_acs: int, acceleration) -> None:
    """Raise ValueError where the ACS alone holds more than the n / R samples that the acceleration leaves."""
    if not isinstance(acceleration, jax.core.Tracer) and n_acs > n / acceleration:
        raise UserError(
            f"acceleration {acceleration:g} leaves {n / acceleration:.4g} of {n} positions, but the fully sampled "
            f"centre alone has {n_acs}: lower the acceleration or the centre"
        )


def check_padding(padding: tuple[int, int], n: int) -> tuple[int, int]:
    """Acquired columns [left, right) of n."""
    left, right = (check_count("padding", p, 0) for p in padding)
    if not left < right <= n:
        raise UserError(f"padding = (left, right) must be an interval of columns within 0 and {n}, got {(left, right)}")
    return left, right


def acquired(n: int, padding: tuple[int, int] | None) -> Bool[np.ndarray, " x"]:
    """True on the columns [left, right) that the scanner acquired; all of them without padding."""
    left, right = (0, n) if padding is None else check_padding(padding, n)
    return block(n, left, right - left)


def low_lines(n: int, center_fraction: float) -> int:
    """Number of ACS lines, round(n * center_fraction), halves to even as Python rounds."""
    if not 0 <= center_fraction <= 1:
        raise UserError(f"center_fraction must be within 0 and 1, got {center_fraction}")
    return round(check_count("n", n) * center_fraction)

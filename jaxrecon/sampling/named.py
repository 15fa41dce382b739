"""Masks by name: what each is, how it is drawn, and its fully sampled center; commands, experiments and tests read this table."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float

from ..checks import UserError, check_known, check_seed
from . import compatible, kt_masks, line_masks, poisson
from .acs import acs_columns, acs_disc, acs_square, block, check_acceleration


class Request(NamedTuple):
    """What a mask is drawn from, besides its key: (y, x), R, width of the fully sampled center, number of frames."""

    shape: tuple[int, int]
    acceleration: Any
    acs: int
    frames: int = 1


@dataclasses.dataclass(frozen=True)
class NamedMask:
    """A mask with a name.

    Attributes:
      kind: "lines": whole columns (1, x); "plane": points of two phase encodes (y, x); "frames": columns for each frame
        (frame, 1, x).
      draw: (key, request) -> the mask, (x,), (y, x) or (frame, x).
      center: request -> its fully sampled center, (x,) or (y, x), bool.
      published: (seed of numpy's generator, request) -> the published draw, bit for bit; None where there is none.
    """

    kind: Literal["lines", "plane", "frames"]
    draw: Callable[[Any, Request], Any]
    center: Callable[[Request], np.ndarray]
    published: Callable[[int, Request], Any] | None = None


def _by_fraction(function):
    return lambda key, r: function(key, r.shape[1], acceleration=r.acceleration, center_fraction=r.acs / r.shape[1])


def _by_frames(function, acs="n_acs"):
    return lambda key, r: function(key, r.shape[1], r.frames, acceleration=r.acceleration, **{acs: r.acs})


def _by_square(function):
    return lambda key, r: function(key, r.shape, acceleration=r.acceleration, calib_size=(r.acs, r.acs))


def _without_key(function):
    return lambda _, r: function(r.shape[1], acceleration=r.acceleration, n_acs=r.acs)


def _fixed_count(source):
    return lambda key, r: source.fixed_count_lines(key, r.shape[1], acceleration=r.acceleration, n_acs=r.acs)


def _columns(r):
    return acs_columns(r.shape[1], r.acs)


def _columns_left(r):
    return block(r.shape[1], (r.shape[1] - r.acs) // 2, r.acs)


def _columns_middle(r):
    return block(r.shape[1], r.shape[1] // 2 - r.acs // 2, r.acs)


def _columns_magic(r):
    return acs_columns(r.shape[1], line_masks.magic_fraction_spacing(r.shape[1], r.acs, r.acceleration)[0])


def _square(r):
    return acs_square(r.shape, r.acs)


MASKS: dict[str, NamedMask] = {
    "random": NamedMask(
        "lines", _by_fraction(line_masks.random_lines), _columns, _by_fraction(compatible.random_lines)
    ),
    "equispaced": NamedMask(
        "lines", _by_fraction(line_masks.equispaced_lines), _columns, _by_fraction(compatible.equispaced_lines)
    ),
    "equispaced-fraction": NamedMask(
        "lines",
        _by_fraction(line_masks.equispaced_fraction_lines),
        _columns,
        _by_fraction(compatible.equispaced_fraction_lines),
    ),
    "magic": NamedMask("lines", _by_fraction(line_masks.magic_lines), _columns, _by_fraction(compatible.magic_lines)),
    "magic-fraction": NamedMask(
        "lines",
        _by_fraction(line_masks.magic_fraction_lines),
        _columns_magic,
        _by_fraction(compatible.magic_fraction_lines),
    ),
    "integer-spaced": NamedMask("lines", _by_fraction(line_masks.integer_spaced_lines), _columns),
    "gaussian": NamedMask("lines", _by_fraction(line_masks.gaussian_lines), _columns),
    "fixed-count": NamedMask("lines", _fixed_count(line_masks), _columns_left, _fixed_count(compatible)),
    "outer-equispaced": NamedMask("lines", _without_key(line_masks.outer_equispaced_lines), _columns_left),
    "cmrxrecon": NamedMask("lines", _without_key(line_masks.cmrxrecon_lines), _columns),
    "poisson": NamedMask("plane", _by_square(poisson.poisson_disc), _square, _by_square(compatible.poisson_disc)),
    "calgary-poisson": NamedMask(
        "plane",
        lambda key, r: poisson.calgary_poisson(key, r.shape, acceleration=r.acceleration, acs_radius=r.acs),
        lambda r: acs_disc(r.shape, r.acs),
    ),
    "gaussian-2d": NamedMask("plane", _by_square(poisson.gaussian_2d), _square),
    "kt-uniform": NamedMask(
        "frames",
        lambda _, r: kt_masks.kt_uniform_lines(r.shape[1], r.frames, acceleration=r.acceleration, n_acs=r.acs),
        _columns,
    ),
    "kt-random": NamedMask(
        "frames", _by_frames(kt_masks.kt_random_lines), _columns, _by_frames(compatible.kt_random_lines)
    ),
    "kt-gaussian": NamedMask(
        "frames", _by_frames(kt_masks.kt_gaussian_lines), _columns_middle, _by_frames(compatible.kt_gaussian_lines)
    ),
    "kt-shear": NamedMask(
        "frames", _by_frames(kt_masks.kt_shear_lines), _columns_middle, _by_frames(compatible.kt_shear_lines)
    ),
    "kt-variable-density": NamedMask(
        "frames",
        _by_frames(kt_masks.kt_variable_density, "n_cal"),
        lambda r: kt_masks.calibration_columns(r.shape[1], r.acs),
        _by_frames(compatible.kt_variable_density, "n_cal"),
    ),
}
"""Name -> mask; the names of commands and configuration files."""


def names(*kinds: str) -> tuple[str, ...]:
    """The names of the masks of these kinds, in the order of the table; of all masks without one."""
    return tuple(name for name, mask in MASKS.items() if not kinds or mask.kind in kinds)


def draw(
    name: str,
    shape: tuple[int, ...],
    *,
    acceleration: float,
    acs: float | None = None,
    seed: int = 0,
    frames: int = 16,
    published: bool = False,
) -> Float[np.ndarray, "..."]:
    """The mask of a name: (1, x), (y, x) or (frame, 1, x), float32 of 0 and 1.

    Args:
      name: one of MASKS.
      shape: (y, x).
      acceleration: R.
      acs: width of the fully sampled center, or, below 1, its share of the columns; None: `default_acs`.
      seed: seed of the key, or of numpy's generator, 0 or more and below 2^32.
      frames: number of frames, for masks of frames.
      published: draw bit for bit as the published code does.

    Raises:
      ValueError: an unknown name, an acceleration, a center or a seed that the mask cannot have, or no published form.

    Source: as the functions of `jaxrecon.sampling` state it.

    Example:
      >>> draw("equispaced", (4, 12), acceleration=3, acs=2).shape
      (1, 12)
    """
    mask = check_known("mask", name, MASKS)
    if min(shape) < 1:
        raise UserError(f"shape {shape[0]} {shape[1]}: both sizes must be positive")
    check_seed(seed)
    request = Request((shape[0], shape[1]), acceleration, acs_width(name, shape, acceleration, acs), frames)
    if not published:
        drawn = mask.draw(jax.random.key(seed), request)
    elif mask.published is None:
        known = ", ".join(other for other, one in MASKS.items() if one.published)
        raise UserError(f"the mask {name} has no published form; those that have one: {known}")
    else:
        drawn = mask.published(seed, request)
    drawn = np.asarray(drawn, np.float32)
    return drawn[:, None] if mask.kind == "frames" else np.atleast_2d(drawn)


def acs_width(name: str, shape: tuple[int, ...], acceleration: float, acs: float | None = None) -> int:
    """Width of the fully sampled center of a mask.

    Args:
      name: one of MASKS.
      shape: (y, x).
      acceleration: R.
      acs: the width, or, below 1, its share of the columns, as fastMRI's center fraction; None: `default_acs`.

    Raises:
      ValueError: a center that is wider than the matrix, or no whole number.

    Example:
      >>> acs_width("random", (640, 368), 4, 0.08)
      29
    """
    if acs is None:
        return default_acs(name, shape, acceleration)
    if not 0 <= acs <= shape[1]:
        raise UserError(f"acs {acs}: the center of a mask of {shape[0]} x {shape[1]} is 0 to {shape[1]} wide")
    width = round(acs * shape[1]) if acs < 1 else round(acs)
    if acs >= 1 and width != acs:
        raise UserError(f"acs {acs}: expected a whole number of columns, or, below 1, a share of them")
    return width


def default_acs(name: str, shape: tuple[int, ...], acceleration: float) -> int:
    """Width of the fully sampled center where none is given.

    Deep J-Sense's share of columns, 8 % up to R = 6 and 4 % above; in planes a square of at most 24, and of a third of the
    samples (a disc of half that as its radius).

    Args:
      name: one of MASKS.
      shape: (y, x).
      acceleration: R.

    Raises:
      ValueError: an acceleration below 1, or none at all.

    Source: Deep J-Sense, for the share of columns.
    """
    check_acceleration(acceleration)
    if MASKS[name].kind == "plane":
        side = min(24, int(math.sqrt(shape[0] * shape[1] / max(acceleration, 1) / 3)), *shape)
        return side // 2 if name == "calgary-poisson" else side
    share = 0.08 if acceleration <= 6 else 0.04
    # a quarter of the columns of a narrow matrix or a high R is enough: the ACS must not take them all
    return max(min(round(share * shape[1]), int(shape[1] / max(acceleration, 1) / 2)), 1)


def center_of(
    name: str, shape: tuple[int, ...], *, acceleration: float, acs: float | None = None
) -> Bool[np.ndarray, "..."]:
    """The fully sampled center of the masks of a name, (1, x) of columns and (y, x) of planes.

    Args:
      name: as in `draw`, and so are the others.
      shape: (y, x).
      acceleration: R.
      acs: as in `draw`.

    Source: the centers of `jaxrecon.sampling`. PromptMR+ gives networks that estimate maps a disc of Calgary's radius,
      and of lines the number that was drawn.
    """
    request = Request((shape[0], shape[1]), acceleration, acs_width(name, shape, acceleration, acs))
    return np.atleast_2d(MASKS[name].center(request))


def check_center(mask: np.ndarray, region: np.ndarray | None, shape: tuple[int, ...], *, name: str, cure: str) -> None:
    """Raise ValueError where a network that estimates maps would see nothing.

    Args:
      mask: (y, x) or with axes of size 1, or (frame, 1, y, x).
      region: calibration region as `center_of` gives it; None: what the network finds around the center of the mask.
      shape: (y, x).
      name: name of the slice, in the message.
      cure: what to do.

    Raises:
      ValueError: the calibration region has no sample in the mask.
    """
    plane = np.broadcast_to((mask.min(0)[0] if mask.ndim > 2 else mask) != 0, shape)
    seen = plane[shape[0] // 2, shape[1] // 2] if region is None else (plane & region).any()
    if not seen:
        raise UserError(
            f"{name}: there is no fully sampled center to estimate maps from: the mask leaves out the center of k-space; "
            + cure
        )

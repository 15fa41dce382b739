"""`jaxrecon masks`: any mask of the library by name, written, drawn and measured; also the masks of other commands."""

import dataclasses
import math
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import tyro
from jaxtyping import Bool, Float

from .common import check_output, choices, measure, say, stem

LineName = Literal[
    "random", "equispaced", "equispaced-fraction", "magic", "magic-fraction", "integer-spaced", "gaussian",
    "fixed-count", "outer-equispaced", "cmrxrecon",
]  # fmt: skip
PlaneName = Literal["poisson", "calgary-poisson", "gaussian-2d"]
FramesName = Literal["kt-uniform", "kt-random", "kt-gaussian", "kt-shear", "kt-variable-density"]
StillName = LineName | PlaneName
"""Masks of a single image, which `recon --undersample` and `simulate --mask` know too."""

SUFFIXES = (".npy", ".npz")


@dataclasses.dataclass(frozen=True)
class Options:
    """Draw a sampling mask: written as 0 and 1, pictured, measured.

    Whole columns (1, x): random, equispaced, equispaced-fraction, magic, magic-fraction, integer-spaced, gaussian,
    fixed-count, outer-equispaced, cmrxrecon. Two phase encodes (y, x): poisson, calgary-poisson, gaussian-2d. Columns
    per frame (frame, 1, x): the kt- masks.

    Examples:
      jaxrecon masks poisson --shape 320 256 --acceleration 12 --out mask.npy
      jaxrecon masks equispaced-fraction --shape 640 368 --acceleration 4 --acs 30 --out mask.npy
      jaxrecon masks random --shape 640 368 --published --seed 7 --out mask.npy     (numpy's draw, as fastMRI's code)
      jaxrecon masks kt-shear --shape 200 160 --frames 12 --acceleration 8 --out mask.npz
      jaxrecon recon scan.h5 --mask mask.npy --out recon.h5                         (use it)
    """

    name: tyro.conf.Positional[LineName | PlaneName | FramesName]
    """Which mask."""
    shape: tuple[int, int]
    """Matrix: rows y (the readout of line masks) and columns x."""
    out: Path
    """Where to write: .npy, or .npz with the key mask. The picture lies beside it, as .png."""
    acceleration: Annotated[float, tyro.conf.arg(aliases=["-R"])] = 4.0
    """R. What is reached, the fully sampled center included, is printed."""
    acs: int | None = None
    """Width of the fully sampled center: columns, or the side of a square (radius for calgary-poisson). By default 8 %
    of the columns up to R = 6, 4 % above; a square of at most 24, and of a third of the samples."""
    seed: int = 0
    """Same seed, same mask."""
    frames: int = 16
    """Frames of the kt- masks."""
    published: bool = False
    """Draw with numpy's generator, bit for bit as the published code does with this seed (where it can be done)."""
    figure: bool = True
    """Save the picture."""
    overwrite: bool = False
    """Replace existing files."""


class Request(NamedTuple):
    """What a mask is drawn from, besides its key."""

    shape: tuple[int, ...]
    acceleration: float
    acs: int
    frames: int


def run(options: Options) -> None:
    """Draw, measure, write."""
    picture = options.out.with_name(stem(options.out, SUFFIXES) + ".png")
    check_output(options.out, suffixes=SUFFIXES, overwrite=options.overwrite)
    if options.figure:
        check_output(picture, suffixes=(".png",), overwrite=options.overwrite)
    mask = draw(
        options.name,
        options.shape,
        acceleration=options.acceleration,
        acs=options.acs,
        seed=options.seed,
        frames=options.frames,
        published=options.published,
    )
    # the center of a series is what all of its frames have
    plane = mask.min(0) if mask.ndim == 3 else mask
    center = measure(plane, options.shape).center if plane.any() else "none"
    choices(
        f"mask {options.name}, {' x '.join(map(str, mask.shape))}",
        [
            (
                "acceleration",
                f"{mask.size / mask.sum():.3f} measured, {options.acceleration:g} asked for",
                "--acceleration",
            ),
            ("center", center, "--acs"),
            ("samples", f"{int(mask.sum())} of {mask.size}", ""),
            ("drawn by", "numpy, as published" if options.published else "jax", "--published"),
            ("seed", str(options.seed), "--seed"),
        ],
    )
    from ..files import atomic

    with atomic(options.out, overwrite=options.overwrite) as temporary:
        if options.out.suffix == ".npz":
            np.savez(temporary, mask=mask)
        else:
            np.save(temporary, mask, allow_pickle=False)
        if options.figure:
            from matplotlib.image import imsave

            drawing = mask[:, 0] if mask.ndim == 3 else np.broadcast_to(mask, options.shape)
            with atomic(picture, overwrite=options.overwrite) as drawn:
                imsave(drawn, drawing, cmap="gray", vmin=0, vmax=1, format="png")
    say(f"wrote {options.out}" + (f" and {picture}" if options.figure else ""))


def draw(
    name: str,
    shape: tuple[int, ...],
    *,
    acceleration: float,
    acs: int | None = None,
    seed: int = 0,
    frames: int = 16,
    published: bool = False,
) -> Float[np.ndarray, "..."]:
    """The mask of a name: (1, x), (y, x) or (frame, 1, x), float32 of 0 and 1.

    Args:
      name: one of the names of `Options.name`.
      shape: (y, x).
      acceleration: R.
      acs: width of the fully sampled center; None as in `Options`.
      seed: the seed of the key, or of numpy's generator.
      frames: number of frames, for masks that have them.
      published: draw bit for bit as the published code.

    Raises:
      ValueError: an acceleration or a center that the mask cannot have, or no published form.
    """
    import jax

    if min(shape) < 1:
        raise ValueError(f"--shape {shape[0]} {shape[1]}: both sizes must be positive")
    acs = default_acs(name, shape, acceleration) if acs is None else acs
    if not 0 <= acs <= shape[1]:
        raise ValueError(f"--acs {acs}: the center of a mask of {shape[0]} x {shape[1]} is 0 to {shape[1]} wide")
    random_source: Any = seed if published else jax.random.key(seed)
    functions = _functions(published)
    if name not in functions:
        raise ValueError(
            f"the mask {name} has no published form: leave --published out; those that have one: {', '.join(functions)}"
        )
    request = Request(shape, acceleration, acs, frames)
    mask = np.asarray(functions[name](random_source, request), np.float32)
    return mask[:, None] if name.startswith("kt-") else np.atleast_2d(mask)


def default_acs(name: str, shape: tuple[int, ...], acceleration: float) -> int:
    """Deep J-Sense's share of columns; for planes a square of at most 24, and of a third of the samples."""
    if "poisson" in name or name == "gaussian-2d":
        side = min(24, int(math.sqrt(shape[0] * shape[1] / max(acceleration, 1) / 3)), *shape)
        return side // 2 if name == "calgary-poisson" else side
    share = 0.08 if acceleration <= 6 else 0.04
    # a quarter of the columns of a narrow matrix or a high R is enough: the ACS must not take them all
    return max(min(round(share * shape[1]), int(shape[1] / max(acceleration, 1) / 2)), 1)


def calibration(
    name: str, shape: tuple[int, ...], *, acceleration: float, acs: int | None = None
) -> Bool[np.ndarray, "..."]:
    """The fully sampled center of the masks of a name, (1, x) of columns and (y, x) of planes.

    Args:
      name: as in `draw`, as is the rest.
      shape: (y, x).
      acceleration: R.
      acs: width of the center.

    Source: the centers of `jaxrecon.sampling`. PromptMR+ gives networks that estimate maps a disc of Calgary's radius,
      and for lines the number that was drawn.
    """
    from ..sampling import acs_disc, acs_square
    from ..sampling.acs import acs_columns, block
    from ..sampling.kt_masks import calibration_columns
    from ..sampling.line_masks import magic_fraction_spacing

    acs = default_acs(name, shape, acceleration) if acs is None else acs
    y, x = shape
    if name == "calgary-poisson":
        return acs_disc((y, x), acs)
    if name in typing.get_args(PlaneName):
        return acs_square((y, x), acs)
    if name in ("fixed-count", "outer-equispaced"):
        columns = block(x, (x - acs) // 2, acs)
    elif name in ("kt-gaussian", "kt-shear"):
        columns = block(x, x // 2 - acs // 2, acs)
    elif name == "kt-variable-density":
        columns = calibration_columns(x, acs)
    else:
        columns = acs_columns(x, magic_fraction_spacing(x, acs, acceleration)[0] if name == "magic-fraction" else acs)
    return columns[None]


def check_center(mask: np.ndarray, region: np.ndarray | None, shape: tuple[int, ...], *, name: str, cure: str) -> None:
    """Raise ValueError where a network that estimates maps would see nothing.

    Args:
      mask: (y, x) or with axes of size 1, or (frame, 1, y, x).
      region: calibration region, as from `calibration`; None: what the network finds around the center of the mask.
      shape: (y, x).
      name: what the message calls the slice.
      cure: what to do.
    """
    plane = np.broadcast_to((mask.min(0)[0] if mask.ndim > 2 else mask) != 0, shape)
    seen = plane[shape[0] // 2, shape[1] // 2] if region is None else (plane & region).any()
    if not seen:
        raise ValueError(
            f"{name}: there is no fully sampled center to estimate maps from: the mask leaves out the center of k-space; "
            + cure
        )


def _functions(published: bool) -> dict[str, Callable[[Any, Request], Any]]:
    """Name -> function of a key (or a seed) and the request."""
    from jaxrecon import sampling

    source: Any = sampling.compatible if published else sampling

    def by_fraction(function):
        return lambda key, r: function(key, r.shape[1], acceleration=r.acceleration, center_fraction=r.acs / r.shape[1])

    def by_frames(function, n_acs="n_acs"):
        return lambda key, r: function(key, r.shape[1], r.frames, acceleration=r.acceleration, **{n_acs: r.acs})

    def by_square(function):
        return lambda key, r: function(key, r.shape, acceleration=r.acceleration, calib_size=(r.acs, r.acs))

    common = {
        "random": by_fraction(source.random_lines),
        "equispaced": by_fraction(source.equispaced_lines),
        "equispaced-fraction": by_fraction(source.equispaced_fraction_lines),
        "magic": by_fraction(source.magic_lines),
        "magic-fraction": by_fraction(source.magic_fraction_lines),
        "fixed-count": lambda key, r: source.fixed_count_lines(
            key, r.shape[1], acceleration=r.acceleration, n_acs=r.acs
        ),
        "poisson": by_square(source.poisson_disc),
        "kt-random": by_frames(source.kt_random_lines),
        "kt-gaussian": by_frames(source.kt_gaussian_lines),
        "kt-shear": by_frames(source.kt_shear_lines),
        "kt-variable-density": by_frames(source.kt_variable_density, "n_cal"),
    }
    if published:
        return common

    def without_key(function):
        return lambda _, r: function(r.shape[1], acceleration=r.acceleration, n_acs=r.acs)

    return common | {
        "integer-spaced": by_fraction(sampling.integer_spaced_lines),
        "gaussian": by_fraction(sampling.gaussian_lines),
        "outer-equispaced": without_key(sampling.outer_equispaced_lines),
        "cmrxrecon": without_key(sampling.cmrxrecon_lines),
        "calgary-poisson": lambda key, r: sampling.calgary_poisson(
            key, r.shape, acceleration=r.acceleration, acs_radius=r.acs
        ),
        "gaussian-2d": by_square(sampling.gaussian_2d),
        "kt-uniform": lambda _, r: sampling.kt_uniform_lines(
            r.shape[1], r.frames, acceleration=r.acceleration, n_acs=r.acs
        ),
    }

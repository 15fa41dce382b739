"""`jaxrecon masks`: any mask of the library by name, written, drawn and measured."""

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from ..sampling.named import draw, names
from ..sampling.pattern import pattern
from .common import check_output, choices, literal, say, stem

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

    name: tyro.conf.Positional[literal(names())]
    """Which mask."""
    shape: tuple[int, int]
    """Matrix: rows y (the readout of line masks) and columns x."""
    out: Path
    """Where to write: .npy, or .npz with the key mask. The picture lies beside it, as .png."""
    acceleration: Annotated[float, tyro.conf.arg(aliases=["-R"])] = 4.0
    """R. What is reached, the fully sampled center included, is printed."""
    acs: int | float | None = None
    """Width of the fully sampled center: columns, or the side of a square (radius for calgary-poisson); below 1 its share
    of the columns. By default 8 % of the columns up to R = 6, 4 % above; a square of at most 24, and of a third of the
    samples."""
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
    center = pattern(plane, options.shape).center if plane.any() else "none"
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

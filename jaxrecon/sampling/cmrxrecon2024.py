"""The pool of masks of CMRxRecon 2024, bit for bit as PromptMR+ draws from it, by numpy's RandomState.

Source: Xin et al. 2024, PromptMR+, and its code.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ..checks import UserError
from . import compatible
from .acs import MASK_DTYPE, acs_columns, acs_square, check_count
from .compatible.seeds import Seed

PoolKind = Literal["uniform", "kt_uniform", "kt_random", "kt_radial"]
"""A kind of mask in the pool."""
POOL: tuple[PoolKind, ...] = ("uniform", "kt_uniform", "kt_random", "kt_radial")
"""The published kinds, in the order that they are drawn from; with others, or fewer, a seed gives other masks."""


class PoolMask(NamedTuple):
    """A mask of the pool.

    Attributes:
      kind: which was drawn.
      mask: (frame, y, x) float32, axes of size 1 where it is constant: uniform (1, 1, x), kt_uniform and kt_random
        (frame, 1, x), kt_radial (frame, y, x).
      acs: the calibration region of the mask: columns (1, x), or for kt_radial a square (y, x), which its masks need not
        fill.
    """

    kind: PoolKind
    mask: Float[np.ndarray, "frame y x"]
    acs: Bool[np.ndarray, "y x"]


def cmrxrecon2024_pool(
    seed: Seed,
    shape: tuple[int, int],
    n_frames: int,
    *,
    kinds: Sequence[PoolKind] = POOL,
    acceleration: Sequence[int] = (4, 8, 12, 16, 20, 24),
    uniform_acceleration: Sequence[int] = (4, 8, 10),
    n_acs: int = 16,
    radial: Mapping[int, Bool[np.ndarray, "frame y x"]] | None = None,
) -> PoolMask:
    """The mask of a series: choice(kinds), then for lines choice([n_acs]), then a choice among the kind's accelerations.

    For the frame that it reconstructs a network of neighbouring frames takes `mask[adjacent_frames(frame, n_frames,
    n_adjacent)]`, or `mask` itself where the kind is uniform; for kt_uniform and kt_radial the published training takes
    the masks around a random frame in their place.

    Args:
      seed: as in `compatible`; the published validation seeds by the name of the file.
      shape: (y, x), y being the readout.
      n_frames: number of frames of the series.
      kinds: the kinds to draw from.
      acceleration: the accelerations to draw from where the kind begins with kt_.
      uniform_acceleration: the accelerations to draw from where the kind is uniform.
      n_acs: columns of the calibration region, and the side of its square.
      radial: R -> masks (frame, y, x) of kt_radial, see `jaxrecon.data.read_radial_bank`.

    Raises:
      ValueError: kt_radial among the kinds without a mask of n_frames or more, (y, x) wide, for each acceleration.

    Source: Xin et al. 2024, PromptMR+.

    Example:
      >>> cmrxrecon2024_pool("P003_T2map.h5", (24, 96), 7, kinds=("uniform", "kt_random")).mask.shape
      (1, 1, 96)
    """
    check_count("n_frames", n_frames)
    if "kt_radial" in kinds:
        _check_radial(radial or {}, acceleration, (n_frames, *shape))
    rng, x = compatible.random_state(seed), shape[1]
    kind = kinds[rng.choice(len(kinds))]
    if kind == "kt_radial":
        assert radial is not None  # `_check_radial` has seen to it
        mask = np.asarray(radial[int(rng.choice(acceleration))][:n_frames] != 0, MASK_DTYPE)
        return PoolMask(kind, mask, acs_square(shape, n_acs))
    if kind == "uniform":
        lines = compatible.cmrxrecon_lines(rng, x, acceleration=uniform_acceleration, n_acs=[n_acs])[None]
    else:
        draw = compatible.kt_uniform_lines if kind == "kt_uniform" else compatible.kt_random_lines
        lines = draw(rng, x, n_frames, acceleration=acceleration, n_acs=[n_acs])
    return PoolMask(kind, lines[:, None], acs_columns(x, n_acs)[None])


def _check_radial(radial, acceleration, wanted):
    """Raise ValueError unless there is a mask of the wanted (frame, y, x) for each acceleration."""
    for rate in acceleration:
        found = radial[rate].shape if rate in radial else None
        if found is None or found[0] < wanted[0] or found[1:] != wanted[1:]:
            raise UserError(
                f"kt_radial, R = {rate}: expected radial masks of {wanted[0]} frames or more of {wanted[1:]}, found "
                f"{'none' if found is None else found}: give radial=read_radial_bank(...), or kinds without kt_radial"
            )

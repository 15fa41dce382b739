"""What a mask measures, in words and numbers."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from ..checks import UserError
from ..host import complete_width
from .acs import detect_acs_rectangle


class Pattern(NamedTuple):
    """A sampling mask in words: its kind, R, its complete center; width of the largest complete square there."""

    kind: str
    acceleration: float
    center: str
    square: int


def pattern(mask: Bool[np.ndarray, "y x"] | Float[np.ndarray, "y x"], shape: tuple[int, ...] | None = None) -> Pattern:
    """Describe a mask (y, x); axes of size 1 are constant and stretch to `shape`.

    Args:
      mask: (y, x), or with axes of size 1; 1 = measured.
      shape: (y, x) of the data; None: the mask's own.

    Raises:
      ValueError: the mask is empty.
    """
    full = np.broadcast_to(np.asarray(mask) != 0, np.shape(mask) if shape is None else shape)
    if not full.any():
        raise UserError("the mask is empty: no sample is measured")
    ny, nx = full.shape
    columns, rows = bool((full == full[:1]).all()), bool((full == full[:, :1]).all())
    kind = {(True, True): "fully sampled", (True, False): "columns (x)", (False, True): "rows (y)"}.get(
        (columns, rows), "points (y, x)"
    )
    height, width = (int(n) for n in jax.jit(detect_acs_rectangle)(jnp.asarray(full)))
    center = {
        "fully sampled": "everything",
        "columns (x)": f"{width} of {nx} columns",
        "rows (y)": f"{height} of {ny} rows",
    }.get(kind, f"{height} x {width}")
    return Pattern(kind, full.size / int(full.sum()), center if height * width else "none", complete_width(full))

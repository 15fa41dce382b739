"""The scale of the data, by the rules of the packages: why one package's lambda is never another's.

Source: BART (pics) and sigpy, whose rules these are.
"""

import dataclasses
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..checks import UserError
from ..complex_ops import rss
from ..problem import Problem
from ..typing import Scalar
from .sense import rss_image

Rule = Literal["none", "max", "p95", "bart"]


def data_scale(problem: Problem, rule: Rule = "bart", *, calib_size: tuple[int, ...] = (24, 24)) -> Float[Array, ""]:
    """A number s such that lambda = 0.01 means the same for y / s whatever the scanner's units; from the measured data only.

    Args:
      problem: the measured data.
      rule: "none" is 1, as sigpy; "max" and "p95" the maximum and the 95th percentile of the zero-filled root-sum-of-squares
        image; "bart" the 90th percentile of a low-resolution image of the calibration region, or its maximum where that is far
        above: max - p90 >= 2 (p90 - median); of an encoding without such a region that of the first picture.
      calib_size: calibration region of "bart", (y, x).

    Returns:
      s, a real number (); 1 for data that are all zero.

    Raises:
      ValueError: an unknown rule.

    Source: "bart": the scaling that BART's pics prints (equal on real data to 6 digits).
    """
    if rule == "none":
        return jnp.ones((), problem.kspace.real.dtype)
    if rule == "bart":
        low = problem.op.encoding.low_resolution(problem.kspace, calib_size)
        sizes = jnp.sort(rss(low, axis=-len(calib_size) - 1).ravel())
        median, p90, largest = sizes[sizes.size // 2], sizes[int(0.9 * sizes.size)], sizes[-1]
        scale = jnp.where(largest - p90 < 2 * (p90 - median), p90, largest)
    elif rule in ("max", "p95"):
        image = rss_image(problem)
        scale = image.max() if rule == "max" else jnp.percentile(image, 95)
    else:
        raise UserError(f"data_scale knows the rules none, max, p95 and bart, not '{rule}'")
    return jnp.where(scale > 0, scale, 1)


def scale_problem(problem: Problem, scale: Scalar) -> Problem:
    """The same problem in units of a scale; multiply the reconstruction by it to undo.

    Args:
      problem: the measured data.
      scale: a number (), e.g. of `data_scale`.

    Example:
      >>> problem = jr.Problem.from_numpy(np.full((1, 4, 4), 8, "complex64"))
      >>> float(scale_problem(problem, jnp.float32(4)).kspace.real.max())
      2.0
    """
    return dataclasses.replace(problem, kspace=problem.kspace / scale)

"""The weight of the regularization, chosen on slices whose images are known."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Inexact

from ..checks import UserError
from ..classical.scale import Rule
from ..metrics import nmse
from ..problem import Problem
from .settings import Settings
from .slicewise import reconstruct_problem

LAMS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
"""Values that are tried where no others are said, in units of the data's scale."""


class FoundLam(NamedTuple):
    """A weight, and how it was found.

    Attributes:
      lam: the value of the smallest error.
      errors: value -> mean NMSE over the slices, in the order in which they were tried.
    """

    lam: float
    errors: dict[float, float]


def find_lam(
    problems: Sequence[Problem],
    targets: Sequence[Inexact[np.ndarray, "y x"]],
    *,
    method: str = "l1-wavelet",
    lams: Sequence[float] = LAMS,
    n_iter: int | None = None,
    wavelet: str | None = None,
    scale: Rule = "bart",
) -> FoundLam:
    """Choose lam on validation slices: that of the smallest mean NMSE of magnitudes, || |x| - |t| ||^2 / ||t||^2.

    The error is of the whole picture, its background too, and a small one is not the sharpest picture; so choose on slices like
    those that are to be reconstructed, of the same acceleration and noise, and score on others. The value is in units of `scale`, as
    `jaxrecon.reconstruct` and `--lam` take it. Where it is at an end of `lams`, try more of them on that side.

    Args:
      problems: undersampled slices, (coil, y, x) each, with maps where the method needs them.
      targets: their images (y, x), real or complex, in the units of the k-space.
      method: one of `jaxrecon.classical.methods.METHODS` that has a lam.
      lams: values to try, not negative.
      n_iter: iterations; None: the method's.
      wavelet: as `Settings.wavelet`.
      scale: as `Settings.scale`.

    Raises:
      ValueError: no slices or values, other numbers of slices and targets, or a method without lam.

    Example:
      >>> image = np.pad(np.ones((8, 8), "complex64"), 4)
      >>> problem = jr.Problem.from_numpy(np.asarray(jr.fourier.fftc(jnp.asarray(image))), mask=np.ones((1, 1)))
      >>> find_lam([problem], [image], method="cg-sense", lams=[0.0, 1.0], n_iter=5).lam
      0.0
    """
    if not problems or not lams or len(problems) != len(targets):
        raise UserError(
            f"to choose among {len(lams)} lam, {len(problems)} problems and {len(targets)} targets were given"
        )
    asked = Settings(method=method, n_iter=n_iter, wavelet=wavelet, scale=scale)
    if asked.classical is None or asked.classical.lam is None:
        raise UserError(f"method {method} has no lam to choose")
    errors = {}
    for lam in map(float, lams):
        each = []
        for problem, target in zip(problems, targets, strict=True):
            n_coils, *shape = problem.kspace.shape[-3:]
            settings = Settings(method=method, lam=lam, n_iter=n_iter, wavelet=wavelet, scale=scale)
            settings = settings.complete(tuple(shape), n_coils=n_coils, given_maps=True)
            image, _ = reconstruct_problem(problem, settings)
            each.append(float(nmse(jnp.abs(jnp.asarray(target)), jnp.abs(image))))
        errors[lam] = float(np.mean(each))
    return FoundLam(min(errors, key=lambda lam: errors[lam]), errors)

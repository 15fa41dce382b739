"""Total variation in space and time: by ADMM, and step by step as sigpy's primal-dual method.

Source: Rudin, Osher and Fatemi 1992; each function names that of its algorithm.
"""

from typing import NamedTuple, TypedDict, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..complex_ops import rss, unit_scale
from ..operators import FiniteDifference, Stack, random_like, real_vdot
from ..problem import Problem
from ..typing import AnyArray, Image, Scalar
from .admm import admm_start, admm_step
from .compressed_sensing import step_size
from .iterate import iterate_until
from .pdhg import pdhg_start, pdhg_step
from .prox import group_soft_threshold, project_group, project_magnitude, soft_threshold
from .sense import check_maps, zero_filled

_FIRST_THRESHOLD = 0.1
"""Of differences, at the first iteration, as a part of the image's root mean square: what suits edges; later iterations adapt it."""


class TotalVariationResult(NamedTuple):
    """What `total_variation_result` reached.

    Attributes:
      image: (..., y, x).
      n_iter: iterations that were made, ().
      change: ||x - x_before|| / ||x|| of the last, ().

    Source: see `total_variation_result`.
    """

    image: Image
    n_iter: Int[Array, ""]
    change: Float[Array, ""]


class TotalVariationOptions(TypedDict, total=False):
    """The options of `total_variation`, as `total_variation_result` explains them."""

    n_iter: int
    tolerance: Scalar
    axes: tuple[int, ...]
    weights: Float[AnyArray, " axis"] | None
    isotropic: bool


def total_variation(problem: Problem, *, lam: Scalar, **options: Unpack[TotalVariationOptions]) -> Image:
    """Minimise 1/2 ||A x - y||^2 + lam ||G x||_1, G circular differences, by ADMM from zero.

    Args:
      problem: a problem with maps.
      lam: weight of the total variation, on the scale of the data (`data_scale`).
      **options: those of `total_variation_result`, which also says what was reached: n_iter, tolerance, axes, weights ...

    Returns:
      Image (..., y, x), with map sets (..., set, y, x).

    Raises:
      ValueError: several coils without maps.

    Source: see `total_variation_result`.

    Example:
      >>> problem = jr.Problem.from_numpy(np.ones((1, 8, 8), "complex64"))
      >>> jax.eval_shape(lambda p: total_variation(p, lam=0.01), problem).shape
      (8, 8)
    """
    return total_variation_result(problem, lam=lam, **options).image


def total_variation_result(
    problem: Problem,
    *,
    lam: Scalar,
    n_iter: int = 300,
    tolerance: Scalar = 0.0,
    axes: tuple[int, ...] = (-2, -1),
    weights: Float[AnyArray, " axis"] | None = None,
    isotropic: bool = False,
) -> TotalVariationResult:
    """As `total_variation`, with the number of iterations that were made and the change in the last.

    An iteration costs one product with A^H A. Its system (A^H A + rho G^H G) is preconditioned by (c + rho G^H G), c the mean
    eigenvalue of A^H A, which a Fourier transform of the image along the axes inverts.

    Args:
      problem: a problem with maps.
      lam: weight of the total variation, on the scale of the data (`data_scale`).
      n_iter: iterations at most, static; 150 are enough as a rule.
      tolerance: stops when the image changes by a smaller part of its norm, e.g. 1e-4. The loop is of n_iter iterations all the
        same, so that reverse mode works: those after the stop are passed over, under `vmap` computed and not used.
      axes: axes of the differences: (-2, -1) in space, with -3 in time for frames.
      weights: (axis,), relative to lam; None for ones.
      isotropic: the 2-norm over the axes of each pixel in place of the 1-norm.

    Returns:
      TotalVariationResult(image, n_iter, change).

    Raises:
      ValueError: several coils without maps.

    Source: Boyd et al. 2011, see `admm_step`; the objective is that of sigpy's TotalVariationRecon.
    """
    check_maps(problem, "total_variation")
    adjoint_data = zero_filled(problem)
    unit = unit_scale(adjoint_data)
    adjoint_data, lam = adjoint_data / unit, lam / unit
    op, shrink = FiniteDifference(axes, weights), group_soft_threshold if isotropic else soft_threshold
    noise = random_like(jax.random.key(0), adjoint_data)
    mean_eigenvalue = real_vdot(noise, problem.op.normal(noise)) / real_vdot(noise, noise)
    mean_eigenvalue = jnp.where(mean_eigenvalue > 0, mean_eigenvalue, 1)  # 0 where all maps are
    symbol = _symbol(adjoint_data, axes, weights)

    def precondition(residual, rho):
        spectrum = jnp.fft.fftn(residual, axes=axes) / (mean_eigenvalue + rho * symbol)
        return jnp.fft.ifftn(spectrum, axes=axes)

    def one_step(state):
        return admm_step(problem.op.normal, adjoint_data, op, shrink, precondition, state, lam=lam)

    size = rss(adjoint_data.ravel(), 0) / np.sqrt(adjoint_data.size) / mean_eigenvalue
    threshold = jnp.where(size > 0, _FIRST_THRESHOLD * size, 1)
    start = admm_start(op, jnp.zeros_like(adjoint_data), threshold)
    state, made = iterate_until(one_step, start, n_iter=n_iter, done=lambda state: state.change <= tolerance)
    return TotalVariationResult(state.x * unit, made, state.change)


def total_variation_iteration(problem: Problem, *, lam, axes=(-2, -1), weights=None, isotropic=False):
    """The start state and the step function of sigpy's TotalVariationRecon, to watch or to unroll (`iterate`).

    It has the same limit as `total_variation`, which needs some hundred times fewer steps where weights differ.

    Args:
      problem: a problem with maps.
      lam: weight of the total variation.
      axes: axes of the differences.
      weights: (axis,), relative to lam; None for ones.
      isotropic: the 2-norm over the axes of each pixel in place of the 1-norm.

    Returns:
      (state, step): a PdhgState, whose `x` is the image, and a function from a state to the next.

    Source: Chambolle and Pock 2011; anisotropic, circular, sigma = theta = 1 as sigpy.
    """
    check_maps(problem, "total_variation")
    x0 = jnp.zeros_like(zero_filled(problem))
    stack = Stack((problem.op, FiniteDifference(axes, weights)))
    tau = step_size(stack, x0)
    project = project_group if isotropic else project_magnitude

    def prox_conjugate(u, sigma):
        data, differences = u
        return (data - sigma * problem.kspace) / (1 + sigma), project(differences, lam)

    return pdhg_start(stack, x0), lambda s: pdhg_step(stack, prox_conjugate, s, tau=tau)


def _symbol(x, axes, weights):
    """The eigenvalues of G^H G in Fourier space, in an array that broadcasts against x."""
    weights = jnp.ones(len(axes), x.real.dtype) if weights is None else weights
    symbol = jnp.zeros((1,) * x.ndim, x.real.dtype)
    for axis, weight in zip(axes, weights, strict=True):
        n = x.shape[axis]
        along = 2 - 2 * np.cos(2 * np.pi * np.arange(n) / n)
        symbol = symbol + weight**2 * along.reshape([-1 if a == axis % x.ndim else 1 for a in range(x.ndim)])
    return symbol

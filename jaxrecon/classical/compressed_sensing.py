"""Compressed sensing: wavelet sparsity by FISTA, total variation in space and time by PDHG or ADMM.

Source: Lustig et al. 2007; each function names that of its algorithm.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..complex_ops import abs2, magnitude
from ..operators import FiniteDifference, LinearOperator, Stack, Wavelet, max_eigenvalue, random_like
from ..problem import Problem
from ..typing import AnyArray, Image, Key, Scalar
from .admm import admm_start, admm_step
from .fista import fista_start, fista_step
from .iterate import iterate
from .pdhg import pdhg_start, pdhg_step
from .prox import group_soft_threshold, project_group, project_magnitude, soft_threshold
from .sense import zero_filled


def l1_wavelet(
    problem: Problem,
    *,
    lam: Scalar,
    n_iter: int = 100,
    wavelet: str = "db4",
    level: int | None = None,
    step: Scalar | None = None,
) -> Image:
    """Minimise 1/2 ||A x - y||^2 + lam ||W x||_1 by FISTA from zero, W sigpy's zero-padded wavelet transform.

    Args:
      problem: a problem with maps; frames and map sets are thresholded each by itself.
      lam: weight of the sparsity term, on the scale of the data (`data_scale`).
      n_iter: iterations, static.
      wavelet: an orthogonal wavelet of PyWavelets.
      level: number of levels, None for the most.
      step: 1 / ||A^H A||; None: estimated by 30 power iterations.

    Returns:
      Image (..., y, x), with map sets (..., set, y, x).

    Source: Lustig et al. 2007 by Beck and Teboulle 2009; W, start and step as sigpy's L1WaveletRecon, whose prox W^H soft(W x) is
      approximate (see `Wavelet`).

    Example:
      >>> problem = jr.Problem.from_numpy(np.ones((1, 8, 8), "complex64"))
      >>> jax.eval_shape(lambda p: l1_wavelet(p, lam=0.01, wavelet="haar"), problem).shape
      (8, 8)
    """
    start, one_step = l1_wavelet_iteration(problem, lam=lam, wavelet=wavelet, level=level, step=step)
    return iterate(one_step, start, n_iter=n_iter)[0].x


def l1_wavelet_iteration(problem: Problem, *, lam, wavelet="db4", level=None, step=None):
    """The start state and the step function of `l1_wavelet`, to watch or to unroll (`iterate`).

    Args:
      problem: a problem with maps; frames and map sets are thresholded each by itself.
      lam: weight of the sparsity term.
      wavelet: an orthogonal wavelet of PyWavelets.
      level: number of levels, None for the most.
      step: 1 / ||A^H A||; None: estimated by 30 power iterations.

    Returns:
      (state, step): a FistaState, whose `x` is the image, and a function from a state to the next.

    Source: see `l1_wavelet`.
    """
    adjoint_data = zero_filled(problem)
    transform = Wavelet(adjoint_data.shape[-problem.op.ndim :], wavelet, level)
    step = _step_size(problem.op, adjoint_data) if step is None else step
    prox = functools.partial(wavelet_prox, transform, lam=lam)
    gradient = lambda x: problem.op.normal(x) - adjoint_data
    return fista_start(jnp.zeros_like(adjoint_data)), lambda s: fista_step(gradient, prox, s, step=step)


def wavelet_prox(transform: Wavelet, x: Image, step, *, lam, keep_approximation: bool = False) -> Image:
    """W^H soft(W x, step lam): the prox of step lam ||W x||_1 where W is a square orthogonal transform.

    Args:
      transform: W.
      x: image (..., y, x).
      step: the step of the proximal gradient method.
      lam: weight of the sparsity term.
      keep_approximation: leave the coarsest approximation band as it is.

    Returns:
      Image (..., y, x).

    Source: Beck and Teboulle 2009; all bands are thresholded in sigpy's L1WaveletRecon.
    """
    approximation, *details = transform.forward(x)
    shrink = lambda band: soft_threshold(band, step * lam)
    approximation = approximation if keep_approximation else shrink(approximation)
    return transform.adjoint((approximation, *map(shrink, details)))


def l1_wavelet_cycle_spun(
    problem: Problem,
    *,
    lam: Scalar,
    key: Key,
    n_iter: int = 100,
    wavelet: str = "db2",
    level: int | None = None,
    step: Scalar | None = None,
) -> Image:
    """As `l1_wavelet` with an orthogonal (periodized) transform, shifted at random in each iteration to hide its block grid.

    Args:
      problem: as for `l1_wavelet`.
      lam: as for `l1_wavelet`.
      key: randomness of the shifts.
      n_iter: iterations, static.
      wavelet: an orthogonal wavelet of PyWavelets; db2 is BART's dau2.
      level: number of levels, None for the most.
      step: 1 / ||A^H A||; None: estimated by 30 power iterations.

    Returns:
      Image (..., y, x).

    Source: cycle spinning, Coifman and Donoho 1995, one random shift per iteration as in BART's pics.
    """
    adjoint_data = zero_filled(problem)
    ndim = problem.op.ndim
    shape = adjoint_data.shape[-ndim:]
    transform = Wavelet(shape, wavelet, level, periodic=True)
    step = _step_size(problem.op, adjoint_data) if step is None else step
    gradient = lambda x: problem.op.normal(x) - adjoint_data
    axes = tuple(range(-ndim, 0))

    def one_step(carry):
        state, i = carry
        # shifts up to the size of the coarsest block reach every alignment of the grid
        shift = jax.random.randint(jax.random.fold_in(key, i), (ndim,), 0, 2**transform.n_levels)

        def prox(x, step):
            shifted = jnp.roll(x, tuple(shift), axes)
            return jnp.roll(wavelet_prox(transform, shifted, step, lam=lam), tuple(-shift), axes)

        return fista_step(gradient, prox, state, step=step), i + 1

    (state, _), _ = iterate(one_step, (fista_start(jnp.zeros_like(adjoint_data)), jnp.int32(0)), n_iter=n_iter)
    return state.x


def total_variation(
    problem: Problem,
    *,
    lam: Scalar,
    n_iter: int = 300,
    axes: tuple[int, ...] = (-2, -1),
    weights: Float[AnyArray, " axis"] | None = None,
    isotropic: bool = False,
) -> Image:
    """Minimise 1/2 ||A x - y||^2 + lam ||G x||_1 by the primal-dual hybrid gradient method from zero.

    Args:
      problem: a problem with maps.
      lam: weight of the total variation, on the scale of the data (`data_scale`).
      n_iter: iterations, static; some hundreds are needed.
      axes: axes of the differences: (-2, -1) in space, with -3 in time for frames.
      weights: (axis,), relative to lam; None for ones.
      isotropic: the 2-norm over the axes of each pixel in place of the 1-norm.

    Returns:
      Image (..., y, x).

    Source: Chambolle and Pock 2011; anisotropic, circular, sigma = theta = 1 as sigpy's TotalVariationRecon.
    """
    start, one_step = total_variation_iteration(problem, lam=lam, axes=axes, weights=weights, isotropic=isotropic)
    return iterate(one_step, start, n_iter=n_iter)[0].x


def total_variation_iteration(problem: Problem, *, lam, axes=(-2, -1), weights=None, isotropic=False):
    """The start state and the step function of `total_variation`, to watch or to unroll (`iterate`).

    Args:
      problem: a problem with maps.
      lam: weight of the total variation.
      axes: axes of the differences.
      weights: (axis,), relative to lam; None for ones.
      isotropic: the 2-norm over the axes of each pixel in place of the 1-norm.

    Returns:
      (state, step): a PdhgState, whose `x` is the image, and a function from a state to the next.

    Source: see `total_variation`.
    """
    x0 = jnp.zeros_like(zero_filled(problem))
    stack = Stack((problem.op, FiniteDifference(axes, weights)))
    tau = _step_size(stack, x0)
    project = project_group if isotropic else project_magnitude

    def prox_conjugate(u, sigma):
        data, differences = u
        return (data - sigma * problem.kspace) / (1 + sigma), project(differences, lam)

    return pdhg_start(stack, x0), lambda s: pdhg_step(stack, prox_conjugate, s, tau=tau)


def total_variation_admm(
    problem: Problem,
    *,
    lam: Scalar,
    rho: Scalar = 1.0,
    n_iter: int = 30,
    n_cg: int = 10,
    axes: tuple[int, ...] = (-2, -1),
    weights: Float[AnyArray, " axis"] | None = None,
    isotropic: bool = False,
) -> Image:
    """As `total_variation`, by ADMM: fewer and dearer iterations, each with CG steps of its own.

    Args:
      problem: a problem with maps.
      lam: weight of the total variation, on the scale of the data (`data_scale`).
      rho: penalty; it changes the speed, not the limit.
      n_iter: iterations, static.
      n_cg: CG steps in each iteration, static.
      axes: axes of the differences: (-2, -1) in space, with -3 in time for frames.
      weights: (axis,), relative to lam; None for ones.
      isotropic: the 2-norm over the axes of each pixel in place of the 1-norm.

    Returns:
      Image (..., y, x).

    Source: Boyd et al. 2011, section 3.1.1 (scaled form).
    """
    adjoint_data = zero_filled(problem)
    op = FiniteDifference(axes, weights)
    shrink = group_soft_threshold if isotropic else soft_threshold
    prox = lambda z, t: shrink(z, lam * t)
    one_step = lambda s: admm_step(problem.op.normal, adjoint_data, op, prox, s, rho=rho, n_cg=n_cg)
    return iterate(one_step, admm_start(op, jnp.zeros_like(adjoint_data)), n_iter=n_iter)[0].x


def objective(problem: Problem, x: Image, penalty: Any) -> Float[Array, ""]:
    """1/2 ||A x - y||^2 + penalty: what the methods of this file minimise.

    Args:
      problem: A and y.
      x: image (..., y, x).
      penalty: a number, e.g. `lam * l1_norm(W @ x)`.

    Returns:
      A real number ().
    """
    return 0.5 * jnp.sum(abs2(problem.op.forward(x) - problem.kspace)) + penalty


def l1_norm(x: Any) -> Float[Array, ""]:
    """Sum of magnitudes over all leaves of a PyTree, a real number ()."""
    return sum((jnp.sum(magnitude(leaf)) for leaf in jax.tree.leaves(x)), start=jnp.zeros(()))


def _step_size(op: LinearOperator, x):
    return 1 / max_eigenvalue(op.normal, random_like(jax.random.key(0), x), n_iter=30)

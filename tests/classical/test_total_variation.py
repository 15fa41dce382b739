"""Total variation: converged at its default, also where weights differ; the stopping rule; what it reaches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon import Problem, classical
from jaxrecon.fourier import fftc

FRAMES, Y, X, COILS = 8, 24, 20, 4
CONVERGED = {(6, 0.003): 0.0159, (3, 0.001): 0.0028}
"""(acceleration, lam) -> NRMSE to the truth after 30000 steps of the primal-dual method."""
AXES, WEIGHTS = (-3, -2, -1), np.array([3.0, 1.0, 1.0], np.float32)
LAM = 0.003


def beating(acceleration=6, seed=0):
    """(problem, truth): a disk that grows and shrinks within still regions, measured by other lines in each frame."""
    y, x = np.mgrid[-1 : 1 : Y * 1j, -1 : 1 : X * 1j]
    still = ((y / 0.85) ** 2 + (x / 0.8) ** 2 < 1) + 0.4 * ((np.abs(y + 0.5) < 0.15) & (np.abs(x) < 0.3))
    radius = 0.35 + 0.15 * np.sin(2 * np.pi * np.arange(FRAMES) / FRAMES)
    disk = (y - 0.1) ** 2 + (x + 0.1) ** 2 < radius[:, None, None] ** 2
    truth = ((still + 0.5 * disk) * np.exp(0.5j * y)).astype(np.complex64)
    angles = 2 * np.pi * np.arange(COILS) / COILS
    maps = np.stack([np.exp(-((y - np.sin(a)) ** 2 + (x - np.cos(a)) ** 2) / 1.2 + 1j * a) for a in angles])
    maps = (maps / np.linalg.norm(maps, axis=0)).astype(np.complex64)
    mask = np.random.default_rng(seed).random((FRAMES, 1, 1, X)) < 1 / acceleration
    mask[..., X // 2 - 1 : X // 2 + 1] = True
    kspace = np.asarray(fftc(jnp.asarray(maps * truth[:, None])))
    return Problem.from_numpy(kspace, mask=mask, maps=maps), truth


PROBLEM, TRUTH = beating()


def error(image, truth=TRUTH):
    return np.linalg.norm(image - truth) / np.linalg.norm(truth)


@functools.partial(jax.jit, static_argnames=("n_iter", "isotropic", "axes"))
def solved(problem, lam=LAM, weights=WEIGHTS, *, n_iter=300, tolerance=0.0, isotropic=False, axes=AXES):
    options = {"n_iter": n_iter, "tolerance": tolerance, "isotropic": isotropic, "axes": axes}
    return classical.total_variation_result(problem, lam=lam, weights=weights, **options)


def primal_dual(problem, n_iter, **options):
    start, one_step = classical.total_variation_iteration(problem, lam=LAM, **options)
    return jax.jit(lambda s: classical.iterate(one_step, s, n_iter=n_iter)[0].x)(start)


@pytest.mark.parametrize(("acceleration", "lam"), CONVERGED)
def test_it_has_converged_at_its_default(acceleration, lam):
    """One product with A^H A an iteration, beside one before them."""
    problem, truth = beating(acceleration)
    converged = CONVERGED[acceleration, lam]
    assert 0.95 * converged < error(solved(problem, lam).image, truth) < 1.1 * converged


def test_the_primal_dual_method_has_not():
    """With as many products: it is sigpy's, and stays so."""
    assert error(primal_dual(PROBLEM, 300, axes=AXES, weights=WEIGHTS)) > 10 * CONVERGED[6, LAM]


@pytest.mark.parametrize("isotropic", [False, True])
def test_its_limit_is_that_of_the_primal_dual_method(isotropic):
    still = PROBLEM.replace(
        kspace=PROBLEM.kspace[0],
        op=PROBLEM.op.replace(encoding=PROBLEM.op.encoding.replace(mask=PROBLEM.op.encoding.mask[0])),
    )
    image = solved(still, weights=None, isotropic=isotropic, axes=AXES[1:]).image
    late = primal_dual(still, 3000, isotropic=isotropic)
    assert np.linalg.norm(image - late) < 0.01 * np.linalg.norm(late)


def test_it_stops_by_the_change_of_the_image():
    """What was reached is said; fixed counts have the tolerance 0."""
    fixed = solved(PROBLEM)
    assert int(fixed.n_iter) == 300
    stopped = solved(PROBLEM, tolerance=1e-3)
    assert 20 < int(stopped.n_iter) < 150 and 0 < float(stopped.change) <= 1e-3
    same = solved(PROBLEM, n_iter=int(stopped.n_iter))
    np.testing.assert_allclose(stopped.image, same.image, atol=1e-5)
    assert float(same.change) == pytest.approx(float(stopped.change), rel=1e-3)
    before = solved(PROBLEM, n_iter=int(stopped.n_iter) - 1)
    assert float(before.change) > 1e-3
    change = np.linalg.norm(same.image - before.image) / np.linalg.norm(same.image)
    assert float(stopped.change) == pytest.approx(change, rel=1e-2)
    assert isinstance(classical.total_variation(PROBLEM, lam=LAM, n_iter=1, axes=AXES), jax.Array)


def test_the_rule_holds_for_each_of_a_batch():
    both = jax.tree.map(lambda a: jnp.stack([a, a]), PROBLEM)
    lams = jnp.array([0.001, 0.01])
    batched = jax.vmap(lambda p, lam: solved(p, lam, tolerance=3e-3, n_iter=100))(both, lams)
    assert int(batched.n_iter[0]) != int(batched.n_iter[1]) and np.all(batched.change <= 3e-3)
    for i, lam in enumerate(lams):
        alone = solved(PROBLEM, lam, tolerance=3e-3, n_iter=100)
        assert int(alone.n_iter) == int(batched.n_iter[i])
        np.testing.assert_allclose(batched.image[i], alone.image, atol=1e-4)


def test_reverse_mode_passes_over_what_was_not_done(x64):
    """The gradient is that of the iterations that were made."""
    problem = jax.tree.map(lambda a: a.astype(jnp.promote_types(a.dtype, jnp.float64)), PROBLEM)

    @jax.jit
    def loss(lam, tolerance):
        options = {"n_iter": 12, "axes": AXES, "weights": WEIGHTS.astype(float), "tolerance": tolerance}
        result = classical.total_variation_result(problem, lam=lam, **options)
        return jnp.sum(jnp.abs(result.image - TRUTH) ** 2), result.n_iter

    slope = jax.jit(jax.grad(lambda *a: loss(*a)[0]))
    for tolerance in (0.0, 0.06):
        made = int(loss(LAM, tolerance)[1])
        assert made == 12 if tolerance == 0 else made < 10
        h = 1e-6 * LAM
        expected = float(loss(LAM + h, tolerance)[0] - loss(LAM - h, tolerance)[0]) / (2 * h)
        assert float(slope(LAM, tolerance)) == pytest.approx(expected, rel=1e-3)


def test_time_alone_is_smoothed():
    strong, weak = (solved(PROBLEM, lam, WEIGHTS[:1], n_iter=100, axes=(-3,)).image for lam in (10.0, 1e-4))
    spread = lambda x: np.linalg.norm(x - x.mean(0, keepdims=True))
    assert spread(strong) < 0.02 * spread(weak)


@pytest.mark.parametrize("isotropic", [False, True])
def test_without_weight_it_is_least_squares(isotropic):
    image = solved(PROBLEM, 0.0, n_iter=200, isotropic=isotropic).image
    gradient = PROBLEM.op.normal(image) - classical.zero_filled(PROBLEM)
    assert error(gradient, classical.zero_filled(PROBLEM)) > 0.99 and image.any()
    nothing = classical.total_variation_iteration(PROBLEM, lam=0.0, isotropic=isotropic)
    assert np.isfinite(nothing[1](nothing[1](nothing[0])).x).all()

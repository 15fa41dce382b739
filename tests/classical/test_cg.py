import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxrecon.classical import cg, cg_implicit


@pytest.fixture
def system(rng):
    """A Hermitian positive definite matrix of condition about 20, and a right-hand side."""
    a = rng.standard_normal((12, 12)) + 1j * rng.standard_normal((12, 12))
    matrix = a @ a.conj().T / 12 + 0.3 * np.eye(12)
    return matrix, rng.standard_normal(12) + 1j * rng.standard_normal(12)


@functools.partial(jax.jit, static_argnames="n_iter")
def solve(matrix, b, x0=None, *, n_iter):
    return cg(lambda v: matrix @ v, b, x0=x0, n_iter=n_iter)


def textbook(matrix, b, n_iter):
    """The iterates 1 .. n_iter of conjugate gradients from zero."""
    x, r = np.zeros(len(b), complex), np.array(b)
    p = r
    for _ in range(n_iter):
        alpha = np.vdot(r, r).real / np.vdot(p, matrix @ p).real
        x, r_new = x + alpha * p, r - alpha * (matrix @ p)
        r, p = r_new, r_new + np.vdot(r_new, r_new).real / np.vdot(r, r).real * p
        yield x


def single(*arrays):
    return [a.astype(np.complex64) for a in arrays]


def test_solves_and_keeps_dtype(system):
    x = solve(*single(*system), n_iter=40)
    np.testing.assert_allclose(x, np.linalg.solve(*system), rtol=1e-4, atol=1e-4)
    assert x.dtype == jnp.complex64


def test_first_iterations_equal_textbook(x64, system):
    for n, x in enumerate(textbook(*system, 5), 1):
        np.testing.assert_allclose(solve(*system, n_iter=n), x, rtol=1e-12)


def test_zero_right_hand_side_and_warm_start(system):
    matrix, b = single(*system)
    assert not np.any(np.asarray(solve(matrix, 0 * b, n_iter=5)))
    (solution,) = single(np.linalg.solve(*system))
    np.testing.assert_allclose(solve(matrix, b, solution, n_iter=3), solution, rtol=1e-4, atol=1e-5)


def test_trees_vmap_and_batch_independence(system):
    matrix, b = single(*system)

    @jax.jit
    def of_a_tree(b):
        normal = lambda v: {"a": matrix @ v["a"], "b": 2 * v["b"]}
        return cg(normal, {"a": b, "b": jnp.ones(3)}, n_iter=30)["b"]

    np.testing.assert_allclose(of_a_tree(b), np.full(3, 0.5), rtol=1e-5)
    mapped = jax.jit(jax.vmap(lambda v: solve(matrix, v, n_iter=6)))(np.stack([b, np.float32(1e-3) * b, 0 * b]))
    mapped, alone = np.asarray(mapped), solve(matrix, b, n_iter=6)
    np.testing.assert_allclose(mapped[0], alone, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(mapped[1] * 1e3, alone, rtol=1e-4, atol=1e-6)
    assert np.isfinite(mapped).all()


def test_gradient_of_the_iterations_by_finite_differences(x64, system):
    matrix, b = system

    @jax.jit
    def loss(b, lam):
        return jnp.sum(jnp.abs(cg(lambda v: matrix @ v + lam * v, b, n_iter=4)) ** 2)

    check_grads(loss, (b, 0.1), order=1, modes=("rev",), rtol=1e-6)


def test_implicit_gradient_is_that_of_the_solution(x64, system):
    def loss(solver):
        def f(matrix, b, lam):
            x = solver(lambda v: matrix @ v + lam * v, b)
            return jnp.sum(jnp.real(x * jnp.arange(1, 13)) + jnp.imag(x) ** 2)

        return jax.jit(jax.grad(f, (0, 1, 2)))(*system, 0.1)

    dense = loss(lambda normal, b: jnp.linalg.solve(jax.vmap(normal, 1, 1)(jnp.eye(12) + 0j), b))
    implicit = loss(lambda normal, b: cg_implicit(normal, b, n_iter=60))
    for a, expected in zip(implicit, dense, strict=True):
        np.testing.assert_allclose(a, expected, rtol=1e-8)


@pytest.mark.parametrize("n_iter", [10, 20, 60])
def test_float32_gradients_stay_finite_after_convergence(n_iter):
    """At lambda = 4 CG converges to round-off within 10 iterations; a plain CG then gives NaN gradients."""
    spectrum = np.linspace(0, 1, 500, dtype=np.float32)
    b = np.random.default_rng(0).standard_normal(500).astype(np.float32)

    def loss(b, lam):
        return jnp.sum(cg(lambda v: spectrum * v + lam * v, 1e-4 * b, n_iter=n_iter) ** 2)

    gradients = jax.jit(jax.grad(loss, (0, 1)))(b, 4.0)
    exact = 2e-8 * b / (spectrum + 4) ** 2, np.sum(-2e-8 * b.astype(float) ** 2 / (spectrum + 4) ** 3)
    for a, expected in zip(gradients, exact, strict=True):
        np.testing.assert_allclose(a, expected, rtol=2e-3, atol=1e-12)


def test_implicit_gradient_of_an_operator_with_a_gradient_of_its_own(x64, rng):
    """A written-out gradient (jax.custom_vjp) has no transpose: the implicit form needs none, as A is Hermitian."""
    a = rng.standard_normal((6, 6)) + 1j * rng.standard_normal((6, 6))
    b = rng.standard_normal(6) + 1j * rng.standard_normal(6)
    plain = lambda a, x: a.conj().T @ (a @ x) + x
    written_out = jax.custom_vjp(plain)
    written_out.defvjp(lambda a, x: (plain(a, x), (a, x)), lambda kept, g: jax.vjp(plain, *kept)[1](g))

    def gradients(normal, solve):
        loss = lambda a, b: jnp.sum(jnp.abs(solve(lambda x: normal(a, x), b, n_iter=12)) ** 2)
        return jax.jit(jax.grad(loss, (0, 1)))(a, b)

    for own, wanted in zip(gradients(written_out, cg_implicit), gradients(plain, cg), strict=True):
        np.testing.assert_allclose(own, wanted, atol=1e-8 * np.abs(wanted).max())


def test_an_indefinite_matrix_is_solved_as_by_plain_cg(x64, rng):
    """A learned weight may pass below zero: CG then has no minimum to find, but its iterates are still those of the quotients."""
    a = rng.standard_normal((8, 8)) + 1j * rng.standard_normal((8, 8))
    basis, b = np.linalg.qr(a)[0], rng.standard_normal(8) + 1j * rng.standard_normal(8)
    matrix = basis * np.array([-1, -0.5, 0.5, 1, 1.5, 2, 2, 2]) @ basis.conj().T
    for n, x in enumerate(textbook(matrix, b, 6), 1):
        np.testing.assert_allclose(solve(matrix, b, n_iter=n), x, rtol=1e-8)
    assert np.linalg.norm(matrix @ x - b) < 1e-10 * np.linalg.norm(b)


def test_a_direction_without_curvature_is_not_taken():
    """p^H A p = 0 where b is no image of A: nothing moves, and the gradient is finite."""
    b, d = np.ones(3, np.float32), np.zeros(3, np.float32)

    def total(b, d):
        x = cg(lambda v: d * v, b, n_iter=3)
        return jnp.sum(x), x

    gradients, x = jax.jit(jax.grad(total, (0, 1), has_aux=True))(b, d)
    assert not np.asarray(x).any()
    assert all(np.isfinite(g).all() for g in gradients)

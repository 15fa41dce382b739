"""The classical methods: against dense solutions and sigpy, jitted, mapped and differentiated."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.type_check import as_user

from jaxrecon import Problem, classical
from jaxrecon.operators import CartesianSense

Y, X, COILS = 24, 18, 4


@pytest.fixture
def problem(rng):
    y, x = np.mgrid[-1 : 1 : Y * 1j, -1 : 1 : X * 1j]
    angles = np.linspace(0, 2 * np.pi, COILS, endpoint=False)
    maps = np.stack([np.exp(-((y - np.sin(a)) ** 2) - (x - np.cos(a)) ** 2 + 1j * x * a) for a in angles])
    maps /= np.sqrt(np.sum(np.abs(maps) ** 2, 0))
    image = ((y**2 + x**2 < 0.6) + 0.5 * (np.abs(y) < 0.3)) * np.exp(1j * y)
    mask = rng.random((Y, X)) < 0.5
    mask[8:16, 5:13] = True
    kspace = CartesianSense(jnp.asarray(maps)).forward(jnp.asarray(image))
    return Problem.from_numpy(np.asarray(kspace), mask=mask, maps=maps)


def _relative(a, b):
    return np.linalg.norm(np.asarray(a) - np.asarray(b)) / np.linalg.norm(b)


def solve(method, problem, **options):
    """One compiled program, where operation by operation there would be a hundred."""
    return np.asarray(jax.jit(functools.partial(method, **options))(problem))


def test_cg_sense_solves_the_normal_equations(problem):
    x = solve(classical.cg_sense, problem, lam=0.05, n_iter=60)
    normal = jax.jit(lambda op, x: op.normal(x) + 0.05 * x)
    assert _relative(normal(problem.op, x), solve(classical.zero_filled, problem)) < 1e-5
    assert _relative(solve(classical.cg_sense, problem, lam=0.05, n_iter=60, implicit_gradient=True), x) < 1e-6


@pytest.mark.parametrize("acceleration", [(2, 1), (1, 3), (2, 3)])
@pytest.mark.parametrize("offset", [0, 1])
def test_unfolding_equals_cg(problem, acceleration, offset, rng):
    mask = np.zeros((Y, X))
    mask[offset % acceleration[0] :: acceleration[0], offset % acceleration[1] :: acceleration[1]] = 1
    kspace = rng.standard_normal((COILS, Y, X)) + 1j * rng.standard_normal((COILS, Y, X))
    uniform = Problem.from_numpy(kspace.astype(np.complex64), mask=mask, maps=np.asarray(problem.op.maps))
    unfolded = solve(classical.sense, uniform, acceleration=acceleration, lam=0.1)
    assert _relative(unfolded, solve(classical.cg_sense, uniform, lam=0.1, n_iter=80)) < 1e-4


def test_unfolding_border_errors(problem):
    with pytest.raises(ValueError, match="must divide the matrix"):
        classical.sense(problem, acceleration=(5, 1))
    with pytest.raises(ValueError, match=r"needs a Cartesian problem with maps \(coil, y, x\)"):
        classical.sense(problem.replace(op=problem.op.replace(maps=None)), acceleration=(2, 1))


def test_soft_sense_with_an_empty_second_set_is_sense(problem):
    maps = np.asarray(problem.op.maps)
    soft = problem.replace(op=problem.op.replace(maps=np.stack([maps, np.zeros_like(maps)])))
    two = solve(classical.cg_sense, soft, lam=0.01, n_iter=10)
    assert two.shape == (2, Y, X)
    assert _relative(two[0], solve(classical.cg_sense, problem, lam=0.01, n_iter=10)) < 1e-6
    assert not two[1].any()


def primal_dual(problem, *, n_iter, **options):
    start, one_step = classical.total_variation_iteration(problem, **options)
    return classical.iterate(one_step, start, n_iter=n_iter)[0].x


def test_l1_wavelet_and_tv_equal_sigpy(problem):
    import sigpy.mri.app

    kspace, maps = np.asarray(problem.kspace), np.asarray(problem.op.maps)
    weights = np.asarray(problem.op.encoding.mask)
    options = {"weights": weights, "show_pbar": False}
    reference = sigpy.mri.app.L1WaveletRecon(kspace, maps, 0.02, wave_name="db2", max_iter=60, **options).run()
    assert _relative(solve(classical.l1_wavelet, problem, lam=0.02, wavelet="db2", n_iter=60), reference) < 2e-3
    reference = sigpy.mri.app.TotalVariationRecon(kspace, maps, 0.02, max_iter=400, **options).run()
    assert _relative(solve(primal_dual, problem, lam=0.02, n_iter=400), reference) < 2e-3
    assert _relative(solve(classical.total_variation, problem, lam=0.02, n_iter=100), reference) < 2e-3


def test_cycle_spinning_lowers_the_objective_and_follows_its_key(problem):
    spin = jax.jit(lambda key: classical.l1_wavelet_cycle_spun(problem, lam=0.02, key=key, n_iter=40))
    spun, again, other = (np.asarray(spin(jax.random.key(k))) for k in (3, 3, 4))
    np.testing.assert_array_equal(spun, again)
    assert np.any(spun != other)
    assert _relative(spun, solve(classical.l1_wavelet, problem, lam=0.02, wavelet="db2", n_iter=40)) < 0.1


def test_without_maps_several_coils_are_refused(problem):
    kspace = np.asarray(problem.kspace)
    several, one = Problem.from_numpy(kspace), Problem.from_numpy(kspace[:1])
    frames = several.replace(kspace=several.kspace[None])
    for name, method in METHODS.items():
        if name == "rss_image":
            continue
        for given in (several, frames):
            with pytest.raises(
                ValueError, match=f"{name.split(',')[0]} combines coils by maps, but the problem has 4 coils"
            ):
                method(given)
        assert method(one).shape == (Y, X)


def test_maps_of_zeros_give_zeros(problem):
    nowhere = problem.replace(op=problem.op.replace(maps=0 * problem.op.maps))
    for name, method in METHODS.items():
        if name != "rss_image":
            assert not np.any(method(nowhere)), name
    # and pixels without maps those pixels alone
    maps = np.asarray(problem.op.maps) * (np.arange(Y) > 7)[:, None]
    part = Problem.from_numpy(np.asarray(problem.kspace), mask=np.arange(Y)[:, None] % 2 == 0, maps=maps)
    image = np.asarray(classical.sense(part, acceleration=(2, 1)))
    assert not image[:8].any() and np.isfinite(image).all() and image[8:].any()


METHODS = {
    "cg_sense": lambda p: classical.cg_sense(p, lam=0.01, n_iter=5),
    "l1_wavelet": lambda p: classical.l1_wavelet(p, lam=0.01, n_iter=5, wavelet="haar"),
    "l1_wavelet_cycle_spun": lambda p: classical.l1_wavelet_cycle_spun(
        p, lam=0.01, n_iter=5, wavelet="haar", key=jax.random.key(0)
    ),
    "total_variation": lambda p: classical.total_variation(p, lam=0.01, n_iter=5),
    "total_variation, isotropic": lambda p: classical.total_variation(
        p, lam=0.01, n_iter=5, isotropic=True, tolerance=0.05
    ),
    "rss_image": classical.rss_image,
}


@pytest.mark.parametrize("name", METHODS)
def test_jit_vmap_and_gradient(problem, name):
    method = METHODS[name]
    single = np.asarray(jax.jit(method)(problem))
    assert single.shape == (Y, X)
    zero = jax.tree.map(np.asarray, problem).replace(kspace=np.zeros_like(problem.kspace))
    both = np.asarray(jax.jit(jax.vmap(method))(jax.tree.map(lambda *a: np.stack(a), problem, zero)))
    assert _relative(both[0], single) < 1e-4
    assert not both[1].any()  # zero data: a zero image, not NaN
    loss = jax.jit(jax.value_and_grad(lambda k: jnp.sum(jnp.abs(method(problem.replace(kspace=k))) ** 2)))
    kspace = np.asarray(problem.kspace)
    gradient = np.asarray(loss(kspace)[1])
    # step small against the data, large against single precision
    h = 3e-3 * np.linalg.norm(kspace) / np.linalg.norm(gradient)
    (after, _), (before, _) = (loss(kspace + sign * h * np.conj(gradient)) for sign in (1, -1))
    slope = np.sum(np.abs(gradient) ** 2)
    assert (float(after) - float(before)) / (2 * h) == pytest.approx(slope, rel=3e-2)


def test_data_scale_rules(problem):
    assert classical.data_scale(problem, "none") == 1
    largest = classical.rss_image(problem).max()
    assert classical.data_scale(problem, "max") == largest
    bart = classical.data_scale(problem, "bart", calib_size=(8, 8))
    assert 0.2 * largest < bart < 1.5 * largest
    doubled = classical.scale_problem(problem, 0.5)
    assert float(classical.data_scale(doubled, "bart", calib_size=(8, 8))) == pytest.approx(2 * float(bart), rel=1e-5)
    empty = problem.replace(kspace=0 * problem.kspace)
    assert classical.data_scale(empty, "p95") == 1
    with as_user(), pytest.raises(ValueError, match="none, max, p95 and bart"):
        classical.data_scale(problem, "norm")

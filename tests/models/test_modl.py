import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.models import TINY, batched
from support.problems import abstract_params, n_parameters, problem, random_params, stack
from support.programs import all_finite, gradient, run

from jaxrecon import models
from jaxrecon.complex_ops import from_channels, to_channels
from jaxrecon.models import MODL_2D_GLEAM, MODL_3D_GLEAM, MoDLConfig, build
from jaxrecon.models.modl import MODL_STAGE_1, regularized_solve
from jaxrecon.nn import CNN

SMALL = MoDLConfig(n_steps=2, features=3, layers=2, norm="none")


@pytest.mark.parametrize(
    ("config", "part", "count"),
    [
        (MoDLConfig(), "steps", 113_413),
        (MODL_STAGE_1, "steps", 113_413),
        (MoDLConfig(bias=True), "steps", 113_671),
        # everything that is stored, moving averages too
        (MoDLConfig(layers=7, bias=True), None, 188_555),
        (MoDLConfig(n_steps=5, layers=3, bias=True, shared=False), None, 199_095),
        (MODL_2D_GLEAM, "steps", 1_078_560),
        (MODL_3D_GLEAM, "steps", 831_600),
    ],
)
def test_published_numbers_of_parameters(config, part, count):
    assert n_parameters(build(config), frames=8 if config.ndim == 3 else None, part=part) == count


@pytest.mark.parametrize("implicit", [True, False])
def test_converged_it_is_the_exact_solve(x64, implicit):
    """After one step and after two."""
    shape = (6, 8)
    given, _ = problem(shape, dtype=np.complex128)
    model = build(dataclasses.replace(SMALL, cg_iters=60, implicit=implicit))
    params = random_params(model, given)
    lam, net = float(params["steps"]["lam"]), CNN(3, 2)

    @jax.jit
    def parts(op, kspace):
        """A^H y, and A^H A as a matrix."""
        basis = jnp.eye(np.prod(shape), dtype=complex).reshape(-1, *shape)
        return op.adjoint(kspace), jax.vmap(op.normal)(basis).reshape(len(basis), -1).T

    denoised = jax.jit(lambda x: x + from_channels(net.apply(params["steps"]["net"], to_channels(x))))
    zero_filled, matrix = jax.device_get(parts(given.op, given.kspace))
    x = zero_filled
    for image in np.asarray(run(model, params, given, every_step=True)):
        rhs = zero_filled + lam * np.asarray(denoised(x))
        x = np.linalg.solve(matrix + lam * np.eye(len(matrix)), rhs.ravel()).reshape(shape)
        np.testing.assert_allclose(image, x, atol=1e-9)


def test_implicit_gradient_is_that_of_converged_iterations(x64):
    """Also with respect to lam and to the maps."""
    given, image = problem((6, 8), dtype=np.complex128)
    params = random_params(build(SMALL), given)

    def gradients(**options):
        model = build(dataclasses.replace(SMALL, cg_iters=60, **options))

        def loss(params, maps):
            own = given.replace(op=given.op.replace(maps=maps))
            return jnp.sum(jnp.abs(models.run(model, params, own) - image) ** 2)

        return jax.tree.leaves(jax.jit(jax.grad(loss, (0, 1)))(params, given.op.maps))

    expected = gradients()
    for options in ({"implicit": True}, {"implicit": True, "warm_start": True}, {"warm_start": True}):
        for a, b in zip(gradients(**options), expected, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-7 * np.abs(b).max())


@pytest.mark.parametrize("n_iter", [10, 20])
def test_gradient_is_finite_where_cg_converges_to_round_off(n_iter):
    given, image = problem((24, 20))
    model = build(dataclasses.replace(TINY["modl-gleam"], cg_iters=n_iter))
    (value, _), gradients = gradient("end_to_end", model)(random_params(model, given), given, image)
    assert np.isfinite(value) and all_finite(gradients)


def test_tolerance_stops_the_iterations():
    given, _ = problem()
    rhs = jax.jit(lambda given: given.op.adjoint(given.kspace))(given)
    first = float(np.sum(np.abs(np.asarray(rhs)) ** 2))

    @functools.partial(jax.jit, static_argnums=2)
    def residual(op, rhs, tolerance):
        x = regularized_solve(op.normal, rhs, 0.1, n_iter=30, tolerance=tolerance)
        return jnp.sum(jnp.abs(op.normal(x) + 0.1 * x - rhs) ** 2)

    loose, tight = (float(residual(given.op, rhs, tolerance)) for tolerance in (0.1 * first, 1e-12))
    assert tight < 1e-6 * first < loose < 0.1 * first


def test_joint_batch_shares_inner_products():
    problems = [problem(seed=s)[0] for s in (0, 1)]
    config = dataclasses.replace(SMALL, n_steps=1, cg_iters=3, warm_start=True)
    model, joint = build(config), build(dataclasses.replace(config, joint_batch=True))
    params = random_params(model, problems[0])
    apart, together = (np.asarray(run(batched(m), params, stack(*problems))) for m in (model, joint))
    assert np.abs(apart - together).max() > 1e-4
    alone = run(joint, params, problems[0])
    np.testing.assert_allclose(alone, apart[0], atol=1e-5)
    twice = np.asarray(run(batched(joint), params, stack(*[problems[0]] * 2)))
    np.testing.assert_allclose(twice[1], alone, atol=1e-5)


def test_gradient_step_in_place_of_cg():
    given, _ = problem()
    model = build(dataclasses.replace(SMALL, n_steps=1, data_consistency="gradient", step_size=0.5, learn_lam=False))
    params = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), abstract_params(model, given))

    @jax.jit
    def expected(op, kspace):
        x = op.adjoint(kspace)  # with N = 0 the denoiser's output is x: its term vanishes
        return x - 0.5 * op.adjoint(op.forward(x) - kspace)

    np.testing.assert_allclose(run(model, params, given), expected(given.op, given.kspace), atol=1e-5)
    assert model.inverse is None


def test_inverse_goes_back(x64):
    given, _ = problem(dtype=np.complex128)
    model = build(dataclasses.replace(TINY["modl-gleam"], cg_iters=40, inverse_iters=60))
    params = random_params(model, given)
    theta = jax.tree.map(lambda a: 0.3 * np.asarray(a)[0], params["steps"])

    @jax.jit
    def there_and_back(theta, given):
        before, context = model.start({}, given)
        after = model.step(theta, before, context, 0)
        return before, after, model.inverse(theta, after, context, 0)

    before, after, back = jax.device_get(there_and_back(theta, given))
    assert np.abs(after["image"] - before["image"]).max() > 1e-2
    assert jax.tree.structure(back) == jax.tree.structure(before)
    np.testing.assert_allclose(back["image"], before["image"], atol=1e-7)


@pytest.mark.parametrize("shared", [True, False])
def test_batch_norm_trains_and_is_frozen_afterwards(shared):
    """Moving averages reach the parameters; with momentum done they reproduce the statistics of the batch."""
    problems, images = stack(*(problem(seed=s) for s in (0, 1)))
    config = dataclasses.replace(SMALL, n_steps=1 if shared else 2, norm="batch", shared=shared)
    model = batched(build(config))
    frozen = model.frozen
    assert frozen.frozen is None and frozen.absorb is None
    params = random_params(model, problems)
    assert jax.tree.structure(params) == jax.tree.structure(abstract_params(frozen, problems))

    @jax.jit
    def train(params):
        image, carry, _ = models.run(model, params, problems, carry=True)
        return image, model.absorb(params, carry)

    trained, after = train(params)
    for _ in range(700):
        _, after = train(after)
    np.testing.assert_allclose(run(frozen, after, problems), trained, rtol=0.02, atol=0.02)
    before = np.asarray(run(frozen, params, problems))
    assert np.abs(before - np.asarray(trained)).max() > 0.1
    gradients = jax.device_get(gradient("end_to_end", model)(params, problems, images)[1])
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradients["start"]))
    assert all_finite(gradients["steps"])


def test_options_that_exclude_each_other():
    with pytest.raises(ValueError, match="implicit gradients need cg_tolerance = 0"):
        build(MoDLConfig(implicit=True, cg_tolerance=1e-10))

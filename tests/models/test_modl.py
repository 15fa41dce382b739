import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.problems import n_parameters, problem

from jaxrecon.complex_ops import from_channels, to_channels
from jaxrecon.models import MoDLConfig, batched, modl, run, stack_problems
from jaxrecon.models.modl import (
    MODL_2D_GLEAM,
    MODL_3D_GLEAM,
    MODL_STAGE_1,
    regularized_solve,
)
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
    assert n_parameters(modl(config), frames=8 if config.ndim == 3 else None, part=part) == count


def dense(op, shape):
    """A^H A as a matrix."""
    basis = jnp.eye(np.prod(shape), dtype=jnp.complex128).reshape(-1, *shape)
    return np.asarray(jax.vmap(op.normal)(basis)).reshape(len(basis), -1).T


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("n_steps", [1, 2])
def test_converged_it_is_the_exact_solve(x64, n_steps, implicit):
    given, _ = problem((6, 5), dtype=np.complex128)
    config = dataclasses.replace(SMALL, n_steps=n_steps, cg_iters=40, implicit=implicit, lam=0.3)
    model = modl(config)
    params = jax.jit(model.init)(jax.random.key(0), given)
    x = zero_filled = given.op.adjoint(given.kspace)
    system = dense(given.op, (6, 5)) + 0.3 * np.eye(30)
    net = jax.jit(CNN(3, 2).apply)
    for _ in range(n_steps):
        z = x + from_channels(net(params["steps"]["net"], to_channels(x)))
        x = jnp.asarray(np.linalg.solve(system, np.ravel(zero_filled + 0.3 * z)).reshape(6, 5))
    np.testing.assert_allclose(jax.jit(lambda p: run(model, p, given))(params), x, atol=1e-9)


def test_implicit_gradient_is_that_of_converged_iterations(x64):
    """Also with respect to lam and to the maps."""
    given, image = problem((6, 5), dtype=np.complex128)

    def gradient(config):
        model = modl(config)
        params = modl(SMALL).init(jax.random.key(0), given)

        def loss(params, maps):
            return jnp.sum(jnp.abs(run(model, params, given.replace(op=given.op.replace(maps=maps))) - image) ** 2)

        return jax.tree.leaves(jax.jit(jax.grad(loss, (0, 1)))(params, given.op.maps))

    config = dataclasses.replace(SMALL, lam=0.3, cg_iters=40)
    expected = gradient(config)
    for options in ({"implicit": True}, {"implicit": True, "warm_start": True}, {"warm_start": True}):
        for a, b in zip(gradient(dataclasses.replace(config, **options)), expected, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-7 * np.abs(b).max())


@pytest.mark.parametrize("n_iter", [10, 20])
def test_gradient_is_finite_where_cg_converges_to_round_off(n_iter):
    given, image = problem((24, 20))
    config = dataclasses.replace(MODL_2D_GLEAM, n_steps=2, features=3, layers=2, cg_iters=n_iter)
    model = modl(config)
    params = jax.jit(model.init)(jax.random.key(0), given)
    value, gradient = jax.jit(jax.value_and_grad(lambda p: jnp.mean(jnp.abs(run(model, p, given) - image))))(params)
    assert np.isfinite(value) and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_tolerance_stops_and_joint_batch_shares_inner_products():
    problems = [problem(seed=s, shape=(10, 8))[0] for s in (0, 1)]
    op, rhs = problems[0].op, problems[0].op.adjoint(problems[0].kspace)
    residual = lambda x: jnp.sum(jnp.abs(op.normal(x) + 0.1 * x - rhs) ** 2)
    first = jnp.sum(jnp.abs(rhs) ** 2).item()
    loose = regularized_solve(op.normal, rhs, 0.1, n_iter=30, tolerance=0.1 * first)
    tight = regularized_solve(op.normal, rhs, 0.1, n_iter=30, tolerance=1e-12)
    assert residual(tight) < 1e-6 * first < residual(loose) < 0.1 * first

    config = dataclasses.replace(SMALL, n_steps=1, cg_iters=3, warm_start=True)
    model, joint = modl(config), modl(dataclasses.replace(config, joint_batch=True))
    params = jax.jit(model.init)(jax.random.key(0), problems[0])
    both = stack_problems(problems)
    out = {m: jax.jit(lambda p, g, m=m: run(batched(m), p, g))(params, both) for m in (model, joint)}
    assert np.abs(out[model] - out[joint]).max() > 1e-4
    alone = jax.jit(lambda p, g: run(joint, p, g))(params, problems[0])
    np.testing.assert_allclose(alone, out[model][0], atol=1e-5)
    twice = jax.jit(lambda p, g: run(batched(joint), p, g))(params, stack_problems([problems[0]] * 2))
    np.testing.assert_allclose(twice[1], alone, atol=1e-5)


def test_gradient_step_in_place_of_cg():
    given, _ = problem()
    model = modl(dataclasses.replace(SMALL, n_steps=1, data_consistency="gradient", step_size=0.5, learn_lam=False))
    params = jax.tree.map(jnp.zeros_like, jax.eval_shape(model.init, jax.random.key(0), given))
    x = given.op.adjoint(given.kspace)  # with N = 0 the denoiser's output is x: its term vanishes
    expected = x - 0.5 * given.op.adjoint(given.op.forward(x) - given.kspace)
    np.testing.assert_allclose(run(model, params, given), expected, atol=1e-5)
    assert model.inverse is None


def test_inverse_goes_back(x64):
    given, _ = problem(dtype=np.complex128)
    config = dataclasses.replace(MODL_2D_GLEAM, n_steps=2, features=3, layers=2, cg_iters=40, inverse_iters=60)
    model = modl(config)
    params = jax.jit(model.init)(jax.random.key(0), given)
    before, context = model.start(params["start"], given)
    theta = jax.tree.map(lambda a: 0.3 * a[0], params["steps"])
    after = jax.jit(model.step)(theta, before, context, 0)
    assert np.abs(after["image"] - before["image"]).max() > 1e-2
    back = jax.jit(model.inverse)(theta, after, context, 0)
    assert jax.tree.structure(back) == jax.tree.structure(before)
    np.testing.assert_allclose(back["image"], before["image"], atol=1e-7)


@pytest.mark.parametrize("shared", [True, False])
def test_batch_norm_trains_and_is_frozen_afterwards(shared):
    """Moving averages reach the parameters; with momentum done they reproduce the statistics of the batch."""
    problems = stack_problems([problem(seed=s)[0] for s in (0, 1)])
    config = dataclasses.replace(SMALL, n_steps=1 if shared else 2, norm="batch", shared=shared)
    model = batched(modl(config))
    frozen = model.frozen
    assert frozen.frozen is None and frozen.absorb is None
    params = jax.jit(model.init)(jax.random.key(0), problems)
    assert jax.tree.structure(params) == jax.tree.structure(jax.eval_shape(frozen.init, jax.random.key(0), problems))

    @jax.jit
    def train(params):
        image, carry, _ = run(model, params, problems, carry=True)
        return image, model.absorb(params, carry)

    trained, after = train(params)
    for _ in range(700):
        _, after = train(after)
    np.testing.assert_allclose(jax.jit(lambda p: run(frozen, p, problems))(after), trained, rtol=0.02, atol=0.02)
    before = jax.jit(lambda p: run(frozen, p, problems))(params)
    assert np.abs(before - trained).max() > 0.1

    loss = lambda p: jnp.sum(jnp.abs(run(model, p, problems)) ** 2)
    gradient = jax.jit(jax.grad(loss))(params)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(gradient["start"]))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient["steps"]))


def test_options_that_exclude_each_other():
    with pytest.raises(ValueError, match="implicit gradients need cg_tolerance = 0"):
        modl(MoDLConfig(implicit=True, cg_tolerance=1e-10))

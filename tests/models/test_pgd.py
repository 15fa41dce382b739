import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.problems import n_parameters, problem, with_mask

from jaxrecon.models import PGDConfig, batched, pgd, run, stack_problems
from jaxrecon.models.pgd import PGD_2D_FASTMRI_GLEAM, PGD_3D_CINE, PGD_3D_CINE_GLEAM

SMALL = PGDConfig(n_steps=2, features=3)


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (PGDConfig(), 2_191_216),
        (PGD_2D_FASTMRI_GLEAM, 6_573_648),
        (PGD_3D_CINE, 832_208),
        (PGD_3D_CINE_GLEAM, 2_496_624),
        (dataclasses.replace(PGD_3D_CINE, features=60), 1_193_048),
        (PGDConfig(shared=True), 273_902),
        (PGDConfig(learn_step=True), 2_191_216 + 8),
    ],
)
def test_published_numbers_of_parameters(config, count):
    assert n_parameters(pgd(config), frames=8 if config.ndim == 3 else None) == count


def without_network(params):
    """All weights 0: the global residual leaves the data consistency alone."""
    return jax.tree.map(jnp.zeros_like, params)


@pytest.mark.parametrize("n_steps", [1, 2])
@pytest.mark.parametrize("frames", [None, 5])
def test_without_network_it_is_gradient_descent(n_steps, frames):
    given, _ = problem(frames=frames)
    model = pgd(PGDConfig(n_steps=n_steps, features=3, step_size=0.25, ndim=3 if frames else 2))
    params = without_network(jax.eval_shape(model.init, jax.random.key(0), given))
    x = given.op.adjoint(given.kspace)
    for _ in range(n_steps):
        x = x - 0.5 * given.op.adjoint(given.op.forward(x) - given.kspace)
    np.testing.assert_allclose(jax.jit(lambda p: run(model, p, given))(params), x, atol=2e-5)


def test_learned_step_starts_at_the_fixed_one_and_learns():
    given, image = problem()
    learned = pgd(dataclasses.replace(SMALL, learn_step=True))
    params = jax.jit(learned.init)(jax.random.key(0), given)
    np.testing.assert_array_equal(params["steps"]["step_size"], [1, 1])
    loss = lambda p: (jnp.sum(jnp.abs(run(learned, p, given) - image) ** 2), run(learned, p, given))
    gradient, out = jax.jit(jax.grad(loss, has_aux=True))(params)
    assert np.all(np.asarray(gradient["steps"]["step_size"]) != 0)
    fixed = {"start": {}, "steps": {"net": params["steps"]["net"]}}
    np.testing.assert_allclose(out, jax.jit(lambda p: run(pgd(SMALL), p, given))(fixed), atol=1e-5)


@pytest.mark.parametrize("circular", [True, False])
def test_circular_time_follows_a_shift_of_the_frames(circular):
    given, _ = problem(frames=6)
    model = pgd(PGDConfig(n_steps=1, features=2, blocks=1, ndim=3, circular_time=circular))
    params = jax.jit(model.init)(jax.random.key(0), given)
    roll = lambda a: jnp.roll(a, 2, 0)
    rolled = with_mask(given, roll(given.op.encoding.mask)).replace(kspace=roll(given.kspace))
    reconstruct = jax.jit(lambda g: run(model, params, g))
    difference = np.abs(reconstruct(rolled) - roll(reconstruct(given))).max()
    assert (difference < 1e-5) == circular


def test_scan_loop_batch_and_early_exit_agree():
    problems = [problem(seed=s)[0] for s in (0, 1)]
    model = pgd(SMALL)
    params = jax.jit(model.init)(jax.random.key(0), problems[0])
    every = jax.jit(lambda p, g: run(model, p, g, every_step=True))(params, problems[1])
    loop = jax.jit(lambda p, g: run(model, p, g, loop=True))(params, problems[1])
    early = jax.jit(lambda p, g: run(model, p, g, n_steps=1))(params, problems[1])
    batch = jax.jit(lambda p, g: run(batched(model), p, g))(params, stack_problems(problems))
    for other, reference in ((loop, every[1]), (early, every[0]), (batch[1], every[1])):
        np.testing.assert_allclose(other, reference, atol=1e-5)


def test_bfloat16_keeps_images_in_single_precision():
    given, _ = problem()
    model = pgd(dataclasses.replace(SMALL, bfloat16=True))
    params = jax.jit(model.init)(jax.random.key(0), given)
    out, reference = (jax.jit(lambda p, m=m: run(m, p, given))(params) for m in (model, pgd(SMALL)))
    assert out.dtype == jnp.complex64
    assert 0 < np.abs(out - reference).max() < 0.1

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.models import TINY
from support.problems import abstract_params, n_parameters, problem, random_params, with_mask
from support.programs import gradient, run

from jaxrecon.models import PGDConfig, build
from jaxrecon.models.pgd import PGD_2D_FASTMRI_GLEAM, PGD_3D_CINE, PGD_3D_CINE_GLEAM

SMALL = TINY["pgd"]


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
    assert n_parameters(build(config), frames=8 if config.ndim == 3 else None) == count


@pytest.mark.parametrize("frames", [None, 5])
def test_without_network_it_is_gradient_descent(frames):
    """All weights 0: the global residual leaves the data consistency alone; after one step and after two."""
    given, _ = problem(frames=frames)
    model = build(dataclasses.replace(SMALL, step_size=0.25, ndim=3 if frames else 2))
    params = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), abstract_params(model, given))

    @jax.jit
    def step(x, given):
        return x - 0.5 * given.op.adjoint(given.op.forward(x) - given.kspace)

    x = jax.jit(lambda given: given.op.adjoint(given.kspace))(given)
    for image in np.asarray(run(model, params, given, every_step=True)):
        x = step(x, given)
        np.testing.assert_allclose(image, x, atol=2e-5)


def test_learned_step_starts_at_the_fixed_one_and_learns():
    given, image = problem()
    learned, fixed = build(dataclasses.replace(SMALL, learn_step=True)), build(SMALL)
    params = random_params(fixed, given)
    start = jax.jit(lambda key: learned.init(key, given)["steps"]["step_size"])(jax.random.key(0))
    np.testing.assert_array_equal(start, [1, 1])
    both = {"start": {}, "steps": {**params["steps"], "step_size": start}}
    (value, _), gradients = gradient("end_to_end", learned)(both, given, image)
    assert np.all(np.asarray(gradients["steps"]["step_size"]) != 0)
    (expected, _), of_net = gradient("end_to_end", fixed)(params, given, image)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for a, b in zip(*(jax.tree.leaves(tree["steps"]["net"]) for tree in (gradients, of_net)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("circular", [True, False])
def test_circular_time_follows_a_shift_of_the_frames(circular):
    given, _ = problem(frames=6)
    model = build(dataclasses.replace(TINY["pgd-cine"], circular_time=circular))
    params = random_params(model, given)
    roll = lambda a: np.roll(a, 2, 0)
    rolled = with_mask(given, roll(given.op.encoding.mask)).replace(kspace=roll(given.kspace))
    difference = np.abs(np.asarray(run(model, params, rolled)) - roll(run(model, params, given))).max()
    assert (difference < 1e-5) == circular


def test_bfloat16_keeps_images_in_single_precision():
    given, _ = problem()
    params = random_params(build(SMALL), given)
    out, exact = (run(build(dataclasses.replace(SMALL, bfloat16=low)), params, given) for low in (True, False))
    assert out.dtype == jnp.complex64
    assert 0 < np.abs(np.asarray(out) - np.asarray(exact)).max() < 0.1

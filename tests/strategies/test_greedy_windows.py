"""PromptMR+ by GLEAM: modules of two steps against an explicit loop, and what modules of one step leave untaught."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.toy import mean_square

from jaxrecon import models
from jaxrecon.experiment.catalog import CATALOG
from jaxrecon.operators import CartesianSense
from jaxrecon.problem import Problem
from jaxrecon.strategies import Gleam, PGleam, gleam
from jaxrecon.strategies.configs import modules_of

# attention's ReLU may happen to be off everywhere, which is no matter of the strategy
TINY = CATALOG["promptmr-plus"].tiny
CONFIG = dataclasses.replace(TINY, n_steps=4, sizes=dataclasses.replace(TINY.sizes, attention=False))
FRAMES, COILS, Y, X = CONFIG.n_adjacent, 2, 8, 9


@pytest.fixture(scope="module")
def setup():
    """(model, parameters, problem, target) of neighbouring frames with masks of their own, without maps; float64."""
    rng = np.random.default_rng(0)
    mask = rng.random((FRAMES, 1, 1, X)) < 0.5
    mask[..., X // 2 - 2 : X // 2 + 2] = True
    kspace = rng.standard_normal((FRAMES, COILS, Y, X)) + 1j * rng.standard_normal((FRAMES, COILS, Y, X))
    model = models.promptmr_plus(CONFIG)
    with jax.enable_x64(True):
        problem = Problem(jnp.asarray(kspace * mask), CartesianSense(None, jnp.asarray(mask, float)))
        return model, jax.jit(model.init)(jax.random.key(0), problem), problem, jnp.asarray(rng.random((Y, X)))


def latent_rows(gradients):
    """(step, ...) of the last layer: its channels of the latent, the third of the complex images, real and imaginary."""
    out = gradients["steps"]["net"]["params"]["unet"]["out"]["kernel"]
    images = out.reshape(*out.shape[:-1], 2, 1 + CONFIG.n_buffers, FRAMES)
    return np.abs(images[..., 2, :]).reshape(len(out), -1)


def test_equals_an_explicit_loop_and_teaches_every_weight(setup, x64):
    """The default is modules of two steps: all leaves learn, and the latent of each module's first step."""
    model, params, problem, target = setup
    modules = modules_of(Gleam(), model)
    assert modules == 2

    def greedy_losses(params):
        carry, context = model.start(params["start"], problem)
        losses = []
        for i in range(CONFIG.n_steps):
            if i == 2:
                carry, context = jax.lax.stop_gradient((carry, context))
            carry = model.step(jax.tree.map(lambda a, i=i: a[i], params["steps"]), carry, context, i)
            if i % 2 == 1:
                losses.append(mean_square(model.finish(carry, context), target))
        return sum(losses), jnp.stack(losses)

    (_, losses), expected = jax.jit(jax.value_and_grad(greedy_losses, has_aux=True))(params)
    (value, aux), own = jax.jit(gleam(modules)(model, mean_square))(params, problem, target)
    np.testing.assert_allclose(aux["losses"], losses, rtol=1e-12)
    assert value == aux["losses"][-1]
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(own), jax.tree.leaves(expected), strict=True):
        assert a.dtype == jnp.float64
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10 * float(jnp.abs(b).max()), err_msg=str(path))
        frozen = path[-1].key == "prompt"
        steps = a if path[0].key == "steps" else a[None]
        assert all(bool(jnp.any(step != 0)) != frozen for step in steps), path
    latent = latent_rows(own)
    assert latent[[0, 2]].all() and not latent[[1, 3]].any()


def test_modules_of_one_step_teach_no_latent(setup, x64):
    model, params, problem, target = setup
    _, own = jax.jit(gleam(CONFIG.n_steps)(model, mean_square))(params, problem, target)
    assert not latent_rows(own).any()


@pytest.mark.parametrize(("n_steps", "expected"), [(12, 6), (4, 2), (9, 3), (3, 1), (2, 1), (1, 1), (7, 1)])
def test_default_number_of_modules(n_steps, expected):
    """The most that leave two steps or more; one per step where the network has no latent; a given number stands."""
    config = dataclasses.replace(CONFIG, n_steps=n_steps)
    assert modules_of(Gleam(), config.build()) == expected
    assert modules_of(Gleam(n_steps), config.build()) == n_steps
    assert modules_of(PGleam(), dataclasses.replace(config, n_buffers=0).build()) == n_steps
    assert modules_of(Gleam(), models.PGDConfig(n_steps=n_steps).build()) == n_steps

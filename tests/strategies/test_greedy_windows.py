"""PromptMR+ by GLEAM in modules of two steps, its default, against an explicit loop."""

import dataclasses

import jax
import numpy as np
import pytest
from support.greedy import greedy_gradients, latent_learns
from support.models import TINY
from support.problems import problem_for, random_params
from support.toy import mean_square

from jaxrecon import models
from jaxrecon.models import build
from jaxrecon.strategies import Gleam, PGleam, gleam
from jaxrecon.strategies.configs import modules_of

PLUS = TINY["promptmr-plus"]
# attention's ReLU may happen to be off everywhere, which is no matter of the strategy
CONFIG = dataclasses.replace(PLUS, n_steps=4, sizes=dataclasses.replace(PLUS.sizes, attention=False))


def test_equals_an_explicit_loop_and_teaches_every_weight(x64):
    """The default is modules of two steps: all leaves learn, and the latent of each module's first step."""
    model = build(CONFIG)
    given, target = problem_for(model, maps=False, dtype=np.complex128)
    params = random_params(model, given)
    modules = modules_of(Gleam(), model)
    assert modules == 2
    losses, expected = greedy_gradients(model, params, given, target, n_modules=2, loss=mean_square)
    (value, aux), own = jax.device_get(jax.jit(gleam(modules)(model, mean_square))(params, given, target))
    np.testing.assert_allclose(aux["losses"], losses, rtol=1e-12)
    assert value == aux["losses"][-1]
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(own), jax.tree.leaves(expected), strict=True):
        assert a.dtype == np.float64
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10 * np.abs(b).max(), err_msg=str(path))
        frozen = path[-1].key == "prompt"
        steps = a if path[0].key == "steps" else a[None]
        assert all(bool(np.any(step != 0)) != frozen for step in steps), path
    assert latent_learns(own, CONFIG) == [True, False, True, False]


@pytest.mark.parametrize(("n_steps", "expected"), [(12, 6), (4, 2), (9, 3), (3, 1), (2, 1), (1, 1), (7, 1)])
def test_default_number_of_modules(n_steps, expected):
    """The most that leave two steps or more; one per step where the network has no latent; a given number stands."""
    config = dataclasses.replace(CONFIG, n_steps=n_steps)
    assert modules_of(Gleam(), config.build()) == expected
    assert modules_of(Gleam(n_steps), config.build()) == n_steps
    assert modules_of(PGleam(), dataclasses.replace(config, n_buffers=0).build()) == n_steps
    assert modules_of(Gleam(), models.PGDConfig(n_steps=n_steps).build()) == n_steps

"""Deep J-Sense under the strategies that the matrix of models and strategies leaves out or tests at one weight only."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from support.greedy import module_gradient, no_carry
from support.models import TINY
from support.problems import problem_for, random_params
from support.programs import assert_trees_close
from support.toy import mean_square

from jaxrecon import models
from jaxrecon.models import build
from jaxrecon.strategies import deep_supervision, gleam, gleam_shared, module_mesh, p_gleam, per_module
from jaxrecon.training import from_grad_fn

CONFIG = dataclasses.replace(TINY["deep-jsense"], map_iters=1, image_iters=1)


@pytest.fixture(scope="module")
def batches():
    """Problems with their magnitude images; maps are not given."""
    return [problem_for(build(CONFIG), seed=seed, maps=False) for seed in range(2)]


def test_deep_supervision_is_the_weighted_sum(batches):
    model, weights = build(dataclasses.replace(CONFIG, map_net=False)), (0.5, 2.0)
    given, target = batches[0]
    params = random_params(model, given)

    def total(params):
        pictures = models.run(model, params, given, every_step=True)
        return sum(w * mean_square(x, target) for w, x in zip(weights, pictures, strict=True))

    expected_value, expected = jax.jit(jax.value_and_grad(total))(params)
    (value, _), own = jax.jit(deep_supervision(weights)(model, mean_square))(params, given, target)
    assert float(value) == pytest.approx(float(expected_value), rel=1e-5)
    assert_trees_close(own, expected, 1e-4)


def test_gleam_shared_updates_after_each_module(batches):
    """The explicit loop: the second step runs and learns with the weights that the first has changed."""
    model, tx = build(CONFIG), optax.adam(1e-2)
    params = random_params(model, batches[0][0])
    gradient = module_gradient(model, 1, mean_square)

    @jax.jit
    def updated(g, tx_state, theta):
        updates, tx_state = tx.update(g, tx_state, theta)
        return optax.apply_updates(theta, updates), tx_state

    theta, tx_state, seen = params["steps"], jax.jit(tx.init)(params["steps"]), []
    for given, target in batches:
        carry = no_carry(model, {}, given)
        for i in range(2):
            (value, carry), (_, g) = gradient({}, theta, carry, i, given, target)
            theta, tx_state = updated(g, tx_state, theta)
            seen.append(value)
    update = gleam_shared(2, tx)(model, mean_square)
    state, losses = update.init(params, jax.random.key(0)), []
    for given, target in batches:
        state, metrics = update(state, given, target)
        losses += jax.device_get(metrics["losses"]).tolist()
    np.testing.assert_allclose(losses, seen, rtol=1e-4)
    assert_trees_close(state.params["steps"], theta, 1e-3)


def test_p_gleam_is_gleam_with_separate_image_networks(batches):
    """What the steps share is in `start`, and learns from the first module."""
    model, tx = build(dataclasses.replace(CONFIG, shared=False)), optax.adam(1e-3)
    params, ends = random_params(model, batches[0][0]), []
    greedy = from_grad_fn(gleam(2)(model, mean_square), per_module(tx, 2))
    for update in (greedy, p_gleam(2, module_mesh(1), tx)(model, mean_square)):
        state, losses = update.init(params, jax.random.key(1)), []
        for given, target in batches:
            state, metrics = update(state, given, target)
            losses.append(metrics["losses"])
        ends.append(jax.device_get((state.params, losses)))
    assert_trees_close(*ends, 1e-5)
    for part in ("start", "steps"):
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max() > 1e-4, ends[0][0][part], jax.device_get(params[part]))
        assert all(jax.tree.leaves(moved))

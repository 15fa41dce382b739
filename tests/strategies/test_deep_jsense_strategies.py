"""Deep J-Sense under the strategies that the matrix of models and strategies leaves out or tests at one weight only."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.toy import assert_trees_close, make_problem, mean_square

from jaxrecon.models import DeepJSenseConfig, deep_jsense, run
from jaxrecon.strategies import deep_supervision, gleam, gleam_shared, module_mesh, p_gleam, per_module
from jaxrecon.training import from_grad_fn

TINY = DeepJSenseConfig(n_steps=2, map_iters=1, image_iters=1, kernel=(3, 3), features=2, blocks=2)


@pytest.fixture(scope="module")
def batches():
    """Problems with their magnitude images; maps are not given."""
    pairs = [make_problem(seed) for seed in range(2)]
    return [(p.replace(op=p.op.replace(maps=None)), jnp.abs(target)) for p, target in pairs]


def test_deep_supervision_is_the_weighted_sum(batches):
    model, weights = deep_jsense(dataclasses.replace(TINY, map_net=False)), (0.5, 2.0)
    problem, target = batches[0]
    params = jax.jit(model.init)(jax.random.key(0), problem)

    def total(params):
        pictures = run(model, params, problem, every_step=True)
        return sum(w * mean_square(x, target) for w, x in zip(weights, pictures, strict=True))

    expected = jax.jit(jax.value_and_grad(total))(params)
    (value, _), own = jax.jit(deep_supervision(weights)(model, mean_square))(params, problem, target)
    assert float(value) == pytest.approx(float(expected[0]), rel=1e-5)
    assert_trees_close(own, expected[1], 1e-4)


def test_gleam_shared_updates_after_each_module(batches):
    """The explicit loop: the second step runs and learns with the weights that the first has changed."""
    model, tx = deep_jsense(TINY), optax.adam(1e-2)
    params = jax.jit(model.init)(jax.random.key(0), batches[0][0])

    @jax.jit
    def module(theta, tx_state, carry, context, target, i):
        def loss(theta):
            after = model.step(theta, carry, context, i)
            return mean_square(model.finish(after, context), target), after

        (value, after), gradient = jax.value_and_grad(loss, has_aux=True)(theta)
        updates, tx_state = tx.update(gradient, tx_state, theta)
        return optax.apply_updates(theta, updates), tx_state, after, value

    theta, tx_state, seen = params["steps"], tx.init(params["steps"]), []
    for problem, target in batches:
        carry, context = model.start({}, problem)
        for i in range(2):
            theta, tx_state, carry, value = module(theta, tx_state, carry, context, target, i)
            seen.append(value)
    update = gleam_shared(2, tx)(model, mean_square)
    state, losses = update.init(params, jax.random.key(0)), []
    for problem, target in batches:
        state, metrics = update(state, problem, target)
        losses += [*metrics["losses"]]
    np.testing.assert_allclose(losses, seen, rtol=1e-4)
    assert_trees_close(state.params["steps"], theta, 1e-3)


def test_p_gleam_is_gleam_with_separate_image_networks(batches):
    """What the steps share is in `start`, and learns from the first module."""
    model, tx = deep_jsense(dataclasses.replace(TINY, shared=False)), optax.adam(1e-3)
    params, ends = jax.jit(model.init)(jax.random.key(0), batches[0][0]), []
    greedy = from_grad_fn(gleam(2)(model, mean_square), per_module(tx, 2))
    for update in (greedy, p_gleam(2, module_mesh(1), tx)(model, mean_square)):
        state, losses = update.init(params, jax.random.key(1)), []
        for problem, target in batches:
            state, metrics = update(state, problem, target)
            losses.append(metrics["losses"])
        ends.append(jax.device_get((state.params, losses)))
    assert_trees_close(*ends, 1e-5)
    for part in ("start", "steps"):
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max() > 1e-4, ends[0][0][part], jax.device_get(params[part]))
        assert all(jax.tree.leaves(moved))

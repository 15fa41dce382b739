"""Greedy training of shared weights: the written-out loop of updates within a mini-batch."""

import jax
import numpy as np
import optax
import pytest
from support.greedy import module_gradient, no_carry
from support.models import MODELS, batched
from support.problems import abstract_params, batch, problem_for, random_params
from support.programs import assert_trees_close
from support.toy import N, mean_square, toy

from jaxrecon.models import build
from jaxrecon.strategies import end_to_end, gleam_shared, per_module
from jaxrecon.training import from_grad_fn


@pytest.fixture(scope="module")
def batches():
    return [batch(seed=seed) for seed in range(3)]


@pytest.mark.parametrize("learned_start", [False, True])
@pytest.mark.parametrize("n_modules", [N, N // 2])
def test_equals_an_explicit_loop(n_modules, learned_start, batches):
    """The loss of module m is 1 + m times the first one's."""
    model, per = batched(toy(shared=True, learned_start=learned_start)), N // n_modules
    params, tx = random_params(model, batches[0][0]), optax.adam(1e-2)
    losses = [lambda x, y, m=m: (1 + m) * mean_square(x, y) for m in range(n_modules)]
    update = gleam_shared(n_modules, tx, ema_decay=0.9)(model, losses)
    state = update.init(params, jax.random.key(0))

    @jax.jit
    def updated(gradient, tx_state, params, factor):
        updates, tx_state = tx.update(jax.tree.map(lambda g: factor * g, gradient), tx_state, params)
        return optax.apply_updates(params, updates), tx_state

    gradient = module_gradient(model, per, mean_square)
    theta, start = params["steps"], params["start"]
    theta_state, start_state = (jax.jit(tx.init)(own) for own in (theta, start))
    ema = jax.device_get(theta)
    for problems, targets in batches:
        seen, carry, g_start = [], no_carry(model, start, problems), None
        for m in range(n_modules):
            (value, carry), (g, g_theta) = gradient(start, theta, carry, m * per, problems, targets)
            g_start = g if m == 0 else g_start
            seen.append((1 + m) * float(value))
            theta, theta_state = updated(g_theta, theta_state, theta, 1.0 + m)
            ema = jax.tree.map(lambda e, p: 0.9 * e + 0.1 * np.asarray(p), ema, theta)
        start, start_state = updated(g_start, start_state, start, 1.0)
        state, metrics = update(state, problems, targets)
        metrics = jax.device_get(metrics)
        np.testing.assert_allclose(metrics["losses"], seen, rtol=1e-5)
        assert metrics["loss"] == metrics["losses"][-1] and metrics["grad_norm"] > 0 and not metrics["nonfinite"].any()
    assert_trees_close(state.params, {"start": start, "steps": theta}, 1e-5)
    assert_trees_close(state.ema["steps"], ema, 1e-5)
    assert int(state.step) == 3 and int(optax.tree.get(state.opt_state["steps"], "count")) == 3 * n_modules


SHARED = [name for name, config in MODELS.items() if build(config).shared and build(config).absorb is None]


@pytest.mark.parametrize("name", SHARED)
def test_networks_of_shared_weights(name):
    """A step for every one of them, whose state keeps its shapes; in numbers for the toy, above, and one below."""
    model = build(MODELS[name])
    given, target = problem_for(model)
    update = gleam_shared(2, optax.adam(1e-2))(model, mean_square)
    state = jax.eval_shape(update.init, abstract_params(model, given), jax.random.key(0))
    after, metrics = jax.eval_shape(update.step, state, given, target)
    shapes = lambda tree: jax.tree.map(lambda a: (a.shape, a.dtype), tree)
    assert shapes(after) == shapes(state)
    assert metrics["losses"].shape == (2,)


def test_pgd_updates_after_each_module():
    """The explicit loop: the second step runs and learns with the weights that the first has changed."""
    model, tx = build(MODELS["pgd, shared"]), optax.adam(1e-2)
    batches = [problem_for(model, seed=seed) for seed in range(2)]
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


def test_one_module_is_end_to_end(batches):
    model, tx = batched(toy(shared=True, learned_start=True)), optax.adam(1e-2)
    params, ends = random_params(model, batches[0][0]), []
    for update in (gleam_shared(1, tx)(model, mean_square), from_grad_fn(end_to_end()(model, mean_square), tx)):
        state = update.init(params, jax.random.key(0))
        for one in batches:
            state, metrics = update(state, *one)
        ends.append((state.params, metrics["loss"], metrics["grad_norm"]))
    assert_trees_close(*ends, 1e-5)


def test_what_is_not_finite_changes_nothing(batches):
    model = batched(toy(shared=True))
    params = random_params(model, batches[0][0])
    update = gleam_shared(2, optax.adam(1e-2))(model, [mean_square, lambda x, y: mean_square(x, y) / 0])
    state, metrics = update(update.init(params, jax.random.key(0)), *batches[0])
    assert metrics["nonfinite"].tolist() == [True, False, True] and int(state.step) == 0
    jax.tree.map(np.testing.assert_array_equal, state.params, params)


def test_errors():
    tx = optax.adam(1e-3)
    with pytest.raises(ValueError, match="shared weights"):
        gleam_shared(4, tx)(toy(), mean_square)
    with pytest.raises(ValueError, match="3 modules do not divide the model's 4 steps"):
        gleam_shared(3, tx)(toy(shared=True), mean_square)
    with pytest.raises(ValueError, match="2 optimizers for 4 modules"):
        per_module([tx, tx], 4)

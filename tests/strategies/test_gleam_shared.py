"""Greedy training of shared weights: the written-out loop of updates within a mini-batch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.toy import N, assert_trees_close, make_problem, mean_square, toy

from jaxrecon.models import batched, stack_problems
from jaxrecon.strategies import end_to_end, gleam_shared, per_module
from jaxrecon.training import from_grad_fn


@pytest.fixture
def batches():
    return [stack_problems([make_problem(2 * s), make_problem(2 * s + 1)]) for s in range(3)]


@pytest.mark.parametrize("learned_start", [False, True])
@pytest.mark.parametrize("n_modules", [N, N // 2])
def test_equals_an_explicit_loop(n_modules, learned_start, batches):
    model, per = batched(toy(shared=True, learned_start=learned_start)), N // n_modules
    params, tx = model.init(jax.random.key(0), batches[0][0]), optax.adam(1e-2)
    losses = [lambda x, y, m=m: (1 + m) * mean_square(x, y) for m in range(n_modules)]
    update = gleam_shared(n_modules, tx, ema_decay=0.9)(model, losses)
    state = update.init(params, jax.random.key(0))

    theta, start = params["steps"], params["start"]
    ema, theta_state, start_state = theta, tx.init(theta), tx.init(start)
    for problem, target in batches:
        seen, x, g_start = [], None, start
        for m in range(n_modules):

            def local(start_params, theta, x=x, m=m, problem=problem, target=target):
                first, context = model.start(start_params, problem)
                x = first if m == 0 else x
                for i in range(m * per, (m + 1) * per):
                    x = model.step(theta, x, context, i)
                return losses[m](model.finish(x, context), target), x

            (value, x), (g, g_theta) = jax.value_and_grad(local, (0, 1), has_aux=True)(start, theta)
            g_start = g if m == 0 else g_start
            seen.append(value)
            updates, theta_state = tx.update(g_theta, theta_state, theta)
            theta = optax.apply_updates(theta, updates)
            ema = jax.tree.map(lambda e, p: 0.9 * e + 0.1 * p, ema, theta)
        updates, start_state = tx.update(g_start, start_state, start)
        start = optax.apply_updates(start, updates)
        state, metrics = update(state, problem, target)
        np.testing.assert_allclose(metrics["losses"], seen, rtol=1e-5)
        assert metrics["loss"] == metrics["losses"][-1] and metrics["grad_norm"] > 0 and not metrics["nonfinite"].any()
    assert_trees_close(state.params, {"start": start, "steps": theta}, 1e-5)
    assert_trees_close(state.ema["steps"], ema, 1e-5)
    assert int(state.step) == 3 and int(optax.tree.get(state.opt_state["steps"], "count")) == 3 * n_modules


def test_one_module_is_end_to_end(batches):
    model, tx = batched(toy(shared=True, learned_start=True)), optax.adam(1e-2)
    params, ends = model.init(jax.random.key(0), batches[0][0]), []
    for update in (gleam_shared(1, tx)(model, mean_square), from_grad_fn(end_to_end()(model, mean_square), tx)):
        state = update.init(params, jax.random.key(0))
        for one in batches:
            state, metrics = update(state, *one)
        ends.append((state.params, metrics["loss"], metrics["grad_norm"]))
    assert_trees_close(*ends, 1e-5)


def test_what_is_not_finite_changes_nothing(batches):
    model = batched(toy(shared=True))
    params = model.init(jax.random.key(0), batches[0][0])
    update = gleam_shared(2, optax.adam(1e-2))(model, [mean_square, lambda x, y: mean_square(x, y) / 0])
    state, metrics = update(update.init(params, jax.random.key(0)), *batches[0])
    assert metrics["nonfinite"].tolist() == [True, False, True] and int(state.step) == 0
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), state.params, params))


def test_errors():
    tx = optax.adam(1e-3)
    with pytest.raises(ValueError, match="shared weights"):
        gleam_shared(4, tx)(toy(), mean_square)
    with pytest.raises(ValueError, match="3 modules do not divide the model's 4 steps"):
        gleam_shared(3, tx)(toy(shared=True), mean_square)
    with pytest.raises(ValueError, match="2 optimizers for 4 modules"):
        per_module([tx, tx], 4)

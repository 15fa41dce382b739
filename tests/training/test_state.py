"""One training step: moving average, complex weights, keys, weights that no gradient moves, donation."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.problems import batch, random_params
from support.toy import mean_square
from support.toy import toy as strategy_toy
from support.toy_run import PREPARATION, slices, toy

from jaxrecon.data.pipeline import batches
from jaxrecon.models import batched, with_untrained
from jaxrecon.problem import Problem, Target
from jaxrecon.strategies import EndToEnd, Gleam, GleamShared, PGleam, end_to_end, module_mesh
from jaxrecon.training import Scores, create_state, fit, from_grad_fn, load_params, losses

NO_PROBLEM = Problem(None, None)


def quadratic(params, problem, target):
    value, g = jax.value_and_grad(lambda p: 0.5 * jnp.sum(jnp.abs(p["steps"]["w"] - target) ** 2))(params)
    return (value, {}), g


def test_moving_average():
    update = from_grad_fn(quadratic, optax.sgd(0.5), ema_decay=0.9)
    state = update.init({"start": {}, "steps": {"w": jnp.array([4.0, -2.0])}}, jax.random.key(0))
    w = ema = np.array([4.0, -2.0])
    for _ in range(3):
        state, metrics = update(state, NO_PROBLEM, jnp.ones(2))
        w = w - 0.5 * (w - 1)
        ema = 0.9 * ema + 0.1 * w
    np.testing.assert_allclose(state.ema["steps"]["w"], ema, rtol=1e-6)
    np.testing.assert_allclose(state.params["steps"]["w"], w, rtol=1e-6)
    assert int(state.step) == 3 and metrics["grad_norm"].shape == () and not metrics["nonfinite"].any()
    with pytest.raises(ValueError, match="ema_decay"):
        from_grad_fn(quadratic, optax.sgd(0.5), ema_decay=1.0)


def test_complex_weights_go_downhill():
    update = from_grad_fn(quadratic, optax.sgd(0.1))
    goal = jnp.array([1 + 2j, -3j])
    state = update.init({"start": {}, "steps": {"w": jnp.zeros(2, goal.dtype)}}, jax.random.key(0))
    for _ in range(100):
        state, _ = update(state, NO_PROBLEM, goal)
    np.testing.assert_allclose(state.params["steps"]["w"], goal, atol=1e-3)


def test_what_rides_in_the_carry_is_absorbed():
    def grad_fn(params, problem, target):
        (value, _), g = quadratic(params, problem, target)
        return (value, {"carry": jnp.mean(target), "kept": jnp.max(target)}), g

    def absorb(params, carry):
        return {**params, "start": {"mean": 0.5 * params["start"]["mean"] + 0.5 * carry}}

    update = from_grad_fn(grad_fn, optax.sgd(0.5), absorb=absorb)
    params = {"start": {"mean": jnp.zeros(())}, "steps": {"w": jnp.zeros(2)}}
    state, metrics = update(update.init(params, jax.random.key(0)), NO_PROBLEM, jnp.full(2, 3.0))
    assert float(state.params["start"]["mean"]) == 1.5
    assert "carry" not in metrics and float(metrics["kept"]) == 3
    forgotten = from_grad_fn(grad_fn, optax.sgd(0.5))
    with pytest.raises(ValueError, match=r"needs absorb=model\.absorb"):
        forgotten(forgotten.init(params, jax.random.key(0)), NO_PROBLEM, jnp.full(2, 3.0))


def test_keys_of_a_batch_differ_by_example_and_step_and_follow_the_state():
    seen = []

    def grad_fn(params, problem, target):
        jax.debug.callback(lambda k: seen.append(np.asarray(k)), jax.random.key_data(problem.key), ordered=True)
        return quadratic(params, problem, jnp.ones(2))

    problem, _ = next(iter(batches(slices(4), PREPARATION, batch_size=2, seed=0)))
    update = from_grad_fn(grad_fn, optax.sgd(0.1))
    params = {"start": {}, "steps": {"w": jnp.zeros(2)}}
    for seed in (0, 0, 1):
        state = update.init(params, jax.random.key(seed))
        for _ in range(2):
            state, _ = update(state, problem, None)
    jax.effects_barrier()
    a, b, c, d, e, _ = seen
    assert (a == c).all() and (b == d).all()
    assert (a != b).any() and (a != e).any() and (a[0] != a[1]).any()


def test_the_step_is_compiled_once_and_donates_its_state():
    model = batched(toy())
    problem, target = next(iter(batches(slices(4), PREPARATION, batch_size=2, seed=0)))
    chex.clear_trace_counter()
    grad_fn = chex.assert_max_traces(end_to_end()(model, losses.complex_l1), n=1)
    update = from_grad_fn(grad_fn, optax.adam(1e-3), ema_decay=0.9)
    # weak types of the initial weights must not compile the second step again
    params = model.init(jax.random.key(0), problem)
    first = update.init(params, jax.random.key(1))
    state = first
    for _ in range(3):
        state, _ = update(state, problem, target)
    assert first.params["steps"]["a"].is_deleted()
    assert not params["steps"]["a"].is_deleted()
    plan = update.step.lower(state, problem, target).compile().memory_analysis()
    assert plan.alias_size_in_bytes > 0


def test_target_is_a_tree():
    target = Target(jnp.ones((2, 3, 4)), jnp.ones(2), scale=jnp.ones(2))
    one = jax.tree.map(lambda a: a[0], target)
    assert one.image.shape == (3, 4) and one.mask is None
    assert int(create_state({"start": {}, "steps": {}}, optax.sgd(1.0)).step) == 0


@pytest.mark.parametrize("config", [EndToEnd(), Gleam(2), GleamShared(2), PGleam(2)], ids=lambda c: type(c).__name__)
def test_weights_that_an_optimizer_keeps_for_evaluation_are_those_of_the_run(config, tmp_path):
    """Schedule-free: scored, stored and loaded are x, not the y at which gradients are taken; frozen ones stay."""
    tx = optax.contrib.schedule_free_sgd(0.1, b1=0.9)
    model = with_untrained(
        batched(strategy_toy(shared=isinstance(config, GleamShared), learned_start=True)), ["steps/t"]
    )
    mesh = module_mesh(1) if isinstance(config, PGleam) else None
    update = config.build(model, mean_square, tx, mesh=mesh)
    problem, target = batch()
    params, scored = random_params(model, problem), []

    def evaluate(params):
        scored.append(jax.device_get(params))
        return Scores({"a": 1.0})

    state = fit(update, params, [(problem, target)], out=tmp_path, n_updates=3, evaluate=evaluate, progress=False)
    states = (
        state.opt_state if isinstance(state.opt_state, dict) else {"start": state.opt_state, "steps": state.opt_state}
    )
    for name in ("steps/a", "start/scale"):
        part, leaf = name.split("/")
        z = optax.tree.get(states[part], "z")
        z = (z if leaf in z else z[part])[leaf]
        expected = (state.params[part][leaf] - 0.1 * z) / 0.9
        np.testing.assert_allclose(scored[-1][part][leaf], expected, rtol=1e-5)
        assert not np.allclose(expected, state.params[part][leaf], rtol=1e-4)
    np.testing.assert_array_equal(scored[-1]["steps"]["t"], params["steps"]["t"])
    jax.tree.map(np.testing.assert_array_equal, load_params(tmp_path, params), scored[-1])

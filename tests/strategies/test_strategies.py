"""Strategies on small models of every kind: equal gradients where they must be, the written-out greedy loop for GLEAM."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.toy import N, assert_trees_close, make_problem, mean_square, toy

from jaxrecon.models import batched, run
from jaxrecon.strategies import (
    checkpointed,
    deep_supervision,
    end_to_end,
    gleam,
    gleam_shared,
    invertible,
    module_mesh,
    p_gleam,
    per_module,
)


@pytest.fixture
def data():
    return make_problem(0)


EQUAL_TO_END_TO_END = {
    "loop": (end_to_end(loop=True), 1e-6),
    "checkpointed": (checkpointed(), 1e-6),
    "checkpointed every 2": (checkpointed(every=2), 1e-6),
    "checkpointed with a policy": (checkpointed(policy=jax.checkpoint_policies.dots_saveable), 1e-6),
    "invertible": (invertible(), 1e-5),
    "invertible, 2 kept": (invertible(2), 1e-5),
    "invertible, none kept": (invertible(0), 1e-4),
    "one greedy module": (gleam(1), 1e-6),
    "deep supervision of the last step": (deep_supervision((0, 0, 0, 1)), 1e-6),
}


@pytest.mark.parametrize("learned_start", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", EQUAL_TO_END_TO_END)
def test_equals_end_to_end(name, shared, learned_start, data):
    strategy, tolerance = EQUAL_TO_END_TO_END[name]
    model = toy(shared=shared, learned_start=learned_start)
    if shared and "greedy" in name:
        with pytest.raises(ValueError, match="separate weights"):
            strategy(model, mean_square)
        return
    problem, target = data
    params = model.init(jax.random.key(0), problem)
    (value, _), expected = end_to_end()(model, mean_square)(params, problem, target)
    (own_value, aux), own = jax.jit(strategy(model, mean_square))(params, problem, target)
    assert float(own_value) == pytest.approx(float(value), rel=1e-5)
    assert_trees_close(own, expected, tolerance)
    if "round_trip" in aux:
        assert aux["round_trip"] < 1e-5


@pytest.mark.parametrize("learned_start", [False, True])
@pytest.mark.parametrize("n_modules", [N, N // 2])
def test_gleam_equals_an_explicit_loop(n_modules, learned_start, data):
    problem, target = data
    model = toy(learned_start=learned_start)
    params = model.init(jax.random.key(0), problem)
    (value, aux), own = jax.jit(gleam(n_modules)(model, mean_square))(params, problem, target)

    per = N // n_modules
    losses, gradients, start_gradient = [], [], params["start"]
    state = None
    for m in range(n_modules):
        theta = jax.tree.map(lambda a, m=m: a[m * per : (m + 1) * per], params["steps"])

        def local(start_params, theta, state=state, m=m):
            first, context = model.start(start_params, problem)
            if m > 0:
                first, context = state, jax.lax.stop_gradient(context[:2]) + context[2:]
            for k in range(per):
                first = model.step(jax.tree.map(lambda a, k=k: a[k], theta), first, context, m * per + k)
            return mean_square(model.finish(first, context), target), first

        (loss, state), (g_start, g_theta) = jax.value_and_grad(local, (0, 1), has_aux=True)(params["start"], theta)
        state = jax.lax.stop_gradient(state)
        start_gradient = g_start if m == 0 else start_gradient
        losses.append(loss)
        gradients.append(g_theta)
    np.testing.assert_allclose(aux["losses"], losses, rtol=1e-5)
    assert value == aux["losses"][-1]
    assert_trees_close(own["steps"], jax.tree.map(lambda *g: jnp.concatenate(g), *gradients), 2e-6)
    assert_trees_close(own["start"], start_gradient, 2e-6)


@pytest.mark.parametrize("weights", [(0.5, 0.0, 2.0, 1.0), (1 / N,) * N])
@pytest.mark.parametrize("underneath", [end_to_end(), checkpointed(), invertible(2)])
def test_deep_supervision_sums_the_losses_of_all_steps(underneath, weights, data):
    problem, target = data
    model = toy()
    params = model.init(jax.random.key(0), problem)

    def total(params):
        pictures = run(model, params, problem, every_step=True)
        return sum(w * mean_square(x, target) for w, x in zip(weights, pictures, strict=True))

    expected = jax.value_and_grad(total)(params)
    (value, _), own = deep_supervision(weights, underneath=underneath)(model, mean_square)(params, problem, target)
    assert float(value) == pytest.approx(float(expected[0]), rel=1e-5)
    assert_trees_close(own, expected[1], 1e-5)


@pytest.mark.parametrize("strategy", [end_to_end(), checkpointed(), gleam(2), invertible(1)])
def test_batched_gradient_is_the_mean(strategy):
    pairs = [make_problem(s) for s in range(3)]
    model = toy(learned_start=True)
    params = model.init(jax.random.key(0), pairs[0][0])
    problems, targets = (jax.tree.map(lambda *a: jnp.stack(a), *part) for part in zip(*pairs, strict=True))
    (value, _), own = strategy(batched(model), mean_square)(params, problems, targets)
    singles = [strategy(model, mean_square)(params, *pair) for pair in pairs]
    assert float(value) == pytest.approx(float(np.mean([s[0][0] for s in singles])), rel=1e-5)
    assert_trees_close(own, jax.tree.map(lambda *g: sum(g) / 3, *(s[1] for s in singles)), 1e-5)


@pytest.mark.parametrize("strategy", [end_to_end(), end_to_end(loop=True), checkpointed()])
def test_last_carry_is_handed_to_what_absorbs_it(strategy, data):
    problem, target = data
    model = dataclasses.replace(toy(), absorb=lambda params, carry: {**params, "start": {"seen": carry}})
    params = model.init(jax.random.key(0), problem)
    (_, aux), _ = strategy(model, mean_square)(params, problem, target)
    np.testing.assert_allclose(aux["carry"], run(model, params, problem), rtol=1e-6)
    (_, aux), _ = strategy(toy(), mean_square)(params, problem, target)
    assert "carry" not in aux


@pytest.mark.parametrize(
    ("strategy", "shared"),
    [
        (deep_supervision([1 / N] * N), False),
        (invertible(1), False),
        (gleam(2), False),
        (p_gleam(2, module_mesh(1), optax.sgd(0.1)), False),
        (gleam_shared(2, optax.sgd(0.1)), True),
    ],
)
def test_batch_norm_is_refused_where_the_last_carry_is_not_at_hand(strategy, shared):
    model = dataclasses.replace(toy(shared=shared), absorb=lambda params, carry: params)
    with pytest.raises(ValueError, match=r"cannot train batch norm, .* use end_to_end or checkpointed"):
        strategy(model, mean_square)


def test_round_trip_error_is_honest(data):
    """A step that its inverse doesn't undo must show in the round-trip error."""
    problem, target = data
    model = toy()
    params = model.init(jax.random.key(0), problem)
    params["steps"]["a"] = params["steps"]["a"] + 5.0  # no contraction any more
    (_, aux), _ = invertible(0)(model, mean_square)(params, problem, target)
    assert not aux["round_trip"] < 1e-2


def test_inadmissible_pairs_say_why(data):
    from dataclasses import replace

    with pytest.raises(ValueError, match="3 modules do not divide the model's 4 steps"):
        gleam(3)(toy(), mean_square)
    with pytest.raises(ValueError, match="does not divide the model's 4 steps"):
        checkpointed(every=3)(toy(), mean_square)
    with pytest.raises(ValueError, match="needs a model with an inverse"):
        invertible()(replace(toy(), inverse=None), mean_square)
    with pytest.raises(ValueError, match="within 0 and 3, not 4"):
        invertible(4)(toy(), mean_square)
    with pytest.raises(ValueError, match="2 weights for a model of 4 steps"):
        deep_supervision((1, 1))(toy(), mean_square)


def test_per_module_has_one_state_each():
    """Clipping by norm sees one module at a time; Adam's result is that of one Adam per module."""
    params = {"start": {}, "steps": {"w": jnp.arange(8.0).reshape(4, 2)}}
    gradients = {"start": {}, "steps": {"w": jnp.array([[30.0, 40], [0, 0], [0.3, 0.4], [0, 0]])}}
    clip = per_module(optax.clip_by_global_norm(1.0), 2)
    updates, _ = clip.update(gradients, clip.init(params), params)
    np.testing.assert_allclose(updates["steps"]["w"], [[0.6, 0.8], [0, 0], [0.3, 0.4], [0, 0]], rtol=1e-6)
    adam = per_module(optax.adamw(0.1, weight_decay=0.1), 4)
    updates, _ = adam.update(gradients, adam.init(params), params)
    plain = optax.adamw(0.1, weight_decay=0.1)
    expected, _ = plain.update(gradients, plain.init(params), params)
    assert_trees_close(updates, expected, 1e-6)
    with pytest.raises(ValueError, match="3 groups do not divide"):
        per_module(optax.sgd(0.1), 3).init(params)

"""Strategies on small models of every kind: equal gradients where they must be, the written-out greedy loop for GLEAM."""

import dataclasses
import functools
import inspect

import jax
import numpy as np
import optax
import pytest
from support.greedy import greedy_gradients
from support.models import batched
from support.problems import problem, random_params, stack
from support.programs import assert_trees_close, run
from support.toy import N, mean_square, toy

from jaxrecon import models, strategies
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


@functools.cache
def compiled(strategy, model):
    return jax.jit(strategy(model, mean_square))


def setup(*, shared=False, learned_start=False):
    """(toy, parameters, problem, target, loss and gradients end to end)."""
    model, (given, target) = toy(shared=shared, learned_start=learned_start), problem()
    params = random_params(model, given)
    (value, _), gradients = compiled(END_TO_END, model)(params, given, target)
    return model, params, given, target, value, gradients


END_TO_END = end_to_end()
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
def test_equals_end_to_end(name, shared, learned_start):
    strategy, tolerance = EQUAL_TO_END_TO_END[name]
    if shared and "greedy" in name:
        with pytest.raises(ValueError, match="separate weights"):
            strategy(toy(shared=True, learned_start=learned_start), mean_square)
        return
    model, params, given, target, value, expected = setup(shared=shared, learned_start=learned_start)
    (own_value, aux), own = compiled(strategy, model)(params, given, target)
    assert float(own_value) == pytest.approx(float(value), rel=1e-5)
    assert_trees_close(own, expected, tolerance)
    if "round_trip" in aux:
        assert aux["round_trip"] < 1e-5


@pytest.mark.parametrize("learned_start", [False, True])
@pytest.mark.parametrize("n_modules", [N, N // 2])
def test_gleam_equals_an_explicit_loop(n_modules, learned_start):
    model, params, given, target, *_ = setup(learned_start=learned_start)
    (value, aux), own = jax.jit(gleam(n_modules)(model, mean_square))(params, given, target)
    losses, gradients = greedy_gradients(model, params, given, target, n_modules=n_modules, loss=mean_square)
    np.testing.assert_allclose(aux["losses"], losses, rtol=1e-5)
    assert value == np.asarray(aux["losses"])[-1]
    assert_trees_close(own, gradients, 2e-6)


UNEVEN = (0.5, 0.0, 2.0, 1.0)


@functools.cache
def supervised(weights):
    """Loss and gradient of the written-out sum."""
    model, params, given, target, *_ = setup()

    def total(params):
        pictures = models.run(model, params, given, every_step=True)
        return sum(w * mean_square(x, target) for w, x in zip(weights, pictures, strict=True))

    return jax.jit(jax.value_and_grad(total))(params)


@pytest.mark.parametrize(
    ("underneath", "weights"),
    [(end_to_end(), UNEVEN), (end_to_end(), (1 / N,) * N), (checkpointed(), UNEVEN), (invertible(2), UNEVEN)],
)
def test_deep_supervision_sums_the_losses_of_all_steps(underneath, weights):
    model, params, given, target, *_ = setup()
    expected_value, expected = supervised(weights)
    (value, _), own = compiled(deep_supervision(weights, underneath=underneath), model)(params, given, target)
    assert float(value) == pytest.approx(float(expected_value), rel=1e-5)
    assert_trees_close(own, expected, 1e-5)


@pytest.mark.parametrize("strategy", [end_to_end(), checkpointed(), gleam(2), invertible(1)])
def test_batched_gradient_is_the_mean(strategy):
    model = toy(learned_start=True)
    pairs = [problem(seed=seed) for seed in range(3)]
    params = random_params(model, pairs[0][0])
    (value, _), own = compiled(strategy, batched(model))(params, *stack(*pairs))
    singles = [jax.device_get(compiled(strategy, model)(params, *pair)) for pair in pairs]
    assert float(value) == pytest.approx(float(np.mean([s[0][0] for s in singles])), rel=1e-5)
    assert_trees_close(own, jax.tree.map(lambda *g: sum(g) / 3, *(s[1] for s in singles)), 1e-5)


@pytest.mark.parametrize("strategy", [end_to_end(), end_to_end(loop=True), checkpointed()])
def test_last_carry_is_handed_to_what_absorbs_it(strategy):
    model, params, given, target, *_ = setup()
    absorbing = dataclasses.replace(model, absorb=lambda params, carry: {**params, "start": {"seen": carry}})
    (_, aux), _ = compiled(strategy, absorbing)(params, given, target)
    np.testing.assert_allclose(aux["carry"], run(model, params, given), rtol=1e-6)
    (_, aux), _ = jax.eval_shape(compiled(strategy, model), params, given, target)
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


def test_round_trip_error_is_honest():
    """A step that its inverse doesn't undo must show in the round-trip error."""
    model, params, given, target, *_ = setup()
    steps = {**params["steps"], "a": np.asarray(params["steps"]["a"]) + 5}  # no contraction any more
    strategy, _ = EQUAL_TO_END_TO_END["invertible, none kept"]
    (_, aux), _ = compiled(strategy, model)({**params, "steps": steps}, given, target)
    assert not aux["round_trip"] < 1e-2


def test_inadmissible_pairs_say_why():
    with pytest.raises(ValueError, match="3 modules do not divide the model's 4 steps"):
        gleam(3)(toy(), mean_square)
    with pytest.raises(ValueError, match="does not divide the model's 4 steps"):
        checkpointed(every=3)(toy(), mean_square)
    with pytest.raises(ValueError, match="needs a model with an inverse"):
        invertible()(dataclasses.replace(toy(), inverse=None), mean_square)
    with pytest.raises(ValueError, match="within 0 and 3, not 4"):
        invertible(4)(toy(), mean_square)
    with pytest.raises(ValueError, match="2 weights for a model of 4 steps"):
        deep_supervision((1, 1))(toy(), mean_square)


def test_per_module_has_one_state_each():
    """Clipping by norm sees one module at a time; Adam's result is that of one Adam per module."""
    params = {"start": {}, "steps": {"w": np.arange(8, dtype=np.float32).reshape(4, 2)}}
    gradients = {"start": {}, "steps": {"w": np.array([[30, 40], [0, 0], [0.3, 0.4], [0, 0]], np.float32)}}
    updated = lambda tx: jax.jit(lambda g, p: tx.update(g, tx.init(p), p)[0])(gradients, params)
    clipped = updated(per_module(optax.clip_by_global_norm(1.0), 2))
    np.testing.assert_allclose(clipped["steps"]["w"], [[0.6, 0.8], [0, 0], [0.3, 0.4], [0, 0]], rtol=1e-6)
    adam = optax.adamw(0.1, weight_decay=0.1)
    assert_trees_close(updated(per_module(adam, 4)), updated(adam), 1e-6)
    with pytest.raises(ValueError, match="3 groups do not divide"):
        per_module(optax.sgd(0.1), 3).init(params)


@pytest.mark.parametrize("name", [name for name in strategies.__all__ if inspect.isfunction(getattr(strategies, name))])
def test_signatures_fit_a_screen(name):
    """As `help` prints them: four lines of 80."""
    assert len(f"{name}{inspect.signature(getattr(strategies, name))}") < 320

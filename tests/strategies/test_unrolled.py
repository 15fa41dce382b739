"""The one abstraction: scan equals loop, early exit equals the k-th of every step, batches equal single problems."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.models import batched
from support.problems import SHAPE, problem, random_params, stack
from support.programs import run
from support.toy import N, toy

from jaxrecon import models
from jaxrecon.models import stack_problems, stack_steps, unrolled, unstack_steps


@pytest.fixture(params=[False, True], ids=["separate", "shared"])
def model(request):
    return toy(shared=request.param, learned_start=True)


def test_scan_equals_loop_and_early_exit_equals_every_step(model):
    given, _ = problem()
    params = random_params(model, given)
    pictures = np.asarray(run(model, params, given, every_step=True))
    np.testing.assert_allclose(run(model, params, given, every_step=True, loop=True), pictures, rtol=3e-6, atol=3e-6)
    assert pictures.shape[0] == N
    for k in range(1, N + 1):
        np.testing.assert_allclose(run(model, params, given, n_steps=k), pictures[k - 1], rtol=1e-6, atol=1e-6)


def test_more_steps_than_weights(model):
    given, _ = problem()
    params = random_params(model, given)
    more = lambda: jax.eval_shape(lambda params, given: models.run(model, params, given, n_steps=N + 2), params, given)
    if model.shared:
        assert more().shape == SHAPE
    else:
        with pytest.raises(ValueError, match="within 1 and the model's 4 steps, not 6"):
            more()
    with pytest.raises(ValueError, match="not 0"):
        models.run(model, params, given, n_steps=0)


def test_batch_carry_and_parameters(model):
    problems = [problem(seed=seed)[0] for seed in range(3)]
    params = jax.jit(model.init)(jax.random.key(1), problems[0])
    many = batched(model)
    assert many.n_batch == 1
    both = run(many, params, stack(*problems))
    singles = [jax.device_get(run(model, params, one, carry=True)) for one in problems]
    for own, (picture, _, _) in zip(np.asarray(both), singles, strict=True):
        np.testing.assert_allclose(own, picture, rtol=1e-5, atol=1e-6)
    picture, carry, context = singles[0]
    np.testing.assert_array_equal(picture, carry)
    np.testing.assert_allclose(context[0].maps, 0.9 * np.asarray(problems[0].op.maps), rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, stack_problems(problems), stack(*problems))
    again = jax.jit(many.init)(jax.random.key(1), stack(*problems))
    jax.tree.map(np.testing.assert_array_equal, again, params)


def test_steps_have_their_own_weights_and_stack_back():
    model = toy()
    steps = jax.jit(model.init)(jax.random.key(1), problem()[0])["steps"]
    assert len(set(np.asarray(steps["a"]).tolist())) == N
    jax.tree.map(np.testing.assert_array_equal, stack_steps(unstack_steps(steps)), steps)
    with pytest.raises(ValueError, match="n_steps must be 1 or more"):
        toy(n_steps=0)


def test_init_computes_nothing_of_the_forward_model():
    """Only shapes are needed: a start that would fail on real values still initialises."""
    given, _ = problem()
    seen = []

    def start(params, problem):
        seen.append(isinstance(problem.kspace, jax.core.Tracer))
        return problem.kspace[0], ()

    model = unrolled(
        n_steps=1,
        shared=True,
        init_step=lambda key, carry, context: jnp.zeros(carry.shape),
        start=start,
        step=lambda theta, x, context, i: x + theta,
        finish=lambda x, context: x,
    )
    assert model.init(jax.random.key(0), given)["steps"].shape == SHAPE
    assert seen == [True]

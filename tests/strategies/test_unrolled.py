"""The one abstraction: scan equals loop, early exit equals the k-th of every step, batches equal single problems."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.toy import N, make_problem, toy

from jaxrecon.models import batched, run, stack_problems, stack_steps, unrolled, unstack_steps


@pytest.fixture(params=[False, True], ids=["separate", "shared"])
def model(request):
    return toy(shared=request.param, learned_start=True)


def test_scan_equals_loop_and_early_exit_equals_every_step(model):
    problem, _ = make_problem(0)
    params = model.init(jax.random.key(1), problem)
    pictures = run(model, params, problem, every_step=True)
    np.testing.assert_allclose(run(model, params, problem, every_step=True, loop=True), pictures, rtol=3e-6, atol=3e-6)
    assert pictures.shape[0] == N
    for k in range(1, N + 1):
        np.testing.assert_allclose(run(model, params, problem, n_steps=k), pictures[k - 1], rtol=1e-6, atol=1e-6)


def test_more_steps_than_weights(model):
    problem, _ = make_problem(0)
    params = model.init(jax.random.key(1), problem)
    if model.shared:
        assert run(model, params, problem, n_steps=N + 2).shape == (9, 8)
    else:
        with pytest.raises(ValueError, match="within 1 and the model's 4 steps, not 6"):
            run(model, params, problem, n_steps=N + 2)
    with pytest.raises(ValueError, match="not 0"):
        run(model, params, problem, n_steps=0)


def test_batch_carry_and_parameters(model):
    problems = [make_problem(s)[0] for s in range(3)]
    params = model.init(jax.random.key(1), problems[0])
    many = batched(model)
    assert many.n_batch == 1
    both = run(many, params, stack_problems(problems))
    for own, problem in zip(both, problems, strict=True):
        np.testing.assert_allclose(own, run(model, params, problem), rtol=1e-5, atol=1e-6)
    picture, carry, context = run(model, params, problems[0], carry=True)
    np.testing.assert_array_equal(picture, carry)
    np.testing.assert_allclose(context[0].maps, 0.9 * problems[0].op.maps, rtol=1e-6)
    again = many.init(jax.random.key(1), stack_problems(problems))
    jax.tree.map(np.testing.assert_array_equal, again, params)


def test_steps_have_their_own_weights_and_stack_back():
    model = toy()
    problem, _ = make_problem(0)
    steps = model.init(jax.random.key(1), problem)["steps"]
    assert len(set(np.asarray(steps["a"]).tolist())) == N
    jax.tree.map(np.testing.assert_array_equal, stack_steps(unstack_steps(steps)), steps)
    with pytest.raises(ValueError, match="n_steps must be 1 or more"):
        toy(n_steps=0)


def test_init_computes_nothing_of_the_forward_model():
    """Only shapes are needed: a start that would fail on real values still initialises."""
    problem, _ = make_problem(0)
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
    assert model.init(jax.random.key(0), problem)["steps"].shape == (9, 8)
    assert seen == [True]

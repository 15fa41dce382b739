"""Recipes against the update formulas of torch and of the papers, written out in NumPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.type_check import as_user

from jaxrecon.models import PromptMRConfig, PromptMRPlusConfig, build
from jaxrecon.problem import Problem
from jaxrecon.strategies import per_module
from jaxrecon.training import evaluation_params, freeze, from_grad_fn, lookahead, optimizers, step_decay
from jaxrecon.training.optimizers import OPTIMIZERS, Course

N_UPDATES = 9


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    return rng.standard_normal(6), rng.standard_normal((N_UPDATES, 6))


def updated(tx, params, gradients):
    """Parameters after the updates by gradients with a leading axis of updates, and all updates; one program."""

    @jax.jit
    def run(params, gradients):
        def step(carry, gradient):
            params, state = carry
            updates, state = tx.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), updates

        (params, _), updates = jax.lax.scan(step, (params, tx.init(params)), gradients)
        return params, updates

    with jax.enable_x64(True):
        return jax.device_get(run(params, gradients))


def run(tx, theta, gradients):
    tree = lambda a: {"start": {}, "steps": {"w": np.asarray(a)}}
    return updated(tx, tree(theta), tree(gradients))[0]["steps"]["w"]


def adam(theta, gradients, rate, *, decoupled=0.0):
    m = v = np.zeros_like(theta)
    for t, g in enumerate(gradients, 1):
        g = g(theta) if callable(g) else g
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        lr = rate(t - 1)
        theta = theta * (1 - lr * decoupled)
        theta = theta - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return theta


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


def test_adam_cosine_falls_to_zero_over_the_run(problem):
    theta, gradients = problem
    expected = adam(theta, gradients, lambda t: 1e-2 * (1 + np.cos(np.pi * t / N_UPDATES)) / 2)
    close(run(optimizers.AdamCosine(1e-2).build(Course(n_updates=N_UPDATES)), theta, gradients), expected)
    more = np.concatenate([gradients, gradients])
    close(run(optimizers.AdamCosine(1e-2).build(Course(n_updates=N_UPDATES)), theta, more), expected)


def test_gleam_adds_the_penalty_to_the_gradient(problem):
    theta, gradients = problem
    # the penalty depends on the weights of the moment
    expected = adam(theta, [lambda w, g=g: g + 1e-2 * w for g in gradients], lambda t: 1e-2)
    close(run(optimizers.GleamAdam(1e-2, weight_decay=1e-2).build(), theta, gradients), expected)
    assert not np.allclose(expected, adam(theta, gradients, lambda t: 1e-2, decoupled=1e-2), atol=1e-6)


def test_varnet_drops_its_rate_at_epoch_40(problem):
    theta, gradients = problem
    expected = adam(np.tile(theta, 1), np.tile(gradients, (10, 1)), lambda t: 1e-3 * (0.1 if t >= 80 else 1))
    close(
        run(optimizers.VarNetAdam(1e-3).build(Course(updates_per_epoch=2)), theta, np.tile(gradients, (10, 1))),
        expected,
    )


def test_unet_is_torch_rmsprop(problem):
    theta, gradients = problem
    expected, v = theta, np.zeros_like(theta)
    for g in gradients:
        v = 0.99 * v + 0.01 * g**2
        expected = expected - 1e-3 * g / (np.sqrt(v) + 1e-8)
    close(run(optimizers.UNetRMSprop().build(Course(updates_per_epoch=100)), theta, gradients), expected)


def test_modl_clips_values(problem):
    theta, gradients = problem
    gradients = 3 * gradients
    assert (np.abs(gradients) > 1).any()
    close(run(optimizers.MoDLAdam().build(), theta, gradients), adam(theta, np.clip(gradients, -1, 1), lambda t: 1e-3))


def test_promptmr_clips_the_norm_and_decays_apart(problem):
    theta, gradients = problem
    clipped = [g * min(1, 0.01 / np.linalg.norm(g)) for g in gradients]
    expected = adam(theta, clipped, lambda t: 2e-4 * 0.1 ** (t // 4), decoupled=0.01)
    close(
        run(optimizers.PromptMRAdamW(2e-4, decay_epoch=2).build(Course(updates_per_epoch=2)), theta, gradients),
        expected,
    )


@pytest.mark.parametrize("by_module", [False, True])
@pytest.mark.parametrize(
    ("name", "rate", "decay_epoch"),
    [("promptmr", 1e-4, 35), ("promptmr_calgary", 1e-4, 19), ("promptmr_cmrxrecon", 2e-4, 11)],
)
def test_promptmr_has_the_published_numbers(name, rate, decay_epoch, by_module):
    """Rate before and after its decay, the clipping norm of what is trained, and prompts that stay as they are."""
    rng, n_updates = np.random.default_rng(0), 2 * decay_epoch + 3  # two updates are an epoch
    draw = lambda *shape: {"net": {"prompt": 5 + rng.random(3 * len(shape)), "kernel": rng.standard_normal(shape)}}
    params = {"start": draw(4), "steps": jax.tree.map(lambda *a: np.stack(a), draw(3), draw(3))}
    gradient = jax.tree.map(lambda a: np.where(a > 4, 100.0, a + 0.1), params)  # those of the prompts are large
    # Adam does not see the size of gradients, but that the large ones are clipped and the others not
    sizes = [1.0 if t % 3 else 1e-3 for t in range(n_updates)]
    tx, untrained = OPTIMIZERS[name].build(Course(updates_per_epoch=2)), build(PromptMRPlusConfig()).untrained
    tx = per_module(tx, 2, untrained=untrained) if by_module else freeze(tx, untrained)
    own, updates = updated(tx, params, jax.tree.map(lambda g: np.multiply.outer(sizes, g), gradient))
    kernels = lambda tree: [tree["start"]["net"]["kernel"], *tree["steps"]["net"]["kernel"]]
    whole = np.linalg.norm(np.concatenate(kernels(gradient)))
    for theta, g, found in zip(kernels(params), kernels(gradient), kernels(own), strict=True):
        norm = np.linalg.norm(g) if by_module else whole  # a module, or start, clips by itself
        assert 1e-3 * norm < 0.01 < norm
        schedule = lambda t: rate * 0.1 ** (t // (2 * decay_epoch))
        close(found, adam(theta, [g * min(size, 0.01 / norm) for size in sizes], schedule, decoupled=0.01))
    for part in ("start", "steps"):
        np.testing.assert_array_equal(own[part]["net"]["prompt"], params[part]["net"]["prompt"])
        assert not np.any(updates[part]["net"]["prompt"]) and np.all(updates[part]["net"]["kernel"])


def test_promptmr_trains_prompts_where_they_are_to_be_learned():
    untrained = build(PromptMRConfig(learn_prompts=True)).untrained
    params = {"start": {"net": {"prompt": jnp.ones(3)}}, "steps": {}}
    tx = freeze(OPTIMIZERS["promptmr"].build(Course(updates_per_epoch=1)), untrained)
    updates, _ = tx.update(params, tx.init(params), params)
    assert np.all(updates["start"]["net"]["prompt"])


@pytest.mark.parametrize("clip", ["value", "norm"])
def test_deep_jsense_has_both_ways_of_clipping(clip, problem):
    theta, gradients = problem
    if clip == "value":
        clipped = np.clip(gradients, -0.1, 0.1)
    else:
        clipped = [g * min(1, 1 / np.linalg.norm(g)) for g in gradients]
    long = np.concatenate([clipped] * 3)
    expected = adam(theta, long, lambda t: 2e-4 * 0.5 ** (t // 10))
    close(
        run(
            optimizers.DeepJSenseAdam(clip=clip).build(Course(updates_per_epoch=1)),
            theta,
            np.concatenate([gradients] * 3),
        ),
        expected,
    )
    with as_user(), pytest.raises(ValueError, match="'value' or by 'norm'"):
        optimizers.DeepJSenseAdam(clip="l1").build(Course(updates_per_epoch=1))


def test_benchmark_clips_each_variable(problem):
    theta, gradients = problem
    clipped = [g * min(1, 1 / np.linalg.norm(g)) for g in gradients]
    close(run(optimizers.BenchmarkAdam().build(), theta, gradients), adam(theta, clipped, lambda t: 1e-3))
    thirds = adam(theta, clipped, lambda t: 1e-3 * 0.1 ** (t // 3))
    close(run(optimizers.BenchmarkAdam(in_thirds=True).build(Course(n_updates=N_UPDATES)), theta, gradients), thirds)
    # stacked weights: each step's variable by itself
    each = [np.concatenate([h * min(1, 1 / np.linalg.norm(h)) for h in np.split(g, 3)]) for g in gradients]
    stacked = run(per_module(optimizers.BenchmarkAdam().build(), 3), theta.reshape(3, 2), gradients.reshape(-1, 3, 2))
    close(stacked.ravel(), adam(theta, each, lambda t: 1e-3))


def test_ramzi_is_rectified_adam(problem):
    theta, gradients = problem
    expected, m, v, b2 = theta, np.zeros(6), np.zeros(6), 0.999
    for t, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, b2 * v + (1 - b2) * g**2
        limit = 2 / (1 - b2) - 1
        length = limit - 2 * t * b2**t / (1 - b2**t)
        step = m / (1 - 0.9**t)
        if length >= 5:
            r = np.sqrt((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length))
            step = r * step / (np.sqrt(v / (1 - b2**t)) + 1e-7)
        expected = expected - 1e-4 * step
    close(run(optimizers.RamziRAdam().build(), theta, gradients), expected)


def test_lookahead_moves_slow_weights_at_each_kth_step():
    rng = np.random.default_rng(1)
    theta, gradients = rng.standard_normal(4), rng.standard_normal((7, 4))
    params = {"start": {"frozen": jnp.ones(2)}, "steps": {"w": jnp.asarray(theta)}}
    stack = iter(gradients)
    feed = [{"start": {"frozen": jnp.zeros(2)}, "steps": {"w": jnp.asarray(g)}} for g in stack]
    tx = freeze(lookahead(optax.sgd(0.1), sync_period=3, slow_step=0.5), ["start/frozen"])
    update = from_grad_fn(lambda params, _, g: ((jnp.zeros(()), {}), g), tx)
    state = update.init(params, jax.random.key(0))
    fast = slow = theta
    for t, (g, tree) in enumerate(zip(gradients, feed, strict=True), 1):
        fast = fast - 0.1 * g
        if t % 3 == 0:
            fast = slow = slow + 0.5 * (fast - slow)
        state, _ = update(state, Problem(None, None), tree)
        np.testing.assert_allclose(state.params["steps"]["w"], fast, rtol=1e-5, atol=1e-6)
        weights = evaluation_params(state)
        np.testing.assert_allclose(weights["steps"]["w"], slow, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(weights["start"]["frozen"], 1)


def test_frozen_leaves_have_no_part_in_decay_and_norm():
    params = {"start": {"prompt": jnp.full(3, 5.0)}, "steps": {"w": jnp.ones(2)}}
    gradients = {"start": {"prompt": jnp.full(3, 100.0)}, "steps": {"w": jnp.full(2, 1e-3)}}
    tx = freeze(optax.chain(optax.clip_by_global_norm(1.0), optax.add_decayed_weights(0.5)), ["*/prompt"])
    updates, _ = tx.update(gradients, tx.init(params), params)
    np.testing.assert_array_equal(updates["start"]["prompt"], 0)
    np.testing.assert_allclose(updates["steps"]["w"], 0.501, rtol=1e-6)


def test_what_an_optimizer_has_to_be_told():
    """Every name of the table builds at the published rate; without the length of an epoch or a run one error says so."""
    told = Course(n_updates=N_UPDATES, updates_per_epoch=2)
    for name, optimizer in OPTIMIZERS.items():
        assert isinstance(optimizer.build(told), optax.GradientTransformation), name
        with pytest.raises(ValueError, match="learning rate must be positive, but it is -1"):
            dataclasses.replace(optimizer, learning_rate=-1.0).build(told)
    with pytest.raises(ValueError, match=r"counts epochs: .*Course\(updates_per_epoch=1000\)"):
        OPTIMIZERS["promptmr"].build()
    with pytest.raises(ValueError, match=r"falls over the run: .*Course\(n_updates=1000\)"):
        OPTIMIZERS["adam_cosine"].build(Course(updates_per_epoch=2))


def test_step_decay():
    schedule = step_decay(1.0, factor=0.5, every=3)
    assert [float(schedule(jnp.int32(i))) for i in range(7)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]
    with pytest.raises(ValueError, match="every >= 1"):
        step_decay(1.0, factor=0.5, every=0)

"""P-GLEAM equals GLEAM: on several devices in a process of its own, and here on one: states, sequences, stacks, errors."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import device_checks
from support.models import TINY, batched
from support.problems import batch, problem_for, random_params
from support.programs import assert_trees_close
from support.toy import mean_square, toy

from jaxrecon import models
from jaxrecon.models import build, stack_problems
from jaxrecon.strategies import gleam, module_mesh, p_gleam, per_module
from jaxrecon.training import Every, fit, from_grad_fn, read_log

SCHEDULES = ("pipeline", "algorithm2", "spmd", "pmap")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """name -> result of a check on four forced devices."""
    out = tmp_path_factory.mktemp("devices")
    command = [sys.executable, "-m", "support.device_checks", str(out), jax.config.jax_compilation_cache_dir]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    folder = Path(__file__).parents[1]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=1500, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return json.loads((out / "results.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("check", device_checks.CHECKS, ids=device_checks.name_of)
def test_equals_gleam_on_any_number_of_devices(results, check):
    """Weights, Adam states, moving averages and metrics after more mini-batches than stages."""
    _, schedule, n_devices, n_data = check
    result = results[device_checks.name_of(check)]
    assert result["difference"] < 1e-6 < 1e-3 < result["moved"]
    assert result["metrics"] < 5e-6  # norms of order 10, summed in another order
    assert (result["steps"], result["devices"]) == (device_checks.T, n_devices)
    # dispatched modules run the same programs wherever they are
    if schedule in ("pipeline", "algorithm2") and n_devices > 1 and n_data == 1 and "bitwise" in result:
        assert result["bitwise"]


@pytest.mark.slow
def test_data_parallel_and_commands_on_two_devices(results):
    assert results["data parallel"]["difference"] < 1e-6 and results["data parallel"]["devices"] == 2
    assert results["command"]["difference"] < 1e-6 and results["command"]["losses"] < 1e-6
    # two steps in two modules each, then, on one device, one step in one module
    assert results["resumed"]["modules"] == [2, 2, 1]


@pytest.fixture(scope="module")
def setup():
    """(model, parameters, five mini-batches of two examples); `start` learns."""
    model = batched(toy(learned_start=True))
    batches = [batch(seed=seed) for seed in range(5)]
    return model, jax.device_get(random_params(model, batches[0][0])), batches


def train(update, params, batches, state=None):
    """(state, metrics of each mini-batch)."""
    state, seen = update.init(params, jax.random.key(1)) if state is None else state, []
    for one in batches:
        state, metrics = update(state, *one)
        seen.append(jax.device_get(metrics))
    return state, seen


@pytest.mark.parametrize("schedule", ["pipeline", "spmd"])
def test_goes_on_with_other_modules_and_in_other_hands(setup, schedule):
    """Two steps with M = 4, one with M = 2, one with M = 1, by gleam and p_gleam in turn, as by gleam alone."""
    model, params, batches = setup
    tx = optax.chain(optax.clip_by_global_norm(1e-2), optax.adam(1e-2))

    def greedy(m):
        return from_grad_fn(gleam(m)(model, mean_square), per_module(tx, m), ema_decay=0.5)

    def parallel(m):
        return p_gleam(m, module_mesh(1), tx, schedule=schedule, ema_decay=0.5)(model, mean_square)

    states = []
    for kinds in ((greedy, greedy, greedy), (parallel, greedy, parallel)):
        state, _ = train(kinds[0](4), params, batches[:2])
        state, seen = train(kinds[1](2), params, batches[2:3], state)
        assert seen[0]["losses"].shape == (2,)
        state, seen = train(kinds[2](1), params, batches[3:4], state)
        assert seen[0]["losses"].shape == (1,)
        assert int(state.step) == 4
        states.append(jax.device_get((state.params, state.opt_state, state.ema)))
    assert_trees_close(*states, 1e-5)
    # any number of steps at inference
    image = jax.eval_shape(lambda params: models.run(model, params, batches[0][0], n_steps=3), state.params)
    assert image.shape == batches[0][1].shape


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_modules_may_have_losses_and_optimizers_of_their_own(setup, schedule):
    model, params, batches = setup
    tx = [optax.adam(rate) for rate in (1e-2, 3e-2, 1e-3, 1e-2)]
    losses = [mean_square, lambda x, y: 2 * mean_square(x, y), mean_square, lambda x, y: jnp.mean(jnp.abs(x - y))]
    batches = batches[:3]
    expected, seen = train(from_grad_fn(gleam(4)(model, losses), per_module(tx, 4)), params, batches)
    own, metrics = train(p_gleam(4, module_mesh(1), tx, schedule=schedule)(model, losses), params, batches)
    assert_trees_close(jax.device_get((own.params, own.opt_state)), (expected.params, expected.opt_state), 1e-5)
    assert_trees_close(metrics, seen, 1e-5)
    if schedule == "pipeline":
        # module 0 depends on no other
        plain, _ = train(from_grad_fn(gleam(4)(model, mean_square), tx[0]), params, batches)
        first = [jax.tree.map(lambda a: np.asarray(a)[0], state.params["steps"]) for state in (own, plain)]
        assert_trees_close(*first, 1e-5)


def test_optimizers_of_modules_are_of_one_kind(setup):
    """They may differ in their numbers; in what their states are made of one clear error says what may differ."""
    model, params, _ = setup
    other = [optax.sgd(1e-2), optax.adam(optax.constant_schedule(1e-2)), optax.adam(1e-2, mu_dtype="bfloat16")]
    for tx in other:
        mixed = [optax.adam(1e-2)] * 3 + [tx]
        with pytest.raises(
            ValueError, match=r"may differ in their numbers, as \[optax.adam\(rate\) for rate in rates\]"
        ):
            per_module(mixed, 4).init(params)
        with pytest.raises(ValueError, match="may differ in their numbers"):
            p_gleam(4, module_mesh(1), mixed)(model, mean_square).init(params, jax.random.key(1))


@pytest.mark.parametrize("schedule", ["algorithm2", "spmd"])
def test_a_module_that_is_not_finite_stays_as_it_was(setup, schedule):
    model, params, batches = setup
    losses = [mean_square, mean_square, lambda x, y: mean_square(x, y) / 0, mean_square]
    update = p_gleam(4, module_mesh(1), optax.adam(1e-2), schedule=schedule)(model, losses)
    state, seen = train(update, params, batches[:2])
    for m, learns in enumerate([True, True, False, True]):
        before, after = (jax.tree.leaves(jax.device_get(tree["steps"])) for tree in (params, state.params))
        moved = max(np.abs(a[m] - b[m]) for a, b in zip(before, after, strict=True))
        assert (moved > 1e-3) == learns
    # the loss, start, four steps
    assert seen[0]["nonfinite"].tolist() == [True, False, False, False, True, False]


def test_fit_takes_stacks(setup, tmp_path):
    """One call makes four steps: the log, checkpoints and end of a run are those of single steps."""
    model, params, batches = setup
    ends = {}
    for schedule, n_batches in (("pipeline", 1), ("spmd", 2)):
        update = p_gleam(4, module_mesh(1), optax.adam(1e-2), schedule=schedule, n_batches=n_batches)(
            model, mean_square
        )
        out = tmp_path / schedule
        options = {"every": Every(log=2, checkpoint=3), "progress": False, "out": out, "data": batches}
        fit(update, params, n_updates=4, **options)
        state = fit(update, params, n_updates=6, **options)
        records = [r for r in read_log(out) if r["event"] == "training"]
        ends[schedule] = jax.device_get(state.params), [r["loss"] for r in records]
        assert int(state.step) == 6 and [r["step"] for r in records if r["step"] % 2 == 0] == [2, 4, 6]
    assert_trees_close(ends["spmd"][0], ends["pipeline"][0], 1e-5)
    with pytest.raises(ValueError, match="3 updates to go are no multiple of the 2"):
        fit(update, params, batches, out=tmp_path / "odd", n_updates=3, progress=False)


def test_errors_say_what_to_change(setup):
    model, params, batches = setup
    mesh, tx = module_mesh(1), optax.adam(1e-3)
    with pytest.raises(ValueError, match=r"7 devices are asked for, but there are \d \(cpu\)"):
        module_mesh(7)
    with pytest.raises(ValueError, match="2 data shards do not divide 1 devices"):
        module_mesh(1, n_data=2)
    three = jax.sharding.AbstractMesh((1, 3), ("data", "module"))
    with pytest.raises(ValueError, match="3 devices for modules do not divide 4 modules"):
        p_gleam(4, three, tx, schedule="spmd")
    with pytest.raises(ValueError, match="3 modules do not divide the model's 4 steps"):
        p_gleam(3, mesh, tx)(model, mean_square)
    with pytest.raises(ValueError, match="separate weights"):
        p_gleam(4, mesh, tx)(batched(toy(shared=True)), mean_square)
    with pytest.raises(ValueError, match="2 optimizers for 4 modules"):
        p_gleam(4, mesh, [tx, tx])
    with pytest.raises(ValueError, match="3 losses for 4 modules"):
        p_gleam(4, mesh, tx)(model, [mean_square] * 3)
    with pytest.raises(ValueError, match="no schedule 'gpipe'"):
        p_gleam(4, mesh, tx, schedule="gpipe")
    with pytest.raises(ValueError, match="axes data and module"):
        p_gleam(4, jax.make_mesh((1,), ("x",)), tx)
    with pytest.raises(ValueError, match="n_batches must be 1 or more"):
        p_gleam(4, mesh, tx, n_batches=0)
    with pytest.raises(ValueError, match="ema_decay"):
        p_gleam(4, mesh, tx, ema_decay=1.0)
    update = p_gleam(4, mesh, tx, n_batches=3)(model, mean_square)
    with pytest.raises(ValueError, match="takes 3 mini-batches in a call, but got 2"):
        update(update.init(params, jax.random.key(0)), *stack_problems(batches[:2]))


def test_what_the_steps_share_learns_from_the_first_module():
    """Deep J-Sense with separate image networks: all else is in `start`."""
    model, tx = build(replace(TINY["deep-jsense"], shared=False, map_iters=1, image_iters=1)), optax.adam(1e-3)
    batches = [problem_for(model, seed=seed, maps=False) for seed in range(2)]
    params, ends = jax.device_get(random_params(model, batches[0][0])), []
    greedy = from_grad_fn(gleam(2)(model, mean_square), per_module(tx, 2))
    for update in (greedy, p_gleam(2, module_mesh(1), tx)(model, mean_square)):
        state, seen = train(update, params, batches)
        ends.append(jax.device_get((state.params, [metrics["losses"] for metrics in seen])))
    assert_trees_close(*ends, 1e-5)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max() > 1e-4, ends[0][0], params)
    assert all(jax.tree.leaves(moved))

"""The training loop: exact resume, also after a kill; compilations; NaN; folders that cannot be used."""

import functools
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.toy_run import slices, toy, train

from jaxrecon.data.pipeline import batches
from jaxrecon.data.preparation import Preparation, combined_target
from jaxrecon.models import batched
from jaxrecon.strategies import end_to_end, gleam
from jaxrecon.training import (
    Checkpoints,
    Every,
    RunFolder,
    Scores,
    TrainingError,
    TrainState,
    create_state,
    evaluation_params,
    fit,
    from_grad_fn,
    load_config,
    load_params,
    losses,
    read_log,
)
from jaxrecon.training.checkpoints import as_json
from jaxrecon.training.fit import caption

N_UPDATES = 24


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    return train(out, N_UPDATES), out


def assert_equal_states(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(x, y)


def curve(out):
    return [(r["event"], r["step"], r.get("loss"), r.get("grad_norm"), r.get("a")) for r in read_log(out)]


def test_two_runs_are_equal_bit_for_bit(whole_run, tmp_path):
    state, out = whole_run
    assert_equal_states(train(tmp_path, N_UPDATES), state)
    assert curve(tmp_path) == curve(out)
    assert int(state.step) == N_UPDATES and len(curve(out)) > N_UPDATES // 2


def test_speed_counts_the_time_that_steps_are_waited_for(tmp_path, monkeypatch):
    """Steps are dispatched without waiting: most of their time passes when their metrics are fetched."""
    clock, fetch = itertools.count(), jax.device_get
    waited = []

    def slow_fetch(tree):
        waited.append(1000)
        return fetch(tree)

    fake = types.SimpleNamespace(monotonic=lambda: next(clock) + sum(waited))
    monkeypatch.setattr(sys.modules["jaxrecon.training.fit"], "time", fake)
    monkeypatch.setattr(jax, "device_get", slow_fetch)
    train(tmp_path, 4)
    assert all(r["steps_per_second"] < 0.01 for r in read_log(tmp_path) if r["event"] == "training")


def test_stopped_and_resumed_equals_one_run(whole_run, tmp_path):
    state, out = whole_run
    train(tmp_path, 13)
    assert_equal_states(train(tmp_path, N_UPDATES), state)
    # the interval that ended at step 13 makes records that the whole run does not have
    assert [r for r in curve(tmp_path) if r[0] == "evaluation" and r[1] != 13] == [
        r for r in curve(out) if r[0] == "evaluation"
    ]


def test_killed_at_any_moment_and_resumed_equals_one_run(whole_run, tmp_path):
    state, out = whole_run
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir)}
    process = subprocess.Popen(
        [sys.executable, "-m", "support.toy_run", str(tmp_path), "1000000"],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    while process.poll() is None and len(read_log(tmp_path)) < 6:
        time.sleep(0.005)
    # into a checkpoint, an evaluation or a step: they take a few milliseconds each
    time.sleep(0.1 * np.random.default_rng().random())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with Checkpoints(tmp_path) as checkpoints:
        reached = checkpoints.latest
    assert reached is not None and reached > 0
    n_updates = max(N_UPDATES, reached + 3)
    resumed = train(tmp_path, n_updates)
    if n_updates != N_UPDATES:
        # the machine was faster than the kill: the whole run goes on as far
        state = train(shutil.copytree(out, tmp_path / "longer"), n_updates)
        out = tmp_path / "longer"
    assert_equal_states(resumed, state)
    assert curve(tmp_path)[:20] == curve(out)[:20]


def test_last_and_best_checkpoints_stay(tmp_path):
    state = TrainState(jnp.int32(0), {"start": {}, "steps": {"a": jnp.ones(3)}}, (), jax.random.key(0))
    with Checkpoints(tmp_path, keep=2, best=("psnr", "max")) as checkpoints:
        for i, score in enumerate([1.0, 9.0, 2.0, 3.0]):
            checkpoints.save(state.replace(step=jnp.int32(2 * i)), metrics={"psnr": score})
            checkpoints.save(state.replace(step=jnp.int32(2 * i + 1)))
        assert checkpoints.latest == 7
        assert {int(p.name) for p in checkpoints.folder.iterdir() if p.name.isdigit()} == {2, 6, 7}
        with pytest.raises(ValueError, match=r"step 3; there are \[2, 6, 7\]"):
            checkpoints.config(step=3)


def test_weights_for_reconstruction_are_those_of_the_best_evaluation(whole_run):
    state, out = whole_run
    like = jax.eval_shape(lambda: state.params)
    evaluations = {r["step"]: r["a"] for r in read_log(out) if r["event"] == "evaluation"}
    best = max(evaluations, key=evaluations.get)
    weights = load_params(out, like)
    assert float(weights["steps"]["a"].sum()) == evaluations[best]
    np.testing.assert_array_equal(load_params(out, like, step=N_UPDATES)["steps"]["a"], state.ema["steps"]["a"])
    assert load_config(out) == {"model": "toy"}
    with pytest.raises(ValueError, match="no run folder"):
        load_params(out / "images", like)


def test_checkpoint_of_another_model_lists_the_differences(whole_run):
    state, out = whole_run
    other = jax.tree.map(lambda a: a, state.params)
    other["steps"] = {"a": jnp.zeros(4), "b": jnp.zeros(())}
    with pytest.raises(ValueError, match=r"(?s)missing steps/b.*unknown steps/t.*steps/a is float32\[3\]"):
        load_params(out, other)
    with pytest.raises(ValueError, match="another model or optimizer"):
        train(out, N_UPDATES + 1, update=from_grad_fn(lambda *_: None, optax.sgd(1e-3), ema_decay=0.9))


@functools.cache
def simple_parts(loss=losses.complex_l1, strategy=None):
    """(training step, weights, batches of two shapes), the same ones for all tests."""
    model = batched(toy())
    how = Preparation(target=combined_target)
    data = [
        batch
        for shape in ((9, 8), (7, 8))
        for batch in batches(slices(4, shape=shape), how, batch_size=2, seed=0, n_epochs=1)
    ]
    update = from_grad_fn((strategy or end_to_end())(model, loss), optax.adam(1e-3))
    return update, jax.jit(model.init)(jax.random.key(0), data[0][0]), data


def test_compiles_once_per_shape(tmp_path):
    traces = []

    def loss(x, target):
        traces.append(x.shape)
        return losses.complex_l1(x, target)

    update, params, data = simple_parts(loss)
    fit(update, params, data, out=tmp_path, n_updates=20, progress=False)
    fit(update, params, data, out=tmp_path, n_updates=30, progress=False)
    # a restart has arrays of the disk, committed to a device: that may compile once more, never per step
    assert sorted(set(traces)) == [(2, 7, 8), (2, 9, 8)]
    assert update.step._cache_size() <= 4
    assert len(traces) <= 4
    # the caller's parameters are not donated away
    assert np.isfinite(np.asarray(params["steps"]["a"])).all()


@pytest.mark.parametrize("strategy", [end_to_end(), gleam(3)])
def test_nan_stops_with_step_module_and_last_good_checkpoint(strategy, tmp_path):
    update, params, data = simple_parts(losses.mse, strategy)
    problem, target = data[0]

    def poisoned():
        for step in itertools.count(1):
            image = jnp.where(step == 8, jnp.nan, target.image)
            yield problem, target.replace(image=image)

    with pytest.raises(TrainingError) as caught:
        fit(update, params, poisoned(), out=tmp_path, n_updates=20, every=Every(checkpoint=5, log=10), progress=False)
    text = str(caught.value)
    assert "step 8" in text and "the loss" in text and str(tmp_path / "checkpoints" / "5") in text
    assert ("module 0 of 3" in text) == strategy.__qualname__.startswith("gleam")
    assert read_log(tmp_path)[-1]["event"] == "stopped"
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest == 5
        assert np.isfinite(checkpoints.restore(update.init(params, jax.random.key(0))).state.params["steps"]["a"]).all()


def test_nan_in_one_gradient_names_its_step_and_leaves_the_state_alone():
    def grad_fn(params, problem, target):
        g = jax.tree.map(jnp.ones_like, params)
        g["steps"]["w"] = g["steps"]["w"].at[2].set(jnp.inf)
        return (jnp.ones(()), {}), g

    from jaxrecon.strategies.update import nonfinite_names

    params = {"start": {"s": jnp.ones(2)}, "steps": {"w": jnp.ones((4, 3)), "b": jnp.ones(4)}}
    update = from_grad_fn(grad_fn, optax.adam(0.1), ema_decay=0.5)
    state = update.init(params, jax.random.key(0))
    before = jax.tree.map(np.asarray, (state.params, state.opt_state, state.ema))
    state, metrics = update(state, None, None)
    assert [n for n, f in zip(nonfinite_names(params), metrics["nonfinite"], strict=True) if f] == [
        "the gradient of step 2"
    ]
    assert int(state.step) == 0
    assert_equal_states((state.params, state.opt_state, state.ema), jax.tree.map(jnp.asarray, before))


def test_unusable_folders_are_found_before_training(tmp_path, monkeypatch):
    update, params, data = simple_parts()
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write to the run folder"):
        fit(update, params, data, out=tmp_path / "file" / "run", n_updates=1, progress=False)
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="MiB free"):
        fit(update, params, data, out=tmp_path / "run", n_updates=1, progress=False)


def test_disk_that_fills_up_names_the_last_checkpoint(tmp_path, monkeypatch):
    update, params, data = simple_parts()
    fit(update, params, data, out=tmp_path, n_updates=2, progress=False)
    import orbax.checkpoint as ocp

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ocp.CheckpointManager, "save", full)
    with pytest.raises(OSError, match=r"step 4 could not be written.*No space left.*step 2"):
        fit(update, params, data, out=tmp_path, n_updates=4, progress=False)


def test_data_that_end_and_options_that_do_not_fit(tmp_path):
    update, params, data = simple_parts()
    with pytest.raises(TrainingError, match="no data for step 3"):
        fit(update, params, iter(data[:2]), out=tmp_path / "a", n_updates=9, progress=False)
    with pytest.raises(ValueError, match="give evaluate="):
        fit(update, params, data, out=RunFolder(tmp_path / "b", best=("psnr", "max")), n_updates=9, progress=False)
    with pytest.raises(ValueError, match="numbers of `every` must be 1 or more"):
        fit(update, params, data, out=tmp_path / "b", n_updates=9, every=Every(log=0), progress=False)
    with pytest.raises(ValueError, match="TrainState"):
        fit(lambda s, p, t: (s, {}), params, data, out=tmp_path / "c", n_updates=9, progress=False)


def test_iterables_without_a_place_resume_exactly_too(tmp_path):
    update, params, data = simple_parts()
    whole = fit(update, params, data, out=tmp_path / "a", n_updates=7, progress=False)
    fit(update, params, data, out=tmp_path / "b", n_updates=3, progress=False)
    assert_equal_states(fit(update, params, data, out=tmp_path / "b", n_updates=7, progress=False), whole)


def test_evaluation_with_pictures_and_tensorboard(tmp_path):
    update, params, data = simple_parts()

    def scores(params):
        return Scores({"psnr": 1.0}, images={"target": np.eye(8), "reconstruction": np.ones((8, 8))})

    fit(
        update,
        create_state(params, optax.adam(1e-3)),
        data,
        out=RunFolder(tmp_path, best=("psnr", "max")),
        n_updates=4,
        evaluate=scores,
        every=Every(evaluate=2),
        progress=False,
    )
    assert sorted(p.name for p in (tmp_path / "images").iterdir()) == ["step_00000002.png", "step_00000004.png"]
    assert [r["psnr"] for r in read_log(tmp_path) if r["event"] == "evaluation"] == [1.0, 1.0]
    folder = RunFolder(tmp_path / "x", best=("ssim", "max"))
    with pytest.raises(ValueError, match="no finite 'ssim'"):
        fit(update, params, data, out=folder, n_updates=1, evaluate=scores, progress=False)


def test_caption_has_room_above_a_picture():
    metrics = {"mse": 2.77e-10, "nmse": 0.0045, "nrmse": 0.067, "psnr": 30.22, "ssim": 0.9121, "hfen": 0.1}
    assert caption(metrics) == "PSNR 30.2, SSIM 0.912"
    assert caption({"mse": 2.77e-10, "nmse": 0.0045, "hfen": 0.1}) == "MSE 2.77e-10, NMSE 0.0045"


def test_evaluation_that_fails_costs_no_step(tmp_path):
    update, params, data = simple_parts()
    calls = itertools.count()

    def scores(params):
        if next(calls):  # the first one is the trial before the first step
            raise ValueError("validation data are bad")
        return Scores({"psnr": 1.0})

    folder = RunFolder(tmp_path, best=("psnr", "max"))
    options = dict(out=folder, every=Every(evaluate=3, log=1), progress=False)
    with pytest.raises(ValueError, match="validation data are bad"):
        fit(update, params, data, n_updates=9, evaluate=scores, **options)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest == 3
    # mended, the run goes on from there and the best is of those that were evaluated
    better = lambda params: Scores({"psnr": float(params["steps"]["a"].sum())})
    state = fit(update, params, data, n_updates=9, evaluate=better, **options)
    assert [r["step"] for r in read_log(tmp_path) if r["event"] == "training"] == list(range(1, 10))
    assert_equal_states(state, fit(update, params, data, out=tmp_path / "whole", n_updates=9, progress=False))
    assert load_params(tmp_path, state.params)["steps"]["a"].shape == state.params["steps"]["a"].shape


def test_configurations_become_json():
    import dataclasses

    @dataclasses.dataclass
    class Config:
        path: Path
        loss: object
        sizes: tuple = (1, np.int64(2))
        nested: object = None

    config = Config(Path("a"), losses.l1, nested=Config(Path("b"), None))
    assert as_json(config)["loss"] == "l1" and as_json(config)["sizes"] == [1, 2]
    assert as_json(config)["nested"]["path"] == "b"
    with pytest.raises(ValueError, match="fit for JSON"):
        as_json({"a": object()})


def test_evaluation_params_prefers_the_average():
    state = create_state({"start": {}, "steps": {"a": jnp.ones(2)}}, optax.sgd(1.0), ema=True)
    assert evaluation_params(state) is state.ema
    assert evaluation_params(state.replace(ema=None)) is state.params


def test_a_run_of_more_updates_than_are_asked_for_is_told(tmp_path):
    train(tmp_path, 4)
    with pytest.raises(ValueError, match="has 4 updates already, 2 asked"):
        train(tmp_path, 2)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest == 4
    train(tmp_path, 4)  # of a finished one nothing is left, and nothing is lost
    assert [r["step"] for r in read_log(tmp_path) if r["event"] == "training"] == [2, 3, 4]

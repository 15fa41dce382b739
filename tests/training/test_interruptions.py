"""What comes between: wishes to stop, a second training, damaged checkpoints, lost files, evaluations that fail, long waits."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time

import absl.logging
import jax
import numpy as np
import optax
import pytest
from support.files import write_fastmri
from support.scans import measured
from support.toy_run import PREPARATION, slices, toy, train, training_step

from jaxrecon.checks import DataError, UserError
from jaxrecon.data import Source, index_files
from jaxrecon.data.pipeline import batches, labelled
from jaxrecon.data.preparation import Preparation, rss_target
from jaxrecon.strategies.update import create_state
from jaxrecon.training import (
    Checkpoints,
    Every,
    RunFolder,
    Scores,
    TrainingError,
    evaluator,
    fit,
    load_best,
    load_params,
    log,
    read_log,
)
from jaxrecon.training.lock import locked

N_UPDATES = 14


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    return train(out, N_UPDATES), out


def assert_same_weights(a, b):
    jax.tree.map(np.testing.assert_array_equal, (a.params, a.opt_state, a.ema), (b.params, b.opt_state, b.ema))


def checkpoints(out):
    return sorted(int(p.name) for p in (out / "checkpoints").iterdir() if p.name.isdigit())


def evaluations(out):
    return [(r["step"], r["a"]) for r in read_log(out) if r["event"] == "evaluation"]


def test_asked_to_stop_and_resumed_equals_one_run(whole_run, tmp_path):
    """At steps where a checkpoint or an evaluation is due, and where none is."""
    whole, out = whole_run
    asked, lines = itertools.count(1), []
    reached = []
    while not reached or reached[-1] < N_UPDATES:
        stop = lambda: next(asked) in (4, 6, 7, 11)
        state = train(tmp_path, N_UPDATES, stop=stop, progress=lines.append)
        reached.append(int(state.step))
        assert checkpoints(tmp_path)[-1] == reached[-1]
    assert reached == [4, 6, 7, 11, N_UPDATES]
    assert_same_weights(state, whole)
    assert evaluations(tmp_path) == evaluations(out)
    # no update is left out of the log
    assert {r["step"] for r in read_log(tmp_path)} >= set(reached)
    stopped = [line for line in lines if "stopped" in line]
    assert stopped[0] == f"{tmp_path}: stopped at step 4 of {N_UPDATES}; started again, it goes on from there"
    assert len(stopped) == 4 and f"{tmp_path}: going on from step 4" in lines


def test_a_second_training_is_refused(tmp_path):
    train(tmp_path, 2)
    with locked(tmp_path):
        before = (tmp_path / "log.jsonl").read_text()
        with pytest.raises(ValueError, match=f"another training is at work in this folder .process {os.getpid()} on "):
            train(tmp_path, 4)
    assert (tmp_path / "log.jsonl").read_text() == before and checkpoints(tmp_path) == [2]
    assert int(train(tmp_path, 4).step) == 4


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_kill_leaves_no_lock(tmp_path):
    code = f"""
import pathlib, time
from jaxrecon.training.lock import locked
with locked(pathlib.Path({str(tmp_path)!r})):
    print("locked", flush=True)
    time.sleep(600)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "locked\n"
    with pytest.raises(ValueError, match=f"process {holder.pid} on "):
        train(tmp_path, 2)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert int(train(tmp_path, 2).step) == 2


def delete(part):
    return lambda newest: shutil.rmtree(newest / part)


def cut_off(pattern):
    def damage(newest):
        for path in newest.glob(pattern):
            path.write_bytes(path.read_bytes()[:20])

    return damage


@pytest.mark.parametrize(
    ("damage", "hits"),
    [
        (delete("state"), "state"),
        (delete("state/d"), "state"),
        (cut_off("state/manifest.ocdbt"), "state"),
        (cut_off("state/d/*"), "state"),
        (delete("about"), "about"),
        (cut_off("about/metadata"), "about"),
        (delete("weights"), "weights"),
        (delete("weights/d"), "weights"),
    ],
)
def test_a_damaged_newest_checkpoint(whole_run, damage, hits, tmp_path, capfd):
    whole, _ = whole_run
    train(tmp_path, 12)
    newest, other = tmp_path / "checkpoints" / "12", tmp_path / "checkpoints" / "9"
    damage(newest)
    capfd.readouterr()
    with pytest.raises(ValueError, match="is damaged") as caught:
        train(tmp_path, N_UPDATES)
    assert f"checkpoint {newest} is damaged ({hits}: " in str(caught.value)
    assert f"newest whole one is {other}: to go on with it, move {newest} elsewhere" in str(caught.value)
    assert capfd.readouterr() == ("", "")
    newest.rename(tmp_path / "elsewhere")
    assert_same_weights(train(tmp_path, N_UPDATES), whole)


def test_damaged_weights_and_the_only_checkpoint(whole_run, tmp_path):
    whole, _ = whole_run
    like = whole.params
    train(tmp_path, 9)  # the best is that of step 6 or 9
    both = [tmp_path / "checkpoints" / str(step) for step in (6, 9)]
    best = max(evaluations(tmp_path), key=lambda pair: pair[1])[0]
    shutil.rmtree(tmp_path / "checkpoints" / str(best) / "weights")
    with pytest.raises(ValueError, match=rf"{best} is damaged \(weights: .*newest whole one is"):
        load_params(tmp_path, like)
    for path in both:
        shutil.rmtree(path / "weights", ignore_errors=True)
    with pytest.raises(ValueError, match="no whole one beside it: choose another run folder"):
        load_params(tmp_path, like)


@pytest.mark.parametrize("step", ["the best", "the newest"])
def test_damaged_weights_of_a_run_that_is_done(step, tmp_path):
    state = train(tmp_path, N_UPDATES)
    best = max(evaluations(tmp_path), key=lambda pair: pair[1])[0]
    damaged = tmp_path / "checkpoints" / str(best if step == "the best" else N_UPDATES)
    for path in (damaged / "weights" / "d").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=rf"{damaged} is damaged \(weights: .*newest whole one is"):
        train(tmp_path, N_UPDATES)
    damaged.rename(tmp_path / "elsewhere")
    jax.tree.map(np.testing.assert_array_equal, train(tmp_path, N_UPDATES).params, state.params)


def test_the_best_is_known_without_orbax_record_of_it(tmp_path):
    """And an old checkpoint that a kill has left half deleted is in nobody's way."""
    state = train(tmp_path, N_UPDATES)
    best = load_params(tmp_path, state.params)
    for path in tmp_path.glob("checkpoints/*/_CHECKPOINT_METADATA"):
        path.unlink()
    (tmp_path / "checkpoints" / "1").mkdir()
    jax.tree.map(np.testing.assert_array_equal, load_params(tmp_path, state.params), best)


def test_a_lost_log_does_not_change_the_best(tmp_path):
    """And it is said from where on there are records."""
    lines = []
    train(tmp_path, N_UPDATES - 1)
    before = load_best(tmp_path)
    assert (before["step"], before["a"]) == max(evaluations(tmp_path), key=lambda pair: pair[1])
    (tmp_path / "log.jsonl").unlink()
    train(tmp_path, N_UPDATES, progress=lines.append)
    assert load_best(tmp_path)["a"] >= before["a"]
    assert lines[1] == (
        f"{tmp_path / 'log.jsonl'} holds nothing of the updates 1 to {N_UPDATES - 1}: their losses and evaluations are "
        "not known; which weights are the best, the checkpoints tell"
    )
    lines.clear()
    train(tmp_path, N_UPDATES, progress=lines.append)
    assert len(lines) == 1


def test_what_a_kill_leaves_behind_is_passed_over_in_silence(tmp_path, caplog):
    """The folder of a checkpoint that was being written, and one half deleted; other warnings of orbax are not held back."""
    train(tmp_path, 9)
    (tmp_path / "checkpoints" / "12.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "checkpoints" / "6" / "_CHECKPOINT_METADATA").unlink()
    caplog.clear()
    state = train(tmp_path, N_UPDATES)
    load_params(tmp_path, state.params)
    assert [record.getMessage() for record in caplog.records if record.name == "absl"] == []
    with Checkpoints(tmp_path):
        absl.logging.warning("%s is read only", tmp_path)
    absl.logging.warning("Metadata file does not exist: %s", "that of another program")
    assert len(caplog.records) == 2


def toy_data(n=6):
    return batches(slices(n), PREPARATION, batch_size=2, seed=3)


def test_the_evaluation_is_tried_before_the_first_step(tmp_path):
    init, update = training_step()
    data, calls = toy_data(), []
    params = init(jax.random.key(1), next(iter(data))[0])

    def counted(*args):
        calls.append("update")
        return update(*args)

    def run(evaluate, n_updates=2, best=("psnr", "max")):
        state = update.init(params, jax.random.key(0))
        fit(
            counted,
            state,
            data,
            out=RunFolder(tmp_path, best=best),
            n_updates=n_updates,
            evaluate=evaluate,
            progress=False,
        )

    for evaluate, message in [
        ("psnr", "evaluate must be a function from weights to Scores, not 'psnr'"),
        (lambda params: {"psnr": 1.0}, r"must return jaxrecon.training.Scores, but it returns {'psnr': 1.0}"),
        (lambda params: Scores({"ssim": 1.0}), "gives no finite 'psnr' to choose the best"),
    ]:
        with pytest.raises(ValueError, match=message):
            run(evaluate)
    assert not calls and not read_log(tmp_path)

    def seen(params):
        calls.append("evaluation")
        # initial weights may be worth nothing
        return Scores({"psnr": 1.0 if "update" in calls else float("nan")})

    run(seen)
    run(seen, 3)
    # not again by a run that goes on
    assert calls == ["evaluation", "update", "update", "evaluation", "update", "evaluation"]
    assert [r["step"] for r in read_log(tmp_path) if r["event"] == "evaluation"] == [2, 3]


def test_an_evaluator_is_tried_on_one_example(whole_run):
    read = []

    class Counted(list):
        def __getitem__(self, i):
            read.append(i)
            return super().__getitem__(i)

    source = Counted(slices(5, file="scan.h5"))
    scores = evaluator(toy(), labelled(source, Preparation(target=PREPARATION.target)), variant="fastmri")
    params = {"start": {}, "steps": whole_run[0].params["steps"]}
    assert scores.of_the_first()(params).metrics.keys() == scores(params).metrics.keys()
    assert read == [0, 0, 1, 2, 3, 4]


def test_a_file_that_is_lost_costs_no_step(tmp_path):
    """Its name, the step and the checkpoint are said; with the file again the run goes on as if nothing had been."""
    folder, out = tmp_path / "data", tmp_path / "run"
    folder.mkdir()
    for i in range(3):
        write_fastmri(folder / f"scan{i}.h5", measured(unit=i + 1.0)[0][None])
    how = Preparation(target=rss_target)
    data = batches(Source(index_files(folder)), how, batch_size=1, seed=0, n_threads=1)

    def update_fn(state, problem, target):
        value = float(np.asarray(target.image).sum())
        state = state.replace(step=state.step + 1, params=state.params + np.float32(value))
        return state, {"loss": np.float32(value)}

    def run(out, **options):
        start = create_state(np.zeros((), np.float32), optax.identity(), jax.random.key(0))
        every = Every(checkpoint=100, log=1)
        return fit(update_fn, start, data, out=out, n_updates=20, every=every, progress=False, **options)

    def lose():
        if (folder / "scan1.h5").exists():
            (folder / "scan1.h5").rename(tmp_path / "lost.h5")
        return False

    whole = run(tmp_path / "whole")
    with pytest.raises(
        TrainingError, match=r"training stopped at step \d+: file \S*scan1\.h5: there is no such"
    ) as caught:
        run(out, stop=lose)
    assert isinstance(caught.value.__cause__, DataError)
    (kept,) = checkpoints(out)
    assert f"stopped at step {kept + 1}: " in str(caught.value)
    assert f"the last good checkpoint is {out / 'checkpoints' / str(kept)}. Mend that" in str(caught.value)
    (tmp_path / "lost.h5").rename(folder / "scan1.h5")
    np.testing.assert_array_equal(run(out).params, whole.params)
    assert [r["step"] for r in read_log(out) if r["event"] == "training"] == list(range(1, 21))


def test_long_waits_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(log, "SOON", 0.1)
    monkeypatch.setattr(log, "AGAIN", 0.2)
    init, update = training_step()
    data, lines = toy_data(), []
    problem, _ = next(iter(data))
    params = init(jax.random.key(1), problem)
    slow = iter([True])

    def as_if_compiled(*args):
        time.sleep(0.7 if next(slow, False) else 0)
        return update(*args)

    state = update.init(params, jax.random.key(0))
    fit(as_if_compiled, state, data, out=tmp_path, n_updates=6, progress=lines.append)
    shape = tuple(problem.kspace.shape)
    assert 2 <= len(lines) <= 4
    assert all(line.startswith(f"compiling the training step for k-space of shape {shape}, for ") for line in lines)
    assert lines[0].endswith("for 0 s so far")


def test_nothing_is_said_of_what_is_quick(tmp_path, capfd):
    lines = []
    train(tmp_path, 3, progress=lines.append)
    train(tmp_path / "silent", 3, progress=False)
    assert lines == [] and capfd.readouterr() == ("", "")

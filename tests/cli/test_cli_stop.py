"""Ctrl-C and SIGTERM to `jaxrecon train`, a folder that another training has, a damaged checkpoint: what is said, and exit codes."""

import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from support.hosts import HEARS_CTRL_C, free_address, start, weights
from support.scans import TRAIN, measured

from jaxrecon.cli import main
from jaxrecon.recon import load_network
from jaxrecon.training import read_log
from jaxrecon.training.lock import locked

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be sent Ctrl-C or SIGTERM there")
ENDLESS = ["--n-updates", "1000000", "--every.evaluate", "1000000", "--every.checkpoint", "1000000"]


@pytest.fixture
def command(prepared):
    return [*TRAIN, "--data", str(prepared.path)]


def wait_for_updates(process, out, n=3):
    while process.poll() is None and len(read_log(out)) < n:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()


def latest(out):
    return max(int(p.name) for p in (out / "checkpoints").iterdir() if p.name.isdigit())


def stopped(command, out, number):
    """The exit code of a training that is sent a signal, the step that it keeps, and what it says of that."""
    process = start(*command, *ENDLESS, "--out", str(out))
    try:
        wait_for_updates(process, out)
        process.send_signal(number)
        text, errors = process.communicate(timeout=120)
    finally:
        process.kill()  # an endless training must not outlive its test
    reached = latest(out)
    assert f"{number.name}: stopping after this update, with a checkpoint; a second one stops at once\n" in errors
    assert f"{out}: stopped at step {reached} of 1000000; started again, it goes on from there\n" in text
    assert read_log(out)[-1]["step"] == reached and "Traceback" not in errors
    return process.returncode, reached


def test_ctrl_c_keeps_a_checkpoint(command, tmp_path):
    code, reached = stopped(command, tmp_path, signal.SIGINT)
    assert code == 130 and reached >= 3


def test_after_sigterm_a_run_goes_on_as_if_nothing_had_been(command, tmp_path):
    code, reached = stopped(command, tmp_path / "run", signal.SIGTERM)
    assert code == 143
    runs = [tmp_path / "run", tmp_path / "whole"]
    for out in runs:
        assert main([*command, *ENDLESS, "--n-updates", str(reached + 2), "--out", str(out)]) == 0
    jax.tree.map(np.testing.assert_array_equal, *map(weights, runs))
    own, whole = ([r["loss"] for r in read_log(out) if r["event"] == "training"] for out in runs)
    assert own == whole and len(own) == reached + 2


def test_a_second_signal_stops_at_once():
    """Also where Python gets no chance to run a handler, as in a compilation: here while it makes a key of a password."""
    code = f"""{HEARS_CTRL_C}
import hashlib
from jaxrecon.cli.stopping import stopping
with stopping("stopping in order") as wish:
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 2**31 - 1)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        # the terminal's signal comes twice where a launcher hands it on
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        time.sleep(1.2)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors == "SIGTERM: stopping in order; a second one stops at once\nSIGINT: stopped at once\n"


def test_handlers_are_put_back():
    from jaxrecon.cli.stopping import stopping

    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with stopping("stopping") as wish:
        assert not wish()
        os.kill(os.getpid(), signal.SIGTERM)
        until = time.monotonic() + 10
        while not wish() and time.monotonic() < until:
            time.sleep(0.001)
        assert wish() and wish.exit_code == 143
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_folder_that_another_training_has(command, tmp_path, capsys):
    with locked(tmp_path):
        assert main([*command, "--n-updates", "1", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"{tmp_path}: another training is at work in this folder" in error


def test_a_damaged_checkpoint_in_train_and_recon(command, tmp_path, capsys):
    out, scan = tmp_path / "run", tmp_path / "scan.npy"
    every = ["--every.checkpoint", "1", "--every.evaluate", "2"]
    assert main([*command, *every, "--n-updates", "2", "--out", str(out)]) == 0
    np.save(scan, measured()[0])
    shutil.rmtree(out / "checkpoints" / "2" / "about")
    capsys.readouterr()
    for words in (
        [*command, *every, "--n-updates", "3", "--out", str(out)],
        ["recon", str(scan), "--checkpoint", str(out), "--out", str(tmp_path / "r.npy")],
    ):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and f"checkpoint {out / 'checkpoints' / '2'} is damaged" in error
        assert f"newest whole one is {out / 'checkpoints' / '1'}: to go on with it, move" in error
    with pytest.raises(ValueError, match="is damaged"):
        load_network(out)
    shutil.move(out / "checkpoints" / "2", tmp_path)
    assert load_network(out).name == "pgd"


@pytest.mark.slow
def test_hosts_stop_at_one_step(command, tmp_path):
    """One of two is asked; both keep the checkpoint of one step, from which one process goes on."""
    out = tmp_path / "run"
    hosts = ["--processes", "2", "--coordinator", free_address(), "--strategy.n-batches", "1"]
    words = [*command[: command.index("--strategy")], "--data", command[-1], "--out", str(out)]
    running = [start(*words, *ENDLESS, "--strategy", "p_gleam", *hosts, "--process", str(i)) for i in range(2)]
    try:
        wait_for_updates(running[0], out)
        running[1].send_signal(signal.SIGTERM)
        texts = [process.communicate(timeout=120) for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [143, 143], texts
    reached = latest(out)
    assert f"stopped at step {reached} of 1000000" in texts[0][0] and read_log(out)[-1]["step"] == reached
    assert main([*words, *ENDLESS, "--strategy", "gleam", "--n-updates", str(reached + 1)]) == 0
    # the second training is refused by all of its processes
    hosts[3] = free_address()
    more = ["--n-updates", str(reached + 2)]
    with locked(out):
        running = [
            start(*words, *ENDLESS, *more, "--strategy", "p_gleam", *hosts, "--process", str(i)) for i in range(2)
        ]
        texts = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [2, 2], texts
    assert all("another training is at work in this folder" in errors for _, errors in texts)

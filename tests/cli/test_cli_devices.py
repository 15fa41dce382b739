"""`jaxrecon train` on several devices and hosts: two processes on this machine, one that waits in vain, wrong options."""

import socket

import jax
import numpy as np
import pytest
from support.hosts import free_address, start, weights
from support.scans import TRAIN

from jaxrecon.cli import main
from jaxrecon.training import read_log

# without the strategy that TRAIN ends with
TINY = [*TRAIN[: TRAIN.index("--strategy")], "--n-updates", "4"]


@pytest.fixture
def command(prepared):
    return [*TINY, "--data", str(prepared.path)]


@pytest.mark.slow
def test_two_hosts_are_one(command, tmp_path):
    """Two processes, a module each, in one program: the weights, the log and the folder of GLEAM in one process."""
    one, two = tmp_path / "one", tmp_path / "two"
    hosts = ["--processes", "2", "--coordinator", free_address(), "--strategy.n-batches", "2"]
    together = [*command, "--out", str(two), "--strategy", "p_gleam", *hosts]
    running = [start(*together, "--process", str(i)) for i in range(2)]
    assert main([*command, "--out", str(one), "--strategy", "gleam"]) == 0
    texts = [process.communicate(timeout=600) for process in running]
    assert [process.returncode for process in running] == [0, 0], texts
    # the first one speaks for both
    assert "2 stages of modules, spmd, 2 at once" in texts[0][0] and "validation" in texts[0][0]
    assert "strategy" not in texts[1][0]
    for a, b in zip(jax.tree.leaves(weights(two)), jax.tree.leaves(weights(one)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    losses = [[r["losses"] for r in read_log(out) if r["event"] == "training"] for out in (one, two)]
    # a record for each call of two mini-batches, with their mean
    np.testing.assert_allclose(np.reshape(losses[0], (2, 2, 2)).mean(1), losses[1], rtol=1e-5)
    assert (two / "curves.png").exists()


@pytest.mark.parametrize("process", [0, 1])
def test_a_host_that_never_joins(command, tmp_path, process):
    address = free_address()
    hosts = ["--processes", "2", "--coordinator", address, "--process", str(process), "--join-timeout", "1"]
    waiting = start(*command, "--out", str(tmp_path / "run"), "--strategy", "p_gleam", *hosts)
    _, errors = waiting.communicate(timeout=300)
    assert waiting.returncode == 2
    assert f"process {process}: the 2 processes have not all met at {address} within 1 s" in errors
    assert "Traceback" not in errors and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--strategy", "p_gleam", "--devices", "99"], "99 devices are asked for, but there are"),
        (["--devices", "99"], "XLA_FLAGS=--xla_force_host_platform_device_count=99"),
        (["--strategy", "p_gleam", "--data-shards", "2"], "2 data shards do not divide"),
        (["--strategy", "p_gleam", "--strategy.n-modules", "3"], "3 modules do not divide the model's 2 steps"),
        (["--strategy", "p_gleam", "--strategy.n-batches", "3"], "4 updates to go are no multiple of the 3"),
        (["--strategy", "p_gleam", "--strategy.n-batches", "0"], "n_batches must be 1 or more"),
        (["--strategy", "gleam", "--data-shards", "2"], "--data-shards is for --strategy p_gleam"),
        (["--strategy", "gleam_shared"], "needs a model with shared weights"),
        (["--processes", "2"], "needs --coordinator host:port"),
        (["--processes", "2", "--coordinator", "here"], "must be host:port, not 'here'"),
        (["--processes", "2", "--coordinator", "here:1234", "--process", "2"], "processes are numbered 0 to 1"),
    ],
)
def test_wrong_options(command, tmp_path, capsys, options, message):
    assert main([*command, "--out", str(tmp_path / "run"), *options]) == 2
    assert message in capsys.readouterr().err


def test_port_that_is_taken(command, tmp_path, capsys):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        hosts = ["--processes", "2", "--coordinator", address]
        assert main([*command, "--out", str(tmp_path / "run"), "--strategy", "p_gleam", *hosts]) == 2
    assert f"cannot listen at {address}" in capsys.readouterr().err


def test_gleam_shared_trains(command, tmp_path):
    options = ["--strategy", "gleam_shared", "--model.shared", "--n-updates", "2", "--ema-decay", "0.5"]
    assert main([*command, "--out", str(tmp_path / "run"), *options]) == 0
    losses = [r["losses"] for r in read_log(tmp_path / "run") if r["event"] == "training"]
    assert np.shape(losses) == (2, 2) and np.isfinite(losses).all()

"""The entry point: help, wrong commands, exit codes, whose mistake it was, nothing heavy before it is needed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jaxrecon
from jaxrecon.checks import check_axes
from jaxrecon.cli import main
from jaxrecon.cli.main import COMMANDS, is_users_mistake


def test_help_lists_the_commands(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in COMMANDS)
    assert main([]) == 2
    assert main(["--version"]) == 0
    assert "jaxrecon " in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_teaches(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "Examples:" in text and f"jaxrecon {name}" in text


def test_wrong_command_and_wrong_option(capsys):
    assert main(["reconn", "scan.h5"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "'reconn'" in error and "recon" in error
    with pytest.raises(SystemExit) as stop:
        main(["info", "--colour", "red"])
    assert stop.value.code == 2


def test_help_imports_nothing_heavy():
    """Neither the package nor the commands import jax before they run; `train` and `memory` show an experiment's fields."""
    script = (
        "import sys\n"
        "from jaxrecon.cli import main\n"
        "assert main(['--help']) == 0 and main([]) == 2\n"
        "for name in ('info', 'recon', 'evaluate', 'simulate', 'masks', 'demo'):\n"
        "    try: main([name, '--help'])\n"
        "    except SystemExit as stop: assert stop.code == 0\n"
        "heavy = {'jax', 'h5py', 'matplotlib', 'scipy', 'flax'} & set(sys.modules); assert not heavy, heavy\n"
        "import jaxrecon\n"
        "assert set(jaxrecon.__all__) <= set(dir(jaxrecon)) and not hasattr(jaxrecon, 'nothing')\n"
        "assert jaxrecon.run is jaxrecon.models.run and jaxrecon.losses is jaxrecon.training.losses\n"
        "from jaxrecon import *\n"
        "assert Problem is jaxrecon.problem.Problem and DataError is jaxrecon.checks.DataError"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _raised(function):
    try:
        function()
    except Exception as error:
        return error
    return None


def _as_if_in_the_package(line):
    code = compile(line, str(Path(jaxrecon.__file__).with_name("classical") / "made_up.py"), "exec")
    return _raised(lambda: exec(code, {"np": np}))


def test_whose_mistake():
    """A `raise` of the package speaks to the user; what NumPy raises in a line of the package is the package's bug."""
    assert is_users_mistake(_raised(lambda: check_axes("kspace", np.zeros(3), ("coil", "y", "x"))))
    assert is_users_mistake(_raised(lambda: jaxrecon.Problem.from_numpy(np.zeros((2, 4, 4)))))
    assert is_users_mistake(_raised(lambda: open("/no/such/file")))
    assert is_users_mistake(_as_if_in_the_package("raise ValueError('lam must be positive')"))
    assert not is_users_mistake(_as_if_in_the_package("np.zeros(3) + np.zeros(4)"))
    assert not is_users_mistake(_as_if_in_the_package("np.broadcast_to(np.zeros(3), (4,))"))
    assert not is_users_mistake(_as_if_in_the_package("raise TypeError('n')"))
    assert not is_users_mistake(_raised(lambda: int("x")))


def test_own_bugs_keep_their_traceback(monkeypatch, tmp_path):
    from jaxrecon.cli import masks

    def broken(options):
        return np.zeros(3) + np.zeros(4)

    monkeypatch.setattr(masks, "run", broken)
    with pytest.raises(ValueError, match="broadcast"):
        main(["masks", "random", "--shape", "8", "8", "--out", str(tmp_path / "m.npy")])


def test_ctrl_c_is_clean(monkeypatch, tmp_path, capsys):
    from jaxrecon.cli import masks

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(masks, "draw", stopped)
    assert main(["masks", "random", "--shape", "8", "8", "--out", str(tmp_path / "m.npy")]) == 130
    assert "stopped" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

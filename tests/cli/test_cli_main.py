"""The entry point: help, wrong commands, exit codes, whose mistake it was, nothing heavy before it is needed."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import jaxrecon
from jaxrecon.checks import DataWarning, MissingPackage, UserError, check_axes
from jaxrecon.cli import main
from jaxrecon.cli.main import COMMANDS, _short_warnings


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


def test_warnings_of_data_are_one_line():
    usual = warnings.formatwarning
    with _short_warnings():
        assert warnings.formatwarning("no centre", DataWarning, "a.py", 1) == "jaxrecon: warning: no centre\n"
        assert warnings.formatwarning("old", DeprecationWarning, "a.py", 1) == usual(
            "old", DeprecationWarning, "a.py", 1
        )
    assert warnings.formatwarning is usual


def test_wrong_command_and_wrong_option(capsys):
    assert main(["reconn", "scan.h5"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "'reconn'" in error and "recon" in error
    with pytest.raises(SystemExit) as stop:
        main(["info", "--colour", "red"])
    assert stop.value.code == 2


def test_help_imports_nothing_heavy():
    """Neither the package nor the commands import jax before they run, but for the tables whose names their options are."""
    script = (
        "import sys\n"
        "from jaxrecon.cli import main\n"
        "assert main(['--help']) == 0 and main([]) == 2\n"
        "def check(*names):\n"
        "    heavy = set(names) & set(sys.modules); assert not heavy, heavy\n"
        "def help_of(*names):\n"
        "    for name in names:\n"
        "        try: main([name, '--help'])\n"
        "        except SystemExit as stop: assert stop.code == 0\n"
        "help_of('info', 'evaluate', 'prepare')\n"
        "check('jax', 'h5py', 'matplotlib', 'scipy', 'flax')\n"
        "help_of('recon', 'simulate', 'masks', 'demo')\n"
        "check('matplotlib', 'scipy', 'flax')\n"
        "import jaxrecon\n"
        "assert set(jaxrecon.__all__) <= set(dir(jaxrecon)) and not hasattr(jaxrecon, 'nothing')\n"
        "assert jaxrecon.run is jaxrecon.models.run and jaxrecon.losses is jaxrecon.training.losses\n"
        "from jaxrecon.losses import complex_l1\n"
        "assert complex_l1 is jaxrecon.losses.complex_l1 and jaxrecon.plots.save\n"
        "from jaxrecon import *\n"
        "assert Problem is jaxrecon.problem.Problem and DataError is jaxrecon.checks.DataError"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("make", "whose"),
    [
        (lambda: check_axes("kspace", np.zeros(3), ("coil", "y", "x")), "user"),
        (lambda: jaxrecon.Problem.from_numpy(np.zeros((2, 4, 4))), "user"),
        (lambda: open("/no/such/file"), "user"),
        (lambda: np.zeros(3) + np.zeros(4), "ours"),
        (lambda: int("x"), "ours"),
        (lambda: [][0], "ours"),
        (lambda: __import__("no_such_package"), "ours"),
    ],
)
def test_whose_mistake(make, whose, monkeypatch, tmp_path, capsys):
    """What the package raises speaks to the user; what NumPy or Python raises in it is the package's bug."""
    from jaxrecon.cli import masks

    monkeypatch.setattr(masks, "run", lambda options: make())
    command = ["masks", "random", "--shape", "8", "8", "--out", str(tmp_path / "m.npy")]
    if whose == "user":
        assert main(command) == 2 and capsys.readouterr().err.count("\n") == 1
    else:
        with pytest.raises((ValueError, IndexError, ImportError)) as raised:
            main(command)
        assert not isinstance(raised.value, UserError)


def test_a_missing_package_is_told():
    """One error for both who looks for ImportError and who looks for what a user can mend."""
    assert issubclass(MissingPackage, UserError) and issubclass(MissingPackage, ModuleNotFoundError)
    assert str(MissingPackage("pip install it")) == "pip install it"


def test_the_package_raises_no_plain_value_error():
    """Else the command line would take a user's mistake for a bug."""
    package = Path(jaxrecon.__file__).parent
    plain = [p.name for p in package.rglob("*.py") if "raise ValueError" in p.read_text(encoding="utf-8")]
    assert not plain, plain


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

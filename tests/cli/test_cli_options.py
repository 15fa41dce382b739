"""The options of all commands: what none takes is refused by its name, and messages and pages name those that there are."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jaxrecon
from jaxrecon.cli import main
from jaxrecon.cli.main import COMMANDS, RENAMED
from jaxrecon.experiment import load_experiment
from jaxrecon.experiment.catalog import CATALOG
from jaxrecon.models import build
from jaxrecon.strategies.configs import STRATEGIES
from jaxrecon.training.optimizers import OPTIMIZERS, Course

PACKAGE = Path(jaxrecon.__file__).parent
ROOT = PACKAGE.parent
PAGES = [ROOT / "README.md", *(ROOT / "experiments").glob("*.md")]


def options_of(capsys, *words):
    """The option strings that a command's help lists; its descriptions are indented more."""
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    listed = re.findall(r"^  (-.*)$", capsys.readouterr().out, re.MULTILINE)
    return {option for line in listed for option in re.findall(r"--[a-z][\w.-]*", line)}


def named(text):
    """The options that a text names, but for XLA's; groups, as --model.*, without their end."""
    return {word.rstrip(".-").replace("_", "-") for word in re.findall(r"(?<![\w-])--(?!xla_)[a-z][\w.-]*", text)}


def constants(path):
    """The strings of a file of Python, messages and docstrings; what an f-string fills in is left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    parts = {id(part) for node in joined for part in ast.walk(node)}
    single = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in parts]
    texts = ["".join(part.value for part in node.values if isinstance(part, ast.Constant)) for node in joined]
    return [*texts, *(node.value for node in single if isinstance(node.value, str))]


@pytest.fixture
def options(capsys):
    """Command -> its options, of all networks, strategies and optimizers."""
    found = {name: options_of(capsys, name) for name in COMMANDS}
    for option, table in (("--strategy", STRATEGIES), ("--optimizer", OPTIMIZERS), ("--model", CATALOG)):
        for name in table:
            found["train"] |= options_of(capsys, "train", option, name)
    found["memory"] |= {option for option in found["train"] if "." in option}
    return found


def test_messages_name_options_that_exist(options):
    assert {"--out", "--strategy.n-modules", "--n-updates", "--model.n-steps"} <= options["train"]
    every = set().union(*options.values(), {"--help", "--version"})
    every |= {option.partition(".")[0] for option in every}
    wrong = {}
    for path in [*PACKAGE.rglob("*.py"), *PAGES]:
        texts = constants(path) if path.suffix == ".py" else [path.read_text(encoding="utf-8")]
        old = {option for renamed in RENAMED.values() for option in renamed} if path.name == "main.py" else set()
        unknown = set().union(*map(named, texts)) - every - old
        # a command speaks of its own options, but where it shows another command
        if path.parent.name == "cli" and path.stem in COMMANDS:
            unknown |= set().union(*(named(text) for text in texts if "jaxrecon" not in text)) - options[path.stem]
        if unknown:
            wrong[path.relative_to(ROOT)] = unknown
    assert not wrong


@pytest.mark.parametrize(
    "words",
    [
        ["info", "scan.npy", "--axes", "y,x", "--seed", "tablet"],
        ["recon", "scan.npy", "--out", "r.npy", "--lam", "1", "tablet"],
        ["evaluate", "recon.npy", "tablet", "--target", "t.npy"],
        ["simulate", "phantom", "tablet", "--out", "s.h5"],
        ["masks", "random", "--shape", "8", "8", "tablet", "--out", "m.npy"],
        ["prepare", "scans", "--out", "ready", "tablet"],
        ["train", "--model", "unet", "--data", "simulated", "--out", "run", "tablet"],
        ["train", "--model", "unet", "--data", "simulated", "--out", "run", "--n-updates", "50", "tablet"],
        ["convert", "w.npz", "--out", "run", "tablet"],
        ["memory", "--model", "unet", "tablet"],
        ["memory", "--model", "unet", "--n-updates", "50", "60", "tablet"],
        ["demo", "tablet"],
    ],
)
def test_a_stray_word_is_named(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(words)
    except SystemExit as stop:
        code = stop.code
    assert code == 2 and "tablet" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["--model", "unet", "320"], ["--model", "unet", "--n-updates", "50", "320"]])
def test_a_second_value_is_no_configuration_file(words, capsys):
    for command in (["memory"], ["train", "--data", "simulated", "--out", "run"]):
        assert main([*command, *words]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "'320' belongs to no option" in error


def test_a_configuration_file_is_not_the_value_of_an_option(capsys, tmp_path):
    (tmp_path / "own.py").write_text(
        "from jaxrecon.experiment.catalog import CATALOG\n"
        "def experiment(small=False):\n    return CATALOG['unet'].small_preset\n"
    )
    with pytest.raises(SystemExit):
        main(["memory", "--limit", str(tmp_path / "own.py")])
    error = capsys.readouterr().err
    assert "--limit" in error and "own.py" not in error


@pytest.mark.parametrize(("command", "old"), [(c, old) for c, renamed in RENAMED.items() for old in renamed])
def test_old_names_say_the_new_ones(command, old, capsys):
    new = RENAMED[command][old]
    assert {new} <= options_of(capsys, command) and old not in options_of(capsys, command)
    for words in ([old, "3"], [f"{old}=3"], [old.replace("-", "_").replace("__", "--"), "3"]):
        assert main([command, *words]) == 2
        assert f"{old} is called {new}" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["info", "--help"]])
def test_a_reader_may_leave(words):
    """As `| head` does: no error; the exit code is that of a program that the closed pipe ends."""
    reader, writer = os.pipe()
    os.close(reader)
    code = "from jaxrecon.cli import main; raise SystemExit(main())"
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run([sys.executable, "-c", code, *words], stdout=closed, stderr=subprocess.PIPE, text=True)
    assert done.stderr == "" and done.returncode == 141


def test_the_experiment_of_the_page(tmp_path):
    page = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    (tmp_path / "my_experiment.py").write_text(
        re.search(r"`my_experiment.py`:\n\n```python\n(.*?)```", page, re.DOTALL)[1]
    )
    for small, n_steps in ((True, 4), (False, 10)):
        found = load_experiment(tmp_path / "my_experiment.py", small=small)
        assert build(found.model).n_steps == n_steps and found.optimizer.build(Course(found.n_updates))


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            ("varnet", "--data", "x"),
            "but 'varnet' is no configuration file, whose name ends in .py: say --model varnet",
        ),
        (
            ("--data", "x", "--small", "pgd"),
            "but 'pgd' is no configuration file, whose name ends in .py: say --model pgd",
        ),
        (
            ("mine", "--data", "x"),
            "but 'mine' is no configuration file, whose name ends in .py: give one, as in jaxrecon",
        ),
        (("--data", "x"), "train needs an experiment: a configuration file"),
    ],
)
def test_a_word_that_is_no_experiment(words, error, capsys):
    assert main(["train", *words]) == 2
    assert error in capsys.readouterr().err

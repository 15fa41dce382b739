"""What pyproject.toml promises: dependencies are those that are imported, types are handed on, `python -m jaxrecon` works."""

import ast
import functools
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib import metadata, resources
from pathlib import Path

import pytest

import jaxrecon

TOP = Path(__file__).parents[1]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
MODULES = {"absl-py": "absl", "orbax-checkpoint": "orbax", "PyWavelets": "pywt", "scikit-image": "skimage"}
"""Package -> what it is imported as, where that is not its name."""
KEPT = {"chex", "diffrax"}
"""Core dependencies that the package need not import: for tests and benchmarks of one's own; for networks as equations in time."""
PROGRAMS = {"pytest-xdist", "ruff", "mypy"}
"""Of the extra `test`: what is run or loaded by name and never imported."""


def modules(requirements):
    """Top-level modules of requirements like "name[extra]>=1"."""
    names = [re.match(r"[\w.-]+", requirement).group() for requirement in requirements]
    return {MODULES.get(name, name.replace("-", "_")) for name in names if name not in PROGRAMS}


def imported(tree, *, lazily=True):
    """Top-level modules that a syntax tree imports; without `lazily` only those that importing the file itself imports."""
    found, nodes = set(), [tree]
    while nodes:
        node = nodes.pop()
        if not lazily and (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        ):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("importorskip", "import_module")):
            found |= {a.value.split(".")[0] for a in node.args if isinstance(a, ast.Constant)}
        nodes += ast.iter_child_nodes(node)
    return found - sys.stdlib_module_names - {"jaxrecon", ""}


@functools.cache
def imported_in(folder, **options):
    """Of all files of a folder, but for each other and for scripts that made fixtures once."""
    files = [file for file in (TOP / folder).rglob("*.py") if "fixtures" not in file.parts]
    found = set().union(*(imported(ast.parse(file.read_text(encoding="utf-8")), **options) for file in files))
    return found - {name for file in files for name in (file.stem, file.parent.name)}


def test_imports_are_told_apart():
    tree = ast.parse(
        "import numpy.fft, os\nfrom . import sibling\nfrom ..nn import conv\nimportlib.import_module(f'.{name}')\n"
        "if TYPE_CHECKING:\n    import optax\nclass A:\n    import h5py\n    def f(self):\n        from numba import jit\n"
        "pytest.importorskip('sigpy.mri')"
    )
    assert imported(tree) == {"numpy", "optax", "h5py", "numba", "sigpy"}
    assert imported(tree, lazily=False) == {"numpy", "h5py", "sigpy"}
    assert modules(["orbax-checkpoint>=0.12,<1", "jax[cuda]", "ruff>=1"]) == {"orbax", "jax"}


def test_core_dependencies_are_those_that_are_imported():
    core = modules(PROJECT["dependencies"])
    assert core - KEPT <= imported_in("jaxrecon"), "no file of jaxrecon imports it: take it out of pyproject.toml"
    assert imported_in("jaxrecon", lazily=False) <= core, "jaxrecon imports it: put it into pyproject.toml"


def test_extras_are_imported_where_they_are_wanted_only():
    core = modules(PROJECT["dependencies"])
    for_users = {name: modules(EXTRAS[name]) for name in EXTRAS if name not in ("test", "bench")}
    optional = set().union(*for_users.values())
    assert imported_in("jaxrecon") - core == optional
    in_tests, in_experiments = imported_in("tests"), imported_in("experiments")
    assert modules(EXTRAS["test"]) <= in_tests | in_experiments | optional
    assert in_tests <= core | modules(EXTRAS["test"])
    assert modules(EXTRAS["bench"]) <= in_experiments <= core | optional | modules(EXTRAS["bench"])


def test_readme_names_the_extras():
    line = re.search(r"Extras: .*?\n\n", (TOP / "README.md").read_text(encoding="utf-8"), re.DOTALL).group()
    assert set(re.findall(r"`(\w+)`", line)) == set(EXTRAS) - {"test", "bench"}


def test_types_are_handed_on():
    assert resources.files(jaxrecon).joinpath("py.typed").is_file()


def test_examples_have_their_licences_beside_them():
    """In the package, and so in the wheel, whose own list of licences names them too."""
    folder = resources.files(jaxrecon).joinpath("data", "examples")
    for name in jaxrecon.data.EXAMPLES:
        scan = jaxrecon.data.example(name)
        assert scan.path.parent == Path(str(folder)) and scan.path.stat().st_size < 2 * 2**20
        text = folder.joinpath(f"{name}.LICENSE").read_text(encoding="utf-8")
        assert f"{name}.npz" in text and "Copyright (c)" in text
    listed = {path.resolve() for glob in PROJECT["license-files"] for path in TOP.glob(glob)}
    assert listed == {TOP / "LICENSE", *(TOP / "jaxrecon" / "data" / "examples").glob("*.LICENSE")}
    assert {path.stem for path in listed} == {"LICENSE", *jaxrecon.data.EXAMPLES}


@pytest.mark.parametrize(("words", "code", "out"), [(["--version"], 0, "jaxrecon "), (["reconn"], 2, "")])
def test_as_a_module(words, code, out):
    done = subprocess.run([sys.executable, "-m", "jaxrecon", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, out and f"{out}{metadata.version('jaxrecon')}\n")
    assert ("'reconn'" in done.stderr) == bool(code)


def test_one_version():
    cited = re.search(r"^version: (.*)$", (TOP / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE).group(1)
    changes = (TOP / ".github" / "CHANGELOG.md").read_text(encoding="utf-8")
    assert cited == PROJECT["version"] and f"\n## {cited}\n" in changes


def test_contributing_names_what_there_is():
    """Each path exists, each dotted name is importable, and each other name stands in a file of the same paragraph."""
    paragraphs = (TOP / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8").split("\n\n")
    seen = 0
    for paragraph in paragraphs[paragraphs.index("## To add ...") :]:
        words = re.findall(r"`([^`\s]+)`", paragraph)
        paths = [TOP / word for word in words if "/" in word]
        assert not (missing := [str(path) for path in paths if not path.exists()]), missing
        text = "\n".join(path.read_text(encoding="utf-8") for path in paths if path.is_file())
        for name in (match.group() for word in words if (match := re.match(r"[A-Za-z][\w.]*(?!\S*/)|_[a-z]\w*", word))):
            if "." in name:
                pkgutil.resolve_name(name)
            elif text:
                assert re.search(rf"\b{name}\b", text), f"{name} is in none of {words}"
            seen += 1
    assert seen > 10

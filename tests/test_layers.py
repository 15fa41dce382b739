"""The house: imports go down only, and no two rooms or files need each other. Imports within functions and for types count too."""

import ast
from pathlib import Path

import jaxrecon

ROOT = Path(jaxrecon.__file__).parent
ORDER = [
    *("typing", "struct", "host", "checks", "files", "trees", "fourier", "complex_ops"),
    *("operators", "problem", "sampling", "nn", "classical", "coils", "metrics", "losses", "plots"),
    *("models", "strategies", "data", "training", "weights", "experiment", "recon", "cli", "__main__"),
]
"""Folders and files of the package, the lowest first: each may import those before it."""


def file_of(names):
    """The file of a dotted name below the package, or None where it is no module but a name in one."""
    base = ROOT.joinpath(*names)
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if names and path.is_file()), None)


def imported(path):
    """Files of the package that a file imports."""
    inside, found = list(path.relative_to(ROOT).with_suffix("").parts), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            origins = [(alias.name.split(".")[1:], []) for alias in node.names if alias.name.startswith("jaxrecon.")]
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = inside[: len(inside) - node.level]
            origins = [(base + (node.module.split(".") if node.module else []), [a.name for a in node.names])]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "jaxrecon":
            origins = [(node.module.split(".")[1:], [a.name for a in node.names])]
        else:
            continue
        for names, members in origins:
            modules = [file for member in members if (file := file_of([*names, member]))]
            others = len(modules) < len(members) or not members
            found |= set(modules) | ({file_of(names)} if others and file_of(names) else set())
    return found - {path}


def rooms(graph):
    """The same graph between the folders of the package (and the files beside them)."""
    room = lambda path: path.relative_to(ROOT).with_suffix("").parts[0]
    out = {}
    for path, targets in graph.items():
        out.setdefault(room(path), set()).update(room(target) for target in targets)
    return {name: targets - {name} for name, targets in out.items()}


def circle(graph):
    """Some path in a graph that comes back to its start, or None."""
    done, path = set(), []

    def visit(node):
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return None
        path.append(node)
        found = next((way for target in sorted(graph.get(node, ())) if (way := visit(target))), None)
        path.pop()
        done.add(node)
        return found

    return next((way for node in sorted(graph) if (way := visit(node))), None)


GRAPH = {path: imported(path) for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "__init__.py"}


def test_no_file_needs_one_that_needs_it():
    way = circle(GRAPH)
    assert way is None, " -> ".join(str(path.relative_to(ROOT)) for path in way)


def test_no_arrow_up():
    graph = rooms(GRAPH)
    assert set(graph) == set(ORDER), "a new room stands in ORDER"
    up = [f"{a} imports {b}" for a, others in graph.items() for b in others if ORDER.index(b) > ORDER.index(a)]
    assert not up, "; ".join(up)


def test_circles_are_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def test_experiments_need_no_command_line():
    """What they do, any Python program can."""
    from_cli = [
        p.name for p in (ROOT.parent / "experiments").rglob("*.py") if "jaxrecon.cli" in p.read_text(encoding="utf-8")
    ]
    assert not from_cli, from_cli


def test_the_pipeline_of_data_needs_no_network():
    """Processes that prepare examples import this alone."""
    import subprocess
    import sys

    words = "import sys, jaxrecon.data.pipeline; print([n for n in ('flax', 'optax') if n in sys.modules],"
    words += " [n for n in ('models', 'strategies', 'training') if 'jaxrecon.' + n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "[]"]

"""Every public name says what it is, what it takes, gives and raises, and where it comes from.

Read from the source alone: nothing is imported. A public name is one of a package's `__all__`, a name without underscore in a
module that stands there, or a method or property of such a class.
"""

import ast
import builtins
import functools
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import jaxrecon

ROOT = Path(jaxrecon.__file__).parent
FROM_PAPERS = ("models", "classical", "coils", "sampling", "metrics", "strategies")
"""The packages whose names implement published methods, and so have a source."""
OURS = {
    "models/unrolled.py": "the library's one abstraction",
    "models/configs.py": "what all configurations of networks have in common",
    "classical/iterate.py": "the one loop of all methods",
    "strategies/types.py": "what strategies have in common",
    "strategies/update.py": "the training step of any strategy",
    "strategies/devices.py": "where arrays live: jax's meshes",
    "strategies/freeze.py": "what any optimizer leaves alone",
    "strategies/configs.py": "configurations of strategies, whose functions have their sources",
}
"""Modules of these packages that implement no published method, and why they have no source."""

JAXTYPING = {"Bool", "Complex", "Float", "Inexact", "Int", "Integer", "Key", "Num", "Real", "Shaped", "UInt"}
SHAPE = re.compile(r"\((\.\.\.)?\)|\((?=[^()]*,)[\w ,.*\[\]^/+-]+\)|\bshaped?\b|\bscalar\b")
"""(coil, y, x), (x,), () of a number, or in words: any shape, the same shape, a scalar."""
SECTION = re.compile(r"(Args|Attributes|Example|Raises|Returns|Yields):$")
ENTRY = re.compile(r"  (\*{0,2}\w+(?:, \*{0,2}\w+)*): (.*)")
"""An entry may stand for several: "n, acceleration: as in ..."."""


class Public(NamedTuple):
    """A public name: how messages call it, its definition, its module, its docstring ("" if none), whether it is a method."""

    name: str
    node: ast.stmt
    module: Path
    doc: str
    is_method: bool = False

    @property
    def parameters(self) -> list[ast.arg]:
        """Those of a function, without self; none of a class or a constant."""
        if not isinstance(self.node, ast.FunctionDef):
            return []
        found = self.node.args
        return [a for a in (*found.posonlyargs, *found.args, *found.kwonlyargs) if a.arg not in ("self", "cls")]

    @property
    def sections(self) -> dict[str, dict[str, str]]:
        """Section -> its entries by name; the text of one without entries is at ""."""
        found: dict[str, dict[str, str]] = {}
        section, names = None, [""]
        for line in inspect.cleandoc(self.doc).splitlines():
            if match := SECTION.match(line):
                section, names = found.setdefault(match[1], {}), [""]
            elif line and not line.startswith(" "):
                section = None
            elif section is not None:
                if match := ENTRY.match(line):
                    names, line = [name.lstrip("*") for name in match[1].split(", ")], match[2]
                for name in names:
                    section[name] = f"{section.get(name, '')} {line.strip()}"
        return found


@functools.cache
def tree(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"))


def statements(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, str]]:
    """Statements, those below `if` too, each with the string that stands behind it."""
    for i, node in enumerate(body):
        after = body[i + 1].value if i + 1 < len(body) and isinstance(body[i + 1], ast.Expr) else None
        yield node, after.value if isinstance(after, ast.Constant) and isinstance(after.value, str) else ""
        if isinstance(node, ast.If):
            yield from statements(node.body)


def assigned(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def imported_from(node: ast.ImportFrom, module: Path) -> Path:
    """The file or package of a relative import."""
    found = module.parents[node.level - 1].joinpath(*(node.module or "").split("."))
    return found if found.is_dir() else found.with_suffix(".py")


def module_of(folder: Path, name: str) -> Path | None:
    """A submodule's file, if there is one of the name."""
    return next((p for p in (folder / f"{name}.py", folder / name / "__init__.py") if p.is_file()), None)


def find(name: str, module: Path) -> Path | Public:
    """The definition that a module's name refers to, or the module that it is."""
    for node, after in statements(tree(module).body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return Public(name, node, module, ast.get_docstring(node) or "")
        if name in assigned(node):
            return Public(name, node, module, after)
        if isinstance(node, ast.ImportFrom) and node.level:
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    source = imported_from(node, module)
                    submodule = module_of(source, alias.name)
                    return submodule or find(alias.name, source / "__init__.py" if source.is_dir() else source)
    return module_of(module.parent, name) or pytest.fail(f"{module} has no {name}")


def names_in(module: Path) -> list[str]:
    """`__all__`, or all names without underscore of functions, classes and upper-case constants."""
    names = []
    for node, _ in statements(tree(module).body):
        if "__all__" in assigned(node):
            return ast.literal_eval(node.value)  # type: ignore[attr-defined]
        is_defined = isinstance(node, ast.FunctionDef | ast.ClassDef)
        names += [node.name] if is_defined else filter(str.isupper, assigned(node))
    return [name for name in names if not name.startswith("_")]


@functools.cache
def public_names() -> tuple[Public, ...]:
    found: dict[tuple[Path, str], Public] = {}

    def collect(module: Path, where: str) -> None:
        for name in names_in(module):
            public = find(name, module)
            if isinstance(public, Public):
                key = public.module, getattr(public.node, "name", name)
                found.setdefault(key, public._replace(name=f"{where}.{name}"))
            elif public not in packages:  # which have their own turn
                collect(public, f"{where}.{name}")

    packages = sorted(ROOT.glob("*/__init__.py"))
    for package in packages:
        collect(package, package.parent.name)
    collect(ROOT / "__init__.py", "jaxrecon")
    for public in list(found.values()):
        for node in public.node.body if isinstance(public.node, ast.ClassDef) else ():
            if isinstance(node, ast.FunctionDef) and (node.name == "__call__" or not node.name.startswith("_")):
                name = f"{public.name}.{node.name}"
                found[public.module, name] = Public(name, node, public.module, ast.get_docstring(node) or "", True)
    return tuple(found.values())


def is_array(annotation: ast.expr | None, module: Path) -> bool:
    """Whether an annotation is an array, or a container of arrays; a number that may be an array () is not."""
    match annotation:
        case ast.Constant(value=str(text)):
            return is_array(ast.parse(text, mode="eval").body, module)
        case ast.Name(id=name):
            return name != "Key" and (name == "Array" or name in array_aliases(module))
        case ast.Attribute(attr=name):
            return name in ("Array", "ndarray")
        case ast.BinOp(left=left, right=right):
            numbers = [n.id for n in ast.walk(annotation) if isinstance(n, ast.Name) and n.id in ("float", "int")]
            return not numbers and (is_array(left, module) or is_array(right, module))
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Tuple(elts=[_, ast.Constant(value=axes)])):
            return name in JAXTYPING and axes != ""
        case ast.Subscript(value=ast.Name(id="Callable")):
            return False
        case ast.Subscript(slice=inner):
            return any(is_array(part, module) for part in (inner.elts if isinstance(inner, ast.Tuple) else [inner]))
    return False


_aliases: dict[Path, set[str]] = {}


def array_aliases(module: Path) -> set[str]:
    """Names of array types in a module: its own and those that it imports."""
    if module not in _aliases:
        own = _aliases[module] = set()
        for node, _ in statements(tree(module).body):
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            if not isinstance(value, ast.Constant) and is_array(value, module):
                own.update(assigned(node))
            elif isinstance(node, ast.ImportFrom) and node.level and imported_from(node, module).is_file():
                names = array_aliases(imported_from(node, module))
                own.update(alias.asname or alias.name for alias in node.names if alias.name in names)
    return _aliases[module]


def raised(function: ast.AST) -> Iterator[str]:
    """Exceptions that a function's own body raises; not those of functions within it."""
    for node in ast.iter_child_nodes(function):
        if isinstance(node, ast.Raise):
            error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if isinstance(error, ast.Name) and error.id.endswith("Error"):
                yield error.id
        elif not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            yield from raised(node)


@functools.cache
def kinds(error: str) -> set[str]:
    """The names of an exception and of those that it is one of."""
    if hasattr(builtins, error):
        return {kind.__name__ for kind in getattr(builtins, error).__mro__}
    classes = (n for module in ROOT.rglob("*.py") for n in tree(module).body if isinstance(n, ast.ClassDef))
    bases = next(node.bases for node in classes if node.name == error)
    return {error}.union(*(kinds(base.id) for base in bases if isinstance(base, ast.Name)))


def has_sentence(public: Public) -> Iterator[str]:
    """A docstring, whose first line is one sentence."""
    first = public.doc.split("\n")[0]
    if not first.endswith((".", ":")) or re.search(r"[.!?] [A-Z]", first):
        yield f"the first line is not one sentence: {first!r}"


def has_arguments(public: Public) -> Iterator[str]:
    """An entry for each parameter of functions with three or more, or with an array; none for what is no parameter.

    A method of one or two parameters may say in its sentence what it takes.
    """
    names = [a.arg for a in public.parameters]
    arrays = any(is_array(a.annotation, public.module) for a in public.parameters)
    entries = public.sections.get("Args", {})
    if len(names) > 2 or (arrays and not public.is_method):
        yield from (f"no entry for {name}" for name in names if name not in entries)
    if isinstance(public.node, ast.FunctionDef):
        stars = [a.arg for a in (public.node.args.vararg, public.node.args.kwarg) if a is not None]
        yield from (f"{name} is no parameter" for name in entries if name not in [*names, *stars])


def has_shapes(public: Public) -> Iterator[str]:
    """A shape for each array that is taken or given."""
    entries = public.sections.get("Args", {})
    for parameter in public.parameters:
        if is_array(parameter.annotation, public.module) and not SHAPE.search(entries.get(parameter.arg, public.doc)):
            yield f"no shape of {parameter.arg}"
    if isinstance(public.node, ast.FunctionDef) and is_array(public.node.returns, public.module):
        if not SHAPE.search(" ".join(public.sections.get("Returns", {"": public.doc}).values())):
            yield "no shape of what is returned"


def has_attributes(public: Public) -> Iterator[str]:
    """An entry, or a string behind it, for each field of a class; none for what is no field."""
    if isinstance(public.node, ast.ClassDef):
        entries = public.sections.get("Attributes", {})
        fields = {name: after for node, after in statements(public.node.body) for name in assigned(node)}
        told = {name for name, after in fields.items() if after or name.startswith("_")}
        yield from (f"no entry for {name}" for name in fields if name not in told | set(entries))
        yield from (f"{name} is no field" for name in entries if name not in fields)


def has_raises(public: Public) -> Iterator[str]:
    """What the body raises is announced; of a class, what making one raises."""
    made = [n for n in getattr(public.node, "body", ()) if getattr(n, "name", "") in ("__init__", "__post_init__")]
    for function in made if isinstance(public.node, ast.ClassDef) else [public.node]:
        for error in sorted(set(raised(function))):
            if not kinds(error) & set(public.sections.get("Raises", {})):
                yield f"{error} is not announced"


def has_source(public: Public) -> Iterator[str]:
    """The paper or code of what is published: in the docstring, or for a whole module in that of the module."""
    module = public.module.relative_to(ROOT)
    if module.parts[0] in FROM_PAPERS and not public.is_method and module.as_posix() not in OURS:
        if "Source: " not in public.doc + (ast.get_docstring(tree(public.module)) or ""):
            yield "no source"


@pytest.mark.parametrize("rule", [has_sentence, has_arguments, has_shapes, has_attributes, has_raises, has_source])
def test_public_names(rule):
    found = [f"{public.name}: {complaint}" for public in public_names() for complaint in rule(public)]
    assert not found, "\n".join([inspect.cleandoc(rule.__doc__), *found])


def test_names_are_found():
    """As many as there should be, through re-exports, modules and classes: the rules do not pass for want of names."""
    names = {public.name for public in public_names()}
    assert len(names) > 400
    assert all((ROOT / module).is_file() for module in OURS)
    assert {"coils.espirit", "coils.rss", "sampling.compatible.random_lines", "operators.Wavelet.forward"} <= names

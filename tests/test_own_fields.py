"""The source itself: only a network's own files know the type and the fields of its configuration."""

import ast
import dataclasses
from pathlib import Path

import pytest

from jaxrecon import models

ROOT = Path(__file__).parents[1]
OWN = ("jaxrecon/models/", "jaxrecon/weights/", "jaxrecon/experiment/catalog.py")
"""Files that know configurations: of networks, of their published weights, and the table of both."""
CONFIGS = {
    name: kind
    for name, kind in vars(models).items()
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and name.endswith(("Config", "PromptSizes"))
}
FIELDS = {field.name for kind in CONFIGS.values() for field in dataclasses.fields(kind)}
COMPOUND = {name for name in FIELDS if "_" in name} - {"n_steps", "n_adjacent", "n_sets", "step_size"}
"""Fields that nothing else is called: as texts they stand in no other file but the table of their former names."""
RENAMED = "jaxrecon/experiment/old_forms.py"
KINDS = set(CONFIGS) | {"ModelConfig"}


def branches(source, *, texts=True):
    """[(line, what it asks)]: where a program looks at the type or the fields of a network's configuration."""
    found = []
    tree = ast.parse(source)
    given = _configurations(tree)

    def says(node, what):
        found.append((node.lineno, what))

    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[asked, kinds]):
                if _is_config(asked, given) or _names(kinds) & KINDS:
                    says(node, "isinstance")
            case ast.Call(
                func=ast.Name(id="getattr" | "hasattr" | "setattr"), args=[asked, ast.Constant(value=name), *_]
            ):
                if name in FIELDS - {"ndim"} or (_is_config(asked, given) and name != "build"):
                    says(node, f"getattr {name}")
            case ast.Compare(left=left, comparators=others):
                if any(map(_is_type_call, [left, *others])) and any(_names(side) & KINDS for side in [left, *others]):
                    says(node, "type")
            case ast.Match(subject=subject, cases=cases):
                kinds = {_last(p.cls) for c in cases for p in ast.walk(c.pattern) if isinstance(p, ast.MatchClass)}
                if kinds & KINDS or _is_config(subject, given):
                    says(node, "match")
            case ast.Attribute(value=value, attr=attr) if _is_config(value, given) and attr != "build":
                says(node, f"field {attr}")
            case ast.Constant(value=str(text)) if texts and text in COMPOUND:
                says(node, f"text {text}")
    return found


def _configurations(tree):
    """Names of arguments that are annotated as configurations of any network."""
    arguments = [a for a in ast.walk(tree) if isinstance(a, ast.arg) and a.annotation is not None]
    return {
        a.arg
        for a in arguments
        if "ModelConfig" in _names(a.annotation) and not isinstance(a.annotation, ast.Subscript)
    }


def _is_config(node, given):
    """Whether an expression is a configuration: `model` of an experiment or of a preset, or what is annotated as one."""
    if isinstance(node, ast.Name):
        return node.id in given
    return (
        isinstance(node, ast.Attribute) and node.attr == "model" and _last(node.value) in ("experiment", "preset", "e")
    )


def _is_type_call(node):
    return isinstance(node, ast.Call) and _last(node.func) == "type"


def _names(node):
    return {_last(part) for part in ast.walk(node) if isinstance(part, ast.Name | ast.Attribute)}


def _last(node):
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def sources(*folders):
    files = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return {str(path.relative_to(ROOT)): path.read_text() for path in files}


@pytest.mark.parametrize("folder", ["jaxrecon", "experiments"])
def test_only_its_own_files_look_at_the_configuration_of_a_network(folder):
    found = [
        f"{file}:{line}: {what}"
        for file, source in sources(folder).items()
        if not file.startswith(OWN)
        # settings of experiments say what the fields of a row are
        for line, what in branches(source, texts=folder == "jaxrecon" and file != RENAMED)
    ]
    assert not found


@pytest.mark.parametrize(
    "line",
    [
        "isinstance(config, MoDLConfig | PGDConfig)",
        "isinstance(experiment.model, kinds)",
        "type(experiment.model) is models.PGDConfig",
        "getattr(model, 'map_net', False)",
        "hasattr(experiment.model, 'whatever')",
        "experiment.model.n_steps",
        "self.experiment.model.features",
        "f = lambda: entry.preset.model.lam",
        "def f(config: ModelConfig): return config.ndim",
        "def f(config: 'int', other: models.ModelConfig): return other.ndim",
        "for name in ('map_iters', 'kernel'): options[name]",
        "match network:\n  case MoDLConfig(): pass",
        "match experiment.model:\n  case _: pass",
        "try:\n  experiment.model.pools\nexcept AttributeError: pass",
    ],
)
def test_what_is_found(line):
    assert branches(line)


@pytest.mark.parametrize(
    "line",
    [
        "build(experiment.model).n_steps",
        "dataclasses.replace(experiment, model=PGDConfig(n_steps=3))",
        "model.n_steps",
        "[getattr(config, field.name) for field in dataclasses.fields(config)]",
        "def f(config: ModelConfig): return config.build()",
        "isinstance(value, str)",
        "network.model.wants.maps == 'given'",
    ],
)
def test_what_is_not(line):
    assert not branches(line)

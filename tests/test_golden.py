"""Same inputs and weights, same outputs: every golden file against the library, each in single and double precision.

The folders are tests/golden, or those that JAXRECON_GOLDEN names (separated by ':', with their subfolders). What is compared, with
which configuration and tolerance, is read from the `meta` of each file, never from its name.
"""

import os
from pathlib import Path

import jax
import pytest
from golden_case import Error, GoldenCase, Unknown, UnknownAlgorithmError, measure
from golden_cases import HANDLERS
from support.type_check import as_user

FOLDERS = os.environ.get("JAXRECON_GOLDEN", str(Path(__file__).parent / "golden")).split(os.pathsep)
FILES = sorted({p.resolve() for folder in FOLDERS for p in Path(folder).rglob("*.npz")})


def test_golden_folders_hold_files():
    assert FILES, f"no golden file in {FOLDERS}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_golden(path, record_property):
    case = GoldenCase(path)
    handler = HANDLERS.get(case.kind)
    label = f"{path.parent.name}/{path.name}"
    if handler is None:
        reason = f"{label}: no code knows the kind {'/'.join(case.kind)} yet"
        record_property("golden", reason)
        pytest.skip(reason)
    if missing := case.missing():
        record_property("golden", f"{label}: not checked, {missing}")
        pytest.skip(missing)
    problems = []
    for precision in ("float32", "float64"):
        with jax.enable_x64(precision == "float64"):
            problems += _check(GoldenCase(path, precision), handler, label, record_property)
    assert not problems, "\n".join(problems)


def _check(case, handler, label, record_property):
    qualitative = all(case.tolerance(name)[1] == "qualitative" for name in case.outputs)
    if all(case.tolerance(name)[0] is None for name in case.outputs) and not qualitative:
        return []
    try:
        with as_user():  # the references' arrays are those of NumPy
            own = handler(case)
    except UnknownAlgorithmError as error:
        record_property("golden", f"{label}: {error} is not known yet")
        return []
    problems, worst = [], None
    for name in case.outputs:
        if name not in own:
            problems.append(f"{label} [{case.precision}] {name}: not compared")
            continue
        if isinstance(own[name], Unknown):
            record_property("golden", f"{label} {name}: {own[name].algorithm} is not known yet")
            continue
        tolerance, kind = case.tolerance(name)
        if tolerance is None and not (kind == "qualitative" and isinstance(own[name], Error)):
            continue
        # a qualitative output has no number in the file: its handler asserts, and states the limit it asserted
        error = measure(kind, own[name], case.file[name])
        limit = tolerance if tolerance is not None else 1.0
        if not error <= limit:
            problems.append(f"{label} [{case.precision}] {name}: error {error:.3g}, tolerance {limit:.3g} ({kind})")
        share = error / limit if limit else float(error > 0)
        if worst is None or share > worst[0]:
            worst = share, f"{name} {error:.2g} of {limit:.2g} ({kind})"
    if worst:
        record_property("golden", f"{label} [{case.precision}] {len(case.outputs)} outputs, worst {worst[1]}")
    return problems

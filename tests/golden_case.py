"""One golden file as the tests see it, and the measures by which an output is compared with it."""

import dataclasses
import fnmatch
import functools
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]


class UnknownAlgorithmError(Exception):
    """A case of a known kind names an algorithm that no code knows yet: listed in the summary, not failed."""


@dataclasses.dataclass
class Masked:
    """An output to be compared only where `where` is true (kind abs_masked)."""

    value: Any
    where: Any


@dataclasses.dataclass
class Error:
    """The error itself, measured by the handler as the file's notes say (inner_product, energy, qualitative ...)."""

    value: float


@dataclasses.dataclass
class Unknown:
    """This one output names an algorithm that no code knows yet: listed in the summary, not compared."""

    algorithm: str


@dataclasses.dataclass(frozen=True)
class GoldenCase:
    """A golden npz: configuration and tolerances from its `meta`, arrays in the precision asked for."""

    path: Path
    precision: str = "float32"

    @functools.cached_property
    def file(self):
        return _load(self.path)

    @functools.cached_property
    def meta(self) -> dict:
        return json.loads(str(self.file["meta"]))

    @property
    def config(self) -> dict:
        return self.meta["config"]

    @property
    def kind(self) -> tuple[str, str]:
        return self.meta["topic"], self.meta["kind"]

    def __getitem__(self, name: str):
        """An input or parameter, also from another file (external_inputs), cast to the precision of this run."""
        if name in self.file.files:
            return self.cast(self.file[name])
        where = self.meta.get("external_inputs", {}).get(name)
        if where is None:
            raise KeyError(f"{self.path}: no array '{name}'; it has {self.file.files}")
        path = self.external_path(name)
        if where["key"] is None and path.suffix == ".npy":
            return self.cast(_load(path))
        if path.suffix != ".npz":
            raise KeyError(f"{self.path}: '{name}' is the file {path}; use external_path")
        return self.cast(_load(path)[where["key"]])

    def external_path(self, name: str) -> Path:
        where = self.meta["external_inputs"][name]
        return self.root(where["root"]) / where["file"]

    def root(self, root: str) -> Path:
        """`here`: the folder of the file; `golden`: the folder of all topics; `data`: the real measurements beside that."""
        here = self.path.parent
        return {"here": here, "golden": here.parent, "data": here.parents[1] / "data"}[root]

    def cast(self, array: np.ndarray) -> np.ndarray:
        array = np.asarray(array)
        double = self.precision == "float64"
        if array.dtype.kind == "c":
            return array.astype(np.complex128 if double else np.complex64)
        return array.astype(np.float64 if double else np.float32) if array.dtype.kind == "f" else array

    @functools.cached_property
    def weights(self) -> dict[str, np.ndarray]:
        """Weights under their original names (weights_prefix given as one string)."""
        prefix = self.meta["weights_prefix"]
        return {k[len(prefix) :]: self.cast(self.file[k]) for k in self.file.files if k.startswith(prefix)}

    @property
    def outputs(self) -> list[str]:
        """Every key that must be reproduced."""
        prefixes = self.meta.get("weights_prefix") or ()
        prefixes = prefixes.values() if isinstance(prefixes, dict) else [prefixes] if prefixes else []
        return [
            k
            for k in self.file.files
            if k != "meta"
            and any(fnmatch.fnmatchcase(k, p) for p in self.meta["outputs"])
            and not any(k.startswith(p) for p in prefixes)
        ]

    def tolerance(self, name: str) -> tuple[float | None, str]:
        """(tolerance, kind) of one output: the longest pattern of per_output that matches counts."""
        tolerance = self.meta["tolerance"]
        rules = [p for p in tolerance.get("per_output", {}) if fnmatch.fnmatchcase(name, p)]
        rule = tolerance["per_output"][max(rules, key=len)] if rules else tolerance
        return rule[self.precision], rule.get("kind", self.meta["tolerance_kind"])

    def missing(self) -> str | None:
        """Why this file cannot be checked here (published weights or files beside it absent), or None."""
        requires = self.meta.get("requires")
        if requires:
            return f"requires {requires}"
        for name, where in self.meta.get("external_inputs", {}).items():
            if not self.external_path(name).exists():
                return f"input {where['root']}:{where['file']} is not beside it"
        return None


def _load(path: Path):
    """An npy or npz file, read at once so that no handle stays open."""
    return np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)


def measure(kind: str, own, reference) -> float:
    """The error of `own` against `reference` in a tolerance kind of the golden files."""
    if isinstance(own, Error):
        return own.value
    where = None
    if isinstance(own, Masked):
        where, own = np.asarray(own.where, bool), own.value
    own, reference = np.asarray(own), np.asarray(reference)
    if own.shape != reference.shape:
        raise AssertionError(f"shape {own.shape} instead of {reference.shape}")
    if kind == "exact":
        return 0.0 if np.array_equal(own, reference) else float("inf")
    if kind == "mismatch_fraction":
        bits = [np.unpackbits(a.astype(np.uint8)) for a in (own, reference)]
        return float(np.mean(bits[0] != bits[1]))
    own = own.astype(np.result_type(own.dtype, np.float64))
    reference = reference.astype(np.result_type(reference.dtype, np.float64))
    if not np.array_equal(np.isnan(own), np.isnan(reference)):
        return float("inf")
    if kind == "abs_masked":
        if where is None:
            raise AssertionError("kind abs_masked: the handler must return Masked(value, where)")
        if not where.any():
            raise AssertionError("kind abs_masked: the region is empty")
        where = np.broadcast_to(where, own.shape)
        return float(np.abs(own - reference)[where].max())
    if where is not None:
        where = np.broadcast_to(where, own.shape)
        own, reference = own[where], reference[where]
    if kind in ("scaled_l2", "scaled_magnitude_l2", "magnitude_l2", "row_phase"):
        own, reference = _aligned(kind, own, reference)
        kind = "l2"
    difference = np.abs(own - reference)
    if kind == "abs":
        return float(difference.max(initial=0))
    if kind == "max":
        return float(difference.max(initial=0)) / (float(np.abs(reference).max(initial=0)) or 1.0)
    if kind == "l2":
        return float(np.linalg.norm(difference)) / (float(np.linalg.norm(reference)) or 1.0)
    if kind == "last_value":
        return float(difference.flat[-1] / (abs(reference.flat[-1]) or 1.0))
    raise AssertionError(f"no measure for tolerance kind '{kind}'")


def _aligned(kind, own, reference):
    if "magnitude" in kind:
        own, reference = np.abs(own), np.abs(reference)
    if "scaled" in kind:
        own = own * (np.vdot(own, reference) / (np.vdot(own, own) or 1.0))
    if kind == "row_phase":
        rows = own.reshape(own.shape[0], -1), reference.reshape(reference.shape[0], -1)
        inner = np.sum(rows[0].conj() * rows[1], axis=1, keepdims=True)
        own = rows[0] * (inner / np.maximum(np.abs(inner), np.finfo(float).tiny))
        reference = rows[1]
    return own, reference

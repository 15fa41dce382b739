"""The name map between a published state dict and a parameter tree, both ways: one rule per published tensor.

A model's page (fastmri.py, modl.py) says in one `Published` how its configuration is seen from names and shapes, and
which rules follow from it. What does not fit is told in one error, all of it at once.
"""

import dataclasses
import fnmatch
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..checks import DataError

Shapes = Mapping[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Rule:
    """Where one published tensor lives in the parameter tree, and how: own = published.transpose(axes).

    A tensor of one of several steps is a part of our leaf: leaf[step] = own. Rules without a step that share a path
    belong to tied tensors, published several times under different names and kept once here.

    Attributes:
      name: published name.
      shape: published shape.
      path: keys into the tree, "steps/net/params/conv_0/kernel".
      axes: the published axes in our order; those of size 1 that we do not have are left out; None: as they are.
      step: index along the leading axis of our leaf, where one leaf holds this tensor of all steps.
      scalar: published as (1,), a scalar here.

    Example:
      >>> Rule("conv.weight", (8, 2, 3, 3), "conv/kernel", (2, 3, 1, 0)).to_own(np.zeros((8, 2, 3, 3))).shape
      (3, 3, 2, 8)
    """

    name: str
    shape: tuple[int, ...]
    path: str
    axes: tuple[int, ...] | None = None
    step: int | None = None
    scalar: bool = False

    @property
    def own_shape(self) -> tuple[int, ...]:
        """The tensor's shape in our layout, for one step."""
        return () if self.scalar else tuple(self.shape[a] for a in self._order)

    @property
    def _order(self) -> tuple[int, ...]:
        return tuple(range(len(self.shape))) if self.axes is None else self.axes

    @property
    def _dropped(self) -> tuple[int, ...]:
        """Published axes of size 1 that we do not have."""
        return tuple(a for a in range(len(self.shape)) if a not in self._order)

    def to_own(self, array: np.ndarray) -> np.ndarray:
        """The tensor in the published shape to `own_shape`, for one step."""
        return (
            array.reshape(()) if self.scalar else array.transpose(self._order + self._dropped).reshape(self.own_shape)
        )

    def to_published(self, array: np.ndarray | np.generic) -> np.ndarray:
        """The inverse of `to_own`: from `own_shape` to the published shape."""
        if self.scalar:
            return array.reshape(self.shape)
        array = array.reshape(self.own_shape + (1,) * len(self._dropped))
        return array.transpose(np.argsort(self._order + self._dropped))


@dataclasses.dataclass(frozen=True)
class Published:
    """One kind of published weights.

    Attributes:
      name: what it is called in errors.
      infer: shapes by published name -> the model's configuration; whatever is missing, it returns one.
      rules: configuration -> the rules, whose names are all that may and must be there.
      ignored: patterns of published names that are no weights.
      versions: what a training program calls this arithmetic (`model_version` of `read_settings`), where names and shapes
        do not tell it from another's.
      option: what it is called on the command line.
      untold: field of the configuration that names and shapes do not tell -> what it is, and what `infer` assumes.
      scale: what k-space was divided by in the training, as `Experiment` calls it.
      named: arrays under generated names, in the order of their file -> the same under the names of the rules; None: the
        names are published.
    """

    name: str
    infer: Callable[[Shapes], Any]
    rules: Callable[[Any], list[Rule]]
    ignored: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    option: str = ""
    untold: Mapping[str, str] = dataclasses.field(default_factory=dict)
    scale: Any = "none"
    named: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None


def from_published(state: Mapping[str, Any], published: Published, *, config: Any = None) -> tuple[dict, Any]:
    """A published state dict as the parameter tree of our model, and the model's configuration.

    Args:
      state: published name -> array, as `read` returns it; or any mapping of arrays. A prefix that training programs put before
        the names, as "model.", "module." or "_orig_mod.", is passed over.
      published: what the weights are, e.g. E2E_VARNET.
      config: the model's configuration; None: inferred from names and shapes.

    Returns:
      (params, config): a dict {"start": ..., "steps": ...} of NumPy arrays, views of the given ones where that is
      possible; half precision becomes float32, double stays.

    Raises:
      DataError: entries are missing, unknown, of another shape, no real numbers or not finite, or tied ones differ: all are
        listed.

    Example:
      >>> layer = Published("a layer", lambda shapes: None, lambda _: [Rule("w", (2, 3), "steps/kernel", (1, 0))])
      >>> params, config = from_published({"w": np.zeros((2, 3))}, layer)
      >>> params["steps"]["kernel"].shape, to_published(params, layer, config)["w"].shape
      ((3, 2), (2, 3))
    """
    given = {name: np.asarray(value) for name, value in state.items()}
    if published.named is not None:
        given = published.named(given)
    found = _under_published_names(given, published, config)
    arrays, config, rules = found.arrays, found.config, found.rules
    shapes = {name: array.shape for name, array in arrays.items()}
    if not found.n_known:
        raise DataError(
            f"these are not the weights of {published.name}: of its names, as {_some(rules)}, there is none; there are "
            f"{_some(shapes)}"
        )
    _check(
        f"these are not the weights of {published.name} with {config}",
        missing=[f"{n} {r.shape}" for n, r in rules.items() if n not in arrays],
        unknown=[f"{n} {shape}" for n, shape in shapes.items() if n not in rules],
        misshaped=[f"{n} {shapes[n]}, not {r.shape}" for n, r in rules.items() if shapes.get(n, r.shape) != r.shape],
        not_real=[
            f"{n} {a.dtype}" for n, a in arrays.items() if n in rules and not jnp.issubdtype(a.dtype, np.floating)
        ],
        not_finite=[n for n, a in arrays.items() if jnp.issubdtype(a.dtype, np.floating) and not np.isfinite(a).all()],
    )
    groups = _by_path(rules.values())
    tied = [group for group in groups.values() if group[0].step is None and len(group) > 1]
    _check(
        f"weights that {published.name} ties are not equal",
        different=[
            f"{rule.name}, not that of {first.name}"
            for first, *others in tied
            for rule in others
            if not np.array_equal(arrays[rule.name], arrays[first.name])
        ],
    )
    params: dict = {"start": {}, "steps": {}}
    for path, group in groups.items():
        parts = [rule.to_own(_at_least_single(arrays[rule.name])) for rule in group]
        leaf = parts[0]
        if group[0].step is not None:
            leaf = np.stack(parts) if len(parts) > 1 else leaf[None]
        *folders, last = path.split("/")
        node = params
        for folder in folders:
            node = node.setdefault(folder, {})
        node[last] = leaf
    return params, config


def to_published(params: Any, published: Published, config: Any) -> dict[str, np.ndarray]:
    """A parameter tree of our model under the published names and layout; the inverse of `from_published`.

    Args:
      params: {"start": ..., "steps": ...}, arrays on the host or on a device.
      published: what the weights are to be, e.g. E2E_VARNET.
      config: the model's configuration.

    Returns:
      published name -> array in the published shape, to be written by `write_npz`.

    Raises:
      DataError: leaves are missing, unknown or of another shape: all are listed.
    """
    leaves = {
        "/".join(str(key.key) for key in path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]
    }
    groups = _by_path(published.rules(config))
    shapes = {p: (() if g[0].step is None else (len(g),)) + g[0].own_shape for p, g in groups.items()}
    _check(
        f"these are not the parameters of {published.name} with {config}",
        missing=[f"{p} {shape}" for p, shape in shapes.items() if p not in leaves],
        unknown=[f"{p} {leaf.shape}" for p, leaf in leaves.items() if p not in shapes],
        misshaped=[
            f"{p} {leaves[p].shape}, not {s}" for p, s in shapes.items() if p in leaves and tuple(leaves[p].shape) != s
        ],
    )
    state = {}
    for path, group in groups.items():
        leaf = np.asarray(leaves[path])
        for rule in group:
            state[rule.name] = rule.to_published(leaf if rule.step is None else leaf[rule.step])
    return {rule.name: state[rule.name] for rule in published.rules(config)}


def size(shapes: Shapes, name: str, axis: int, default: int) -> int:
    """One size of a published tensor, for `Published.infer`; the default where there is no such tensor or axis."""
    shape = shapes.get(name, ())
    return shape[axis] if -len(shape) <= axis < len(shape) else default


def count(shapes: Shapes, prefix: str) -> int:
    """How many different words follow a prefix up to the next separator, e.g. how many cascades; at least 1."""
    words = {name[len(prefix) :].replace("/", ".").split(".")[0] for name in shapes if name.startswith(prefix)}
    return max(len(words), 1)


class _Found(NamedTuple):
    """A state dict under published names: its arrays, the configuration, its rules by name, how many names are theirs."""

    arrays: dict[str, np.ndarray]
    config: Any
    rules: dict[str, Rule]
    n_known: int


def _under_published_names(state: Mapping[str, np.ndarray], published: Published, config: Any) -> _Found:
    """The entries that are weights, without the prefix by which most of their names are the published ones."""
    best = None
    for prefix in _prefixes(list(state)):
        arrays = _without(prefix, state, published)
        shapes = {name: array.shape for name, array in arrays.items()}
        made = published.infer(shapes) if config is None else config
        rules = {rule.name: rule for rule in published.rules(made)}
        found = _Found(arrays, made, rules, len(rules.keys() & arrays.keys()))
        if best is None or found.n_known > best.n_known:
            best = found
        if best.n_known == len(best.rules):
            break
    assert best is not None  # there is always the prefix ""
    return best


def _prefixes(names: Sequence[str]) -> list[str]:
    """The empty one, and what more than half of the names begin with, up to a separator, the shortest first."""
    # names of hostile files may be long: no program puts more than a few words before them
    counts = Counter(name[: at.end()] for name in names for at in itertools.islice(re.finditer(r"[./]", name), 6))
    return ["", *sorted((prefix for prefix, n in counts.items() if 2 * n > len(names)), key=len)]


def _without(prefix: str, state: Mapping[str, np.ndarray], published: Published) -> dict[str, np.ndarray]:
    """The entries that are weights, without a prefix."""
    entries: dict[str, np.ndarray] = {}
    for name, value in state.items():
        short = name.removeprefix(prefix)
        if not any(fnmatch.fnmatchcase(n, pattern) for n in (name, short) for pattern in published.ignored):
            # a second entry of the same short name keeps its long one, and so is told as unknown
            entries[name if short in entries else short] = value
    return entries


def _some(names: Iterable[str]) -> str:
    """The first of some names."""
    shown = list(names)
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "") if shown else "none"


def _by_path(rules: Iterable[Rule]) -> dict[str, list[Rule]]:
    """The rules of each leaf, in the order of their steps."""
    groups: dict[str, list[Rule]] = {}
    for rule in rules:
        groups.setdefault(rule.path, []).append(rule)
    return {path: sorted(group, key=lambda rule: rule.step or 0) for path, group in groups.items()}


def _at_least_single(array: np.ndarray) -> np.ndarray:
    return array.astype(np.result_type(array.dtype, np.float32), copy=False)


def _check(problem: str, **lists: list[str]) -> None:
    """One DataError for everything that does not fit."""
    words = {"misshaped": "of another shape", "not_real": "no real numbers", "not_finite": "not finite"}
    told = [f"{words.get(kind, kind)} ({len(names)}): {', '.join(names)}" for kind, names in lists.items() if names]
    if told:
        raise DataError("\n  ".join([problem, *told]))

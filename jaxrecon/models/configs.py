"""What a configuration of a network is, and the network of one: built once, whoever asks."""

import functools
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast, runtime_checkable

import jax
import numpy as np

from ..checks import UserError
from ..problem import Problem
from ..typing import Params
from .unrolled import Unrolled


@runtime_checkable
class ModelConfig(Protocol):
    """The configuration of a network: a frozen dataclass, of this package or of your own file, that can build it."""

    if TYPE_CHECKING:  # what has only methods can be asked of at run time too, as the command line does
        __dataclass_fields__: ClassVar[dict[str, Any]]

    def build(self) -> Unrolled:
        """The network; equal configurations make equal ones."""
        ...


def build(config: ModelConfig) -> Unrolled:
    """The network of a configuration, to be trained: equal configurations give the same one, hence one compilation.

    To reconstruct, use `build(config).frozen` where it is not None. A configuration that cannot be hashed, with a list
    or an array in it, builds a new network each time.

    Raises:
      ValueError: the configuration builds no network; sizes that make none.
    """
    try:
        hash(config)
    except TypeError:
        return _build(config)
    return _build_once(cast(Hashable, config))


def _build(config):
    make = getattr(config, "build", None)
    if not callable(make) or isinstance(config, type):
        raise UserError(f"expected the configuration of a network, with a method build() -> Unrolled, found {config!r}")
    model = make()
    if not isinstance(model, Unrolled):
        raise UserError(f"{type(config).__name__}.build must return an Unrolled, but it returns {model!r}")
    return model


_build_once = functools.lru_cache(maxsize=None, typed=True)(_build)


def abstract_params(config: ModelConfig) -> Params:
    """Shapes and types of a network's parameters, which no size of images changes; nothing is computed."""
    model = build(config)
    return jax.eval_shape(model.init, jax.random.key(0), _example(model))


def _example(model):
    """A problem that a network takes, all of it zero."""
    wants, coils = model.wants, 2
    shape = (wants.example_size, wants.example_size)
    leading = {"slice": (), "window": (wants.window,), "series": (2,)}[wants.input]
    maps = np.zeros((coils, *shape), np.complex64) if wants.maps == "given" else None
    return Problem.from_numpy(np.zeros((*leading, coils, *shape), np.complex64), mask=np.ones(shape), maps=maps)

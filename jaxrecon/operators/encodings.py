"""The encodings that data and commands know: how a slice becomes the arrays of an example, and how these become the encoding.

An encoding of one's own is another record, handed to `jaxrecon.data.Preparation`: training, evaluation and the memory report follow.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from ..checks import UserError
from .cartesian import CartesianFFT
from .sense import Encoding

Arrays = Mapping[str, Any]
"""The arrays of an example by name, or of a batch of them, with a leading axis."""
RESERVED = ("kspace", "maps", "acs", "target", "data_range", "scale", "seed")
"""What an example has beside the arrays of its encoding."""


@dataclasses.dataclass(frozen=True)
class EncodingRecord:
    """What must be known of an encoding beside the operator; its functions are picklable: processes prepare examples.

    Attributes:
      name: on the command line and in files.
      keys: names of the arrays of an example that the encoding is made of.
      build: these arrays, by name -> the encoding; static sizes are read from their shapes. Traced, also of batches.
      sample: (slice, mask, random generator) -> "kspace" (..., coil, *samples), complex64, and the arrays of `keys`, in NumPy.
        The slice has full or undersampled Cartesian k-space (..., coil, y, x); mask, 1 = measured, broadcasts against it, (y, x)
        at least, and is what was drawn times what the file has.
      gridded: an example -> its k-space on the Cartesian grid (..., coil, y, x), in NumPy: the transform of a first picture, from
        which the rules of scale are computed.
      abstract: (shape of Cartesian k-space, shape of the mask) -> shapes and types of what `sample` gives.

    Raises:
      ValueError: a key that every example has.
    """

    name: str
    keys: tuple[str, ...]
    build: Callable[[Arrays], Encoding]
    sample: Callable[[Any, np.ndarray, np.random.Generator], dict[str, np.ndarray]]
    gridded: Callable[[Arrays], np.ndarray]
    abstract: Callable[[tuple[int, ...], tuple[int, ...]], dict[str, jax.ShapeDtypeStruct]]

    def __post_init__(self):
        taken = [key for key in self.keys if key in RESERVED]
        if taken:
            raise UserError(f"encoding {self.name}: an example has {', '.join(taken)} already: choose other keys")


def _cartesian(arrays: Arrays) -> CartesianFFT:
    return CartesianFFT(arrays["mask"])


def _masked(part: Any, mask: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"kspace": part.kspace * mask, "mask": mask}


def _as_it_is(example: Arrays) -> np.ndarray:
    return example["kspace"]


def _of_these_shapes(kspace: tuple[int, ...], mask: tuple[int, ...]) -> dict[str, jax.ShapeDtypeStruct]:
    return {"kspace": jax.ShapeDtypeStruct(kspace, np.complex64), "mask": jax.ShapeDtypeStruct(mask, np.float32)}


CARTESIAN = EncodingRecord("cartesian", ("mask",), _cartesian, _masked, _as_it_is, _of_these_shapes)
"""Centred FFT and sampling mask."""
ENCODINGS = {record.name: record for record in (CARTESIAN,)}
"""Name -> record."""

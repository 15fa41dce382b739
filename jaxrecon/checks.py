"""Border checks: the one home of the wording of errors that a user's data can cause."""

import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .host import complete_width

MAX_BYTES = 256 * 2**30
"""No single array of more bytes than this is read: a header that asks for more is wrong or hostile."""


T = TypeVar("T")


class UserError(ValueError):
    """What a user gave cannot be used, and the message says why and what to do: every error that this package raises by itself.

    The command line prints its message and nothing else. Any other ValueError is a fault of this package.
    """


class MissingPackage(UserError, ModuleNotFoundError):
    """A package that only some uses need is not installed; the message says how to get it."""


class DataError(UserError):
    """A file is truncated, wrong or hostile: the message names file, dataset, what was expected and what was found."""

    def __init__(
        self,
        problem: str,
        *,
        file: str | Path | None = None,
        dataset: str | None = None,
        expected: object = None,
        found: object = None,
        cure: str | None = None,
    ):
        where = [f"file {file}"] if file is not None else []
        where += [f"dataset '{dataset}'"] if dataset is not None else []
        text = (", ".join(where) + ": " if where else "") + problem
        if expected is not None:
            text += f"; expected {expected}"
        if found is not None:
            text += f"; found {found}"
        super().__init__(text + (f". {cure}" if cure else ""))
        self.file, self.dataset, self.expected, self.found = file, dataset, expected, found


class DataWarning(UserWarning):
    """What is doubtful in a user's data, so that an image may be wrong: the message says where, and what was expected."""


def counted(n: int, noun: str) -> str:
    """A number of things in words: 1 file, 2 files."""
    return f"{n} {noun}" + ("" if n == 1 else "s")


def check_known(what: str, name: str, table: Mapping[str, T]) -> T:
    """The entry of a name in a table.

    Args:
      what: what the table holds, for the message: "mask", "method".
      name: the name asked for.
      table: name -> entry.

    Raises:
      ValueError: there is no such name; the message lists those that there are.
    """
    if name not in table:
        raise UserError(f"there is no {what} '{name}'; there are {', '.join(table)}")
    return table[name]


def check_sizes(least: int, **sizes: int | Sequence[int]) -> None:
    """Raise ValueError for a size, or one of several (of levels, of axes), that is below the least."""
    for name, value in sizes.items():
        if any(size < least for size in (value if isinstance(value, Sequence) else (value,))):
            raise UserError(f"{name} must be {least} or more, not {value}")


def check_seed(seed: int) -> None:
    """Raise ValueError for a seed beyond the 32 bits that every generator takes."""
    if not 0 <= seed < 2**32:
        raise UserError(f"seed must be 0 or more and below 2^32, not {seed}")


def check_ndim(ndim: int) -> None:
    """Raise ValueError unless a network's convolutions are over images (2) or over frames too (3)."""
    if ndim not in (2, 3):
        raise UserError(f"ndim must be 2 for images or 3 for frames, not {ndim}")


def check_choices(config: Any) -> None:
    """Raise ValueError unless the fields of a dataclass that are annotated as Literal hold one of their values."""
    for name, hint in typing.get_type_hints(type(config)).items():
        value, choices = getattr(config, name), typing.get_args(hint)
        if typing.get_origin(hint) is typing.Literal and value not in choices:
            raise UserError(f"{name} must be one of {', '.join(map(str, choices))}, not {value!r}")


def check_axes(name: str, array, axes: Sequence[str]) -> None:
    """Raise ValueError unless `array` has exactly the named axes, e.g. ("coil", "y", "x")."""
    if len(array.shape) != len(axes):
        raise UserError(f"{name} must have axes ({', '.join(axes)}), but its shape is {tuple(array.shape)}")


def check_at_least(name: str, array, axes: Sequence[str]) -> None:
    """Raise ValueError unless `array` has at least the named axes as its last ones."""
    if len(array.shape) < len(axes):
        raise UserError(f"{name} must end with axes ({', '.join(axes)}), but its shape is {tuple(array.shape)}")


def check_same_coils(maps, kspace, axis: int = -3) -> None:
    """Raise ValueError unless maps and k-space have the same number of coils at `axis`."""
    if maps.shape[axis] != kspace.shape[axis]:
        raise UserError(
            f"maps have {maps.shape[axis]} coils, kspace has {kspace.shape[axis]}: compressed one of them? (axis {axis})"
        )


def check_broadcasts(name: str, shape: Sequence[int], other: str, other_shape: Sequence[int]) -> None:
    """Raise ValueError unless `shape` broadcasts against `other_shape` without enlarging it."""
    short = len(shape) > len(other_shape)
    if short or any(a not in (1, b) for a, b in zip(shape[::-1], other_shape[::-1], strict=False)):
        raise UserError(
            f"{name} of shape {tuple(shape)} does not broadcast against {other} of shape {tuple(other_shape)}"
        )


def check_finite(name: str, array: np.ndarray, *, file: str | Path | None = None, dataset: str | None = None) -> None:
    """Raise DataError if `array` (on the host) holds NaN or infinity; says how many and where the first is."""
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(i) for i in np.unravel_index(np.argmax(bad), bad.shape))
        raise DataError(
            f"{name} holds {int(bad.sum())} NaN or infinite values, the first at index {first}",
            file=file,
            dataset=dataset,
            expected="finite values",
            found=str(array[first]),
        )


def checked_mask(name: str, mask: Any, *, file: str | Path | None = None) -> np.ndarray:
    """A mask on the host as True where it is not 0, whatever its numbers: 1, True, 255.

    Raises:
      DataError: it holds no numbers, or NaN or infinity.
    """
    mask = np.asarray(mask)
    if mask.dtype.kind not in "biufc":
        raise DataError(f"{name} holds no numbers", file=file, expected="0 where not measured", found=mask.dtype)
    check_finite(name, mask, file=file)
    return mask != 0


def check_bytes(
    shape: Sequence[int], itemsize: int, *, file: str | Path | None = None, dataset: str | None = None
) -> None:
    """Raise DataError if an array of this shape would take more than MAX_BYTES: checked before memory is taken."""
    n_bytes = itemsize * int(np.prod([int(n) for n in shape], dtype=object))
    if n_bytes > MAX_BYTES or any(int(n) < 0 for n in shape):
        raise DataError(
            "the size that its header states is not plausible",
            file=file,
            dataset=dataset,
            expected=f"at most {MAX_BYTES} bytes",
            found=f"shape {tuple(int(n) for n in shape)} ({n_bytes:.3g} bytes)",
        )


def check_same_shape(name: str, array, other: str, other_array) -> None:
    """Raise ValueError unless both arrays have the same shape: never broadcast one image against another."""
    if tuple(array.shape) != tuple(other_array.shape):
        raise UserError(
            f"{name} has shape {tuple(array.shape)}, {other} has shape {tuple(other_array.shape)}: crop one to the other?"
        )


def check_calibration(
    kspace, calib_size: int, kernel_size: int = 1, *, several: bool = False, complete: bool = True
) -> None:
    """Raise ValueError unless the center of `kspace` (coil, *space) is a calibration region, large enough and sampled.

    A position counts as unsampled if it is zero in all coils; with complete=False one sampled position is enough. With
    several=True a region that holds the kernel once is too small: one block says nothing of the maps.
    Values are looked at on concrete arrays only, so that the caller can be traced.
    """
    space = tuple(kspace.shape[1:])
    least = kernel_size + several
    if kernel_size < 1 or calib_size < least:
        raise UserError(
            f"kernels of width {kernel_size} do not fit a calibration region of width {calib_size}: "
            f"wanted 1 <= kernel width {'<' if several else '<='} calib_size"
        )
    if calib_size > min(space):
        raise UserError(
            f"calib_size is {calib_size}, but kspace has {' x '.join(map(str, space))} positions: "
            f"wanted at most {min(space)} (the axes are (coil, y, x))"
        )
    import jax  # here, as help of commands that need no jax comes by this file

    if isinstance(kspace, jax.core.Tracer):
        return
    center = (slice(None), *(slice(n // 2 - calib_size // 2, n // 2 - calib_size // 2 + calib_size) for n in space))
    calib = np.asarray(kspace[center])
    check_finite("the calibration region of kspace", calib)
    sampled = np.any(calib != 0, axis=0)
    if sampled.all() or (sampled.any() and not complete):
        return
    if not sampled.any():
        cure = "Is this masked k-space without calibration lines, or not centered (DC at index n // 2)?"
    else:
        width = complete_width(sampled)
        cure = f"The largest complete width is {width}: "
        cure += f"use calib_size={width}" if width >= least else "acquire calibration lines, or use external maps"
    raise UserError(
        f"the calibration region of kspace ({' x '.join([str(calib_size)] * len(space))} around the center) is not "
        f"complete: expected {sampled.size} sampled positions, found {int(sampled.sum())}. {cure}"
    )

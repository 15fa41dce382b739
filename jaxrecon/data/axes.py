"""What the axes of an array are: said by the user, or guessed from their number."""

import dataclasses
import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Inexact

from ..checks import DataWarning, UserError
from ..host import ifftc
from .scan import all_counters, latest_volume

AXES = ("frame", "set", "slice", "coil", "z", "y", "x")
"""Names of axes. x is the readout where there is a z, else y is."""
KSPACE_AXES = ("slice", "coil", "y", "x")
IMAGE_AXES = ("frame", "slice", "y", "x")
"""What the axes are taken for where nobody says it, the last ones first."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """The axes of an array and what follows from them.

    K-space with a z is a 3D scan: its readout x is transformed, and each position along it is a slice (coil, z, y). Other
    k-space gives slices (coil, y, x), images (y, x). Frames are the slowest, then sets, then slices.

    Attributes:
      axes: their names in the array's order.
      shape: their sizes.
      has_kspace: the array is k-space, else images.
    """

    axes: tuple[str, ...]
    shape: tuple[int, ...]
    has_kspace: bool

    @property
    def sizes(self) -> dict[str, int]:
        """Name of an axis -> its size."""
        return dict(zip(self.axes, self.shape, strict=True))

    @property
    def is_3d(self) -> bool:
        """Whether it is k-space of 3D scans."""
        return self.has_kspace and "z" in self.axes

    @property
    def looped(self) -> tuple[str, ...]:
        """The axes that count problems, the slowest first."""
        return tuple(
            a for a in AXES if a in self.axes and a in ("frame", "set", "slice", *("z",) * (not self.has_kspace))
        )

    @property
    def counted(self) -> tuple[str, ...]:
        """What the slices are of, the slowest first; none where frames and slices say it."""
        if self.is_3d:
            return (*self.looped, "readout")
        return self.looped if "set" in self.looped else ()

    @property
    def slice_axes(self) -> tuple[str, ...]:
        """The axes of a slice."""
        return (("coil", "z", "y") if self.is_3d else ("coil", "y", "x")) if self.has_kspace else ("y", "x")

    @property
    def n_slices(self) -> int:
        """Number of slices."""
        return math.prod(self.sizes[a] for a in self.looped) * (self.sizes["x"] if self.is_3d else 1)

    @property
    def header(self) -> dict:
        """What a `Header` says of it, by the names of its fields."""
        sizes = self.sizes
        return {
            "n_slices": self.n_slices,
            "n_coils": sizes.get("coil", 1) if self.has_kspace else 0,
            "shape": tuple(sizes[a] for a in self.slice_axes[-2:]),
            "slice_axes": self.slice_axes,
            "n_frames": sizes.get("frame", 1),
            "counters": all_counters({a: sizes["x" if a == "readout" else a] for a in self.counted}),
            "has_kspace": self.has_kspace,
            "has_volume": self.is_3d,
        }

    def problem(self, array: Inexact[np.ndarray, "..."], index: int, *, taken: bool = False) -> np.ndarray:
        """One problem of the array: (coil, y, x), (coil, z, y, x) of a 3D scan, or (y, x) of images.

        Args:
          array: with these axes.
          index: which problem.
          taken: the first axis counts problems, and the array is its entry of this index.
        """
        counts = [self.sizes[a] for a in self.looped]
        place = dict(zip(self.looped, np.unravel_index(index, counts), strict=True)) if counts else {}
        left = self.axes[taken:]
        part = array[tuple(place.get(a, slice(None)) for a in left)]
        kept = [a for a in left if a not in place]
        part = part.transpose([kept.index(a) for a in AXES if a in kept])
        return part[None] if self.has_kspace and "coil" not in kept else part

    def read_slice(self, index: int, problem: Callable[[int], np.ndarray], key: tuple) -> np.ndarray:
        """The slice of an index: a problem, or one position along the transformed readout of a 3D scan.

        Args:
          index: which slice.
          problem: reads a problem, by its number.
          key: names the array for `latest_volume`.
        """
        if not self.is_3d:
            return problem(index)
        number, position = divmod(index, self.sizes["x"])
        volume = latest_volume((*key, number), lambda: ifftc(problem(number), -1))
        return np.ascontiguousarray(volume[..., position])

    def entry(self, index: int) -> int | None:
        """The entry of the array's first axis that a problem lies in; None where it lies in several."""
        if self.axes[0] not in self.looped:
            return None
        counts = [self.sizes[a] for a in self.looped]
        return int(np.unravel_index(index, counts)[self.looped.index(self.axes[0])])


def layout_of(
    shape: Sequence[int], axes: str | Sequence[str] | None, *, has_kspace: bool, name: str, sure: bool = False
) -> Layout:
    """The layout of an array, with a warning where what is guessed may well be something else.

    Args:
      shape: of the array.
      axes: names of AXES in its order, also as one text "coil,z,y,x"; None: guessed, as the last of (slice, coil, y, x) or
        (frame, slice, y, x).
      has_kspace: it is k-space, else images.
      name: what messages call it.
      sure: other arrays, as coil maps, agree with the guess.

    Raises:
      ValueError: names that are unknown, appear twice, leave out y or x, or are not as many as the axes.
    """
    shape = tuple(int(n) for n in shape)
    if axes is None:
        guessed = (KSPACE_AXES if has_kspace else IMAGE_AXES)[-len(shape) :]
        if guessed == KSPACE_AXES and shape[0] < shape[1] <= shape[-1] and not sure:
            warnings.warn(
                f"{name} is read as {shape[0]} slices of {shape[1]} coils, since its {len(shape)} axes have no names; if "
                f"it is a 3D scan of {shape[0]} coils and {shape[1]} partitions, say so by axes (--axes) coil,z,y,x; if "
                "not, by slice,coil,y,x",
                DataWarning,
                stacklevel=2,
            )
        if guessed[-3:] == KSPACE_AXES[1:] and shape[-3] > shape[-1] and not sure:
            warnings.warn(
                f"{name} is read as {shape[-3]} coils of {shape[-2]} x {shape[-1]} samples, since its {len(shape)} axes have no "
                "names; if they are others, as y,x,coil, say so by axes (--axes)",
                DataWarning,
                stacklevel=2,
            )
        return Layout(guessed, shape, has_kspace)
    names = tuple(n.strip() for n in axes.split(",")) if isinstance(axes, str) else tuple(axes)
    known = AXES if has_kspace else tuple(a for a in AXES if a not in ("coil", "set"))
    if not set(names) <= set(known) or len(set(names)) != len(names) or not {"y", "x"} <= set(names):
        raise UserError(f"axes {','.join(names)}: expected some of {', '.join(known)}, each once, with y and x")
    if len(names) != len(shape):
        raise UserError(f"axes {','.join(names)}: {name} has {len(shape)} axes, {shape}")
    return Layout(names, shape, has_kspace)

"""The data classes of all readers: a Scan is an opened file, lazy, indexed by 2D problems; a Slice is one of them."""

import abc
import dataclasses
import math
import operator
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Complex, Float, Inexact, Int

from .. import struct
from ..checks import DataError, UserError, check_finite
from ..host import fftc, ifftc
from .windows import neighbours, stack_kspace, stack_masks


@dataclasses.dataclass(frozen=True, eq=False)
class Slice:
    """One 2D problem as NumPy arrays; what the file does not hold is None.

    Attributes:
      kspace: (coil, y, x) complex64, DC at n // 2 of both axes; y is the readout and x the phase encode, or the two
        phase encodes of a 3D scan. Non-Cartesian lines: (coil, sample). In an `adjacent` slice: (adjacent, coil, y, x).
      image: (y, x) real or complex, in files that hold images instead of k-space.
      mask: bool, broadcasts against (y, x), True = measured; None where nothing is known to be missing. In an
        `adjacent` slice whose neighbours have other masks: (adjacent, 1, y, x).
      target: (y, x), the reference image of the file (its size may be smaller than k-space's).
      maps: (coil, y, x) or (set, coil, y, x) complex64 sensitivity maps.
      trajectory: (sample, ndim) in radians per pixel, columns ordered as the image axes.
      calibration: (coil, y, x) complex64, calibration lines that are no part of kspace, on its grid, 0 where not measured:
        maps are estimated from them.
      index: the position in its scan.
      frame: which of the n_frames time frames of its series it is, from 0.
      n_frames: number of time frames; 1 for a still image.
      counters: what it is of, by name: {"contrast": 0, "repetition": 2, "slice": 5}; see `Header.counters`.
      file: the path of its file.
    """

    kspace: Complex[np.ndarray, "..."] | None = None
    image: Inexact[np.ndarray, "y x"] | None = None
    mask: Bool[np.ndarray, "..."] | None = None
    target: Inexact[np.ndarray, "*frame h w"] | None = None
    maps: Complex[np.ndarray, "..."] | None = None
    trajectory: Float[np.ndarray, "sample ndim"] | None = None
    calibration: Complex[np.ndarray, "coil y x"] | None = None
    index: int = 0
    frame: int = 0
    n_frames: int = 1
    counters: Mapping[str, int] = dataclasses.field(default_factory=dict)
    file: str = ""

    __repr__ = struct.shapes_repr


@dataclasses.dataclass(frozen=True)
class Header:
    """What a file says about itself.

    Attributes:
      format: name of the format, e.g. "fastMRI".
      n_slices: number of 2D problems.
      n_coils: number of coils; 0 in files of images.
      shape: (y, x) of the slices; (sample,) of non-Cartesian ones.
      file_shape: shape of the stored array, in the file's order.
      file_axes: names of the file's axes in its order.
      slice_axes: the same names in the order of `Slice.kspace` (or `image`): the transposition made.
      encoded_matrix: matrix size (x, y, z) of the header, x = readout.
      recon_matrix: matrix size (x, y, z) of the reconstruction.
      encoded_fov: field of view (x, y, z) in mm of the encoded matrix.
      recon_fov: field of view (x, y, z) in mm of the reconstruction.
      crop: (y, x) of the central part of the images that is kept, at most what there is; None: all of them.
      crop_reason: why it is that part, in words.
      affine: (x, y, slice, 1), indices of the uncropped images, to mm (right, anterior, superior), float64 (4, 4); along
        the patient's axes, from 0, where only the voxel size is known; None: not known.
      evenly_spaced: False: the slices do not follow each other evenly in space, so that no affine can place them.
      padding: (left, right): columns outside [left, right) were never acquired and must be 0 in each mask.
      acquisition: name of the contrast or protocol.
      acceleration: nominal acceleration.
      n_frames: time frames; slice i is position i % (n_slices / n_frames) of frame i // (n_slices / n_frames).
      counters: what the slices are of, by name, the slowest first: "contrast", "phase", "repetition", "set", "slice", or
        "readout" for the positions along it in a 3D scan, each (n_slices,); empty: "frame" and "slice", as n_frames has them.
      readout_complete: False: an asymmetric echo, which the slices no longer show, since the readout was transformed.
      has_kspace: slices have k-space (else an image).
      has_mask: the sampling pattern is stated by the file, not merely seen from zeros.
      has_target: slices have a target.
      has_maps: slices have maps.
      has_calibration: slices have separate calibration lines.
      has_volume: `Scan.volume` works.
      attributes: further values by name, e.g. `max` and `norm` of fastMRI's target volume.
    """

    format: str
    n_slices: int
    n_coils: int
    shape: tuple[int, ...]
    file_shape: tuple[int, ...]
    file_axes: tuple[str, ...]
    slice_axes: tuple[str, ...]
    encoded_matrix: tuple[int, int, int] | None = None
    recon_matrix: tuple[int, int, int] | None = None
    encoded_fov: tuple[float, float, float] | None = None
    recon_fov: tuple[float, float, float] | None = None
    crop: tuple[int, int] | None = None
    crop_reason: str = ""
    affine: Float[np.ndarray, "4 4"] | None = None
    evenly_spaced: bool = True
    padding: tuple[int, int] | None = None
    acquisition: str | None = None
    acceleration: float | None = None
    n_frames: int = 1
    counters: Mapping[str, Int[np.ndarray, " slice"]] = dataclasses.field(default_factory=dict)
    readout_complete: bool = True
    has_kspace: bool = True
    has_mask: bool = False
    has_target: bool = False
    has_maps: bool = False
    has_calibration: bool = False
    has_volume: bool = False
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)

    __repr__ = struct.shapes_repr

    def counter(self, index: int) -> dict[str, int]:
        """What slice `index` is of, by name."""
        if self.counters:
            return {name: int(values[index]) for name, values in self.counters.items()}
        frame, position = divmod(index, self.n_slices // self.n_frames)
        return {"frame": frame, "slice": position}

    def arrangement(self) -> dict[str, int]:
        """Axes as which the slices can be arranged, name -> size, the slowest first.

        One for each counter where all combinations are there in order, else all slices in a row, {"slice": n_slices}.
        """
        if not self.counters:
            return {"frame": self.n_frames, "slice": self.n_slices // self.n_frames}
        found = [np.unique(values, return_inverse=True) for values in self.counters.values()]
        sizes = [len(values) for values, _ in found]
        if math.prod(sizes) == self.n_slices:
            places = np.ravel_multi_index([place.reshape(-1) for _, place in found], sizes)
            if (places == np.arange(self.n_slices)).all():
                return dict(zip(self.counters, sizes, strict=True))
        return {"slice": self.n_slices}


def all_counters(sizes: Mapping[str, int]) -> dict[str, Int[np.ndarray, " slice"]]:
    """Counters of slices that go through all combinations, the first name the slowest, as `Header.counters`.

    Args:
      sizes: how many there are, by name.

    Example:
      >>> {name: values.tolist() for name, values in all_counters({"contrast": 2, "slice": 3}).items()}
      {'contrast': [0, 0, 0, 1, 1, 1], 'slice': [0, 1, 2, 0, 1, 2]}
    """
    places = np.indices(tuple(sizes.values())).reshape(len(sizes), math.prod(sizes.values()) if sizes else 0)
    return dict(zip(sizes, places, strict=True))


class Scan(abc.ABC):
    """An opened file: `len(scan)` 2D problems, each read when asked for; iterable, picklable, a context manager.

    No file handle is held here: handles are kept per process, so that a Scan may be sent to workers and survives a
    fork.

    Attributes:
      path: the file.
      header: what the file says about itself.
    """

    path: Path
    header: Header

    @abc.abstractmethod
    def _read(self, index: int) -> Slice:
        """The slice of an index within [0, n_slices)."""

    def _read_volume(self, index: int) -> np.ndarray:
        raise UserError(f"{self.path} ({self.header.format}) holds 2D problems, no 3D volume: read its slices")

    def __len__(self) -> int:
        return self.header.n_slices

    def __getitem__(self, index: int) -> Slice:
        """Slice `index` (negative counts from the end).

        Raises:
          DataError: the data cannot be read, or hold NaN or infinity.
        """
        index = self._position(index)
        part = self._read(index)
        for name in ("kspace", "image", "target", "maps", "trajectory", "calibration"):
            if (array := getattr(part, name)) is not None:
                check_finite(f"slice {index}", array, file=self.path, dataset=name)
        header = self.header
        return dataclasses.replace(
            part,
            index=index,
            frame=index // (len(self) // header.n_frames),
            n_frames=header.n_frames,
            counters=header.counter(index),
            file=str(self.path),
        )

    def __iter__(self) -> Iterator[Slice]:
        return (self[i] for i in range(len(self)))

    def __enter__(self) -> "Scan":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        header = self.header
        return f"<{header.format} {self.path}: {header.n_slices} slices, {header.n_coils} coils, {header.shape}>"

    def close(self) -> None:
        """Close the file's handle in this process; a later read opens it anew."""
        from .hdf5 import close

        close(self.path)

    def volume(self, index: int = 0) -> np.ndarray:
        """The whole 3D data set: k-space (coil, z, y, x) with x = readout, or the image (z, y, x).

        Args:
          index: which volume, where the file holds several (contrasts, repetitions, frames).

        Raises:
          ValueError: the file holds 2D problems only (`header.has_volume` is False).
        """
        volume = self._read_volume(index)
        check_finite(f"volume {index}", volume, file=self.path)
        return volume

    def neighbours(self, index: int, n: int) -> list[int]:
        """The n slices around `index`: periodic over frames in a time series, else clamped at the ends.

        Args:
          index: the slice in the middle.
          n: how many, odd.

        Source: PromptMR+, see `jaxrecon.data.windows`.
        """
        return neighbours(self._position(index), len(self), n, n_frames=self.header.n_frames)

    def adjacent(self, index: int, n: int) -> Slice:
        """Slice `index`, but with the k-space of its n neighbours, (adjacent, coil, y, x).

        Its mask is that of all of them where they have the same, else (adjacent, 1, y, x).

        Args:
          index: the slice in the middle.
          n: how many, odd.

        Raises:
          DataError: neighbours have different numbers of coils.
          ValueError: n is even, or the file holds images.
        """
        window = self.neighbours(index, n)
        parts = {i: self[i] for i in window}
        kspace = [part for i in window if (part := parts[i].kspace) is not None]
        if len(kspace) < n:
            raise UserError(f"{self.path} holds images, no k-space: it has no adjacent k-space slices")
        return dataclasses.replace(
            parts[self._position(index)],
            kspace=stack_kspace(kspace, file=self.path),
            mask=stack_masks([parts[i].mask for i in window]),
        )

    def _position(self, index: int) -> int:
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"slice {index} of {self.path}, which has {len(self)} slices")
        return index % len(self)


def sampled(
    kspace: Complex[np.ndarray, "*batch coil y x"], *, padding: tuple[int, int] | None = None
) -> Bool[np.ndarray, "*batch y x"] | None:
    """The sampling pattern seen from zeros, for files that store undersampled k-space without its mask.

    Args:
      kspace: (..., coil, y, x).
      padding: as `Header.padding`: columns outside were never acquired, and say nothing of what was left out.

    Returns:
      (..., y, x), True where any coil is not 0; None if that is everywhere between the padding.

    Example:
      >>> sampled(np.array([1, 0, 2j, 0]) * np.ones((3, 2, 1))).astype(int).tolist()
      [[1, 0, 1, 0], [1, 0, 1, 0]]
    """
    with np.errstate(invalid="ignore"):  # NaN is for the check of the values to report
        mask = (kspace != 0).any(-3)
    return None if mask[..., slice(*(padding or (None, None)))].all() else mask


def remove_oversampling(kspace: Complex[np.ndarray, "..."], size: int, axis: int = -2) -> Complex[np.ndarray, "..."]:
    """Crop the field of view along the readout to its central `size` pixels: inverse FFT, centre crop, FFT.

    Args:
      kspace: (..., coil, y, x), centred.
      size: wanted number of readout samples, as `header.crop[0]`; the centre n // 2 stays the centre.
      axis: the readout.

    Returns:
      K-space (..., coil, y, x) with `size` samples along the axis, in the unitary scale.

    Raises:
      ValueError: size is larger than the axis.
    """
    n = kspace.shape[axis]
    if not 0 < size <= n:
        raise UserError(f"cannot crop {n} readout samples to {size}: the size must be within 1 and {n}")
    if size == n:
        return kspace
    start = n // 2 - size // 2
    image = np.take(ifftc(kspace, axis), range(start, start + size), axis)
    return fftc(image, axis)


def check_shape(
    name: str, found: Sequence[int], axes: Sequence[str], *, file: Path, sizes: dict[str, int] | None = None
) -> None:
    """Raise DataError unless a stored shape has the named axes, none empty, and the sizes known from elsewhere."""
    wanted = ", ".join(f"{a} {(sizes or {})[a]}" if a in (sizes or {}) else a for a in axes)
    wrong = len(found) != len(axes) or 0 in found
    if wrong or any(n != (sizes or {}).get(a, n) for a, n in zip(axes, found, strict=True)):
        raise DataError("the shape is wrong", file=file, dataset=name, expected=f"({wanted})", found=tuple(found))


_volumes: dict[str, tuple[tuple, np.ndarray]] = {}
_volumes_lock = threading.Lock()


def latest_volume(key: tuple, build: Callable[[], np.ndarray], *, kind: str = "data") -> np.ndarray:
    """The volume of a kind last built in this process, or a new one in its place: two would not fit into memory.

    Slices along the readout of a 3D scan need all of its lines: the transformed volume stays until another is asked
    for.
    """
    with _volumes_lock:
        if kind not in _volumes or _volumes[kind][0] != key:
            _volumes.pop(kind, None)
            _volumes[kind] = key, build()
        return _volumes[kind][1]


def volume_key(path: Path, *rest: object) -> tuple:
    """A key that changes when the file does."""
    status = path.stat()
    return (str(path.absolute()), status.st_size, status.st_mtime_ns, *rest)

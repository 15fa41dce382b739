"""NumPy files: .npz with `kspace`, `mask`, `maps`, `target`, or a single array as .npy. Never pickled objects."""

import contextlib
import math
import tokenize
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..checks import DataError, UserError, check_bytes, checked_mask
from ..files import Stream, check_expansion, check_file, reading
from .axes import IMAGE_AXES, KSPACE_AXES, layout_of
from .scan import Header, Scan, Slice, check_shape, sampled, volume_key

IMAGES = ("reconstruction", "image", "images")
MAX_ARRAY_HEADER = 10_000
"""The longest header of an array that is parsed, NumPy's own limit."""


class Array(NamedTuple):
    """What the header of a stored array says."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype


class NumpyScan(Scan):
    """K-space ([slice,] coil, y, x) with y the readout, or images ([[frame,] slice,] y, x), from .npz or .npy.

    The axes of the array may be said instead of guessed; those of a 3D scan give slices as a BART pair of the same array.

    In an .npz: `kspace`; `mask`, which broadcasts against (y, x), one for all slices or (slice, y, x); `maps` (coil, y,
    x) or (slice, coil, y, x); `target` (y, x) or (slice, y, x). Without `kspace`: `reconstruction` or `image`. An .npy
    holds k-space where it is complex, images where it is real; complex (y, x) is a single coil. Real arrays of complex
    quantities are pairs of real and imaginary part on the last axis. Where no mask is stored, it is seen from the
    zeros.

    Single slices are read; those of a compressed .npz are reached by unpacking what lies before them.

    Args:
      path: the file.
      axes: the names of the axes of k-space or images, as "coil,z,y,x": of `axes.AXES`, in the array's order; None: guessed
        from their number, with a warning where that may well be wrong.

    Raises:
      DataError: the file is damaged, or holds other arrays, pickled objects, or a header of implausible size.
      ValueError: the axes do not fit the array.
    """

    def __init__(self, path: str | Path, *, axes: str | Sequence[str] | None = None):
        self.path = check_file(path)
        with self.path.open("rb") as file:
            self._zipped = file.read(2) == b"PK"
        self._arrays = self._list()
        if not self._zipped:
            self._main = next(iter(self._arrays))
            array = self._arrays[self._main]
            has_kspace = array.dtype.kind == "c" or (array.shape[-1:] == (2,) and len(array.shape) > 2)
        else:
            has_kspace = "kspace" in self._arrays
            self._main = "kspace" if has_kspace else next((n for n in IMAGES if n in self._arrays), "kspace")
            if self._main not in self._arrays:
                raise DataError(
                    "there is no k-space and no image",
                    file=self.path,
                    dataset="kspace",
                    expected=f"'kspace' (with 'mask', 'maps', 'target'), or one of {IMAGES}",
                    found=sorted(self._arrays),
                )
        shape = self._shape(self._main, complex_values=has_kspace)
        guessed = KSPACE_AXES if has_kspace else IMAGE_AXES
        if axes is None or 0 in shape:
            # without a slice axis; a single coil may leave out its axis too
            check_shape(self._main, shape, guessed[-max(len(shape), 2) :], file=self.path)
        sure = "maps" in self._arrays or ("target" in self._arrays and len(self._arrays["target"].shape) == 3)
        self._layout = layout_of(shape, axes, has_kspace=has_kspace, name=f"file {self.path}", sure=sure)
        self._set_header()

    def _set_header(self):
        layout, stored = self._layout, self._arrays[self._main].shape
        names = [n for n in ("mask", "maps", "target") if n in self._arrays and layout.has_kspace]
        self._sliced = {name: self._check_companion(name) for name in names}
        self.header = Header(
            format="npz" if self._zipped else "npy",
            file_shape=stored,
            file_axes=layout.axes if len(layout.axes) == len(stored) else (*layout.axes, "real and imaginary"),
            has_mask="mask" in names,
            has_target="target" in names,
            has_maps="maps" in names,
            **layout.header,
        )

    def _check_companion(self, name):
        """Whether the array has a leading slice axis; its sizes must fit k-space's."""
        of = self._layout.header
        shape = self._shape(name, complex_values=name == "maps")
        base = {"mask": ("y", "x"), "maps": ("coil", "y", "x"), "target": ("h", "w")}[name]
        known = {"slice": of["n_slices"], "coil": of["n_coils"], "y": of["shape"][0], "x": of["shape"][1]}
        several = self._layout.is_3d or bool(self._layout.looped)
        if name == "mask":
            while len(shape) > 2 and shape[0] == 1:  # as if it were to broadcast against k-space
                shape = shape[1:]
            shape = shape if len(shape) > 1 else (1, *shape)
            known |= {axis: 1 for axis, n in zip(("x", "y"), shape[::-1], strict=False) if n == 1}  # constant along it
        elif name == "maps" and not several and len(shape) == 4:
            base = ("set", *base)
        has_slices = several and len(shape) == len(base) + 1
        check_shape(name, shape, ("slice", *base) if has_slices else base, file=self.path, sizes=known)
        return has_slices

    def _list(self) -> dict[str, Array]:
        with reading(self.path, expected="a NumPy file"):
            if not self._zipped:
                with self.path.open("rb") as file:
                    array = _array_header(file)
                    start, stored = file.tell(), self.path.stat().st_size
                self._check(array, self.path.stem, stored - start, stored)
                return {self.path.stem: array}
            arrays = {}
            with zipfile.ZipFile(self.path) as archive:
                for info in archive.infolist():
                    if not info.filename.endswith(".npy"):
                        continue
                    name = info.filename.removesuffix(".npy")
                    with reading(self.path, name, expected="a NumPy array"), archive.open(info) as member:
                        array = _array_header(member)
                        start = member.tell()
                    if name in ("kspace", "mask", "maps", "target", *IMAGES):
                        self._check(array, name, info.file_size - start, info.compress_size)
                    arrays[name] = array
        return arrays

    def _check(self, array: Array, name, n_bytes, stored):
        if array.dtype.hasobject or array.dtype.kind not in "cfiub":
            raise DataError(
                "it holds no plain numbers",
                file=self.path,
                dataset=name,
                expected="a complex, real, integer or boolean array",
                found=f"dtype {array.dtype}",
            )
        check_bytes(array.shape, array.dtype.itemsize, file=self.path, dataset=name)
        wanted = math.prod(array.shape) * array.dtype.itemsize
        if wanted != n_bytes:
            raise DataError(
                "its header disagrees with the size of its data: truncated?",
                file=self.path,
                dataset=name,
                expected=f"{wanted} bytes for shape {array.shape}, {array.dtype}",
                found=f"{n_bytes} bytes",
            )
        check_expansion(wanted, stored, file=self.path, dataset=name)

    def _shape(self, name, complex_values):
        """The shape of the quantity: without the axis of real and imaginary part where it is a pair."""
        array = self._arrays[name]
        if not complex_values or array.dtype.kind == "c":
            return array.shape
        if array.dtype.kind != "f" or array.shape[-1:] != (2,):
            raise DataError(
                "it is not complex",
                file=self.path,
                dataset=name,
                expected="a complex array, or real and imaginary parts on a last axis of size 2",
                found=f"{array.dtype}, shape {array.shape}",
            )
        return array.shape[:-1]

    @contextlib.contextmanager
    def _stream(self, name) -> Iterator[Stream]:
        with contextlib.ExitStack() as stack, reading(self.path, name, expected="the array's data"):
            if self._zipped:
                archive = stack.enter_context(zipfile.ZipFile(self.path))
                yield stack.enter_context(archive.open(name + ".npy"))
            else:
                yield stack.enter_context(self.path.open("rb"))

    def _load(self, name, index: int | None) -> np.ndarray:
        """An array, or one entry of its first axis, of which only its own bytes are kept."""
        array = self._arrays[name]
        skipped = 0 if index is None or array.fortran_order else index
        whole = index is None or array.fortran_order
        shape = array.shape if whole else array.shape[1:]
        n_bytes = math.prod(shape) * array.dtype.itemsize
        with self._stream(name) as file:
            _array_header(file)
            file.seek(file.tell() + skipped * n_bytes)
            data = file.read(n_bytes)
            if len(data) != n_bytes:
                raise EOFError(f"{len(data)} of {n_bytes} bytes")
            if whole and self._zipped:
                file.read(1)  # at the end the checksum is compared
        values = np.frombuffer(data, array.dtype)
        values = values.reshape(shape, order="F" if array.fortran_order else "C")
        return values[index] if whole and index is not None else values

    def _complex(self, name, index):
        values = self._load(name, index)
        if values.dtype.kind != "c":
            values = values[..., 0] + 1j * values[..., 1]
        return values.astype(np.complex64)

    def _problem(self, index: int) -> np.ndarray:
        """A problem of the main array, of which as little is read as the order of its axes allows."""
        layout = self._layout
        load = self._complex if layout.has_kspace else self._load
        where = layout.entry(index)
        return layout.problem(load(self._main, where), index, taken=where is not None)

    def _read(self, index: int) -> Slice:
        if not self.header.has_kspace:
            image = self._problem(index)
            return Slice(image=image.astype(np.complex64 if image.dtype.kind == "c" else np.float32))
        kspace = self._layout.read_slice(index, self._problem, volume_key(self.path))
        place = {name: index if sliced else None for name, sliced in self._sliced.items()}
        mask = target = maps = None
        if "mask" in place:
            mask = checked_mask("the mask", self._load("mask", place["mask"]), file=self.path)
            mask = mask.reshape((1, *mask.shape)[-2:])
        if "maps" in place:
            maps = self._complex("maps", place["maps"])
        if "target" in place:
            target = self._load("target", place["target"])
            target = target.astype(np.complex64 if target.dtype.kind == "c" else np.float32)
        return Slice(kspace=kspace, mask=sampled(kspace) if mask is None else mask, target=target, maps=maps)

    def _read_volume(self, index: int) -> np.ndarray:
        return self._problem(index) if self._layout.is_3d else super()._read_volume(index)


def _array_header(file: Stream) -> Array:
    """Parse the header of a stored array; the data that follow are not touched."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise UserError(f"format version {version} of the array is not known")
    try:
        return Array(*read(file, max_header_size=MAX_ARRAY_HEADER))
    except (tokenize.TokenError, SyntaxError) as error:
        raise UserError(f"the header of the array is damaged: {error}") from error

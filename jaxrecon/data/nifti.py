"""NIfTI volumes: images without k-space, read through nibabel (optional)."""

import contextlib
import gzip
import math
from pathlib import Path

import numpy as np

from ..checks import DataError, MissingPackage, check_bytes
from ..files import check_expansion, check_file, reading
from .scan import Header, Scan, Slice, check_shape, latest_volume, volume_key


def import_nibabel():
    """The module nibabel, or a MissingPackage that says how to get it."""
    try:
        import nibabel
    except ImportError as error:
        raise MissingPackage("NIfTI files need nibabel: pip install 'jaxrecon[io]'") from error
    return nibabel


class NiftiScan(Scan):
    """A NIfTI volume (x, y, z) or series (x, y, z, time): slice z of frame t is an image (y, x).

    Values are slope * stored + intercept, as float32 (complex64 where stored complex). Magnitude images have no phase:
    k-space simulated from them is easier than measured k-space. `header.affine` maps (x, y, z) to mm.

    Args:
      path: .nii or .nii.gz.
      reorient: bring the axes to the order nearest to right, anterior, superior first; files of one study differ in it.

    Raises:
      MissingPackage: nibabel is not installed.
      DataError: the file is damaged, truncated, or states an implausible size.
    """

    def __init__(self, path: str | Path, *, reorient: bool = False):
        import_nibabel()
        self.path, self._reorient = check_file(path), reorient
        with self._image(check=True) as image:
            shape = tuple(int(n) for n in image.shape)
            affine = np.asarray(image.affine, np.float64)
            units = image.header.get_xyzt_units()
        shape = (*shape, *[1] * (3 - len(shape)))
        check_shape("image", shape, ("x", "y", "z", "time")[: max(len(shape), 3)], file=self.path)
        n_frames = shape[3] if len(shape) == 4 else 1
        self.header = Header(
            format="NIfTI",
            n_slices=shape[2] * n_frames,
            n_coils=0,
            shape=(shape[1], shape[0]),
            file_shape=shape,
            file_axes=("x", "y", "z", "time")[: len(shape)],
            slice_axes=("y", "x"),
            n_frames=n_frames,
            has_kspace=False,
            has_volume=True,
            affine=affine,
            attributes={"units": units},
        )

    @contextlib.contextmanager
    def _image(self, check=False):
        """The nibabel image over an open stream: its array is read when indexed."""
        nibabel = import_nibabel()
        errors = (nibabel.spatialimages.HeaderDataError, nibabel.filebasedimages.ImageFileError)
        with contextlib.ExitStack() as stack, reading(self.path, "image", expected="a NIfTI image", also=errors):
            file = stack.enter_context(self.path.open("rb"))
            compressed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            stream = stack.enter_context(gzip.GzipFile(fileobj=file)) if compressed else file
            start = stream.read(348)
            is_second = start[4:8] == b"n+2\0"
            kind = nibabel.Nifti2Image if is_second else nibabel.Nifti1Image
            # without its extensions, of which the library would read whatever length they state
            header = kind.header_class(start + stream.read(540 - 348) if is_second else start)
            image = kind(nibabel.arrayproxy.ArrayProxy(stream, header), header.get_best_affine(), header)
            if check:
                self._check_size(image, compressed)
            yield nibabel.as_closest_canonical(image) if self._reorient else image
            stream.read(1)  # at its end a compressed stream compares its checksum

    def _check_size(self, image, compressed):
        shape, itemsize = image.shape, int(image.get_data_dtype().itemsize)
        # values are scaled to float32 at least
        check_bytes(shape, max(itemsize, 4), file=self.path, dataset="image")
        stored, n_bytes = self.path.stat().st_size, itemsize * math.prod(int(n) for n in shape)
        if not compressed and int(image.dataobj.offset) + n_bytes > stored:
            raise DataError(
                "truncated",
                file=self.path,
                dataset="image",
                expected=f"{int(image.dataobj.offset) + n_bytes} bytes for shape {tuple(shape)}",
                found=f"{stored} bytes",
            )
        check_expansion(n_bytes, stored, file=self.path, dataset="image")

    def _volume(self, frame: int) -> np.ndarray:
        """(z, y, x) of one frame; a compressed or reoriented file is read once, not per slice."""

        def build():
            with self._image() as image:
                data = _values(image.dataobj[(..., frame)] if len(image.shape) == 4 else image.dataobj[...])
            return np.ascontiguousarray(data.reshape(self.header.file_shape[:3]).T)

        return latest_volume(volume_key(self.path, frame, self._reorient), build)

    def _read(self, index: int) -> Slice:
        frame, z = divmod(index, self.header.file_shape[2])
        with self.path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
        if compressed or self._reorient:
            return Slice(image=self._volume(frame)[z])
        with self._image() as image:
            where = (z, frame)[: len(image.shape) - 2]
            data = _values(image.dataobj[(slice(None), slice(None), *where)])
        return Slice(image=np.ascontiguousarray(data.T))

    def _read_volume(self, index: int) -> np.ndarray:
        if not 0 <= index < self.header.n_frames:
            raise IndexError(f"volume {index} of {self.path}, which has {self.header.n_frames}")
        return self._volume(index)


def _values(data) -> np.ndarray:
    data = np.asarray(data)
    return data.astype(np.complex64 if data.dtype.kind == "c" else np.float32)

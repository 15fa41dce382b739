"""fastMRI's HDF5 volumes (knee and brain), files laid out like them, and files of reconstructions."""

from pathlib import Path

import numpy as np
from jaxtyping import Num

from ..checks import DataError
from ..files import check_file, reading
from ..fourier import center_crop
from ..typing import AnyArray, ArrayKind
from .hdf5 import attributes, dataset, is_complex, opened, to_complex
from .ismrmrd_header import Encoding, parse_header
from .scan import Header, Scan, Slice, check_shape

TARGETS = ("reconstruction_rss", "reconstruction_esc")
IMAGES = ("reconstruction", *TARGETS)


class FastMRIScan(Scan):
    """A fastMRI volume: `kspace` (slice, coil, readout, phase) or, single coil, (slice, readout, phase), complex.

    The mask of a test file is `mask` (phase,); the target is `reconstruction_rss` or `reconstruction_esc`. The header
    is the XML of `ismrmrd_header`; files without it may state `padding_left`, `padding_right`, `encoding_size` and
    `recon_size` as attributes (as PromptMR+'s converted Calgary-Campinas and CMRxRecon files do). A file with
    `reconstruction` (slice, y, x) or (frame, slice, y, x) and no k-space gives slices of images.

    Raises:
      DataError: the file is damaged, or its datasets are not of this form.

    Source: fastMRI (arXiv:1811.08839), and the SliceDataset of its reference code.
    """

    def __init__(self, path: str | Path):
        self.path = check_file(path)
        with opened(self.path) as file:
            has_kspace = "kspace" in file
            names = ("kspace",) if has_kspace else IMAGES
            self._name = next((n for n in names if n in file), names[0])
            stored = dataset(file, self._name, self.path)
            if (stored.dtype.kind != "f") if not has_kspace else (not is_complex(stored.dtype)):
                kind = "complex" if has_kspace else "real"
                raise DataError(
                    "the type is wrong", file=self.path, dataset=self._name, expected=kind, found=stored.dtype
                )
            shape = tuple(int(n) for n in stored.shape)
            self._target = next((n for n in TARGETS if n in file), None) if has_kspace else None
            attrs = attributes(file, self.path)
            encoding = Encoding()
            if "ismrmrd_header" in file:
                xml = dataset(file, "ismrmrd_header", self.path)
                with reading(self.path, "ismrmrd_header", expected="the XML header"):
                    text = xml[()]
                encoding = parse_header(text, self.path, "ismrmrd_header")
            if self._target:
                target = dataset(file, self._target, self.path).shape
                check_shape(self._target, target, ("slice", "y", "x"), file=self.path, sizes={"slice": shape[0]})
            self._has_mask = has_kspace and "mask" in file
            if self._has_mask:
                mask = dataset(file, "mask", self.path).shape
                if int(np.prod(mask)) != shape[-1]:
                    check_shape("mask", mask, ("phase",), file=self.path, sizes={"phase": shape[-1]})
        axes: tuple[str, ...] = ("slice", "readout", "phase")
        if len(shape) == 4:
            axes = ("slice", "coil", "readout", "phase") if has_kspace else ("frame", "slice", "readout", "phase")
        check_shape(self._name, shape, axes, file=self.path)
        n_frames = shape[0] if axes[0] == "frame" else 1
        with reading(self.path, "attributes", expected="numbers for sizes and acceleration"):
            acceleration = float(attrs["acceleration"]) if "acceleration" in attrs else None
            encoded_matrix = encoding.encoded_matrix or _matrix(attrs.get("encoding_size"))
            recon_matrix = encoding.recon_matrix or _matrix(attrs.get("recon_size"))
            padding = _padding(encoding, attrs, shape[-1])
        self.header = Header(
            format="fastMRI" if has_kspace else "reconstruction",
            n_slices=n_frames * shape[axes.index("slice")],
            n_coils=(shape[1] if "coil" in axes else 1) if has_kspace else 0,
            shape=shape[-2:],
            file_shape=shape,
            file_axes=axes,
            slice_axes=("coil", "readout", "phase") if has_kspace else ("readout", "phase"),
            encoded_matrix=encoded_matrix,
            recon_matrix=recon_matrix,
            padding=padding,
            acquisition=str(attrs["acquisition"]) if "acquisition" in attrs else None,
            acceleration=acceleration,
            n_frames=n_frames,
            has_kspace=has_kspace,
            has_mask=self._has_mask,
            has_target=self._target is not None,
            attributes=attrs,
        )

    def _read(self, index: int) -> Slice:
        with opened(self.path) as file:
            stored = dataset(file, self._name, self.path)
            where = divmod(index, stored.shape[1]) if self.header.file_axes[0] == "frame" else index
            with reading(self.path, self._name, expected=f"slice {index}"):
                data = stored[where]
            if not self.header.has_kspace:
                return Slice(image=data.astype(np.float32, copy=False))
            mask = target = None
            if self._has_mask:
                with reading(self.path, "mask"):
                    mask = np.asarray(dataset(file, "mask", self.path)[()]).reshape(1, -1) != 0
            if self._target:
                with reading(self.path, self._target):
                    target = dataset(file, self._target, self.path)[index]
        kspace = to_complex(data)
        return Slice(kspace=kspace if kspace.ndim == 3 else kspace[None], mask=mask, target=target)


def _padding(encoding, attrs, n_columns):
    """(left, right) = (enc_y // 2 - center, left + maximum + 1), within the columns."""
    limit = encoding.limits.get("kspace_encoding_step_1")
    if encoding.encoded_matrix and limit and limit.center is not None and limit.maximum is not None:
        left = encoding.encoded_matrix[1] // 2 - limit.center
        right = left + limit.maximum + 1
    elif "padding_left" in attrs and "padding_right" in attrs:
        left, right = int(attrs["padding_left"]), int(attrs["padding_right"])
    else:
        return None
    return max(left, 0), min(right, n_columns)


def _matrix(size):
    """A matrix size stored as an attribute, (x, y) or (x, y, z)."""
    if size is None:
        return None
    x, y, z = (*(int(n) for n in np.ravel(size)), 1)[:3]
    return x, y, z


def crop_to_recon_size(
    image: Num[ArrayKind, "*batch y x"], header: Header, *, target: Num[AnyArray, "... target_y target_x"] | None = None
) -> Num[ArrayKind, "*batch h w"]:
    """Crop an image of the encoded matrix to the size that is evaluated: the target's, else the header's recon matrix.

    Rows are the readout: the header's (x, y) is (rows, columns). Where the image has fewer columns than the recon
    matrix (FLAIR files), both sizes become that width, as in the reference code.

    Args:
      image: (..., y, x), NumPy or JAX.
      header: the scan's header.
      target: the reference image (..., h, w); where given, its size counts: a few brain files have targets of another
        size than their header says.

    Returns:
      (..., h, w); the image itself where neither target nor recon matrix is known.

    Source: fastMRI reference code, VarNetDataTransform and center_crop.
    """
    if target is not None:
        size = target.shape[-2:]
    elif header.recon_matrix is not None:
        # a plane of a 3D scan is spanned by both phase encodes
        size = header.recon_matrix[1:] if header.slice_axes[-2:] == ("ky", "kz") else header.recon_matrix[:2]
    else:
        return image
    if image.shape[-1] < size[1]:
        size = (image.shape[-1], image.shape[-1])
    return center_crop(image, (min(size[0], image.shape[-2]), size[1]))

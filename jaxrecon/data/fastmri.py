"""fastMRI's HDF5 volumes (knee and brain), files laid out like them, and files of reconstructions."""

from pathlib import Path

import numpy as np

from ..checks import DataError, checked_mask
from ..files import check_file, reading
from .geometry import axis_affine
from .hdf5 import attributes, dataset, entry, is_complex, opened, text, to_complex
from .ismrmrd_header import Encoding, Limit, acquired_columns, parse_header
from .scan import Header, Scan, Slice, check_shape, sampled

TARGETS = ("reconstruction_rss", "reconstruction_esc")
IMAGES = ("reconstruction", *TARGETS)


class FastMRIScan(Scan):
    """A fastMRI volume: `kspace` (slice, coil, readout, phase) or, single coil, (slice, readout, phase), complex.

    The mask of a test file is `mask` (phase,); of a file without it the mask is seen from the zeros, as other formats have
    it. The target is `reconstruction_rss` or `reconstruction_esc`. The header is the XML of `ismrmrd_header`; files without
    it may state `padding_left`, `padding_right`, `encoding_size` and `recon_size` as attributes (as PromptMR+'s converted
    Calgary-Campinas and CMRxRecon files do). A file with `reconstruction` (slice, y, x) or (frame, slice, y, x) and no
    k-space gives slices of images.

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
                xml = text(file, "ismrmrd_header", self.path)
                encoding = parse_header(xml, self.path, "ismrmrd_header")
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
            if has_kspace and encoded_matrix and shape[-1] == encoded_matrix[0] != shape[-2]:
                raise DataError(
                    "the phase encode is stored before the readout",
                    file=self.path,
                    dataset=self._name,
                    expected=f"axes {axes}, of which {encoded_matrix[0]} samples of the readout, as its header states",
                    found=f"shape {shape}",
                    cure="Exchange the last two axes.",
                )
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
            encoded_fov=encoding.field_of_view,
            recon_fov=encoding.recon_field_of_view,
            crop=recon_matrix[:2] if recon_matrix else None,
            crop_reason="the header's reconstruction matrix, by fastMRI's rule" if recon_matrix else "",
            affine=_affine(encoding, attrs, shape[-2:]),
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
            where = divmod(index, stored.shape[1]) if self.header.file_axes[0] == "frame" else (index,)
            with reading(self.path, self._name, expected=f"slice {index}"):
                data = entry(stored, where, self.path)
            if not self.header.has_kspace:
                return Slice(image=data.astype(np.float32, copy=False))
            mask = target = None
            if self._has_mask:
                with reading(self.path, "mask"):
                    stored = entry(dataset(file, "mask", self.path), (), self.path)
                    mask = checked_mask("the mask", stored, file=self.path).reshape(1, -1)
            if self._target:
                with reading(self.path, self._target):
                    target = entry(dataset(file, self._target, self.path), (index,), self.path)
        kspace = to_complex(data)
        kspace = kspace if kspace.ndim == 3 else kspace[None]
        if not self._has_mask:
            mask = _seen(kspace, self.header.padding)
        return Slice(kspace=kspace, mask=mask, target=target)


def _seen(kspace, padding):
    """The mask of zeros: (1, x) of whole columns, else (y, x); None where only the padding is 0."""
    mask = sampled(kspace, padding=padding)
    return mask[:1] if mask is not None and (mask == mask[:1]).all() else mask


def _padding(encoding, attrs, n_columns):
    """Columns outside of [left, right) were never acquired: left = enc_y // 2 - center, right = left + maximum + 1."""
    limit = encoding.limits.get("kspace_encoding_step_1")
    if encoding.encoded_matrix and limit and limit.center is not None and limit.maximum is not None:
        return acquired_columns(limit, encoding.encoded_matrix[1] // 2 - limit.center, n_columns)
    if "padding_left" in attrs and "padding_right" in attrs:
        left, right = int(attrs["padding_left"]), int(attrs["padding_right"])
        return acquired_columns(Limit(right - left - 1, None), left, n_columns)
    return None


def _affine(encoding, attrs, shape):
    """The stored affine, else voxel sizes from the header's field of view (x, y, z), x being the rows."""
    stored = np.asarray(attrs.get("affine", 0))
    if stored.shape == (4, 4) and stored.dtype.kind == "f" and np.isfinite(stored).all():
        return stored.astype(np.float64)
    fov, matrix = encoding.field_of_view, encoding.encoded_matrix
    if fov is None or matrix is None:
        return None
    return axis_affine((fov[1] / shape[1], fov[0] / shape[0], fov[2] / max(matrix[2], 1)), shape)


def _matrix(size):
    """A matrix size stored as an attribute, (x, y) or (x, y, z)."""
    if size is None:
        return None
    x, y, z = (*(int(n) for n in np.ravel(size)), 1)[:3]
    return x, y, z

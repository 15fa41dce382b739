"""Write reconstructions: HDF5 as fastMRI submits it, npy, npz, BART, NIfTI, PNG, and CMRxRecon's leaderboard files."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Inexact

from ..checks import DataWarning, UserError, check_finite
from ..files import atomic
from ..typing import AnyArray
from .bart import DIMENSIONS, cfl_paths
from .geometry import crop_to_recon_size, moved_affine
from .nifti import import_nibabel
from .scan import Header

SUFFIXES = (".h5", ".hdf5", ".npy", ".npz", ".cfl", ".nii.gz", ".nii", ".png")
PLANE = {
    "readout": 0, "kx": 0, "y": 0, "ky": 1, "phase": 1, "x": 1, "kz": 2, "phase_1": 1, "phase_2": 2,
}  # fmt: skip
"""BART's dimension of each axis of a slice."""
VOLUME = {"y": 1, "z": 2}
"""The same of a plane of a volume whose readout is x."""
COUNTERS = {
    "frame": "time", "slice": "slice", "contrast": "te", "phase": "time", "repetition": "time_2", "set": "batch",
}  # fmt: skip
"""BART's name of what the slices are of; its own names stand for themselves."""
Images = Inexact[AnyArray, "*frame_and_slice y x"] | Sequence[Any] | Mapping[int, Any]


def write_reconstruction(
    path: str | Path,
    images: Images,
    *,
    header: Header | None = None,
    overwrite: bool = False,
    attributes: Mapping[str, Any] | None = None,
) -> Path:
    """Write the reconstruction of one scan; the suffix decides the format, and the file appears whole or not at all.

    - .h5, .hdf5: dataset `reconstruction`, float32 magnitude (slice, y, x), cropped as the header says: a fastMRI
      submission; CMRxRecon's (frame, slice, y, x) likewise. Beside it the header's counters (contrast, repetition, slice ...),
      each (slice,), and as attribute its affine.
    - .npy, .npz (key `reconstruction`, and the counters): as given, complex64 or float32.
    - .cfl (with its .hdr): complex64, the axes of the image and of the counters at BART's dimensions: readout and phase
      encodes at 0, 1, 2, contrast at 5, frames and phases at 10, repetitions at 11, slices at 13.
    - .nii, .nii.gz: float32 magnitude (x, y, slice, all else), with the header's affine, in mm.
    - .png: the magnitude from 0 to its maximum as 8 bit; several slices side by side, each row a frame.

    Args:
      path: where to write.
      images: (y, x), (slice, y, x) or (frame, slice, y, x); or slice -> (y, x), or a sequence of them, each present.
      header: the header of the scan that was reconstructed; the number of slices must be the scan's.
      overwrite: replace an existing file.
      attributes: further values for HDF5 attributes, e.g. model and step.

    Returns:
      The path written.

    Raises:
      ValueError: a slice is missing, sizes differ, a value is not finite, or the suffix is unknown.
      FileExistsError: the file exists, and overwrite is False.
    """
    path = Path(path)
    name = path.name.lower()
    suffix = next((s for s in SUFFIXES if name.endswith(s)), None)
    if suffix is None:
        raise UserError(f"cannot write {path}: the suffix must be one of {', '.join(SUFFIXES)}")
    stack = _stack(images, header)
    check_finite("the reconstruction", stack, file=path)
    if suffix == ".cfl":
        write_cfl(path, _bart_axes(stack, header), overwrite=overwrite)
        return path
    if suffix.startswith(".nii") and header is not None and not header.evenly_spaced:
        warnings.warn(
            f"file {path}: the slices do not follow each other evenly in space, in the order in which they are written: only "
            "the size of their voxels is kept",
            DataWarning,
            stacklevel=2,
        )
    with atomic(path, overwrite=overwrite) as temporary:
        if suffix in (".h5", ".hdf5"):
            _write_hdf5(temporary, stack, header, attributes or {})
        elif suffix == ".npy":
            np.save(temporary, stack, allow_pickle=False)
        elif suffix == ".npz":
            arrays: dict[str, Any] = {"reconstruction": stack, **({} if header is None else header.counters)}
            np.savez(temporary, **arrays)
        elif suffix == ".png":
            _write_png(temporary, stack)
        else:
            _write_nifti(temporary, stack, header)
    return path


def _stack(images: Images, header: Header | None) -> np.ndarray:
    """One array from slices, none of them missing; as complex64 or float32."""
    n_slices = header.n_slices if header is not None else None
    if isinstance(images, Mapping):
        n = n_slices if n_slices is not None else max(images, default=-1) + 1
        if strange := sorted(set(images) - set(range(n))):
            raise UserError(f"there are slices {strange}, but the scan has {n}")
        images = [images.get(i) for i in range(n)]
    if not hasattr(images, "shape"):
        missing = [i for i, image in enumerate(images) if image is None]
        if missing or not len(images):
            raise UserError(
                f"slices {missing} of {len(images)} are missing: a file is written only when it is complete"
            )
        shapes = sorted({np.shape(image) for image in images})
        if len(shapes) > 1:
            raise UserError(f"the slices differ in shape: {shapes}")
    stack = np.asarray(images)
    if stack.ndim not in (2, 3, 4) or 0 in stack.shape:
        raise UserError(
            f"images must be (y, x), (slice, y, x) or (frame, slice, y, x), but their shape is {stack.shape}"
        )
    found = int(np.prod(stack.shape[:-2]))
    if n_slices is not None and found != n_slices:
        raise UserError(
            f"there are {found} slices, but the scan has {n_slices}: a file is written only when it is complete"
        )
    if header is not None and header.n_frames > 1:
        if stack.ndim == 4 and len(stack) != header.n_frames:
            raise UserError(
                f"images of shape {stack.shape}: the scan has {header.n_frames} frames, expected (frame, slice, y, x)"
            )
        stack = stack.reshape(header.n_frames, -1, *stack.shape[-2:])
    return stack.astype(np.complex64 if stack.dtype.kind == "c" else np.float32)


def _magnitude(stack: np.ndarray) -> np.ndarray:
    return np.abs(stack) if stack.dtype.kind == "c" else stack


def _write_hdf5(path, stack, header, attributes):
    stack = _magnitude(stack if stack.ndim > 2 else stack[None])
    affine = None
    if header is not None:
        stack = crop_to_recon_size(stack, header)
        affine = _affine(header, stack.shape[-2:])
    with h5py.File(path, "w") as file:
        file.create_dataset("reconstruction", data=np.asarray(stack, np.float32))
        for name, values in (header.counters if header is not None else {}).items():
            file[name] = values
        file.attrs.update({**({} if affine is None else {"affine": affine}), **attributes})


def _affine(header, shape):
    """The affine of images of this shape: the header's, or that of the central part of its images."""
    affine = header.affine
    return affine if affine is None or shape == header.shape else moved_affine(affine, header.shape, shape)


def _arranged(stack: np.ndarray, header: Header | None) -> tuple[dict[str, int], np.ndarray]:
    """Axes (name -> size) of the slices, the slowest first, and images with these axes in front."""
    sizes = dict(zip(("frame", "slice"), (1, 1, *stack.shape[:-2])[-2:], strict=True))
    if header is not None and header.counters:
        sizes = header.arrangement()
    return sizes, stack.reshape(*sizes.values(), *stack.shape[-2:])


def _write_nifti(path, stack, header):
    nibabel = import_nibabel()
    sizes, data = _arranged(_magnitude(stack), header)
    n_slices = list(sizes.values())[-1]
    # (all else, slice, y, x) -> (x, y, slice, all else)
    data = data.reshape(-1, n_slices, *stack.shape[-2:]).T.astype(np.float32)
    affine = None if header is None else _affine(header, stack.shape[-2:])
    data = data[..., 0] if data.shape[-1] == 1 else data
    image = nibabel.Nifti1Image(data, np.eye(4) if affine is None else affine)
    image.header.set_xyzt_units("mm" if affine is not None else None)
    nibabel.save(image, path)


def _write_png(path, stack):
    from matplotlib.image import imsave

    rows = _magnitude(stack).reshape((1,) * (4 - stack.ndim) + stack.shape)
    picture = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    imsave(path, picture, cmap="gray", vmin=0, vmax=float(picture.max()) or 1.0, format="png")


def _bart_axes(stack: np.ndarray, header: Header | None) -> np.ndarray:
    """BART's 16 dimensions reversed; without a header y and x are the first two."""
    sizes, data = _arranged(stack, header)
    counted = [DIMENSIONS.index(COUNTERS.get(name, name)) for name in sizes]
    names = ("y", "x") if header is None else header.slice_axes[-2:]
    plane = [(VOLUME if "z" in names else PLANE)[name] for name in names]
    places = [*counted, *plane]
    dims = [1] * len(DIMENSIONS)
    for place, size in zip(places, data.shape, strict=True):
        dims[place] = size
    slowest_first = sorted(range(len(places)), key=lambda i: -places[i])
    return data.transpose(slowest_first).reshape(dims[::-1])


def write_cfl(path: str | Path, array: Inexact[np.ndarray, "..."], *, overwrite: bool = False) -> Path:
    """Write a BART pair: the inverse of `read_cfl`.

    Args:
      path: the .cfl, the .hdr, or the name without suffix.
      array: C order, at most 16 axes: the dimensions reversed, as (coil, phase_2, phase_1, readout); written as
        complex64.
      overwrite: replace existing files.

    Returns:
      The path of the .cfl.

    Raises:
      ValueError: more axes than BART has.
      FileExistsError: one of the two files exists, and overwrite is False.
    """
    header, data = cfl_paths(path)
    if array.ndim > len(DIMENSIONS):
        raise UserError(f"BART has {len(DIMENSIONS)} dimensions, but the array has {array.ndim} axes")
    dims = [*array.shape[::-1], *[1] * (len(DIMENSIONS) - array.ndim)]
    with atomic(header, overwrite=overwrite) as new_header, atomic(data, overwrite=overwrite) as new_data:
        new_header.write_text(f"# Dimensions\n{' '.join(map(str, dims))}\n")
        np.ascontiguousarray(array, "<c8").tofile(new_data)
    return data


def write_leaderboard_2023(
    path: str | Path,
    images: Inexact[np.ndarray, "time slice y x"],
    *,
    mapping: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write a volume for the leaderboard of CMRxRecon 2023: the variable `img4ranking` in a MATLAB file of version 5.

    Kept are the central third of the readout and the central half of the phase encode, round(x / 3) and round(y / 2),
    the two slices round(nz / 2) - 1 and round(nz / 2) (from 1), and the first three frames.

    Args:
      path: the .mat file.
      images: (time, slice, kx, ky), magnitude or complex: the order of `scan`, whose y is MATLAB's first axis.
      mapping: T1 or T2 mapping, which keeps all frames.
      overwrite: replace an existing file.

    Raises:
      ValueError: images have other axes, or a value that is not finite.
      FileExistsError: the file exists, and overwrite is False.

    Source: CMRxRecon 2023, run4Ranking (MATLAB's round: halves away from 0; crop with the centre n // 2 kept).
    """
    import scipy.io

    images = np.asarray(images)
    if images.ndim != 4 or 0 in images.shape:
        raise UserError(f"images must be (time, slice, y, x), but their shape is {images.shape}")
    check_finite("the reconstruction", images, file=path)
    frames, n_slices, rows, columns = images.shape
    first = max(_matlab_round(n_slices / 2) - 1, 1) - 1
    images = images[: frames if mapping else 3, first : first + 2]
    for axis, size, wanted in ((2, rows, _matlab_round(rows / 3)), (3, columns, _matlab_round(columns / 2))):
        start = size // 2 - wanted // 2
        images = images.take(range(start, start + wanted), axis)
    with atomic(Path(path), overwrite=overwrite) as temporary:
        scipy.io.savemat(temporary, {"img4ranking": _magnitude(images).astype(np.float32).transpose(2, 3, 1, 0)})
    return Path(path)


def _matlab_round(x: float) -> int:
    return int(np.floor(x + 0.5))

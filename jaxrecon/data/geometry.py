"""Which part of an image is kept, and where its voxels lie: field of view, interpolation, affine."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Inexact, Num

from ..checks import UserError
from ..host import crop_or_pad, fftc, ifftc
from ..metrics.crop import Rounding, crop_to_target
from ..typing import AnyArray, ArrayKind
from .ismrmrd_header import Encoding
from .scan import Header

Vector = Float[np.ndarray, "three"]
MATRIX_ONLY = "the header's reconstruction matrix, as it states no fields of view"


def kept_pixels(n: int, axis: int, encoding: Encoding) -> int:
    """How many of the n pixels of an axis lie in the field of view of the reconstruction.

    That is round(n x reconstructed / encoded field of view), whatever the matrix of the reconstruction: the distance of
    neighbouring samples of k-space is 1 / encoded field of view, however many there are. Without fields of view the
    matrices stand for them.

    Args:
      n: pixels of the encoded field of view.
      axis: 0, 1, 2 for the header's x (readout), y, z.
      encoding: what the header states.
    """
    for encoded, recon in (
        (encoding.field_of_view, encoding.recon_field_of_view),
        (encoding.encoded_matrix, encoding.recon_matrix),
    ):
        if encoded and recon and encoded[axis] > 0 and recon[axis] > 0:
            return max(1, min(n, round(n * recon[axis] / encoded[axis])))
    return n


def crop_reason(encoding: Encoding) -> str:
    """Why `kept_pixels` keeps what it keeps, in words."""
    encoded, recon = encoding.field_of_view, encoding.recon_field_of_view
    if encoded and recon:
        text = [" x ".join(f"{size:g}" for size in sizes) for sizes in (recon, encoded)]
        return f"the field of view of {text[0]} mm, of {text[1]} mm encoded"
    return MATRIX_ONLY if encoding.encoded_matrix and encoding.recon_matrix else "the file names no field of view"


def crop_to_recon_size(
    image: Num[ArrayKind, "*batch y x"], header: Header, *, target: Num[AnyArray, "... target_y target_x"] | None = None
) -> Num[ArrayKind, "*batch h w"]:
    """Crop an image of the encoded matrix to the size that is evaluated: the target's, else the header's `crop`.

    Where the image has fewer columns than that (FLAIR files of fastMRI), both sizes become that width, as in the
    reference code.

    Args:
      image: (..., y, x), NumPy or JAX.
      header: the scan's header.
      target: the reference image (..., h, w); where given, its size counts: a few brain files have targets of another
        size than their header says.

    Returns:
      (..., h, w); the image itself where neither target nor header name a size.

    Source: fastMRI reference code, VarNetDataTransform.
    """
    size = header.crop if target is None else target.shape[-2:]
    if size is None:
        return image
    if image.shape[-1] < size[1]:
        size = (image.shape[-1], image.shape[-1])
    # targets are cropped by fastMRI's rounding; a field of view keeps its centre
    rounding: Rounding = "center" if target is None and header.format != "fastMRI" else "floor"
    return crop_to_target(image, (min(size[0], image.shape[-2]), size[1]), rounding=rounding)


LARGEST_SIDE = 8192
"""No scanner reconstructs more pixels a side: a header that names more is damaged, and would take all of the memory."""


def interpolated(image: Inexact[np.ndarray, "*batch y x"], header: Header) -> Inexact[np.ndarray, "*batch h w"]:
    """An image of the reconstruction's field of view on the matrix that the header names for it, by zero-filling its k-space.

    Args:
      image: (..., y, x), cropped; magnitudes stay 0 or more.
      header: the scan's header.

    Returns:
      (..., h, w), in the units of the image; in a 3D scan only the plane is interpolated, not the readout.

    Raises:
      ValueError: the header names no such matrix.
    """
    size = _plane_matrix(header)
    out = image.astype(np.complex64)
    for axis, wanted in zip((-2, -1), size, strict=True):
        n = out.shape[axis]
        out = ifftc(crop_or_pad(fftc(out, axis), wanted, axis), axis) * np.sqrt(wanted / n)
    return out.astype(np.complex64) if np.iscomplexobj(image) else np.maximum(out.real, 0).astype(np.float32)


def _plane_matrix(header: Header) -> tuple[int, int]:
    matrix = header.recon_matrix
    if matrix is None:
        raise UserError("to interpolate images, the header must name a reconstruction matrix: this file has none")
    # a plane of a 3D scan is spanned by both phase encodes
    size = matrix[1:] if header.slice_axes[-2:] == ("ky", "kz") else matrix[:2]
    if 0 in size:
        raise UserError(f"to interpolate images, expected a reconstruction matrix without 0, found {matrix}")
    if max(size) > LARGEST_SIDE:
        raise UserError(
            f"to interpolate images, expected a reconstruction matrix of at most {LARGEST_SIDE} a side, found {matrix}"
        )
    return size[0], size[1]


def centred_affine(
    columns: Sequence[Vector], shape: tuple[int, ...], center: Vector | None = None
) -> Float[np.ndarray, "4 4"]:
    """The affine of images (y, x) from their voxels.

    Args:
      columns: steps in mm (right, anterior, superior) from one voxel to the next along x, y, and from slice to slice.
      shape: (y, x).
      center: where the pixel (y // 2, x // 2) of the first slice lies, in mm; None: at 0.

    Returns:
      (4, 4), (x, y, slice, 1) to mm.
    """
    affine = np.eye(4)
    affine[:3, :3] = np.stack(columns, -1)
    affine[:3, 3] = (0 if center is None else center) - affine[:3, :2] @ (shape[1] // 2, shape[0] // 2)
    return affine


def axis_affine(voxel: Sequence[float], shape: tuple[int, ...]) -> Float[np.ndarray, "4 4"] | None:
    """The affine where only voxel sizes (x, y, slice) in mm are known: along the axes, the center at 0; None: they are 0."""
    return centred_affine(list(np.diag(voxel)), shape) if min(voxel) > 0 else None


def voxel_size(affine: Float[np.ndarray, "4 4"]) -> tuple[float, ...]:
    """The sizes (x, y, slice) of a voxel in mm."""
    return tuple(float(size) for size in np.linalg.norm(affine[:3, :3], axis=0))


def moved_affine(
    affine: Float[np.ndarray, "4 4"],
    shape: tuple[int, ...],
    new_shape: tuple[int, ...],
    *,
    scale: tuple[float, float] = (1.0, 1.0),
    first: int = 0,
) -> Float[np.ndarray, "4 4"]:
    """The affine of images that were cropped, padded or interpolated: the pixel n // 2 stays where it is.

    Args:
      affine: that of the images before.
      shape: (y, x) before.
      new_shape: (y, x) after it.
      scale: (y, x) size of the new pixels, in old ones.
      first: the slice that is the first of the new ones.
    """
    center = affine @ (shape[1] // 2, shape[0] // 2, first, 1)
    steps = affine[:3, :3] * (scale[1], scale[0], 1)
    return centred_affine(list(steps.T), new_shape, center[:3])


def image_header(
    header: Header,
    shape: tuple[int, ...],
    which: Sequence[int],
    *,
    n_frames: int = 1,
    scale: tuple[float, float] = (1.0, 1.0),
) -> Header:
    """The header of images that were made of a scan: their size, their slices, and where their voxels lie.

    Args:
      header: the scan's header.
      shape: (y, x) of the images, cropped or not.
      which: the slices of the scan that the images are of, in order.
      n_frames: time frames among them.
      scale: (y, x) size of their pixels, in those of the scan.
    """
    counters = {name: values[list(which)] for name, values in header.counters.items()}
    out = dataclasses.replace(
        header, n_slices=len(which), n_frames=n_frames, shape=tuple(shape), crop=None, counters=counters
    )
    if header.affine is None:
        return out
    # the last counter is of the slices that follow each other in space
    positions = np.arange(header.n_slices) % (header.n_slices // header.n_frames)
    _, place = np.unique([positions, *header.counters.values()][-1], return_inverse=True)
    places = place[list(which)][: list(out.arrangement().values())[-1]].tolist()
    steps = {b - a for a, b in itertools.pairwise(places)} or {1}
    affine = moved_affine(header.affine, header.shape, shape, scale=scale, first=places[0])
    evenly = header.evenly_spaced and len(steps) == 1 and 0 not in steps
    if evenly:
        affine[:3, 2] *= steps.pop()
    else:
        affine = centred_affine(list(np.diag(voxel_size(affine))), shape)
    return dataclasses.replace(out, affine=affine, evenly_spaced=evenly)


def crop_in_words(header: Header, *, interpolate: bool = False) -> str:
    """What is kept of the images, and why."""
    if header.has_target:
        return "to the target"
    size = crop_to_recon_size(np.broadcast_to(0, header.shape), header).shape
    text = (
        "none" if size == header.shape else f"to {size[0]} x {size[1]} of {header.shape[0]} x {header.shape[1]} pixels"
    )
    text += f": {header.crop_reason or 'the file names no field of view'}"
    return text + (f"; interpolated to {' x '.join(map(str, _plane_matrix(header)))}" if interpolate else "")

"""What ISMRMRD files say of their images: field of view and voxel size in the header, orientation and place in the heads."""

import dataclasses

import numpy as np
from jaxtyping import Float

from .geometry import axis_affine, centred_affine, crop_reason, kept_pixels
from .ismrmrd_header import Encoding
from .scan import Header

DIRECTIONS = ("read_dir", "phase_dir", "slice_dir")
TO_RAS = np.array([-1.0, -1.0, 1.0])
"""ISMRMRD's patient coordinates grow to the left and to the back, NIfTI's to the right and to the front."""


def with_encoding(header: Header, encoding: Encoding, lines: np.ndarray, grid: tuple[int, int, int] | None) -> Header:
    """A header with what the encoding states, and of Cartesian images with their crop and place.

    Args:
      header: its other values.
      encoding: the encoding of the images.
      lines: heads of the imaging lines.
      grid: matrix (kz, ky, kx) of the lines; None: they are not Cartesian.
    """
    attributes = {**header.attributes, "trajectory": encoding.trajectory}
    affine, evenly, crop = None, True, None
    if grid is not None:
        z, y, x = (kept_pixels(n, axis, encoding) for axis, n in zip((2, 1, 0), grid, strict=True))
        crop = (y, z) if header.has_volume else (x, y)
        affine, evenly = images_affine(lines, encoding, grid, x, is_3d=header.has_volume)
    return dataclasses.replace(
        header,
        encoded_matrix=encoding.encoded_matrix or (grid and (grid[2], grid[1], grid[0])),
        recon_matrix=encoding.recon_matrix,
        encoded_fov=encoding.field_of_view,
        recon_fov=encoding.recon_field_of_view,
        crop=crop,
        crop_reason=crop_reason(encoding),
        affine=affine,
        evenly_spaced=evenly,
        acquisition=encoding.protocol,
        acceleration=encoding.acceleration,
        attributes=attributes,
    )


def images_affine(
    lines: np.ndarray, encoding: Encoding, grid: tuple[int, int, int], kept_x: int, *, is_3d: bool
) -> tuple[Float[np.ndarray, "4 4"] | None, bool]:
    """The affine of the uncropped images of an ISMRMRD file, see `Header.affine`.

    Args:
      lines: heads of the imaging lines.
      encoding: the header.
      grid: matrix (kz, ky, kx) of the lines.
      kept_x: positions along the readout that are slices of a 3D scan.
      is_3d: slices are positions along the readout, images (ky, kz); else images are (readout, ky).

    Returns:
      (affine, whether slices lie where it says): along the patient's axes, from 0, where the heads hold no directions or
      the slices are not evenly spaced in the order of their index; None where the header states no field of view.
    """
    fov = encoding.field_of_view
    if fov is None or min(fov) <= 0:
        return None, True
    n_z, n_y, n_x = grid
    n_z = n_z if is_3d else max((encoding.encoded_matrix or (0, 0, 1))[2], 1)
    sizes = np.array([fov[0] / n_x, fov[1] / n_y, fov[2] / n_z])
    # which of read, phase, slice direction x, y and the slices of the images go along
    order, shape = ([2, 1, 0], (n_y, grid[0])) if is_3d else ([1, 0, 2], (n_x, n_y))
    directions = _directions(lines)
    steps = None if directions is None else directions * sizes[:, None]
    position = _positions(lines)
    if steps is not None and not is_3d:
        between = np.diff(position, axis=0)
        if between.any():
            mean = between.mean(0)
            if np.linalg.norm(between - mean, axis=1).max() > 0.01 * np.linalg.norm(mean):
                return axis_affine(sizes[order].tolist(), shape), False
            steps[2] = mean
    if steps is None:
        return axis_affine(sizes[order].tolist(), shape), True
    first = position[0] - (kept_x // 2) * steps[0] if is_3d else position[0]
    return centred_affine(list(steps[order]), shape, first), True


def _directions(lines: np.ndarray) -> Float[np.ndarray, "direction three"] | None:
    """Unit vectors of read, phase and slice direction of the first line; None where they are not there, or no such."""
    if not set(DIRECTIONS) <= set(lines.dtype.names or ()):
        return None
    found = np.stack([lines[name][0] for name in DIRECTIONS]).astype(np.float64)
    unit = np.isfinite(found).all() and np.allclose(found @ found.T, np.eye(3), atol=1e-3)
    return found * TO_RAS if unit else None


def _positions(lines: np.ndarray) -> Float[np.ndarray, "slice three"]:
    """The middle of each slice, in the order of their index."""
    _, first = np.unique(lines["idx"]["slice"], return_index=True)
    if "position" not in (lines.dtype.names or ()) or not np.isfinite(lines["position"][first]).all():
        return np.zeros((len(first), 3))
    return lines["position"][first].astype(np.float64) * TO_RAS

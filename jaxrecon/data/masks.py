"""Which samples of a slice were measured, and masks that are kept in files."""

import math
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Complex

from ..checks import DataError, checked_mask
from ..files import check_file, reading
from . import bart, cmrxrecon
from .hdf5 import dataset, entry, opened
from .npz import IMAGES
from .parts import Parts
from .scan import Header, Slice, sampled
from .windows import stack_masks

MASK_SUFFIXES = (".npy", ".npz", ".mat", ".h5", ".hdf5", ".cfl", ".hdr")
"""Files that can hold a mask."""


def acquired_mask(part: Slice, header: Header) -> tuple[Bool[np.ndarray, "..."], str]:
    """The measured samples of a slice, without the padding, and how they are known.

    Args:
      part: with k-space (..., coil, y, x).
      header: header of its scan.

    Returns:
      (mask, words): the mask broadcasts against the slice's k-space, (y, x) at least, True = measured.
    """
    if part.mask is not None:
        mask, source = part.mask, "stated by the file" if header.has_mask else "seen from the zeros"
    elif part.kspace is not None and (seen := seen_mask(part.kspace)) is not None:
        mask, source = seen, "seen from the zeros"
    else:
        mask, source = np.ones((1, 1), bool), "no sample is zero"
    mask = np.atleast_2d(mask)
    if header.padding is not None:
        columns = np.arange(header.shape[-1])
        mask = mask & ((columns >= header.padding[0]) & (columns < header.padding[1]))[None]
    return mask, source


def acquired_part(mask: Bool[np.ndarray, "..."], header: Header) -> Bool[np.ndarray, "*frame y columns"]:
    """A mask of the columns that were acquired, (..., y, x) without the padding.

    Args:
      mask: broadcasts against (y, x).
      header: header of the scan.
    """
    whole = np.broadcast_to(mask, np.broadcast_shapes(mask.shape, header.shape))
    return whole[..., slice(*(header.padding or (None, None)))]


def whole_readout(mask: Bool[np.ndarray, "..."], header: Header) -> bool:
    """Whether all samples of each measured line were measured: an asymmetric echo is not fully sampled.

    Args:
      mask: broadcasts against (y, x).
      header: header of the scan.
    """
    lines_are_columns = header.slice_axes[-2:-1] in (("readout",), ("kx",))
    return header.readout_complete and (not lines_are_columns or bool((mask.all(-2) == mask.any(-2)).all()))


def fully_sampled(mask: Bool[np.ndarray, "..."], header: Header) -> bool:
    """Whether all samples of the acquired columns were measured."""
    return header.readout_complete and bool(acquired_part(mask, header).all())


def seen_mask(kspace: Complex[np.ndarray, "*frame coil y x"]) -> Bool[np.ndarray, "..."] | None:
    """The mask seen from the zeros, of frames (or neighbours) as `stack_masks` has it; None: no sample is zero."""
    return sampled(kspace) if kspace.ndim < 4 else stack_masks([sampled(frame) for frame in kspace])


def plane(mask: Bool[np.ndarray, "..."], frame: int = 0) -> Bool[np.ndarray, "y x"]:
    """The mask (y, x) of one frame, from one (y, x) or (frame, 1, y, x)."""
    return mask if mask.ndim == 2 else mask[frame, 0]


def holds_mask_alone(path: str | Path) -> bool:
    """Whether a file may be a mask and nothing else: any but an .npz with k-space or images beside it."""
    path = Path(path)
    if path.suffix != ".npz":
        return True
    with reading(path), zipfile.ZipFile(path) as archive:
        return not {f"{name}.npy" for name in ("kspace", *IMAGES)} & set(archive.namelist())


def read_mask(path: str | Path) -> Bool[np.ndarray, "*frame y x"]:
    """The mask of a file: (y, x), (1, x), or with frames.

    A .npy; the key `mask` of an .npz, the dataset `mask` of an .h5, as fastMRI's test files have it; a CMRxRecon .mat; a BART pair,
    as `bart poisson` writes it, with frames at its dimension 10. True where the file is not 0, as in a mask that is given as an
    array.

    Raises:
      DataError: another kind of file, a damaged one, or values that are no finite numbers.
    """
    path = Path(path)
    if path.suffix in (".cfl", ".hdr"):
        return _bart_mask(path)
    path = check_file(path)
    if path.suffix == ".mat":
        return cmrxrecon.read_mask(path).swapaxes(-1, -2)  # (ky, kx), kx being the readout
    if path.suffix not in MASK_SUFFIXES:
        raise DataError(
            "this is no mask", file=path, expected=f"a mask as {', '.join(MASK_SUFFIXES)}", found=path.suffix
        )
    if path.suffix in (".h5", ".hdf5"):
        with opened(path) as file, reading(path, "mask"):
            stored = dataset(file, "mask", path)
            _check_numbers(stored.dtype, stored.shape, path)
            mask = entry(stored, (), path)
    else:
        with reading(path, expected="an array of numbers"):
            if path.suffix == ".npy":
                mask = np.load(path, mmap_mode="r", allow_pickle=False)  # a size beyond the file's end is refused
            else:
                with np.load(path, allow_pickle=False) as archive:
                    mask = archive["mask"]
    _check_numbers(mask.dtype, mask.shape, path)
    return np.atleast_2d(checked_mask("the mask", mask, file=path))


def _check_numbers(dtype, shape, path):
    if dtype.kind not in "biuf" or len(shape) not in (1, 2, 3) or math.prod(shape) >= 2**31:
        raise DataError(
            "this is no mask", file=path, expected="real numbers, of axes (x,), (y, x) or (frame, y, x)",
            found=f"{dtype} of shape {tuple(shape)}",
        )  # fmt: skip


def _bart_mask(path):
    """The pattern of a BART pair, with the axes of the slices that `BartScan` makes of such k-space."""
    pattern, time = bart.read_cfl(path), bart.DIMENSIONS.index("time")
    dims = pattern.shape[::-1]
    volume = checked_mask("the mask", pattern, file=path).reshape(-1, *dims[2::-1])
    y, x = bart.plane(dims)
    frames = np.moveaxis(volume, (3 - y, 3 - x), (1, 2))
    if len(frames) != dims[time] or (frames != frames[..., :1]).any():
        raise DataError(
            "this is no mask", file=path, expected="a pattern of phase encodes, or several in time",
            found=f"dimensions {' '.join(map(str, dims))}" + (", which differ along the readout" if len(frames) == dims[time] else ""),
        )  # fmt: skip
    return frames[..., 0] if len(frames) > 1 else frames[0, ..., 0]


def check_fits(
    mask: Bool[np.ndarray, "..."], shape: tuple[int, ...], n_frames: int = 1, *, name: str, file: Path | None = None
) -> None:
    """Refuse a mask of another size than the data, or of another number of frames.

    Args:
      mask: (y, x) or with axes of size 1, or (frame, y, x).
      shape: (y, x) of the data.
      n_frames: their time frames.
      name: what messages call them.
      file: the file of the mask, for messages.

    Raises:
      DataError: it does not fit.
    """
    fits = all(n in (1, m) for n, m in zip(mask.shape[-2:], shape, strict=True))
    if not fits or (len(mask) if mask.ndim > 2 else 1) not in (1, n_frames):
        raise DataError(
            f"the mask does not fit {name}",
            file=file,
            dataset="mask",
            expected=f"(y, x) = {tuple(shape)}" + (f", or {n_frames} frames" if n_frames > 1 else ""),
            found=mask.shape,
        )


def mask_of_parts(
    mask: Bool[np.ndarray, "*frame y x"], parts: Parts, *, file: Path | None = None
) -> Callable[[int], Bool[np.ndarray, "..."]]:
    """Part of a scan -> a mask for it, from a mask of all frames or of one that counts for all.

    Args:
      mask: (y, x) or with axes of size 1, or (frame, y, x).
      parts: slices, windows or time series.
      file: the file of the mask, for messages.

    Returns:
      A function of the number of the part; its masks broadcast against k-space (..., coil, y, x).

    Raises:
      DataError: the mask does not fit the scan, or is 0 everywhere.
    """
    scan, header = parts.scan, parts.scan.header
    frames = mask.reshape(-1, *mask.shape[-2:])
    check_fits(mask, header.shape, header.n_frames, name=f"the scan {scan.path.name}", file=file)
    if not mask.any():
        raise DataError("the mask keeps no sample", file=file, dataset="mask", expected="measured samples")
    if parts.in_time:
        return lambda _: frames[:, None] if len(frames) > 1 else frames[0]
    per_frame, window = header.n_slices // header.n_frames, parts.window
    if window and len(frames) > 1:
        return lambda i: np.stack([frames[j // per_frame] for j in scan.neighbours(i, window)])[:, None]
    return lambda i: frames[i // per_frame % len(frames)]

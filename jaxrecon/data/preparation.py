"""From a slice to an example: undersampling, target, scale and size, each as the source works have it; NumPy only.

What a source work does to its data is stated by a `Preparation` made of functions; those that processes are to run must
be picklable, as functions of a module are. JAX is not touched: each process would start a device of its own.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .. import struct
from ..checks import UserError
from ..host import coil_images, combine, crop_or_pad, fftc, ifftc, rss
from ..metrics import crop_to_target
from ..operators import CARTESIAN, EncodingRecord
from .detect import open as open_scan
from .masks import whole_readout
from .scan import Header, Slice

Example = dict[str, Any]
"""Arrays of one example: kspace, those of its encoding (mask), maps, acs, target, data_range, scale, seed; those that it does not have
are left out."""
LEAST_SAMPLED = 0.95
"""Part of the samples between the outermost ones that a target made from k-space needs: samples that happen to be 0 are few."""
MaskFn = Callable[[Slice, np.random.Generator], np.ndarray]
"""(slice, random generator) -> mask, 1 = measured; broadcasts against k-space: (x,), (y, x), (frame, 1, 1, x)."""


class EmptySlice(UserError):
    """A slice without signal: there is nothing to learn from it, and its SSIM divides by 0."""


def file_target(part: Slice) -> np.ndarray:
    """The reference image (y, x) of the file.

    Raises:
      ValueError: the file has none.
    """
    if part.target is None:
        raise UserError(f"{name_of(part)} has no target: choose combined_target or rss_target, of full k-space")
    return part.target


def combined_target(part: Slice) -> np.ndarray:
    """Full k-space combined with the maps: S^H F^-1 y, complex (y, x); see `check_full`.

    Raises:
      ValueError: there are no maps, or k-space has gaps.

    Source: GLEAM.
    """
    if part.maps is None:
        raise UserError(
            f"{name_of(part)} has no maps to combine its coils with: choose rss_target, or estimate maps first"
        )
    return combine(_full_images(part), part.maps)


def rss_target(part: Slice) -> np.ndarray:
    """Root of the sum of squares of the coil images of full k-space, (y, x); see `check_full`."""
    return rss(_full_images(part))


def check_full(part: Slice) -> None:
    """Refuse k-space that its mask calls undersampled: what has gaps, but not what ends before the edges of the matrix.

    Measured samples must be LEAST_SAMPLED of those that lie between measured ones along x or along y. Columns of
    zeros at the sides (header padding, partial Fourier) and the corners around an ellipse do not count; the readout must be
    whole.

    Raises:
      ValueError: there are gaps, or an asymmetric echo.
    """
    mask = np.ones((1, 1), bool) if part.mask is None else np.atleast_2d(part.mask) != 0
    enclosed = _between(mask, -1) | _between(mask, -2)
    measured = mask.sum() / max(enclosed.sum(), 1)
    header = _header(part.file)
    found = ""
    if enclosed.any() and measured < LEAST_SAMPLED:
        found = f"{100 * measured:.0f} % of its samples measured"
    elif header is not None and not whole_readout(mask, header):
        found = "a part of the readout (asymmetric echo)"
    if found:
        raise UserError(
            f"{name_of(part)}: expected full k-space to make a target from, found {found}: leave such files out (of CMRxRecon "
            'train on the folder FullSample), or take the target of the files (target="file")'
        )


def _full_images(part):
    """The coil images of full k-space, from which a target is made."""
    check_full(part)
    assert part.kspace is not None  # `prepare` has seen to it
    return coil_images(part.kspace)


def _between(mask, axis):
    """True from the first to the last measured sample along an axis."""
    after = np.logical_or.accumulate(mask, axis)
    return after & np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis), axis)


def target_maximum(part: Slice, target: np.ndarray) -> float:
    """The peak of the slice's own target.

    Source: Deep J-Sense, GLEAM.
    """
    return float(np.abs(target).max())


def volume_maximum(part: Slice, target: np.ndarray) -> float:
    """The attribute `max` of the slice's file: the maximum of the target volume.

    Raises:
      ValueError: the slice comes from no file that states it.

    Source: fastMRI, PromptMR+.
    """
    header = _header(part.file)
    if header is None or "max" not in header.attributes:
        raise UserError(
            f"{name_of(part)} comes from no file that states the maximum of its volume: choose target_maximum"
        )
    return float(header.attributes["max"])


def top_magnitude(example: Example, *, percentile: float = 0.95) -> float:
    """The smallest of the round((1 - percentile) n) largest magnitudes of the zero-filled image.

    For frames (frame, coil, y, x) it is the image of k-space averaged over time: sum over time / (number of samples + 1e-6).

    Source: GLEAM's code, an order statistic, not an interpolated percentile; the paper does not mention it.
    """
    kspace = example["kspace"]
    if kspace.ndim == 4:
        count = np.broadcast_to(example["mask"], (kspace.shape[0], 1, *kspace.shape[-2:])).sum(0)
        kspace = kspace.sum(0) / (count + 1e-6)
    values = np.sort(_zero_filled(example, kspace).ravel())
    return float(values[-max(round((1 - percentile) * values.size), 1)])


def maximum(example: Example) -> float:
    """The largest magnitude of the zero-filled image."""
    return float(_zero_filled(example, example["kspace"]).max())


def acs_maximum(example: Example) -> float:
    """The largest magnitude of a measured sample of the calibration region.

    Raises:
      ValueError: the example has no calibration region.

    Source: Deep J-Sense's code.
    """
    if "acs" not in example:
        raise UserError("acs_maximum needs the calibration region: give Preparation(acs=...)")
    return float(np.abs(example["kspace"] * example["acs"]).max())


def kspace_maximum(example: Example) -> float:
    """The largest magnitude of a measured sample: that of `acs_maximum` wherever the centre of k-space is measured."""
    return float(np.abs(example["kspace"]).max())


def instance_std(example: Example) -> float:
    """The unbiased standard deviation of the zero-filled magnitude, cropped to the target: units of fastMRI's U-Net.

    An L1 loss in these units is that of fastMRI's U-Net, but for the clamp of the target at 6 standard deviations.
    """
    image = _zero_filled(example, example["kspace"])
    return float(np.std(crop_to_target(image, example["target"].shape[-2:]), ddof=1))


def constant(value: float) -> Callable[[Example], float]:
    """A fixed scale: data are divided by it.

    Source: Ramzi et al. multiply fastMRI by 1e6, OASIS by 1e-2.
    """
    return functools.partial(_constant, value=value)


def _constant(example: Example, *, value: float) -> float:
    return value


@dataclasses.dataclass(frozen=True)
class Preparation:
    """How a slice becomes an example.

    Attributes:
      mask: draws the sampling pattern, e.g. `lambda part, rng: compatible.random_lines(int(rng.integers(2**32)),
        part.kspace.shape[-1], acceleration=4, center_fraction=0.08)`; the file's own mask, and columns that its header
        says were never acquired, stay unmeasured. None: the file's mask alone.
      encoding: how what the mask leaves of a slice becomes the arrays of an example, and these the encoding of its problem.
      target: slice -> reference image, from k-space before undersampling, or from the file.
      scale: example, as `on_grid` gives it -> number that k-space, target and data range are divided by; None: 1.
      data_range: (slice, target) -> peak for SSIM, before scaling.
      shape: (y, x) that k-space and maps are cropped or zero-padded to in the image domain; targets are cropped to it
        where larger. None: as they are.
      n_coils: coils are filled up with zeros to this number; None: as they are.
      acs: (slice, its whole mask) -> mask of the calibration region, for models that estimate maps; None, or a function
        that returns None, leaves it to the model.
      maps: hand the slice's maps on; False leaves them to the model.
      keys: give each problem a random key, for models that draw noise or drop channels.
    """

    mask: MaskFn | None = None
    encoding: EncodingRecord = CARTESIAN
    target: Callable[[Slice], np.ndarray] = file_target
    scale: Callable[[Example], float] | None = None
    data_range: Callable[[Slice, np.ndarray], float] = target_maximum
    shape: tuple[int, int] | None = None
    n_coils: int | None = None
    acs: Callable[[Slice, np.ndarray], np.ndarray | None] | None = None
    maps: bool = True
    keys: bool = False

    __repr__ = struct.shapes_repr


def prepare(part: Slice, how: Preparation, rng: np.random.Generator) -> Example:
    """One example from one slice, on the host.

    y = M F(crop(F^-1 k)) / s, or what other encodings sample; target and data range / s

    Args:
      part: a slice with k-space (..., coil, y, x).
      how: the recipe.
      rng: random generator for mask, encoding and key.

    Returns:
      Arrays by name, complex64 and float32; the mask has the axes (y, x) at least.

    Raises:
      EmptySlice: the target is 0 everywhere.
      ValueError: no Cartesian k-space, a target larger than the image along both axes, an empty mask, more coils than
        n_coils, a scale or data range that is not positive, a crop along an axis that the file is undersampled on.
    """
    if part.kspace is None or part.trajectory is not None:
        raise UserError(f"{name_of(part)} has no Cartesian k-space: simulate it from the image first")
    stored = part
    if how.shape is not None:
        part = _resized(part, how.shape)
    if how.n_coils is not None:
        part = _with_coils(part, how.n_coils)
    kspace = np.asarray(part.kspace, np.complex64)
    target = np.asarray(how.target(part))
    if all(t > k for t, k in zip(target.shape[-2:], kspace.shape[-2:], strict=True)):
        raise UserError(
            f"{name_of(part)}: expected a target of at most {kspace.shape[-2:]}, the size of the image, found "
            f"{target.shape[-2:]}: interpolated, or of another scan? rss or combined targets are made from k-space"
        )
    if not target.any():
        raise EmptySlice(f"the target of {name_of(part)} is 0 everywhere: leave it out")
    mask = _mask(part, stored, how, rng)
    example: Example = how.encoding.sample(dataclasses.replace(part, kspace=kspace), mask, rng)
    if how.maps and part.maps is not None:
        example["maps"] = np.asarray(part.maps, np.complex64)
    if how.acs is not None and (acs := how.acs(part, mask)) is not None:
        example["acs"] = np.asarray(acs, np.float32)
    example["target"] = target.astype(np.complex64 if np.iscomplexobj(target) else np.float32)
    scale = 1.0 if how.scale is None else how.scale(on_grid(example, how.encoding))
    if not scale > 0:
        raise UserError(f"{name_of(part)} is scaled by {scale}: it is empty, leave it out")
    example["kspace"] = example["kspace"] / np.float32(scale)
    example["target"] = example["target"] / np.float32(scale)
    example["scale"] = np.float32(scale)
    data_range = how.data_range(part, target)
    if not data_range > 0:
        raise UserError(f"{name_of(part)}: expected a positive data range (maximum of the volume), found {data_range}")
    example["data_range"] = np.float32(data_range / scale)
    if how.keys:
        example["seed"] = rng.integers(2**32, dtype=np.uint32)
    return example


def on_grid(example: Example, encoding: EncodingRecord) -> Example:
    """An example as the rules of scale see it: its k-space on the Cartesian grid, and a mask (all measured, if it has none)."""
    return {"mask": np.ones((1, 1), np.float32), **example, "kspace": encoding.gridded(example)}


@functools.lru_cache(maxsize=64)
def _known_header(file: str) -> Header:
    with open_scan(file) as scan:
        return scan.header


def _header(file: str) -> Header | None:
    """The header of a slice's file; None for slices made in memory, also where they carry a name."""
    return _known_header(file) if file and Path(file).is_file() else None


def _mask(part, stored, how, rng):
    """The drawn mask and the file's, float32, (y, x) at least."""
    mask = np.ones((1, 1), np.float32)
    if how.mask is not None:
        mask = np.atleast_2d(np.asarray(how.mask(part, rng), np.float32))
    if part.mask is not None:
        mask = mask * np.atleast_2d(np.asarray(part.mask, np.float32))
    header = _header(part.file)
    width = stored.kspace.shape[-1]
    # columns of an image that was cropped are others than those of the header
    if header is not None and header.padding is not None and part.kspace.shape[-1] == width:
        left, right = header.padding
        columns = np.arange(width)
        mask = mask * ((columns >= left) & (columns < right))[None].astype(np.float32)
    if not mask.any():
        raise UserError(f"the mask of {name_of(part)} is empty: no sample is measured")
    return mask


def _resized(part, shape):
    """Crop or zero-pad in the image domain, centre n // 2 to n // 2."""
    for axis, wanted in zip((-2, -1), shape, strict=True):
        changes = part.kspace.shape[axis] != wanted
        if changes and part.mask is not None and np.atleast_2d(part.mask).shape[axis] > 1:
            raise UserError(
                f"{name_of(part)} is undersampled along axis {axis}: cropping its image from {part.kspace.shape[axis]} "
                f"to {wanted} would change which samples are measured"
            )
    kspace = part.kspace
    for axis, wanted in zip((-2, -1), shape, strict=True):
        if kspace.shape[axis] != wanted:
            kspace = fftc(crop_or_pad(ifftc(kspace, axis), wanted, axis), axis).astype(kspace.dtype)
    maps, target = part.maps, part.target
    if maps is not None:
        for axis, wanted in zip((-2, -1), shape, strict=True):
            maps = crop_or_pad(maps, wanted, axis)
    if target is not None:
        smaller = tuple(min(a, b) for a, b in zip(target.shape[-2:], shape, strict=True))
        target = crop_to_target(target, smaller)
    return dataclasses.replace(part, kspace=kspace, maps=maps, target=target)


def _with_coils(part, n_coils):
    found = part.kspace.shape[-3]
    if found > n_coils:
        raise UserError(f"{name_of(part)} has {found} coils, more than n_coils = {n_coils}: compress them first")

    def pad(x):
        pads = [(0, 0)] * x.ndim
        pads[-3] = (0, n_coils - found)
        return np.pad(x, pads)

    return dataclasses.replace(part, kspace=pad(part.kspace), maps=None if part.maps is None else pad(part.maps))


def _zero_filled(example, kspace):
    """Magnitude of the zero-filled image, combined with the maps where there are any."""
    images = coil_images(kspace)
    return np.abs(combine(images, example["maps"])) if "maps" in example else rss(images)


def name_of(part: Slice) -> str:
    """How messages call a slice."""
    return f"slice {part.index} of {part.file or 'data in memory'}"

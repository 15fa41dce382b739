"""From k-space to pictures, one part of a scan after the other: mask, maps, one compiled reconstruction, crop."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Inexact

from .. import host, struct
from ..checks import UserError
from ..classical import data_scale, scale_problem
from ..classical.methods import METHODS
from ..classical.scale import Rule
from ..coils.estimate import LARGEST_CALIBRATION, estimate_maps
from ..complex_ops import rss
from ..data import Header, Scan, Slice, crop_to_recon_size
from ..data.geometry import interpolated
from ..data.masks import acquired_mask, fully_sampled, plane
from ..data.parts import Parts
from ..problem import Problem
from ..sampling.named import check_center
from .settings import ESTIMATED, Settings

ExtraMask = Callable[[int], Bool[np.ndarray, "..."]]
"""Part -> the samples to keep of those measured, broadcasting against its k-space (..., coil, y, x)."""
GivenMaps = Callable[[Slice], Complex[np.ndarray, "..."] | None]
"""Part -> its maps (coil, y, x) or (set, coil, y, x)."""
Region = Bool[np.ndarray, "..."]


@dataclasses.dataclass(frozen=True, eq=False)
class SliceResult:
    """What was made of one part of a scan.

    Attributes:
      index: which part.
      image: ([frame,] y, x), complex, but real for rss, several map sets and zeros; of the size that was wanted.
      maps: the maps that were used, (coil, y, x) or (set, coil, y, x); None where there were none.
      scale: what the data were divided by, undone in the image.
      mask: the samples that were used.
      part: the slice as it was read.
      measured: the samples that the file has.
    """

    index: int
    image: Inexact[np.ndarray, "*frame y x"]
    maps: Complex[np.ndarray, "..."] | None
    scale: float
    mask: Bool[np.ndarray, "..."]
    part: Slice
    measured: Bool[np.ndarray, "..."]

    __repr__ = struct.shapes_repr


def parts_of(scan: Scan, settings: Settings) -> Parts:
    """The parts of a scan that these settings reconstruct one after the other."""
    network = settings.network
    return Parts(scan, in_time=network is not None and network.in_time, window=network.window if network else None)


@dataclasses.dataclass(frozen=True)
class ImageSize:
    """The size of the images.

    Attributes:
      crop: to the size of the file's target, else to the field of view of the reconstruction, see `Header.crop`.
      interpolate: then, where the file has no target, to the matrix that its header names, by zero-filling k-space.

    Raises:
      ValueError: interpolated, but not cropped.
    """

    crop: bool = True
    interpolate: bool = False

    def __post_init__(self):
        if self.interpolate and not self.crop:
            raise UserError(
                "images are interpolated to the matrix of the cropped field of view: do not switch off the crop"
            )

    def of(self, image: Inexact[np.ndarray, "*frame y x"], header: Header, target: np.ndarray | None) -> np.ndarray:
        """An image ([frame,] y, x) of a scan in this size."""
        image = crop_to_recon_size(image, header, target=target) if self.crop else image
        return interpolated(image, header) if self.interpolate and target is None else image


def slices(
    parts: Parts,
    settings: Settings,
    which: Iterable[int],
    *,
    extra: ExtraMask | None = None,
    region: Region | None = None,
    maps: GivenMaps | None = None,
    size: ImageSize = ImageSize(),
    name: Callable[[int], str] = "slice {}".format,
) -> Iterator[SliceResult]:
    """Reconstruct parts of a scan one after the other.

    Args:
      parts: as `parts_of` gives them.
      settings: completed choices.
      which: numbers of the parts.
      extra: a mask beside that of the file; None: all measured samples are used.
      region: calibration region of `extra`, (1, x) or (y, x), for networks that estimate maps; None: by the rule of the
        network's training, or found in the mask.
      maps: where they are not estimated; None: those of the scan.
      size: the size of the images.
      name: what messages call a part.

    Yields:
      A SliceResult for each part.

    Raises:
      ValueError: no calibration region to estimate maps from.
    """
    header, network = parts.scan.header, settings.network
    for i in which:
        part = parts[i]
        assert part.kspace is not None  # scans of images are refused before
        kspace = part.kspace
        measured, _ = acquired_mask(part, header)
        mask = measured if extra is None else measured & extra(i)
        acs = None
        if network is not None and network.estimates_maps and (kspace * mask).any():
            acs = network.calibration(plane(mask), header.shape) if region is None else region
            cure = "choose a mask that samples it, or the method rss in place of the network"
            check_center(mask, acs, header.shape, name=name(i), cure=cure)
        given = None
        if settings.needs_maps and settings.maps not in ESTIMATED:
            given = part.maps if maps is None else maps(part)
        image, used, scale = reconstruct_slice(
            kspace, mask, settings, maps=given, acs=acs, calibration=part.calibration, name=name(i)
        )
        image = size.of(np.asarray(image), header, part.target)
        yield SliceResult(i, image, used, scale, mask, part, measured)


def reference_of(
    result: SliceResult, parts: Parts, *, size: ImageSize = ImageSize()
) -> Inexact[np.ndarray, "*frame y x"] | None:
    """What the image should be: the file's target, or, where samples were left out, the image of all of them.

    Args:
      result: from `slices`.
      parts: the parts that it was made of.
      size: as in `slices`.

    Returns:
      The reference, or None where nothing is known of it.
    """
    part, header = result.part, parts.scan.header
    if part.target is not None:
        return np.abs(part.target)
    if not fully_sampled(result.measured, header) or fully_sampled(result.mask, header):
        return None
    return zero_filled_rss(result, parts, mask=result.measured, size=size)


def zero_filled_rss(
    result: SliceResult, parts: Parts, *, mask: Bool[np.ndarray, "..."] | None = None, size: ImageSize = ImageSize()
) -> Float[np.ndarray, "*frame y x"]:
    """Root of the sum of squares of a part, ([frame,] y, x), from the samples of a mask; None: those that were used."""
    kspace = result.part.kspace * (result.mask if mask is None else mask)
    image = parts.own(host.rss(host.coil_images(kspace)))
    return size.of(image, parts.scan.header, result.part.target)


def reconstruct_slice(
    kspace: Complex[np.ndarray, "*frame coil y x"],
    mask: Bool[np.ndarray, "..."],
    settings: Settings,
    *,
    maps: Complex[np.ndarray, "..."] | None = None,
    acs: Bool[np.ndarray, "..."] | None = None,
    calibration: Complex[np.ndarray, "coil y x"] | None = None,
    name: str = "k-space",
) -> tuple[Inexact[np.ndarray, "*out_frame h w"], Complex[np.ndarray, "..."] | None, float]:
    """Reconstruct one slice, or by a network of frames one time series; zeros where nothing was measured.

    Args:
      kspace: (coil, y, x), or (frame, coil, y, x).
      mask: (y, x) or with axes of size 1, True = measured; for frames also (frame, 1, y, x).
      settings: completed choices.
      maps: (coil, y, x) or (set, coil, y, x), where settings do not have them estimated.
      acs: mask of the calibration region, (1, x) or (y, x), for networks that estimate maps; None: found in the mask.
      calibration: separate calibration lines (coil, y, x) that maps are estimated of, as `Slice.calibration`; None: k-space.
      name: what messages call the slice.

    Returns:
      (image ([frame,] y, x), maps ([set,] coil, y, x) or None, the data's scale).

    Raises:
      ValueError: no calibration region to estimate maps from.
    """
    kspace = kspace * mask
    network = settings.network
    if not kspace.any():
        return _no_signal(kspace, mask, settings), maps, 1.0
    if maps is None and settings.needs_maps:
        maps = estimate_maps(*calibration_data(kspace, mask, calibration), **settings.estimates, name=name)
        if not np.any(maps):  # no pixel passed ESPIRiT's threshold: nothing but noise
            return _no_signal(kspace, mask, settings), maps, 1.0
    if network is not None:
        image, factor = network.reconstruct(kspace, mask, maps, acs=acs)
        return image, maps, factor
    problem = Problem.from_numpy(kspace, mask=mask, maps=maps if settings.needs_maps else None)
    solved, scale = reconstruct_problem(problem, settings)
    return np.asarray(solved), None if maps is None else np.asarray(maps), float(scale)


def _no_signal(kspace, mask, settings) -> Float[np.ndarray, "*frame y x"]:
    """The image of nothing; real, so that it makes no other complex that it is stacked with."""
    network = settings.network
    return np.zeros(kspace.shape[1:] if network is None else network.image_shape(kspace.shape, mask), np.float32)


def calibration_data(
    kspace: Complex[np.ndarray, "*frame coil y x"],
    mask: Bool[np.ndarray, "..."],
    calibration: Complex[np.ndarray, "coil y x"] | None,
) -> tuple[Complex[np.ndarray, "*frame coil y x"], Bool[np.ndarray, "..."]]:
    """K-space that maps are estimated of, and its mask: the separate calibration lines, where there are any."""
    if calibration is None:
        return kspace, mask
    return calibration, np.any(calibration != 0, -3)


def reconstruct_problem(problem: Problem, settings: Settings) -> tuple[Inexact[Array, "*frame y x"], Float[Array, ""]]:
    """The image of a problem of any encoding by a classical method, in the units of the data, and their scale.

    Args:
      problem: with maps where the method needs them.
      settings: completed choices.

    Returns:
      (image ([frame,] y, x), scale ()).
    """
    calib_size = tuple(min(LARGEST_CALIBRATION, n) for n in problem.kspace.shape[-2:])
    return _solve(
        problem,
        settings.lam,
        method=settings.method,
        n_iter=settings.n_iter,
        wavelet=settings.wavelet,
        rule=settings.scale,
        calib_size=calib_size,
    )


@functools.partial(jax.jit, static_argnames=("method", "n_iter", "wavelet", "rule", "calib_size"))
def _solve(
    problem: Problem,
    lam: Float[Array, ""] | float,
    *,
    method: str,
    n_iter: int,
    wavelet: str,
    rule: Rule,
    calib_size: tuple[int, ...],
):
    """(image, scale): data / scale are reconstructed, the result is multiplied by it.

    All arrays are arguments, so that slices of one shape share one compilation.
    """
    how = METHODS[method]
    if how.lam is None:  # linear in the data, whatever their units
        image, scale = how.solve(problem, lam, n_iter=n_iter, wavelet=wavelet), data_scale(problem, "none")
    else:
        scale = data_scale(problem, rule, calib_size=calib_size)
        image = how.solve(scale_problem(problem, scale), lam, n_iter=n_iter, wavelet=wavelet)
        # where no coil sees anything the data say nothing: wavelets and differences would reach in from the object
        maps: Any = problem.op.maps
        image = jnp.where(jnp.any(maps != 0, -3), image, 0)
    # of several map sets the root of the sum of squares
    return (image if image.ndim == 2 else rss(image)) * scale, scale

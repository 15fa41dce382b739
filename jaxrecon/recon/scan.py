"""From a file, a scan, an array or a problem to pictures, by one call."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Complex, Inexact

from .. import struct
from ..checks import UserError, checked_mask
from ..coils.espirit import CROP
from ..data import ArrayScan, Header, Scan
from ..data import open as open_scan
from ..data.center import warn_off_center
from ..data.maps import maps_of_slice, read_maps
from ..data.masks import mask_of_parts, read_mask
from ..experiment.runs import Trained
from ..problem import Problem
from .network import Network, load_network
from .settings import ESTIMATED, Settings
from .slicewise import ImageSize, parts_of, reconstruct_problem, slices


@dataclasses.dataclass(frozen=True, eq=False)
class Reconstructed:
    """The images of a scan, and how they were made.

    Attributes:
      images: (slice, y, x), of a network of frames (frame, slice, y, x), as `jaxrecon.data.write_reconstruction` and
        `jaxrecon.evaluate` take them; in the units of the data; complex, but real for rss, for several map sets, and for
        networks of magnitudes.
      header: what the file says about itself, and of the images: their size and slices, and where their voxels lie, as
        `jaxrecon.data.write_reconstruction` needs it; None for a problem.
      maps: (slice, coil, y, x) or (slice, set, coil, y, x), 0 for slices without signal; None where none were used.
      masks: the samples that were used, one for each slice, broadcasting against its k-space (..., coil, y, x).
      scales: (slice,) what the data of each slice were divided by; undone in the images.
      settings: the choices that were made.
    """

    images: Inexact[np.ndarray, "*frame slice y x"]
    header: Header | None
    maps: Complex[np.ndarray, "..."] | None
    masks: list[Bool[np.ndarray, "..."]]
    scales: Inexact[np.ndarray, " slice"]
    settings: Settings

    __repr__ = struct.shapes_repr


def reconstruct(
    source: str | Path | Scan | Problem | Complex[np.ndarray, "*slice coil y x"],
    *,
    method: str | None = None,
    network: Network | Trained | str | Path | None = None,
    lam: float | None = None,
    n_iter: int | None = None,
    wavelet: str | None = None,
    scale: str | None = None,
    maps: str | Path | Complex[np.ndarray, "..."] | None = None,
    calib_size: int | None = None,
    n_sets: int = 1,
    map_crop: float = CROP,
    mask: str | Path | np.ndarray | None = None,
    axes: str | Sequence[str] | None = None,
    which: Iterable[int] | None = None,
    crop: bool = True,
    interpolate: bool = False,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Reconstructed:
    """Reconstruct images: mask, maps, scale and crop are found, as on the command line.

    Args:
      source: a file of any format, an opened scan, k-space (coil, y, x) or (slice, coil, y, x), or a Problem of any encoding, whose
        operator has its maps.
      method: a name of `jaxrecon.classical.methods.METHODS`; None: l1-wavelet, unless a network is given.
      network: a trained network, what `jaxrecon.train` returned, or a run folder, in place of the method.
      lam: weight of the regularization, in units of the scale; None: the method's.
      n_iter: iterations; None: the method's.
      wavelet: an orthogonal wavelet of PyWavelets; None: db4, or haar for small images.
      scale: rule of `jaxrecon.classical.data_scale`; None: bart.
      maps: "espirit", "jsense", an array (coil, y, x), (set, coil, y, x) or with a leading slice axis, or a file of such; None:
        those of the source, else none for one coil, else ESPIRiT's.
      calib_size: width of the calibration region; None: what is complete, at most 24.
      n_sets: map sets of ESPIRiT.
      map_crop: ESPIRiT's maps are 0 where the eigenvalue is not above it; with a network that of its training.
      mask: keep only these samples of those measured: an array (x,), (y, x) or (frame, y, x), or a file.
      axes: names of the axes of an array, or of a .npy or .npz, which holds none, in their order, as "coil,z,y,x": of frame, set,
        slice, coil, z, y, x, where x is the readout of a 3D scan, else y; None: the last of slice, coil, y, x.
      which: numbers of the slices (of a network of frames: of the slice positions); None: all.
      crop: crop to the size of the file's target, else to the field of view that its header names.
      interpolate: then, where the file has no target, to the reconstruction matrix of its header, by zero-filling k-space.
      progress: wraps the numbers of the slices while they are gone through, as tqdm or rich's track do.

    Returns:
      Reconstructed.

    Raises:
      DataError: a damaged file, or arrays that do not fit it.
      ValueError: an unknown method, a method (or lam and the like, which are of methods) beside a network, one that needs
        maps where there is nothing to estimate them from, or no signal.

    Example:
      >>> kspace = np.zeros((1, 8, 8), "complex64")
      >>> kspace[0, 4, 4] = 8  # the image is 1
      >>> jr.reconstruct(kspace, method="zero-filled", mask=np.ones((8, 8))).images.real.max()
      np.float32(1.0)
    """
    if network is not None and not isinstance(network, Network):
        network = load_network(network)
    given = maps if isinstance(maps, np.ndarray) or (maps is not None and maps not in ESTIMATED) else None
    settings = Settings(
        method=method,
        lam=lam,
        n_iter=n_iter,
        wavelet=wavelet,
        scale=scale,  # type: ignore[arg-type]
        maps="given" if given is not None else maps,  # type: ignore[arg-type]
        calib_size=calib_size,
        n_sets=n_sets,
        map_crop=map_crop,
        network=network,
    )
    size = ImageSize(crop=crop, interpolate=interpolate)
    if isinstance(source, Problem):
        return _of_problem(source, settings)
    with _opened(source, axes) as scan:
        check_scan(scan, settings)
        header = scan.header
        settings = settings.complete(
            header.shape, n_coils=header.n_coils, given_maps=given is not None or header.has_maps
        )
        parts = parts_of(scan, settings)
        extra = None if mask is None else mask_of_parts(_mask(mask), parts)
        own = None
        if given is not None:
            own = lambda part: _maps(given, scan, part.index)
        chosen = list(range(len(parts)) if which is None else which)
        results = list(
            slices(
                parts,
                settings,
                progress(chosen),
                extra=extra,
                maps=own,
                size=size,
                name=lambda i: f"{scan.path}, slice {i}",
            )
        )
    if not results:
        raise UserError(f"{scan.path}: expected slices to reconstruct, found none")
    if not any(result.image.any() for result in results):
        raise UserError(f"{scan.path}: expected a signal, found none in any of {len(results)} slices")
    middle = results[len(results) // 2]
    warn_off_center(middle.part, f"{scan.path}, slice {middle.index}")
    if settings.network is not None:
        settings.network.warn_of_acceleration(middle.mask, f"{scan.path}, slice {middle.index}")
    known = [result.maps for result in results if result.maps is not None]
    maps_used = (
        [np.zeros_like(known[0]) if result.maps is None else result.maps for result in results] if known else None
    )
    images = np.stack([result.image for result in results], -3)
    return Reconstructed(
        images,
        parts.image_header(images.shape[-2:], chosen, interpolate=interpolate),
        None if maps_used is None else np.stack(maps_used),
        [result.mask for result in results],
        np.array([result.scale for result in results]),
        settings,
    )


def check_scan(scan: Scan, settings: Settings) -> None:
    """Refuse what these settings cannot reconstruct.

    Args:
      scan: an opened scan.
      settings: choices, completed or not.

    Raises:
      ValueError: images, a trajectory, or still images for a network of frames.
    """
    if not scan.header.has_kspace:
        raise UserError(f"file {scan.path}: expected k-space, found images; to measure them: jaxrecon simulate")
    if len(scan.header.shape) == 1:
        raise UserError(f"file {scan.path}: expected Cartesian k-space, found a trajectory: not yet supported here")
    network = settings.network
    if network is not None and network.in_time and scan.header.n_frames < 2:
        raise UserError(f"file {scan.path}: expected time frames for the network of {network.path}, found still images")


def _of_problem(problem: Problem, settings: Settings) -> Reconstructed:
    op: Any = problem.op
    if settings.needs_maps and op.maps is None:
        raise UserError(
            f"the method {settings.label} combines coils by maps, but the problem's operator has none: give it some "
            "(jaxrecon.coils.estimate_maps), or use the method rss"
        )
    if settings.network is not None:
        raise UserError("a network is given a scan or k-space: for a problem use jaxrecon.run(model, params, problem)")
    shape = jax.eval_shape(op.adjoint, problem.kspace).shape[-2:]
    settings = settings.complete(shape, n_coils=max(settings.n_sets, 1), given_maps=op.maps is not None)
    image, scale = reconstruct_problem(problem, settings)
    maps = None if op.maps is None or not settings.needs_maps else np.asarray(op.maps)[None]
    return Reconstructed(np.asarray(image)[None], None, maps, [], np.array([float(scale)]), settings)


@contextlib.contextmanager
def _opened(source: Any, axes: str | Sequence[str] | None) -> Iterator[Scan]:
    """The scan of a file or of an array; one that was opened by the caller stays open."""
    if isinstance(source, Scan):
        if axes is not None:
            raise UserError("axes are of arrays and files: an opened scan has its own")
        yield source
    elif isinstance(source, str | Path):
        with open_scan(source, axes=axes) as scan:
            yield scan
    else:
        yield ArrayScan(source, axes=axes)


def _mask(mask):
    if isinstance(mask, str | Path):
        return read_mask(mask)
    return np.atleast_2d(checked_mask("mask", mask))


def _maps(given, scan, index):
    return read_maps(given, scan, index) if isinstance(given, str | Path) else maps_of_slice(given, scan, index)

"""What `jaxrecon recon` computes for a slice: maps from its center or from a file, then one compiled reconstruction."""

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pywt
from jaxtyping import Array, Bool, Complex, Float, Inexact

from ..checks import DataError
from ..classical import cg_sense, data_scale, l1_wavelet, rss_image, scale_problem, total_variation, zero_filled
from ..classical.scale import Rule
from ..coils import espirit, jsense
from ..complex_ops import rss
from ..data import BartScan, Scan, read_cfl
from ..data.files import check_file, reading
from ..problem import Problem
from ..typing import AnyArray, Scalar
from .common import SMALLEST_CALIBRATION, complete_square

if TYPE_CHECKING:
    from .network import Network

Method = Literal["zero-filled", "rss", "cg-sense", "l1-wavelet", "tv", "network"]
DEFAULTS: dict[str, tuple[float, int]] = {"cg-sense": (0.01, 30), "l1-wavelet": (0.003, 100), "tv": (0.002, 300)}
"""Method -> (lam in units of the data's scale, iterations); lam by eye on real data and by NMSE on simulated heads."""
LARGEST_CALIBRATION = 24
"""Width of the calibration region where the data allow it: the default of SigPy and BART."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How slices are reconstructed; `complete` fills in what was left open.

    Attributes:
      method: which reconstruction.
      lam: weight of the regularization, in units of the scale.
      n_iter: iterations.
      wavelet: of l1-wavelet.
      scale: rule of `classical.data_scale`; the result is given back in the units of the data.
      maps: "espirit", "jsense", "file" (those of the scan), "none" (one coil), or the path of maps.
      calib_size: width of the calibration region; None: what is complete, at most LARGEST_CALIBRATION.
      n_sets: map sets of ESPIRiT.
      crop: ESPIRiT's maps are 0 where the eigenvalue is not above it.
      network: of the method "network".
    """

    method: Method
    lam: float | None
    n_iter: int | None
    wavelet: str | None
    scale: Rule
    maps: str
    calib_size: int | None
    n_sets: int
    crop: float = 0.95
    network: "Network | None" = None

    @property
    def label(self) -> str:
        """What figures call it."""
        return self.method if self.network is None else self.network.name

    @property
    def needs_maps(self) -> bool:
        """Whether maps have to be found for several coils."""
        return self.method != "rss" and self.maps != "none"

    def complete(self, shape: tuple[int, ...]) -> "Settings":
        """The same with the method's lam and iterations, and a wavelet that fits images (y, x) of this shape.

        Raises:
          ValueError: values out of range, or a wavelet that does not exist, is not orthogonal, or does not fit.
        """
        lam, n_iter = DEFAULTS.get(self.method, (0.0, 0))
        lam = lam if self.lam is None else self.lam
        n_iter = n_iter if self.n_iter is None else self.n_iter
        if not (np.isfinite(lam) and lam >= 0) or (n_iter < 1 and self.method in DEFAULTS):
            raise ValueError(f"--lam must not be negative and --iterations positive, but they are {lam} and {n_iter}")
        wavelet = self.wavelet or ("db4" if _levels("db4", shape) else "haar")
        if self.method == "l1-wavelet":
            if wavelet not in pywt.wavelist(kind="discrete") or not pywt.Wavelet(wavelet).orthogonal:
                raise ValueError(f"--wavelet {wavelet}: expected an orthogonal one, haar, dbN, symN or coifN")
            if not _levels(wavelet, shape):
                raise ValueError(
                    f"--wavelet {wavelet} is too long for {shape[0]} x {shape[1]} pixels: try a shorter one"
                )
        return dataclasses.replace(self, lam=lam, n_iter=n_iter, wavelet=wavelet)


class SliceResult(NamedTuple):
    """One slice: image ([frame,] y, x), complex, but real for rss and several map sets; maps or None; the data's scale."""

    image: Inexact[np.ndarray, "*frame y x"]
    maps: Complex[np.ndarray, "..."] | None
    scale: float


def reconstruct_slice(
    kspace: Complex[np.ndarray, "*frame coil y x"],
    mask: Bool[np.ndarray, "..."],
    settings: Settings,
    *,
    maps: Complex[np.ndarray, "..."] | None = None,
    acs: Bool[np.ndarray, "..."] | None = None,
    name: str = "k-space",
) -> SliceResult:
    """Reconstruct one slice, or by a network of frames one time series; zeros where nothing was measured.

    Args:
      kspace: (coil, y, x), or (frame, coil, y, x).
      mask: (y, x) or with axes of size 1, True = measured; of frames also (frame, 1, y, x).
      settings: completed.
      maps: (coil, y, x) or (set, coil, y, x), where settings do not have them estimated.
      acs: mask of the calibration region, for networks that estimate maps; None: found in the mask.
      name: of the slice, in messages.

    Raises:
      ValueError: no calibration region to estimate maps from.
    """
    kspace = kspace * mask
    network = settings.network
    if not kspace.any():
        shape = kspace.shape[1:] if network is None else network.image_shape(kspace.shape, mask)
        return SliceResult(np.zeros(shape, np.complex64), maps, 1.0)
    if maps is None and settings.needs_maps:
        maps = estimate_maps(kspace, mask, settings, name=name)
        if not np.any(maps):  # no pixel passed ESPIRiT's threshold: nothing but noise
            return SliceResult(np.zeros((*kspace.shape[:-3], *kspace.shape[-2:]), np.complex64), maps, 1.0)
    if network is not None:
        image, factor = network.reconstruct(kspace, mask, maps, acs=acs)
        return SliceResult(image, maps, factor)
    problem = Problem.from_numpy(kspace, mask=mask, maps=maps if settings.method != "rss" else None)
    calib_size = tuple(min(LARGEST_CALIBRATION, n) for n in kspace.shape[1:])
    result, scale = reconstruct(
        problem,
        settings.lam,
        method=settings.method,
        n_iter=settings.n_iter,
        wavelet=settings.wavelet,
        rule=settings.scale,
        calib_size=calib_size,
    )
    return SliceResult(np.asarray(result), None if maps is None else np.asarray(maps), float(scale))


@functools.partial(jax.jit, static_argnames=("method", "n_iter", "wavelet", "rule", "calib_size"))
def reconstruct(
    problem: Problem,
    lam: Scalar,
    *,
    method: Method,
    n_iter: int,
    wavelet: str,
    rule: Rule,
    calib_size: tuple[int, int],
) -> tuple[Inexact[AnyArray, "y x"], Float[Array, ""]]:
    """Image in the units of the data, and their scale: data / scale are reconstructed, the result is multiplied by it.

    All arrays are arguments, so that slices of one shape share one compilation.
    """
    if method == "rss":
        return rss_image(problem), data_scale(problem, "none")
    if method == "zero-filled":
        image, scale = zero_filled(problem), data_scale(problem, "none")
    else:
        scale = data_scale(problem, rule, calib_size=calib_size)
        scaled = scale_problem(problem, scale)
        if method == "cg-sense":
            image = cg_sense(scaled, lam=lam, n_iter=n_iter)
        elif method == "l1-wavelet":
            image = l1_wavelet(scaled, lam=lam, n_iter=n_iter, wavelet=wavelet)
        else:
            image = total_variation(scaled, lam=lam, n_iter=n_iter)
        # where no coil sees anything the data say nothing: wavelets and differences would reach in from the object
        maps: Any = problem.op.maps  # type: ignore[attr-defined]
        image = jnp.where(jnp.any(maps != 0, -3), image, 0)
    # of several map sets the root of the sum of squares
    return (image if image.ndim == 2 else rss(image)) * scale, scale


def calibration(
    mask: Bool[np.ndarray, "..."], shape: tuple[int, ...], settings: Settings, *, name: str = "k-space"
) -> tuple[int, int]:
    """(width of the calibration region, width of the kernels), from the samples that are complete around the center.

    Raises:
      ValueError: there is no such region, or none as large as asked for.
    """
    square = complete_square(np.broadcast_to(mask, shape))
    if settings.maps == "jsense":  # which takes what is there
        size = settings.calib_size or min(LARGEST_CALIBRATION, *shape)
        if not SMALLEST_CALIBRATION <= size <= min(shape):
            raise ValueError(f"{name}: expected --calib-size {SMALLEST_CALIBRATION} to {min(shape)}, found {size}")
        return size, min(16, max(size // 2, 2))
    size = settings.calib_size or min(LARGEST_CALIBRATION, square)
    if size < SMALLEST_CALIBRATION or size > square:
        wanted = max(size, SMALLEST_CALIBRATION)
        cure = (
            f"Use --calib-size {square}" if square >= SMALLEST_CALIBRATION else "Give --maps FILE, or use --method rss"
        )
        raise ValueError(
            f"{name}: the calibration region is not complete: expected {wanted} x {wanted} measured samples around the "
            f"center, found {square} x {square}. {cure}"
        )
    # a small region has room for small kernels only
    return size, 6 if size >= 12 else max(size // 2, 2)


def time_average(kspace: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masked k-space (frame, coil, y, x) averaged over the frames that measured a sample, and where any did.

    K-space (coil, y, x) is returned as it is.
    """
    if kspace.ndim == 3:
        return kspace, mask
    count = np.broadcast_to(mask, np.broadcast_shapes(np.shape(mask), (len(kspace), 1, 1, 1))).sum(0)
    return kspace.sum(0) / np.maximum(count, 1).astype(np.float32), (count > 0)[0]


def estimate_maps(kspace, mask, settings: Settings, *, name: str = "k-space") -> Complex[np.ndarray, "..."]:
    """Maps (coil, y, x) or (set, coil, y, x) from the center of masked k-space; of frames from their average."""
    kspace, mask = time_average(kspace, mask)
    size, kernel = calibration(mask, kspace.shape[1:], settings, name=name)
    if settings.maps == "jsense":
        return np.asarray(jsense(kspace, calib_size=size, kernel_width=kernel))
    n_sets, crop = settings.n_sets, settings.crop
    return np.asarray(espirit(jnp.asarray(kspace), calib_size=size, kernel_size=kernel, n_maps=n_sets, crop=crop))


def read_maps(path: str, scan: Scan, index: int) -> Complex[np.ndarray, "..."]:
    """The maps of one slice from a file: (coil, y, x) or (set, coil, y, x).

    A .npy holds them so, or with a leading slice axis; an .npz the same under `maps`; a .cfl BART's dimensions.

    Raises:
      DataError: damaged, or of other sizes than the scan.
    """
    file = Path(path)
    if file.suffix in (".cfl", ".hdr") or not file.suffix:
        maps = _bart_maps(file, index)
    else:
        with reading(check_file(file), "maps", expected="an array of complex numbers"):
            if file.suffix == ".npz":
                with np.load(file, allow_pickle=False) as archive:
                    maps = archive["maps"]
            else:
                maps = np.load(file, mmap_mode="r", allow_pickle=False)
        if maps.ndim > 3 and maps.shape[0] == len(scan) > 1:
            maps = maps[index]
    header = scan.header
    wanted = (header.n_coils, *header.shape)
    if maps.dtype.kind != "c" or maps.shape[-3:] != wanted or maps.ndim not in (3, 4):
        raise DataError(
            f"the maps do not fit the scan {scan.path.name}",
            file=file,
            dataset="maps",
            expected=f"complex (coil, y, x) = {wanted}, or map sets of them",
            found=f"{maps.dtype} of shape {maps.shape}",
            cure="Were the coils of one of them compressed?" if maps.shape[-2:] == wanted[-2:] else None,
        )
    maps = np.array(maps, np.complex64)
    if not np.isfinite(maps).all():
        raise DataError("the maps hold NaN or infinity", file=file, dataset="maps", expected="finite values")
    return maps


def _bart_maps(path: Path, index: int) -> Any:
    """(coil, y, x) or (set, coil, y, x), the axes as `BartScan` orders those of k-space."""
    axes = BartScan(path).header.slice_axes[-2:]
    array = read_cfl(path)
    n_sets, n_coils, *sizes = array.shape[-5:]
    if array.size != n_sets * n_coils * np.prod(sizes):
        raise DataError(
            "maps have other axes", file=path, expected="readout, phase 1, phase 2, coil, maps", found=array.shape[::-1]
        )
    names = ["phase_2", "phase_1", "readout"]
    place = next(i for i, name in enumerate(names) if name not in axes)
    maps = array.reshape(array.shape[-5:]).take(index % sizes[place], axis=2 + place)
    if axes == ("readout", "phase_1"):
        maps = maps.swapaxes(-1, -2)
    return maps[0] if n_sets == 1 else maps


def _levels(wavelet: str, shape: tuple[int, ...]) -> int:
    length = pywt.Wavelet(wavelet).dec_len
    return min(pywt.dwt_max_level(n + n % 2, length) for n in shape)

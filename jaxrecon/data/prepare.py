"""Maps and targets of fully sampled scans, computed once, in files that training reads."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from jaxtyping import Complex

from ..checks import UserError
from ..coils.espirit import CROP
from ..coils.estimate import LARGEST_CALIBRATION, estimate_maps
from ..files import atomic
from .detect import open as open_scan
from .hdf5 import attributes, opened
from .masks import acquired_mask, acquired_part, whole_readout
from .preparation import combined_target
from .scan import Scan, remove_oversampling

FORMER = {"crop": 0.95}
"""What prepared files that do not say so were made with."""
CALIB_SIZE = {"jsense": 20, "espirit": LARGEST_CALIBRATION}
"""Width of the calibration region: of JSENSE as GLEAM's code, of ESPIRiT as in a reconstruction.

GLEAM's paper has 12 and kernels of 8 for ESPIRiT: 25 blocks of a head of 16 coils, whose maps are 0 where 43 % of its energy lie.
"""
KERNEL = {"jsense": 8, "espirit": 6}
"""Width of the kernels, likewise."""
LEAST_MEASURED = 0.7
"""Part of k-space that a target needs: the ellipse of a 3D scan has pi / 4 of the square."""


@dataclasses.dataclass(frozen=True)
class MapSettings:
    """How maps are estimated, slice by slice.

    Attributes:
      maps: the method.
      kernel: width of the kernels in k-space, in samples; None: that of KERNEL.
      calib_size: width of the calibration region; None: that of CALIB_SIZE.
      crop: ESPIRiT's maps are 0 where the eigenvalue is not above it; None: that of `coils.espirit`.

    Raises:
      ValueError: kernels that the calibration region does not hold.
    """

    maps: Literal["jsense", "espirit"] = "espirit"
    kernel: int | None = None
    calib_size: int | None = None
    crop: float | None = None

    def __post_init__(self):
        most = self.width - (self.maps == "espirit")  # of ESPIRiT's kernels one block says nothing
        if not 1 <= self.kernel_width <= most:
            raise UserError(f"kernel {self.kernel_width} must be within 1 and {most}, calib_size being {self.width}")

    @property
    def width(self) -> int:
        """The width of the calibration region."""
        return CALIB_SIZE[self.maps] if self.calib_size is None else self.calib_size

    @property
    def kernel_width(self) -> int:
        """The width of the kernels."""
        return KERNEL[self.maps] if self.kernel is None else self.kernel

    @property
    def least_eigenvalue(self) -> float:
        """The crop of ESPIRiT's maps."""
        return CROP if self.crop is None else self.crop

    def recorded(self) -> dict[str, Any]:
        """What a prepared file keeps of it."""
        made = {"maps": self.maps, "kernel": self.kernel_width, "calib_size": self.width}
        return made | ({"crop": self.least_eigenvalue} if self.maps == "espirit" else {})


def prepare_scan(
    file: str | Path,
    out: str | Path,
    settings: MapSettings = MapSettings(),
    *,
    axes: str | None = None,
    progress: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> int:
    """Write one scan with maps and target, slice by slice; the file appears when it is complete.

    3D scans are divided into slices along the readout, 2D scans lose their readout oversampling.

    Args:
      file: a fully sampled scan.
      out: the .h5 to write, with kspace, maps and target of all slices.
      settings: how maps are estimated.
      axes: names of the axes of a .npy or .npz, as `open` takes them.
      progress: wraps the numbers of the slices while they are gone through, as tqdm or rich's track do.

    Returns:
      The number of slices.

    Raises:
      DataError: the scan is damaged.
      ValueError: it is not fully sampled Cartesian k-space of still images.
      FileExistsError: the file exists.
    """
    file, out = Path(file), Path(out)
    for unfinished in out.parent.glob(f".????????????.{out.name}"):
        unfinished.unlink()  # left by a run that was killed
    with open_scan(file, axes=axes) as scan, atomic(out) as temporary, h5py.File(temporary, "w") as stored:
        stored.attrs.update({**settings.recorded(), "source": file.name})
        for index in progress(range(len(scan))):
            for name, array in _slice(scan, index, settings).items():
                if index == 0:
                    shape = (len(scan), *array.shape)
                    stored.create_dataset(name, shape, np.complex64, chunks=(1, *array.shape))
                stored[name][index] = array
        return len(scan)


def prepared_files(files: Iterable[str | Path], out: str | Path) -> dict[Path, Path]:
    """Scan -> the file in the folder `out` that it becomes.

    Raises:
      ValueError: two would become the same, or one would replace itself.
    """
    targets = {Path(file): Path(out) / f"{Path(file).stem}.h5" for file in files}
    sources: dict[Path, Path] = {}
    for file, target in targets.items():
        if target in sources:
            raise UserError(f"{sources[target]} and {file} would both become {target}: prepare them into two folders")
        if target.resolve() == file.resolve():
            raise UserError(f"{file} would replace itself: choose another folder to write to")
        sources[target] = file
    return targets


def is_prepared(file: str | Path, out: str | Path, settings: MapSettings) -> bool:
    """Whether a scan was prepared before, in this way.

    Args:
      file: the scan.
      out: the file that it becomes.
      settings: how maps are estimated.

    Raises:
      DataError: there is another file in its place.
      ValueError: it was prepared otherwise.
    """
    file, out = Path(file), Path(out)
    if not out.exists():
        return False
    wanted = {**settings.recorded(), "source": file.name}
    with opened(out) as stored:
        kept = attributes(stored, out)
    found = {name: kept.get(name, FORMER.get(name)) for name in wanted}
    if found != wanted:
        text = lambda values: ", ".join(f"{name} {value}" for name, value in values.items())
        raise UserError(
            f"{out} was made otherwise: expected {text(wanted)}, found {text(found)}. Choose another folder, or delete it"
        )
    return True


def _slice(scan: Scan, index: int, settings: MapSettings) -> dict[str, np.ndarray]:
    """Kspace (y, x, coil), maps (y, x, coil, 1) and target (y, x, 1) of one slice, as `data.GleamScan` reads them."""
    name, header = f"file {scan.path}, slice {index}", scan.header
    if not header.has_kspace or len(header.shape) != 2 or header.n_frames > 1:
        found = "frames" if header.n_frames > 1 else "a trajectory" if header.has_kspace else "images"
        raise UserError(f"{name}: expected Cartesian k-space of still images, found {found}")
    part = scan[index]
    kspace = part.kspace
    assert kspace is not None  # the header has said so
    mask, _ = acquired_mask(part, header)
    measured = acquired_part(mask, header).mean()
    if measured < LEAST_MEASURED:
        raise UserError(f"{name}: a target needs fully sampled k-space, but {100 * measured:.0f} % of it are measured")
    if not whole_readout(mask, header):
        raise UserError(
            f"{name}: a target needs fully sampled k-space, but an asymmetric echo has a part of its readout"
        )
    if header.slice_axes[-2] == "readout" and header.crop and header.crop[0] < kspace.shape[-2]:
        kspace = remove_oversampling(kspace, header.crop[0])
    maps = _maps(kspace.astype(np.complex64), settings, name)
    target = combined_target(dataclasses.replace(part, kspace=kspace, maps=maps))
    last = lambda a: np.moveaxis(a, 0, -1)
    return {"kspace": last(kspace), "maps": last(maps)[..., None], "target": target[..., None]}


def _maps(kspace: Complex[np.ndarray, "coil y x"], settings: MapSettings, name: str) -> np.ndarray:
    if not kspace.any():
        return np.zeros_like(kspace)
    return estimate_maps(
        kspace,
        np.any(kspace != 0, 0),
        method=settings.maps,
        calib_size=settings.width,
        kernel_size=settings.kernel_width,
        crop=settings.least_eigenvalue,
        name=name,
    )

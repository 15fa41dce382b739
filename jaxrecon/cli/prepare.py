"""`jaxrecon prepare`: maps and targets of fully sampled scans, computed once, in files that train reads."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tyro
from jaxtyping import Complex

from ..data.masks import acquired_mask
from .common import choices, progress, say

if TYPE_CHECKING:
    from ..data import Scan

CALIB_SIZE = {"jsense": 20, "espirit": 12}
"""Width of the calibration region. Source: GLEAM: JSENSE on mridata (its code), ESPIRiT on fastMRI (the paper)."""
LEAST_SAMPLED = 0.7
"""Part of k-space that a target needs: the ellipse of a 3D scan has pi / 4 of the square."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Estimate coil maps and targets of fully sampled scans, once, before training.

    Each scan becomes one .h5 of the same name with kspace, maps and target of all slices, which train, info and recon
    read. 3D scans are divided into slices along the readout, 2D scans lose their readout oversampling. A scan appears
    whole or not at all: stopped at any moment, the same command goes on with those that are missing.

    Examples:
      jaxrecon prepare /data/mridata --maps jsense --out knees                   (GLEAM's 3D knees)
      jaxrecon prepare /data/multicoil_train --acquisition AXT2 --maps espirit --out brains
      jaxrecon train experiments/gleam/table1_pgd_r12_gleam.py --data knees --split 0.72 0.08 0.2 --out runs/table1
    """

    data: tyro.conf.Positional[Path]
    """Folder of fully sampled scans, searched with its subfolders, or a file."""
    out: Path
    """Folder for the prepared scans; made where it does not exist."""
    maps: Literal["jsense", "espirit"] = "espirit"
    """How maps are estimated, slice by slice."""
    kernel: int = 8
    """Width of the kernels in k-space, in samples."""
    calib_size: int | None = None
    """Width of the calibration region. Default: 20 for jsense, 12 for espirit."""
    acquisition: str | None = None
    """Only scans of this contrast or protocol, as jaxrecon info names it."""


def run(options: Options) -> None:
    """Prepare scan after scan; those that are there already are left."""
    from ..data import select
    from ..data.index import index_files

    entries = index_files(options.data)
    if options.acquisition:
        known = sorted({str(e.acquisition) for e in entries})
        entries = select(entries, acquisition=options.acquisition)
        if not entries:
            raise ValueError(f"--acquisition {options.acquisition}: there is none; there are {', '.join(known)}")
    files = list(dict.fromkeys(Path(e.file) for e in entries))
    targets = _outputs(files, options.out)
    calib_size = CALIB_SIZE[options.maps] if options.calib_size is None else options.calib_size
    if not 1 <= options.kernel <= calib_size:
        raise ValueError(f"--kernel {options.kernel} must be within 1 and --calib-size {calib_size}")
    settings = {"maps": options.maps, "kernel": options.kernel, "calib_size": calib_size}
    options.out.mkdir(parents=True, exist_ok=True)
    left = [file for file in files if not _is_finished(targets[file], file, settings)]
    choices(
        f"{options.data} -> {options.out}",
        [
            ("scans", f"{len(files)}, of which {len(files) - len(left)} are there already", "--acquisition"),
            ("maps", f"{options.maps}, kernels of {options.kernel} in {calib_size} x {calib_size}",
             "--maps, --kernel, --calib-size"),
        ],
    )  # fmt: skip
    for number, file in enumerate(left, 1):
        n_slices = prepare_scan(file, targets[file], settings)
        say(f"{number} of {len(left)}: {targets[file].name}, {n_slices} slices")
    say(
        f"prepared: {options.out}; to use it: jaxrecon train EXPERIMENT --data {options.out} --split 0.72 0.08 0.2 --out RUN"
    )


def prepare_scan(file: Path, out: Path, settings: Mapping[str, Any]) -> int:
    """Write one scan with maps and target, slice by slice; the file appears when it is complete.

    Returns:
      The number of slices.

    Raises:
      DataError: the scan is damaged.
      ValueError: it is not fully sampled Cartesian k-space of still images.
    """
    import h5py

    from ..data import open
    from ..files import atomic

    for unfinished in out.parent.glob(f".????????????.{out.name}"):
        unfinished.unlink()  # left by a run that was killed
    with open(file) as scan, atomic(out) as temporary, h5py.File(temporary, "w") as stored:
        stored.attrs.update({**settings, "source": file.name})
        with progress(f"{file.name} ") as track:
            for index in track(range(len(scan))):
                parts = _slice(scan, index, settings)
                for name, array in parts.items():
                    if index == 0:
                        shape = (len(scan), *array.shape)
                        stored.create_dataset(name, shape, np.complex64, chunks=(1, *array.shape))
                    stored[name][index] = array
        return len(scan)


def _slice(scan: "Scan", index: int, settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Kspace (y, x, coil), maps (y, x, coil, 1) and target (y, x, 1) of one slice, as `data.GleamScan` reads them."""
    from ..data.preparation import combined_target
    from ..data.scan import remove_oversampling

    name, header = f"file {scan.path}, slice {index}", scan.header
    if not header.has_kspace or len(header.shape) != 2 or header.n_frames > 1:
        found = "frames" if header.n_frames > 1 else "a trajectory" if header.has_kspace else "images"
        raise ValueError(f"{name}: expected Cartesian k-space of still images, found {found}")
    part = scan[index]
    kspace = part.kspace
    assert kspace is not None  # the header has said so
    mask, _ = acquired_mask(part, header)
    measured = np.broadcast_to(mask, header.shape)[:, slice(*(header.padding or (None, None)))].mean()
    if measured < LEAST_SAMPLED:
        raise ValueError(f"{name}: a target needs fully sampled k-space, but {100 * measured:.0f} % of it are measured")
    if header.slice_axes[-2] == "readout" and header.recon_matrix and header.recon_matrix[0] < kspace.shape[-2]:
        kspace = remove_oversampling(kspace, header.recon_matrix[0])
    maps = _maps(kspace.astype(np.complex64), settings, name)
    target = combined_target(dataclasses.replace(part, kspace=kspace, maps=maps))
    last = lambda a: np.moveaxis(a, 0, -1)
    return {"kspace": last(kspace), "maps": last(maps)[..., None], "target": target[..., None]}


def _maps(kspace: Complex[np.ndarray, "coil y x"], settings: Mapping[str, Any], name: str) -> np.ndarray:
    import jax.numpy as jnp

    from ..coils import espirit, jsense

    kernel, calib_size = settings["kernel"], settings["calib_size"]
    if not kspace.any():
        return np.zeros_like(kspace)
    try:
        if settings["maps"] == "jsense":
            return np.asarray(jsense(jnp.asarray(kspace), kernel_width=kernel, calib_size=calib_size))
        return np.asarray(espirit(jnp.asarray(kspace), kernel_size=kernel, calib_size=calib_size))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _outputs(files: list[Path], out: Path) -> dict[Path, Path]:
    """Scan -> the file that it becomes."""
    targets = {file: out / f"{file.stem}.h5" for file in files}
    sources: dict[Path, Path] = {}
    for file, target in targets.items():
        if target in sources:
            raise ValueError(f"{sources[target]} and {file} would both become {target}: prepare them into two folders")
        if target.resolve() == file.resolve():
            raise ValueError(f"{file} would replace itself: choose another folder with --out")
        sources[target] = file
    return targets


def _is_finished(out: Path, file: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the scan was prepared before, in this way."""
    if not out.exists():
        return False
    from ..data.hdf5 import opened
    from ..files import reading

    with opened(out) as stored, reading(out, expected="a prepared scan"):
        found = {name: _plain(stored.attrs.get(name)) for name in (*settings, "source")}
    wanted = {**settings, "source": file.name}
    if found != wanted:
        text = lambda values: ", ".join(f"{name} {value}" for name, value in values.items())
        raise ValueError(
            f"{out} was made otherwise: expected {text(wanted)}, found {text(found)}. Choose another folder, or delete it"
        )
    return True


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value

"""`jaxrecon prepare`: maps and targets of fully sampled scans, computed once, in files that train reads."""

import dataclasses
from pathlib import Path
from typing import Literal

import tyro

from ..checks import UserError
from .common import choices, progress, say


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
    kernel: int | None = None
    """Width of the kernels in k-space, in samples. Default: 8 for jsense, 6 for espirit."""
    calib_size: int | None = None
    """Width of the calibration region. Default: 20 for jsense, 24 for espirit."""
    map_crop: float | None = None
    """ESPIRiT's maps are 0 where the eigenvalue, within 0 and 1, is not above it. Default: as jaxrecon recon."""
    acquisition: str | None = None
    """Only scans of this contrast or protocol, as jaxrecon info names it."""
    axes: str | None = None
    """Names of the axes of .npy and .npz files, which hold none, as coil,z,y,x (see jaxrecon recon --help)."""


def run(options: Options) -> None:
    """Prepare scan after scan; those that are there already are left."""
    from ..data import index_files, select
    from ..data.prepare import MapSettings, is_prepared, prepare_scan, prepared_files

    entries = index_files(options.data, axes=options.axes)
    if options.acquisition:
        known = sorted({str(e.acquisition) for e in entries})
        entries = select(entries, acquisition=options.acquisition)
        if not entries:
            raise UserError(f"--acquisition {options.acquisition}: there is none; there are {', '.join(known)}")
    axes = {Path(e.file): e.axes for e in entries}
    targets = prepared_files(axes, options.out)
    settings = MapSettings(options.maps, options.kernel, options.calib_size, options.map_crop)
    options.out.mkdir(parents=True, exist_ok=True)
    left = {file: target for file, target in targets.items() if not is_prepared(file, target, settings)}
    made = [f"{options.maps}, kernels of {settings.kernel_width} in {settings.width} x {settings.width}"]
    made += [f"crop {settings.least_eigenvalue:g}"] if options.maps == "espirit" else []
    choices(
        f"{options.data} -> {options.out}",
        [
            ("scans", f"{len(targets)}, of which {len(targets) - len(left)} are there already", "--acquisition"),
            ("maps", ", ".join(made), "--maps, --kernel, --calib-size, --map-crop"),
        ],
    )
    for number, (file, target) in enumerate(left.items(), 1):
        with progress(f"{file.name} ") as track:
            n_slices = prepare_scan(file, target, settings, axes=axes[file], progress=track)
        say(f"{number} of {len(left)}: {target.name}, {n_slices} slices")
    say(
        f"prepared: {options.out}; to use it: jaxrecon train EXPERIMENT --data {options.out} --split 0.72 0.08 0.2 --out RUN"
    )

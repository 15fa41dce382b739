"""`jaxrecon info`: what a file holds, what was measured of it, and what can be done with it."""

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tyro

from ..checks import UserError
from .common import choices, say

if TYPE_CHECKING:
    from ..data import Header, Scan
    from ..sampling.pattern import Pattern


@dataclasses.dataclass(frozen=True)
class Options:
    """Say what files hold: format, shapes, coils, acceleration measured, calibration data, padding, what can be done.

    Reads fastMRI, Calgary-Campinas, CMRxRecon (and its masks), ISMRMRD, mridata.org, BART .cfl + .hdr, NIfTI, .npz and
    .npy, recognised by their content. Nothing is written.

    Examples:
      jaxrecon info scan.h5
      jaxrecon info *.mat brain.cfl mask.npy
    """

    files: tyro.conf.Positional[tuple[Path, ...]]
    """One or more files."""
    axes: str | None = None
    """What the axes of .npy and .npz files are, as coil,z,y,x (see jaxrecon recon --help)."""


def run(options: Options) -> None:
    """Describe each file in turn."""
    if not options.files:
        raise UserError("info needs the name of a file: jaxrecon info scan.h5")
    for i, file in enumerate(options.files):
        if i:
            say()
        choices(str(file), [(name, text, "") for name, text in describe(file, axes=options.axes)])


def describe(path: Path, *, axes: str | None = None) -> list[tuple[str, str]]:
    """Rows (what, value) about one file.

    Args:
      path: the file.
      axes: as `data.open` takes them.

    Raises:
      DataError: no known format, or damaged.
    """
    from ..checks import DataError
    from ..data import open
    from ..data.masks import holds_mask_alone, read_mask

    try:
        scan = open(path, axes=axes)
    except DataError as error:
        if not path.is_file() or not holds_mask_alone(path):
            raise
        try:
            return _describe_mask(read_mask(path), path)
        except DataError:
            raise error from None
    with scan:
        if scan.header.has_kspace:
            return _describe_header(scan.header) + _describe_kspace(scan, path, axes)
        first = scan[0].image
        # two values, one of them 0, are no image
        if scan.header.format == "npy" and first is not None and np.unique(first[first != 0]).size <= 1:
            return _describe_mask(read_mask(path), path)
        return _describe_header(scan.header) + _describe_images(scan, path)


def _describe_mask(mask, path):
    from ..sampling.pattern import pattern

    if not mask.any():
        return [
            ("format", "sampling mask"),
            ("shape", str(mask.shape)),
            ("acceleration", "none: no sample is measured"),
        ]
    rows = [("format", "sampling mask"), ("shape", f"{mask.shape}, {'frames, ' if mask.ndim == 3 else ''}y, x")]
    # what all frames share is the center of a series
    shared = mask.all(0) if mask.ndim == 3 else mask
    kind = pattern(mask.reshape(-1, *mask.shape[-2:])[0])
    rows += [("pattern", kind.kind), ("acceleration", f"{mask.size / mask.sum():.3f}")]
    rows.append(("calibration", pattern(shared).center if shared.any() else "none in all frames"))
    return [*rows, ("can be used", f"jaxrecon recon SCAN --mask {shlex.quote(str(path))} --out recon.h5")]


def _describe_header(header: "Header"):
    from ..data.geometry import crop_in_words, voxel_size

    rows = [("format", header.format), ("contents", "k-space" if header.has_kspace else "images")]
    frames = f", {header.n_frames} frames of {header.n_slices // header.n_frames}" if header.n_frames > 1 else ""
    rows.append(("slices", f"{header.n_slices}{frames}"))
    counted = {name: len(np.unique(values)) for name, values in header.counters.items()}
    if counted := {name: n for name, n in counted.items() if n > 1}:
        rows.append(("slices are of", ", ".join(f"{name} {n}" for name, n in counted.items()) + " (scan[i].counters)"))
    if header.has_kspace:
        rows.append(("coils", str(header.n_coils)))
    axes = header.slice_axes[-len(header.shape) :]
    rows.append(("slice", " x ".join(f"{n} ({a})" for n, a in zip(header.shape, axes, strict=True))))
    stored = [(a, n) for a, n in zip(header.file_axes, header.file_shape, strict=False) if n > 1]
    rows.append(("stored as", ", ".join(f"{a} {n}" for a, n in stored)))
    for name in ("encoded_matrix", "recon_matrix"):
        if (matrix := getattr(header, name)) is not None:
            rows.append((name.replace("_", " "), " x ".join(map(str, matrix))))
    for name, fov in (("encoded field of view", header.encoded_fov), ("field of view", header.recon_fov)):
        if fov is not None:
            rows.append((name, " x ".join(f"{size:g}" for size in fov) + " mm"))
    if len(header.shape) == 2 and header.has_kspace:
        rows.append(("crop", crop_in_words(header)))
    if header.affine is not None:
        rows.append(("voxel", " x ".join(f"{size:.4g}" for size in voxel_size(header.affine)) + " mm (x, y, slice)"))
    if not header.evenly_spaced:
        rows.append(("place", "the slices do not follow each other evenly in space, in the order of their index"))
    if header.acquisition:
        rows.append(("acquisition", header.acquisition))
    kept = [n for n in ("target", "maps", "mask") if getattr(header, f"has_{n}")]
    if kept:
        rows.append(("holds also", ", ".join(kept)))
    known = ("acquisition", "acceleration", "patient_id")  # who it was does not belong on a screen
    shown = {k: v for k, v in header.attributes.items() if isinstance(v, str | int | float) and k not in known}
    return rows + [("attributes", ", ".join(f"{k} {v}" for k, v in shown.items()))] * bool(shown)


def _describe_images(scan: "Scan", path):
    middle = np.abs(np.asarray(scan[len(scan) // 2].image))
    file = shlex.quote(str(path))
    return [
        ("values", f"{middle.min():.4g} to {middle.max():.4g} (middle slice)"),
        ("can be used", f"jaxrecon evaluate {file} --target SCAN"),
        ("", f"jaxrecon evaluate RECON --target {file}"),
        ("", f"jaxrecon simulate {file} --coils 8 --mask poisson --acceleration 8 --out sim.h5"),
    ]


def _describe_kspace(scan: "Scan", path, said):
    from ..data.center import warn_off_center
    from ..data.masks import acquired_mask, acquired_part, fully_sampled, whole_readout
    from ..sampling.pattern import pattern

    header = scan.header
    if len(header.shape) == 1:
        return [
            ("trajectory", f"non-Cartesian, {header.shape[0]} samples in a slice"),
            ("can be used", "not yet: jaxrecon recon knows Cartesian data only"),
        ]
    middle = len(scan) // 2
    part = scan[middle]
    warn_off_center(part, f"file {path}, slice {middle}")
    largest = float(np.abs(np.asarray(part.kspace)).max())
    rows = [("largest sample", f"{largest:.4g} (middle slice)")]
    if largest == 0:
        return [*rows, ("pattern", "the middle slice holds zeros only")]
    mask, source = acquired_mask(part, header)
    found = pattern(mask, header.shape)
    acquired = acquired_part(mask, header)
    kind = f"{found.kind}, {source}"
    if fully_sampled(mask, header):
        kind = "fully sampled" + (" within the acquired columns" if header.padding else "")
    if not whole_readout(mask, header):
        kind += "; asymmetric echo: the readout was not measured as a whole"
    rows += [("pattern", kind), ("acceleration", _acceleration(found, acquired, header))]
    rows.append(
        ("calibration", f"complete center: {found.center}; the largest square has {found.square} samples a side")
    )
    if header.padding is not None:
        left, right = header.padding
        n = header.shape[-1]
        rows.append(("padding", f"columns 0 to {left} and {right} to {n} of {n} were never acquired"))
    return rows + _uses(header, found, shlex.quote(str(path)) + (f" --axes {said}" if said else ""))


def _acceleration(pattern: "Pattern", acquired, header: "Header"):
    text = f"{pattern.acceleration:.3f} measured"
    if header.padding is not None:
        text += f", {acquired.size / acquired.sum():.3f} within the acquired columns"
    return text + (f"; the file says {header.acceleration:g}" if header.acceleration else "")


def _uses(header: "Header", pattern: "Pattern", file: str):
    from ..classical.methods import METHODS
    from ..coils.estimate import SMALLEST_CALIBRATION

    methods = ", ".join(METHODS)
    if header.n_coils == 1:
        methods += "; one coil needs no maps"
    elif header.has_maps:
        methods += "; with the maps of the file"
    elif header.has_calibration:
        methods += "; maps estimated from the separate calibration lines"
    elif pattern.square >= SMALLEST_CALIBRATION:
        methods += "; maps estimated from the center"
    else:
        methods = f"rss; by jaxrecon recon --maps FILE also {methods}: there is no center to estimate maps from"
    uses = [("methods", methods), ("can be used", f"jaxrecon recon {file} --out recon.h5")]
    if pattern.acceleration < 1.5:
        uses.append(("", f"jaxrecon recon {file} --undersample random --acceleration 4 --out recon.h5"))
    if header.has_target:
        uses.append(("", f"jaxrecon evaluate recon.h5 --target {file} --variant fastmri"))
    return uses

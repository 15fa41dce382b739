"""`jaxrecon evaluate`: scores of a reconstruction against a reference, by the rule of a named source."""

import csv
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tyro
from rich.table import Table

from .. import host
from .common import check_output, chosen_slices, say, show

if TYPE_CHECKING:
    from ..data import Scan
    from ..metrics import Evaluation

SUFFIXES = (".json", ".csv")
UNITS = {"psnr": " dB"}


@dataclasses.dataclass(frozen=True)
class Options:
    """Score a reconstruction: NMSE, PSNR, SSIM and others, by the rule of a named source.

    Rules differ in crop, normalization, data range and averaging, so that numbers of two rules cannot be compared:
    the name of the rule stands in every output. Names: fastmri, gleam, deep-jsense, ramzi, calgary, modl, ...; a wrong
    name lists them all.

    Examples:
      jaxrecon evaluate recon.h5 --target scan.h5
      jaxrecon evaluate recon.h5 --target scan.h5 --variant gleam --out scores.json
      jaxrecon evaluate part.npy --target scan.h5 --slices 10:15 --out scores.csv
    """

    recon: tyro.conf.Positional[Path]
    """The reconstruction: .h5, .npy, .npz, .cfl, .nii, .nii.gz."""
    target: Path
    """The reference: a scan with a target, images, or a fully sampled scan, whose root of sum of squares it is then."""
    variant: str = "fastmri"
    """The rule."""
    slices: str | None = None
    """Slices of the target that were reconstructed: 5, or 3:7. Default: all."""
    out: Path | None = None
    """Write the scores: .json (everything) or .csv (a line for each slice, and one for the volume)."""
    overwrite: bool = False
    """Replace an existing file."""


def run(options: Options) -> None:
    """Read both, print the table, write the file."""
    if options.out:
        check_output(options.out, suffixes=SUFFIXES, overwrite=options.overwrite)
    from ..data import open
    from ..metrics import evaluate

    with open(options.recon) as scan:
        prediction = _prediction(scan)
    with open(options.target) as scan:
        slices = chosen_slices(options.slices, len(scan))
        reference = _reference(scan, slices)
        # PromptMR+'s rule takes the range from the file, not from the slices at hand
        from_file = options.variant == "promptmr-plus-fastmri" and "max" in scan.header.attributes
        data_range = float(scan.header.attributes["max"]) if from_file else None
    if prediction.shape[:-2] != reference.shape[:-2]:
        prediction = prediction.reshape(-1, *prediction.shape[-2:])
        reference = reference.reshape(-1, *reference.shape[-2:])
    if len(prediction) != len(reference):
        raise ValueError(
            f"file {options.recon}: expected {len(reference)} slices as in {options.target}, found {len(prediction)}. "
            "Name the slices that were reconstructed: --slices 3:7"
        )
    scores = evaluate(reference, prediction, variant=options.variant, data_range=data_range)
    print_scores(scores, str(options.target))
    if options.out:
        _write(scores, options)
        say(f"wrote {options.out}")


def print_scores(scores: "Evaluation", reference: str) -> None:
    """The table: each metric for the volume, and its worst slice."""
    n, *size = scores.shape
    say(f"variant {scores.variant}; slices {n} of {size[0]} x {size[1]}; reference: {reference}")
    table = Table()
    for name, right in (("metric", False), ("volume", True), ("median slice", True), ("worst slice", True)):
        table.add_column(name, justify="right" if right else "left")
    for metric, value in scores.volume.items():
        values = scores.per_slice[metric]
        known = np.flatnonzero(np.isfinite(values))
        worst = median = "-"
        if known.size:
            higher_is_better = metric in ("psnr", "ssim")
            at = known[(np.argmin if higher_is_better else np.argmax)(values[known])]
            worst, median = f"{values[at]:.4g} (slice {at})", f"{np.median(values[known]):.4g}"
        table.add_row(metric.upper() + UNITS.get(metric, ""), f"{value:.4g}", median, worst)
    show(table)


def _prediction(scan: "Scan") -> np.ndarray:
    """Images ([frame,] slice, y, x); complex ones of .npy and .cfl look like k-space to their readers."""
    if not scan.header.has_kspace:
        volume = np.stack([part.image for part in scan])  # type: ignore[misc]
        frames = scan.header.n_frames
        return volume.reshape(frames, -1, *volume.shape[1:]) if frames > 1 else volume
    if scan.header.format == "npy" or (scan.header.format == "BART" and scan.header.n_coils == 1):
        return np.concatenate([part.kspace for part in scan])  # type: ignore[misc]
    raise ValueError(f"file {scan.path}: expected images, found k-space: reconstruct it first, jaxrecon recon")


def _reference(scan: "Scan", slices: range) -> np.ndarray:
    from ..data import acquired_mask, crop_to_recon_size

    header = scan.header
    images = []
    for i in slices:
        part = scan[i]
        image = part.image if part.image is not None else part.target
        if image is None:
            mask, _ = acquired_mask(part, header)
            columns = slice(*(header.padding or (None, None)))
            if len(header.shape) == 1 or not np.broadcast_to(mask, header.shape)[:, columns].all():
                raise ValueError(
                    f"file {scan.path}: expected a target, images, or fully sampled k-space, found undersampled k-space"
                )
            image = np.asarray(crop_to_recon_size(host.rss(host.coil_images(part.kspace * mask[None])), header))  # type: ignore[operator]
        images.append(image)
    volume = np.stack(images)
    whole = header.n_frames > 1 and len(slices) == len(scan)
    return volume.reshape(header.n_frames, -1, *volume.shape[1:]) if whole else volume


def _write(scores: "Evaluation", options: Options) -> None:
    from ..files import atomic

    assert options.out is not None
    files = {"reconstruction": str(options.recon), "target": str(options.target), "slices": options.slices or "all"}
    with atomic(options.out, overwrite=options.overwrite) as temporary:
        if options.out.suffix == ".json":
            temporary.write_text(json.dumps(files | scores.as_dict(), indent=2, allow_nan=False) + "\n")
            return
        with temporary.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["variant", "slice", *scores.volume])
            table.writerow([scores.variant, "volume", *scores.volume.values()])
            for i in range(len(scores.data_range)):
                table.writerow([scores.variant, i, *(float(v[i]) for v in scores.per_slice.values())])

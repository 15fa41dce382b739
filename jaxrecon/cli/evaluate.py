"""`jaxrecon evaluate`: scores of a reconstruction against a reference, by the rule of a named source."""

import csv
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tyro
from rich.table import Table

from .common import check_output, chosen_slices, say, show

if TYPE_CHECKING:
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
    axes: str | None = None
    """What the axes of a target as .npy or .npz are (see jaxrecon recon --help)."""
    out: Path | None = None
    """Write the scores: .json (everything) or .csv (a line for each slice, and one for the volume)."""
    overwrite: bool = False
    """Replace an existing file."""


def run(options: Options) -> None:
    """Read both, print the table, write the file."""
    if options.out:
        check_output(options.out, suffixes=SUFFIXES, overwrite=options.overwrite)
    from ..data import open
    from ..recon import evaluate

    with open(options.target, axes=options.axes) as scan:
        slices = chosen_slices(options.slices, len(scan))
        scores = evaluate(options.recon, scan, variant=options.variant, which=slices)
    print_scores(scores, str(options.target))
    if options.out:
        _write(scores, options)
        say(f"wrote {options.out}")


def print_scores(scores: "Evaluation", reference: str) -> None:
    """The table: each metric for the volume, and its worst slice."""
    n, *size = scores.shape
    say(f"variant {scores.variant}; slices {n} of {size[0]} x {size[1]}; reference: {reference}")
    if any(given != tuple(size) for given in scores.given):
        sizes = [" x ".join(map(str, given)) for given in scores.given]
        say(f"cropped before they are compared: the reference of {sizes[0]}, the reconstruction of {sizes[1]}")
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

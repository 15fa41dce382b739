"""`jaxrecon demo`: simulate heads, undersample, reconstruct, choose lam on other heads, score: table, figure, JSON."""

import dataclasses
import json
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import tyro
from rich.table import Table

from . import masks
from .common import check_output, choices, measure, progress, say, show

if TYPE_CHECKING:
    from ..metrics import Statistics
    from .reconstruct import Method

GRIDS: dict["Method", tuple[float, ...]] = {
    "zero-filled": (0.0,),
    "cg-sense": (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1),
    "l1-wavelet": (0.0003, 0.001, 0.003, 0.01, 0.03),
}
"""Method -> values of lam that are tried on the validation slices, in units of BART's data scale."""
CONTRASTS = ("t1", "t2", "flair", "pd")
VARIANT = "fastmri"
ERROR_FACTOR = 5.0


@dataclasses.dataclass(frozen=True)
class Options:
    """Everything at once on data made here, in about a minute on two cores: nothing to download, nothing to tune.

    Simulates multi-coil scans of random heads, undersamples them, and reconstructs by zero-filling, CG-SENSE and
    L1-wavelet with maps from ESPIRiT. lam is chosen on heads that are not scored. Prints a table and writes figure.png
    (images and error maps) and results.json (settings, versions, the values of each slice).

    Examples:
      jaxrecon demo
      jaxrecon demo --mask equispaced-fraction --acceleration 4 --out demo_r4
    """

    out: Path = Path("jaxrecon_demo")
    """Folder for the results; made if it does not exist."""
    shape: tuple[int, int] = (224, 192)
    """Matrix y x."""
    coils: int = 8
    """Receive coils."""
    snr: float = 30.0
    """Mean magnitude within the head over the standard deviation of the complex noise."""
    mask: masks.StillName = "poisson"
    """Sampling mask."""
    acceleration: Annotated[float, tyro.conf.arg(aliases=["-R"])] = 8.0
    """R of the mask."""
    test_slices: int = 4
    """Heads that are scored, of contrasts T1, T2, FLAIR, PD in turn."""
    validation_slices: int = 2
    """Other heads, on which lam is chosen."""
    seed: int = 0
    """Of anatomy, coils, noise and mask."""
    overwrite: bool = False
    """Replace existing results."""


class Case(NamedTuple):
    """A simulated slice, undersampled: truth (y, x), k-space (coil, y, x) with zeros, maps from its center."""

    truth: np.ndarray
    kspace: np.ndarray
    maps: np.ndarray
    contrast: str


def run(options: Options) -> None:
    """Simulate, choose lam, reconstruct, score, write."""
    outputs = options.out / "figure.png", options.out / "results.json"
    if options.test_slices < 1 or options.validation_slices < 1:
        raise ValueError("--test-slices and --validation-slices must be 1 or more")
    options.out.mkdir(parents=True, exist_ok=True)
    for path in outputs:
        check_output(path, suffixes=(path.suffix,), overwrite=options.overwrite)
    started = time.perf_counter()
    mask = masks.draw(options.mask, options.shape, acceleration=options.acceleration, seed=options.seed) != 0
    pattern = measure(mask, options.shape)
    size = f"{options.coils} coils, {options.shape[0]} x {options.shape[1]}, SNR {options.snr:g}"
    rows = [
        ("data", f"{options.test_slices} simulated heads, lam chosen on {options.validation_slices} others", ""),
        ("k-space", size, "--coils, --shape, --snr"),
        ("mask", f"{options.mask}: R = {pattern.acceleration:.2f}, center {pattern.center}", "--mask, --acceleration"),
        ("maps", "ESPIRiT from the center", ""),
        ("seed", str(options.seed), "--seed"),
    ]
    choices("demo", rows)
    n_cases = options.validation_slices + options.test_slices
    with progress("simulating ") as track:
        cases = [_simulate(options, mask, i) for i in track(range(n_cases))]
    validation, test = cases[: options.validation_slices], cases[options.validation_slices :]
    chosen, images, seconds = {}, {}, {}
    with progress("reconstructing ") as track:
        for method in track(list(GRIDS)):
            chosen[method] = _choose(method, validation, mask)
            images[method], seconds[method] = _reconstruct(method, chosen[method][0], test, mask)
    results = _score(test, images)
    _print_table(results, chosen, seconds)
    report = _report(options, results, chosen, seconds, pattern.acceleration, time.perf_counter() - started)
    _write(outputs, options, test, images, results, report)
    for path, what in zip(outputs, (f"images and error maps, times {ERROR_FACTOR:g}", "every number"), strict=True):
        say(f"{what}: {path.resolve()}")


def _simulate(options: Options, mask, index: int) -> Case:
    import jax

    from ..data.simulate import CONTRASTS as SEQUENCES
    from ..data.simulate import simulate
    from .reconstruct import estimate_maps

    contrast = CONTRASTS[index % len(CONTRASTS)]
    # one head per slice: no anatomy is in both sets
    scan = simulate(
        jax.random.fold_in(jax.random.key(options.seed), index),
        shape=options.shape,
        n_coils=options.coils,
        position=0.2 + 0.1 * (index % 3),
        contrast=SEQUENCES[contrast],
        snr=options.snr,
    )
    kspace = np.asarray(scan.kspace) * mask[None]
    return Case(np.abs(scan.image), kspace, estimate_maps(kspace, mask, _settings("cg-sense", 0.0)), contrast)


def _settings(method: "Method", lam: float):
    from .reconstruct import Settings

    return Settings(
        method=method, lam=lam, n_iter=None, wavelet="db4", scale="bart", maps="espirit", calib_size=None, n_sets=1
    )


def _reconstruct(method: "Method", lam: float, cases: list[Case], mask) -> tuple[list[np.ndarray], float]:
    """Magnitudes, and the seconds of a slice: the median, the compilation being over before."""
    from .reconstruct import reconstruct_slice

    settings = _settings(method, lam).complete(mask.shape)
    reconstruct_slice(cases[0].kspace, mask, settings, maps=cases[0].maps)
    images, seconds = [], []
    for case in cases:
        start = time.perf_counter()
        result = reconstruct_slice(case.kspace, mask, settings, maps=case.maps)
        seconds.append(time.perf_counter() - start)
        images.append(np.abs(result.image))
    return images, float(np.median(seconds))


def _choose(method: "Method", cases: list[Case], mask) -> tuple[float, dict[float, float]]:
    """The lam of the smallest mean NMSE over the validation slices, and the NMSE of each."""
    if len(GRIDS[method]) == 1:
        return GRIDS[method][0], {}
    import jax.numpy as jnp

    from ..metrics import nmse

    errors = {}
    for lam in GRIDS[method]:
        images, _ = _reconstruct(method, lam, cases, mask)
        errors[lam] = float(
            np.mean(
                [nmse(jnp.asarray(case.truth), jnp.asarray(image)) for case, image in zip(cases, images, strict=True)]
            )
        )
    return min(errors, key=lambda lam: errors[lam]), errors


def _score(test: list[Case], images) -> dict[str, list]:
    """Method -> evaluation of each slice, each a volume of its own: they are different heads."""
    from ..metrics import evaluate

    return {
        method: [evaluate(case.truth, image, variant=VARIANT) for case, image in zip(test, found, strict=True)]
        for method, found in images.items()
    }


def _summaries(results) -> "dict[str, dict[str, Statistics]]":
    from ..metrics import summarize

    return {method: summarize(evaluations) for method, evaluations in results.items()}


def _print_table(results, chosen, seconds) -> None:
    n = len(next(iter(results.values())))
    say(f"variant {VARIANT}; mean ± standard deviation over {n} slices")
    table = Table()
    for name in ("method", "lam", "PSNR dB", "SSIM", "NMSE", "ms per slice"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for method, summary in _summaries(results).items():
        cells = [
            f"{summary[m].mean:.{d}f} ± {summary[m].std:.{d}f}" for m, d in (("psnr", 2), ("ssim", 3), ("nmse", 4))
        ]
        lam = f"{chosen[method][0]:g}" if chosen[method][1] else "-"
        table.add_row(method, lam, *cells, f"{1e3 * seconds[method]:.0f}")
    show(table)
    for method, (lam, errors) in chosen.items():
        if errors and lam in (GRIDS[method][0], GRIDS[method][-1]):
            say(f"{method}: the best lam {lam:g} is at the end of the grid")


def _report(options: Options, results, chosen, seconds, acceleration, total) -> dict[str, Any]:
    import jax

    from .reconstruct import DEFAULTS

    config = {k: str(v) if isinstance(v, Path) else v for k, v in dataclasses.asdict(options).items()}
    return {
        "config": config,
        "variant": VARIANT,
        "measured_acceleration": acceleration,
        "data": "simulated heads, one per slice; validation and test heads differ",
        "device": str(jax.devices()[0]),
        "versions": {"python": platform.python_version(), "jax": jax.__version__, "numpy": np.__version__},
        "total_seconds": total,
        "methods": {
            method: {
                "lam": chosen[method][0],
                "iterations": DEFAULTS.get(method, (0, 0))[1],
                "validation_nmse": {f"{lam:g}": error for lam, error in chosen[method][1].items()},
                "seconds_per_slice": seconds[method],
                "mean": {metric: value.mean for metric, value in summary.items()},
                "slices": [evaluation.as_dict() for evaluation in results[method]],
            }
            for method, summary in _summaries(results).items()
        },
    }


def _write(outputs, options: Options, test: list[Case], images, results, report) -> None:
    from .. import plots
    from ..data.write import atomic

    captions = {m: f"PSNR {e[0].volume['psnr']:.1f} dB, SSIM {e[0].volume['ssim']:.3f}" for m, e in results.items()}
    rows, columns = (slice(n // 2 - n // 8, n // 2 + n // 8) for n in options.shape)
    drawing = plots.comparison(
        test[0].truth,
        {method: found[0] for method, found in images.items()},
        captions=captions,
        error_factor=ERROR_FACTOR,
        zoom=(rows, columns),
        title=f"simulated head, {test[0].contrast.upper()}, {options.mask}, R = {report['measured_acceleration']:.1f}",
    )
    figure, numbers = outputs
    with atomic(numbers, overwrite=options.overwrite) as text, atomic(figure, overwrite=options.overwrite) as drawn:
        text.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
        plots.save(drawing, drawn)

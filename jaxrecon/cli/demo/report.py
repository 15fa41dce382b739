"""What `jaxrecon demo` shows of its results: tables, figures, one page, and every number as JSON."""

import contextlib
import dataclasses
import itertools
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from ... import plots
from ...classical.methods import METHODS
from ...files import atomic
from ...metrics import summarize
from ...strategies.configs import Gleam
from ..common import say, show
from . import page
from .cases import GRIDS, VARIANT, Case
from .measured import N_CENTER, Measured

if TYPE_CHECKING:
    from ...metrics import Evaluation
    from .cases import Options
    from .networks import Trained


class Results(NamedTuple):
    """What the demo found.

    Attributes:
      measured: the measured brain.
      described: (what, value) of the data.
      acceleration: measured.
      test: the slices that are scored.
      chosen: classical method -> (lam, validation NMSE of each lam that was tried).
      trained: network -> how it was trained.
      images: method -> magnitude (y, x) of each slice.
      scores: method -> evaluation of each slice, a volume of its own: they are different heads.
      seconds: method -> seconds for a slice.
    """

    measured: Measured
    described: list[tuple[str, str]]
    acceleration: float
    test: list[Case]
    chosen: "dict[str, tuple[float, dict[float, float]]]"
    trained: "dict[str, Trained]"
    images: dict[str, list[np.ndarray]]
    scores: "dict[str, list[Evaluation]]"
    seconds: dict[str, float]


ERROR_FACTOR = 5.0
SLACK = 0.2
"""dB by which a step may be worse than the one before, and early exit still counts as rising."""


def print_measured(measured: Measured) -> None:
    """The table of the measured brain."""
    say(_about_measured())
    _print(*_measured_table(measured))


def print_results(results: "Results") -> None:
    """The tables, and what is to be noticed about them."""
    say(_about_scores(results))
    _print(*_score_table(results))
    if results.trained:
        _print(*_network_table(results))
    for text in _remarks(results):
        say(text)


def write_results(
    outputs: Mapping[str, Path], options: "Options", results: "Results", total: Mapping[str, float]
) -> list[str]:
    """Write figures, page and JSON, all of them or none, and return which."""
    figures = _figures(options, results)
    texts = {
        "index.html": _page(options, results, figures, total),
        "results.json": json.dumps(_report(options, results, total), indent=2, allow_nan=False) + "\n",
    }
    with contextlib.ExitStack() as stack:
        for name in [*texts, *figures]:
            temporary = stack.enter_context(atomic(outputs[name], overwrite=options.overwrite))
            if name in texts:
                temporary.write_text(texts[name], encoding="utf-8")
            else:
                plots.save(figures[name], temporary)
    return [*texts, *figures]


def rises(values: list[float]) -> bool:
    """Whether each value is as large as the one before, within SLACK."""
    return all(later >= earlier - SLACK for earlier, later in itertools.pairwise(values))


def _about_measured():
    return (
        f"a measured head, 16 coils: every R-th line and the {N_CENTER} central ones; no tuning; error within the head "
        "against the image of all lines"
    )


def _measured_table(measured):
    """(header, rows) of the error of each method on the measured brain."""
    header = ("method", *(f"R = {r} ({real:.2f} measured)" for r, real in measured.accelerations.items()))
    methods = next(iter(measured.errors.values()))
    return header, [(m, *(f"{100 * errors[m]:.2f} %" for errors in measured.errors.values())) for m in methods]


def _about_scores(results):
    return f"variant {VARIANT}; mean ± standard deviation over {len(results.test)} slices of as many heads"


def _score_table(results):
    """(header, rows) of the quality of each method."""
    header = ("method", "lam", "PSNR dB", "SSIM", "NMSE", "ms per slice")
    rows = []
    for method, evaluations in results.scores.items():
        summary = summarize(evaluations)
        cells = [
            f"{summary[m].mean:.{d}f} ± {summary[m].std:.{d}f}" for m, d in (("psnr", 2), ("ssim", 3), ("nmse", 4))
        ]
        lam, tried = results.chosen.get(method, (0.0, {}))
        rows.append((method, f"{lam:g}" if tried else "-", *cells, f"{1e3 * results.seconds[method]:.0f}"))
    return header, rows


def _network_table(results):
    """(header, rows) of how each network was trained."""
    header = ("network", "parameters", "training s", "memory of a step MiB", "PSNR dB after step 1, 2, ...")
    rows = []
    for name, one in results.trained.items():
        psnr = ", ".join(f"{value:.2f}" for value in one.psnr_by_step)
        rows.append((name, f"{one.n_parameters:,}", f"{one.seconds:.0f}", f"{one.memory / 2**20:.1f}", psnr))
    return header, rows


def _remarks(results):
    """Sentences about what did not come out as it should."""
    remarks = []
    for method, (lam, tried) in results.chosen.items():
        if tried and lam in (GRIDS[method][0], GRIDS[method][-1]):
            remarks.append(f"{method}: the best lam {lam:g} is at the end of the grid")
    for name, one in results.trained.items():
        if _mean_psnr(results, name) <= _mean_psnr(results, "l1-wavelet"):
            remarks.append(
                f"{name}: its PSNR is not better than that of l1-wavelet; train it longer: --updates, --training-slices"
            )
        if isinstance(one.network.experiment.strategy, Gleam) and not rises(one.psnr_by_step):
            remarks.append(f"{name}: the PSNR does not rise from step to step; train it longer: --updates")
    return remarks


def _mean_psnr(results, method):
    return summarize(results.scores[method])["psnr"].mean


def _print(header, rows):
    table = Table()
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row)
    show(table)


def _report(options: "Options", results: "Results", total: Mapping[str, float]) -> dict[str, Any]:
    config = {k: str(v) if isinstance(v, Path) else v for k, v in dataclasses.asdict(options).items()}
    methods: dict[str, dict[str, Any]] = {}
    for method, evaluations in results.scores.items():
        methods[method] = {
            "seconds_per_slice": results.seconds[method],
            "mean": {metric: value.mean for metric, value in summarize(evaluations).items()},
            "slices": [evaluation.as_dict() for evaluation in evaluations],
        }
    for method, (lam, tried) in results.chosen.items():
        methods[method] |= {
            "lam": lam,
            "iterations": METHODS[method].n_iter or 0,
            "validation_nmse": {f"{value:g}": error for value, error in tried.items()},
        }
    for method, one in results.trained.items():
        methods[method]["network"] = one.as_json() | {"rises_from_step_to_step": rises(one.psnr_by_step)}
    return {
        "config": config,
        "variant": VARIANT,
        "measured": results.measured.as_json(),
        "measured_acceleration": results.acceleration,
        "data": "simulated heads, one per slice; training, validation and test heads differ",
        "device": str(jax.devices()[0]),
        "versions": {"python": platform.python_version(), "jax": jax.__version__, "numpy": np.__version__},
        "total": dict(total),
        "methods": methods,
    }


def _figures(options: "Options", results: "Results") -> dict[str, Figure]:
    """File -> figure."""
    captions = {
        m: f"PSNR {e[0].volume['psnr']:.1f} dB, SSIM {e[0].volume['ssim']:.3f}" for m, e in results.scores.items()
    }
    rows, columns = (slice(n // 2 - n // 8, n // 2 + n // 8) for n in options.shape)
    first = results.test[0]
    images = plots.comparison(
        first.truth,
        {method: found[0] for method, found in results.images.items()},
        captions=captions,
        error_factor=ERROR_FACTOR,
        zoom=(rows, columns),
        title=f"simulated head, {first.contrast.upper()}, {options.mask}, R = {results.acceleration:.1f}",
    )
    brain = results.measured
    r = max(brain.images)
    measured = plots.comparison(
        brain.reference,
        brain.images[r],
        captions={method: f"error {100 * error:.1f} %" for method, error in brain.errors[r].items()},
        error_factor=ERROR_FACTOR,
        title=f"measured head, 16 coils, every {r}th line and the {N_CENTER} central ones",
    )
    if not results.trained:
        return {"brain.png": measured, "figure.png": images}
    losses = {name: one.losses for name, one in results.trained.items()}
    exits = {name: np.array(one.psnr_by_step) for name, one in results.trained.items()}
    n_steps = max(map(len, exits.values()))
    exits |= {name: np.full(n_steps, _mean_psnr(results, name)) for name in ("cg-sense", "l1-wavelet")}
    training = plots.curves(losses, xlabel="update", ylabel="loss of the last step", log_y=True)
    early_exit = plots.curves(
        {name: (np.arange(1, len(psnr) + 1), psnr) for name, psnr in exits.items()},
        xlabel="steps of the network that are run",
        ylabel="PSNR of the test slices / dB",
    )
    axes = early_exit.axes[0]
    axes.set_xticks(range(1, n_steps + 1))
    for line in axes.lines:
        if line.get_label() not in results.trained:  # has no steps
            line.set(linestyle="--", marker="")
    axes.legend()
    return {"brain.png": measured, "figure.png": images, "training.png": training, "early_exit.png": early_exit}


def _page(options: "Options", results: "Results", figures: dict[str, Figure], total: Mapping[str, float]) -> str:
    parts = [
        page.heading("A measured head"),
        page.table(*_measured_table(results.measured), note=_about_measured()),
        page.picture(
            figures["brain.png"],
            f"The measured head from the fewest lines, and errors, brightened {ERROR_FACTOR:g} times. Data: github "
            "pulseq/MR-Physics-with-Pulseq, MIT, (c) 2024 pulseq.",
        ),
        page.heading("Simulated heads"),
        page.paragraph(
            "Random heads were simulated, measured by several coils, undersampled, and reconstructed by methods that "
            "were chosen and trained on other heads. One command made all numbers and images of this page."
        ),
        page.table(("what", "chosen"), results.described, numbers=False),
        page.heading("Quality"),
        page.table(*_score_table(results), note=_about_scores(results)),
        page.picture(
            figures["figure.png"],
            f"The first test slice: images, a part of them enlarged, and errors, brightened {ERROR_FACTOR:g} times, with "
            "the scores of this slice.",
        ),
    ]
    if results.trained:
        note = "Memory: intermediate results of one training step, as the compiler plans them. Time: with compilation."
        parts += [
            page.heading("One network, two strategies"),
            page.paragraph(
                "The networks are the same and see the same slices. End to end, one loss teaches all steps; GLEAM "
                "teaches each step by a loss of its own, so that one step is in memory at a time, and the network may "
                "be stopped after any of its steps."
            ),
            page.table(*_network_table(results), note=note),
            page.row(
                page.picture(figures["training.png"], "The loss during training, for GLEAM that of the last step."),
                page.picture(
                    figures["early_exit.png"],
                    "Early exit: quality where only the first steps of the network are run. Only GLEAM trains for it.",
                ),
            ),
        ]
    parts += [page.paragraph(text) for text in _remarks(results)]
    machine = f"{jax.devices()[0].platform}, jax {jax.__version__}, Python {platform.python_version()}"
    seconds = f"{total['seconds']:.0f} s in all, {total['processor_seconds']:.0f} s of processor time"
    parts.append(page.paragraph(f"{seconds}; {machine}; seed {options.seed}."))
    return page.page("jaxrecon: accelerated MRI reconstruction, on a measured head and on data made here", parts)

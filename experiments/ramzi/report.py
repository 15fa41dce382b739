"""Write the benchmark's table and figures from the JSON files of run.py, our value beside the paper's: no number typed by hand.

    python experiments/ramzi/report.py --results experiments/ramzi/results

Writes tables.md, validation.png (the course of the trainings), images.png (a test slice, from the run folders) and depth.png
(quality, memory and time against the iterations of PDNet) to the folder of the results.
"""

import itertools
import statistics
import sys
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from paper import BENCHMARK, CHALLENGE
from ramzi_settings import SMALL_UPDATES

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import reports
from reports import Results, Run, spread

from jaxrecon import plots

HERE = Path(__file__).resolve().parent
SETTLED = 0.01
"""Part by which the validation error of a training that has settled changes over its last fifth."""


def main() -> None:
    folder = reports.results_folder(__doc__, HERE / "results")
    results = read(folder)
    text = [
        "# Ramzi's benchmark",
        "",
        "Written by report.py from the JSON files beside it. **The paper's values are of measured knees and of OASIS; ours are "
        f"{described(results)}.** PSNR in dB and SSIM, means over volumes, the range of each its maximum less its "
        "minimum; +-: standard deviation over seeds, the "
        "paper's (in brackets) over volumes.",
    ]
    text += table(results) + order(results) + trainings(results, folder) + depth(results, folder) + challenge()
    draw_images(results, folder)
    (folder / "tables.md").write_text("\n".join(text) + "\n")
    print(f"wrote {folder / 'tables.md'}")


def read(folder: Path) -> Results:
    """Row -> its runs, one for each seed.

    Raises:
      SystemExit: rows of one seed were tested on other data, or trained with another number of updates.
    """
    results = reports.read(folder)
    runs = [run for found in results.values() for run in found]
    for seed in {run["seed"] for run in runs}:
        same = [run for run in runs if run["seed"] == seed]
        if len({run["test"]["sha256"] for run in same}) > 1:
            raise SystemExit(f"the rows of seed {seed} were tested on different data: run them again")
        updates = {run["n_updates"] for run in same if run["small"] and "n_updates" in run}
        if len(updates) > 1:
            raise SystemExit(
                f"the rows of seed {seed} had {sorted(updates)} updates: run them again, with as many for all"
            )
    return results


def described(results: Results) -> str:
    """What was trained and tested on."""
    runs = [run for found in results.values() for run in found]
    run = next((run for run in runs if "n_updates" in run), runs[0])
    test, config = run["test"], run["config"]
    _, y, x = test["shape"]
    seeds = len({run["seed"] for run in runs})
    sizes = f"{test['slices']} slices of {len(test['scans'])} others for the test, {y} x {x}"
    sizes += f", R measured {test['acceleration']:.2f}; {seeds} seed" + ("s" if seeds > 1 else "")
    if not run["small"]:
        return f"of your files, {sizes}"
    trained = ""
    if "n_updates" in run:
        short = f" (the setting has {SMALL_UPDATES})" if run["n_updates"] < SMALL_UPDATES else ""
        trained = f"; {run['n_updates']} updates of one slice{short}, a quarter of the features"
    return f"of small networks on magnitude slices of {config['simulated']['heads']} simulated heads for training, {sizes}{trained}"


def table(results: Results) -> list[str]:
    """The rows that were run, beside the paper's."""
    head = ["", "PSNR ours", "fastMRI", "OASIS", "SSIM ours", "fastMRI", "OASIS", "parameters ours", "paper"]
    head += ["ms for a slice", "paper, s for a volume"]
    lines = ["", "## Table", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, row in BENCHMARK.items():
        runs = results.get(name, [])
        label = row["label"] + (
            f", lam {', '.join(str(run['lam']) for run in runs)}" if name == "wavelet" and runs else ""
        )
        cells = [label]
        for metric, digits in (("psnr", 2), ("ssim", 3)):
            cells.append(spread([run["scores"][metric]["mean"] for run in runs], digits))
            cells += [theirs(row[f"{data}_{metric}"], digits) for data in ("fastmri", "oasis")]
        cells.append(f"{runs[0].get('parameters', 0):,}" if runs else "")
        cells.append("" if row["fastmri_psnr"] is None else f"{row['parameters']:,}")
        cells.append(f"{1000 * statistics.median(run['seconds_per_slice'] for run in runs):.1f}" if runs else "")
        cells.append("" if row["seconds"] is None else f"{row['seconds']}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def theirs(value: tuple[float, float] | None, digits: int) -> str:
    return "" if value is None else f"{value[0]:.{digits}f} ({value[1]:.{digits}f})"


def order(results: Results) -> list[str]:
    """Whether neighbours in the paper's order stand in that order here, in each seed."""
    names = [name for name, row in BENCHMARK.items() if row["fastmri_psnr"] is not None]
    lines = [
        "",
        "## The paper's order",
        "",
        "| PSNR | difference here, in each seed | paper, fastMRI | OASIS |",
        "|---" * 4 + "|",
    ]
    for lower, higher in itertools.pairwise(names):
        a, b = (by_seed(results.get(name, [])) for name in (lower, higher))
        gains = [b[seed] - a[seed] for seed in sorted(a.keys() & b.keys())]
        published = [BENCHMARK[higher][key][0] - BENCHMARK[lower][key][0] for key in ("fastmri_psnr", "oasis_psnr")]
        holds = "not run" if not gains else "yes" if min(gains) > 0 else "no" if max(gains) < 0 else "not in each"
        cells = [f"{BENCHMARK[higher]['label']} above {BENCHMARK[lower]['label']}"]
        cells.append(f"{holds}: {', '.join(f'{gain:+.2f}' for gain in gains)}" if gains else holds)
        lines.append(f"| {' | '.join([*cells, *(f'{gain:+.2f}' for gain in published)])} |")
    return lines


def by_seed(runs: list[Run]) -> dict[int, float]:
    return {run["seed"]: run["scores"]["psnr"]["mean"] for run in runs}


def trainings(results: Results, folder: Path) -> list[str]:
    """How far each training has settled, and its course."""
    rows = {name: results[name] for name in BENCHMARK if "validation" in results.get(name, [{}])[0]}
    if not rows:
        return []
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    lines = [
        "",
        "## Trainings",
        "",
        "Validation error (NMSE) at the end, relative to that at four fifths of the training (of KIKI-net: of its last",
    ]
    lines[-1] += f" network); settled: it changes by less than {100 * SETTLED:.0f} %."
    lines += ["", "| | change, in each seed | settled |", "|---|---|---|"]
    for i, (name, runs) in enumerate(rows.items()):
        changes = [change(run["validation"][-1]) for run in runs]
        settled = all(abs(value) < SETTLED for value in changes)
        label = BENCHMARK[name]["label"]
        lines.append(
            f"| {label} | {', '.join(f'{100 * value:+.1f} %' for value in changes)} | {'yes' if settled else 'no'} |"
        )
        before = 0
        for n, stage in enumerate(runs[0]["validation"]):
            steps, psnr, _ = np.array(stage).T
            axes.plot(before + steps, psnr, f"C{i}", label=None if n else label)
            before += steps[-1]
    axes.set(
        xlabel="updates", ylabel="PSNR on validation slices, dB", title=f"seed {next(iter(rows.values()))[0]['seed']}"
    )
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(folder / "validation.png", dpi=130)
    plt.close(figure)
    return lines


def change(curve: list[list[float]]) -> float:
    """Relative change of the error over the last fifth of a training."""
    steps, _, errors = np.array(curve).T
    return float(errors[-1] / np.interp(0.8 * steps[-1], steps, errors) - 1)


def depth(results: Results, folder: Path) -> list[str]:
    """Quality, memory and time against the iterations of PDNet."""
    runs = [run for name, found in results.items() if name == "pdnet" or name.startswith("depth_") for run in found]
    if len({run["row"] for run in runs}) < 2:
        return []
    points: dict[int, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run["config"]["model"]["n_steps"]):
        points.setdefault(run["config"]["model"]["n_steps"], []).append(run)
    columns = {
        "PSNR, dB": {n: [run["scores"]["psnr"]["mean"] for run in of] for n, of in points.items()},
        "memory of an update, MiB": {n: [run["temporary_bytes"] / 2**20 for run in of] for n, of in points.items()},
        "time of an update, ms": {n: [1000 * run["seconds_per_update"] for run in of] for n, of in points.items()},
    }
    lines = [
        "",
        "## PDNet: number of iterations",
        "",
        "Memory: temporaries of the compiled training step, end to end.",
        "",
    ]
    lines += [f"| iterations | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {n} | {' | '.join(spread(values[n], 2) for values in columns.values())} |" for n in points]
    figure, axes = plt.subplots(1, len(columns), figsize=(10, 3), layout="constrained")
    for panel, (title, values) in zip(axes, columns.items(), strict=True):
        panel.plot(list(values), [statistics.fmean(found) for found in values.values()], marker="o")
        panel.set(xlabel="iterations", title=title)
        panel.grid(alpha=0.3)
    figure.savefig(folder / "depth.png", dpi=130)
    plt.close(figure)
    return lines


def challenge() -> list[str]:
    """The radiologists' ranks, which are quoted."""
    lines = ["", "## fastMRI challenge 2020", "", "Mean ranks by radiologists, quoted: they are not repeated here.", ""]
    lines += ["| | R = 4 | R = 8 |", "|---|---|---|"]
    return lines + [f"| {team} | {ranks[4]} | {ranks[8]} |" for team, ranks in CHALLENGE.items()]


def draw_images(results: Results, folder: Path) -> None:
    """A test slice of the first seed, as every row has it."""
    images, target = {}, None
    for name, row in BENCHMARK.items():
        for run in results.get(name, [])[:1]:
            path = folder / "runs" / f"{name}_seed{run['seed']}" / "picture.npz"
            if path.exists():
                with np.load(path, allow_pickle=False) as file:
                    images[row["label"]], target = file["image"], file["target"]
    if target is not None:
        figure = plots.comparison(target, images, error_factor=5.0)
        plots.save(figure, folder / "images.png", dpi=110)


if __name__ == "__main__":
    main()

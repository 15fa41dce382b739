"""Write the Deep J-Sense tables and figures from the JSON files of run.py, our value beside the paper's: no number typed by hand.

    python experiments/deep_jsense/report.py --results experiments/deep_jsense/results

Writes tables.md, fig2.png (images and maps), fig3.png (other accelerations) and fig4.png (calibration regions) to the folder of
the results. Differences between methods are tested on pairs: each scan of each seed counts once, with the mean over its slices,
by Wilcoxon's signed-rank test.
"""

import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from deep_jsense_settings import ACCELERATIONS, SMALL_STEPS, STEPS, fig4_row, supplement_row, widths
from paper import FIG3, FIG4, LABELS, PARAMETERS, SUPPLEMENT, TABLE1
from scipy.stats import wilcoxon

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import reports
from reports import Results, Run, spread

HERE = Path(__file__).resolve().parent
DIGITS = {"ssim": 4, "nmse": 4}
BASELINES = ("varnet", "modl")
Subjects = dict[tuple[int, str], float]
COLORS = {"deep_jsense": "C3", "varnet": "C0", "modl": "C2"}


def main() -> None:
    folder = reports.results_folder(__doc__, HERE / "results")
    results = read(folder)
    any_run = next(iter(results.values()))[0]
    text = [
        "# Deep J-Sense: Table 1, Figs. 2 to 4, supplement",
        "",
        "Written by report.py from the JSON files beside it. **The paper's values are of measured fastMRI knees; ours are "
        f"{data_in_words(any_run)}: they show how the methods relate to each other there, not whether the paper's numbers are met.** "
        f"Each slice is scored by itself, on subjects that training has not seen, against {reference_in_words(any_run)}; seeds "
        "change subjects, masks and weights, and within a seed all methods have the same. p: Wilcoxon's signed-rank test, "
        "two-sided, of the mean SSIM of each test subject.",
    ]
    text += claims(results) + table1(results) + fig3(results, folder) + fig4(results, folder) + supplement(results)
    draw_images(results, folder)
    (folder / "tables.md").write_text("\n".join(text) + "\n")
    print(f"wrote {folder / 'tables.md'}")


def read(folder: Path) -> Results:
    """Row -> its runs, one for each seed.

    Raises:
      SystemExit: methods were not tested on the same data.
    """
    results = reports.read(folder)
    for name, found in results.items():
        method = method_of(name)
        for run in found:
            same = [r for r in results.get(name.replace(method, "deep_jsense"), []) if r["seed"] == run["seed"]]
            if any(r["test"]["sha256"] != run["test"]["sha256"] for r in same):
                raise SystemExit(
                    f"{name}, seed {run['seed']}, was tested on other data than Deep J-Sense: run both again"
                )
    return results


def method_of(row: str) -> str:
    return next(method for method in LABELS if method in row)


def data_in_words(run: Run) -> str:
    """What the rows were trained and tested on."""
    config, test = run["config"], run["test"]
    coils, y, x = test["shape"]
    if not run["small"]:
        return f"of your files ({test['scans']} for the test)"
    return (
        f"of {config['simulated']['heads']} simulated heads for training and {test['scans']} others for the test, "
        f"{test['slices']} slices, {y} x {x}, {coils} coils, and of small networks trained for {config['n_updates']} steps"
    )


def reference_in_words(run: Run) -> str:
    """What the rows were trained towards and scored against."""
    rss = "the root of the sum of squares of its full k-space"
    return rss if run["config"]["data"]["target"] == "rss" else "the reference of its file"


def scores(run: Run, acceleration: int | None = None) -> dict[str, Any]:
    """The scores at one acceleration, by default that of the training."""
    found: dict[str, Any] = run["by_acceleration"][str(acceleration or round(run["config"]["data"]["acceleration"]))]
    return found


def by_subject(runs: list[Run], acceleration: int | None = None) -> Subjects:
    """SSIM of each test subject of each seed, the mean over its slices."""
    return {
        (run["seed"], subject): statistics.fmean(slices)
        for run in runs
        for subject, slices in scores(run, acceleration)["ssim"]["slices"].items()
    }


def less(ours: Subjects, others: Subjects) -> Subjects:
    """The difference of each subject that both have."""
    return {key: ours[key] - others[key] for key in ours if key in others}


def in_words(differences: Subjects) -> str:
    """Mean and p, in words of a table."""
    if not differences:
        return ""
    values = list(differences.values())
    return f"{statistics.fmean(values):+.4f}, p = {wilcoxon(values).pvalue:.1g}, n = {len(values)}"


def compared(ours: list[Run], others: list[Run], acceleration: int | None = None) -> str:
    """SSIM of ours less that of others, in words of a table."""
    return in_words(less(by_subject(ours, acceleration), by_subject(others, acceleration)))


def claims(results: Results) -> list[str]:
    """What the paper says of the order of the methods, and whether it holds here."""
    small = next(iter(results.values()))[0]["small"]
    at = lambda method, r: by_subject(results.get(f"table1_{method}", []), r)
    lines_of = lambda method, n: by_subject(results.get(fig4_row(method, n, small=small), []))
    change = lambda method, start, end: less(at(method, end), at(method, start))
    columns = widths(small=small)
    least, *_, most = columns
    narrowed = lambda method: less(lines_of(method, least), lines_of(method, most))
    first, last = ACCELERATIONS[0], ACCELERATIONS[-1]
    said = {f"Deep J-Sense better than {LABELS[m]}, R = 4": less(at("deep_jsense", 4), at(m, 4)) for m in BASELINES}
    said |= {"E2E-VarNet better than MoDL, R = 4": less(at("varnet", 4), at("modl", 4))}
    for r in ACCELERATIONS:
        if r != 4:
            said |= {
                f"Deep J-Sense better than {LABELS[m]}, R = {r} (trained at 4)": less(at("deep_jsense", r), at(m, r))
                for m in BASELINES
            }
    said |= {
        f"Deep J-Sense loses less than MoDL from R = {first} to {last}": less(
            change("deep_jsense", first, last), change("modl", first, last)
        ),
        f"Deep J-Sense gains more than E2E-VarNet from R = 4 to {first}": less(
            change("deep_jsense", 4, first), change("varnet", 4, first)
        ),
        f"Deep J-Sense better than E2E-VarNet with few calibration lines ({columns[6]})": less(
            lines_of("deep_jsense", 6), lines_of("varnet", 6)
        ),
        "Deep J-Sense loses less than E2E-VarNet from most to fewest calibration lines": less(
            narrowed("deep_jsense"), narrowed("varnet")
        ),
    }
    lines = ["", "## What of the paper's order holds here", ""]
    lines.append(
        "Yes, or the reverse: p < 0.05; else open. p is of test subjects, of which those of a seed share one training: "
        "it does not say how other trainings would come out (+- in the tables below does)."
    )
    lines += ["", "| The paper | here | difference of SSIM |", "|---|---|---|"]
    return lines + [f"| {claim} | {verdict(found)} | {in_words(found)} |" for claim, found in said.items()]


def verdict(differences: Subjects) -> str:
    """Whether they are positive."""
    if not differences:
        return "not run"
    values = list(differences.values())
    if wilcoxon(values).pvalue >= 0.05:
        return "open"
    return "yes" if statistics.fmean(values) > 0 else "the reverse"


def table1(results: Results) -> list[str]:
    """Mean, median and standard deviation over slices, each averaged over seeds."""
    lines = ["", "## Table 1: R = 4, trained and tested alike", ""]
    lines.append("mean / median / standard deviation over slices, averaged over seeds; +-: of the mean, over seeds.")
    lines += [
        "",
        "| | SSIM ours | SSIM paper | NMSE ours | NMSE paper | parameters ours | paper | Deep J-Sense less this, SSIM |",
    ]
    lines.append("|---" * 8 + "|")
    ours = results.get("table1_deep_jsense", [])
    for method, label in LABELS.items():
        runs = results.get(f"table1_{method}", [])
        cells = [f"{label} ({len(runs)} seeds)"]
        for metric in DIGITS:
            if runs:
                values = [scores(run)[metric] for run in runs]
                middle = [statistics.fmean(v[part] for v in values) for part in ("median", "std")]
                cells.append(f"{spread([v['mean'] for v in values])} / {middle[0]:.4f} / {middle[1]:.4f}")
            else:
                cells.append("not run")
            cells.append(" / ".join(f"{v:g}" for v in TABLE1[method][metric]))
        cells += [f"{runs[0]['parameters']:,}" if runs else "", f"{PARAMETERS[method]:,}"]
        cells.append("" if method == "deep_jsense" else compared(ours, runs))
        lines.append("| " + " | ".join(cells) + " |")
    zero = [spread([run["scores_zero_filled"][metric]["mean"] for run in ours]) for metric in DIGITS]
    lines.append(f"| zero-filled | {zero[0]} | | {zero[1]} | | | | |")
    lines.append("")
    falls = {m: [last_fall(run) for run in results.get(f"table1_{m}", [])] for m in LABELS}
    lines.append(
        "Training loss, mean of the last fifth of the steps less that of the fifth before: "
        + ", ".join(f"{LABELS[m]} {spread(found, 3)}" for m, found in falls.items())
        + ". The faster it still falls, the further is a network from what a longer training would make of it."
    )
    return lines


def last_fall(run: Run) -> float:
    """Mean training loss of the last fifth of the steps less that of the fifth before."""
    n = run["config"]["n_updates"]
    before, last = (
        statistics.fmean(loss for step, loss in run["loss"] if fifth * n < 5 * step <= (fifth + 1) * n)
        for fifth in (3, 4)
    )
    return last - before


def fig3(results: Results, folder: Path) -> list[str]:
    """SSIM at other accelerations than that of the training, calibration region kept."""
    runs = {method: results.get(f"table1_{method}", []) for method in LABELS}
    lines = ["", "## Fig. 3: trained at R = 4, tested at others", "", f"The paper: {FIG3}", ""]
    lines.append("SSIM, mean +- standard deviation over seeds; below it the differences to Deep J-Sense.")
    lines += ["", f"| | {' | '.join(f'R = {r}' for r in ACCELERATIONS)} | from R = 2 to 6 |", "|---" * 7 + "|"]
    for method, label in LABELS.items():
        values = {r: [scores(run, r)["ssim"]["mean"] for run in runs[method]] for r in ACCELERATIONS}
        loss = [b - a for a, b in zip(values[ACCELERATIONS[0]], values[ACCELERATIONS[-1]], strict=True)]
        lines.append(f"| {label} | {' | '.join(spread(v) for v in values.values())} | {spread(loss)} |")
    for method in BASELINES:
        cells = [compared(runs["deep_jsense"], runs[method], r) for r in ACCELERATIONS]
        lines.append(f"| Deep J-Sense less {LABELS[method]} | {' | '.join(cells)} | |")
    curves = {m: {r: [scores(run, r)["ssim"]["mean"] for run in runs[m]] for r in ACCELERATIONS} for m in LABELS}
    plot(curves, folder / "fig3.png", "acceleration R (trained at 4)")
    return lines


def fig4(results: Results, folder: Path) -> list[str]:
    """SSIM at R = 4 with calibration regions of several widths, trained at each."""
    small = next(iter(results.values()))[0]["small"]
    columns = widths(small=small)
    least, *_, most = columns
    runs = {(m, n): results.get(fig4_row(m, n, small=small), []) for m in LABELS for n in columns}
    lines = ["", "## Fig. 4: calibration region, trained and tested at each", "", f"The paper: {FIG4}", ""]
    lines.append(
        "SSIM, mean +- standard deviation over seeds, number of seeds. "
        + (
            "Lines of 80 columns; in brackets the paper's of about 368. One line lies beside the center of k-space, by the "
            "authors' rule. MoDL has no part in the paper's figure; ESPIRiT finds no maps from fewer than "
            f"{columns[12]} lines."
            if small
            else ""
        )
    )
    lines += [
        "",
        "| | "
        + " | ".join(f"{w} ({n})" if small else f"{n}" for n, w in columns.items())
        + f" | from {columns[most]} to {columns[least]} |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for method, label in LABELS.items():
        cells = []
        for n in columns:
            found = [scores(run)["ssim"]["mean"] for run in runs[method, n]]
            cells.append(f"{spread(found)} ({len(found)})" if found else "")
        wide = {run["seed"]: scores(run)["ssim"]["mean"] for run in runs[method, most]}
        narrow = {run["seed"]: scores(run)["ssim"]["mean"] for run in runs[method, least]}
        change = [narrow[seed] - wide[seed] for seed in narrow if seed in wide]
        lines.append(f"| {label} | {' | '.join(cells)} | {spread(change) if change else ''} |")
    for method in BASELINES:
        cells = [compared(runs["deep_jsense", n], runs[method, n]) for n in columns]
        lines.append(f"| Deep J-Sense less {LABELS[method]} | {' | '.join(cells)} | |")
    # a point of fewer seeds would give the curves a slope that is the seeds': drawn are those that every point has
    seeds = [{run["seed"] for run in found} for found in runs.values() if found]
    common = set.intersection(*seeds) if seeds else set()
    lines += ["", f"fig4.png: seeds {', '.join(map(str, sorted(common))) or 'none'}, which all points have."]
    shared = {key: [scores(r)["ssim"]["mean"] for r in found if r["seed"] in common] for key, found in runs.items()}
    curves = {m: {columns[n]: shared[m, n] for n in columns} for m in LABELS}
    plot(curves, folder / "fig4.png", "calibration lines, trained and tested at each")
    return lines


def supplement(results: Results) -> list[str]:
    """Steps against iterations within them."""
    small = next(iter(results.values()))[0]["small"]
    choices = SMALL_STEPS if small else STEPS
    lines = ["", "## Supplement: N steps of n1 = n2 iterations", "", f"The paper: {SUPPLEMENT}", ""]
    lines += ["| N, n1 = n2 | SSIM | seeds | less the row of Table 1, SSIM |", "|---|---|---|---|"]
    base = results.get("table1_deep_jsense", [])
    for n_steps, n in choices.items():
        runs = results.get(supplement_row(n_steps, small=small), [])
        difference = compared(runs, base) if runs is not base else ""
        values = [scores(run)["ssim"]["mean"] for run in runs]
        lines.append(f"| {n_steps}, {n} | {spread(values)} | {len(runs)} | {difference} |")
    return lines


def plot(curves: dict[str, dict[int, list[float]]], path: Path, xlabel: str) -> None:
    """A line for each method: mean over seeds, and the range of the seeds."""
    figure, axes = plt.subplots(figsize=(4.6, 3.4), layout="constrained")
    for method, points in curves.items():
        found = {x: values for x, values in points.items() if values}
        if found:
            mean = [statistics.fmean(values) for values in found.values()]
            axes.plot(list(found), mean, marker="o", ms=4, color=COLORS[method], label=LABELS[method])
            low, high = ([edge(values) for values in found.values()] for edge in (min, max))
            axes.fill_between(list(found), low, high, color=COLORS[method], alpha=0.15, lw=0)
    measured = sorted({x for points in curves.values() for x, values in points.items() if values})
    axes.set(xlabel=xlabel, ylabel="SSIM on unseen slices", xticks=measured)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_images(results: Results, folder: Path) -> None:
    """Fig. 2, for the first seed: one test slice, its error, and one coil's map, beside those of full k-space."""
    shown: dict[str, dict[str, np.ndarray]] = {}
    for method in LABELS:
        for run in results.get(f"table1_{method}", [])[:1]:
            path = folder / "runs" / f"{run['row']}_seed{run['seed']}" / "picture.npz"
            if path.exists():
                with np.load(path, allow_pickle=False) as file:
                    shown[method] = {name: file[name] for name in file.files}
    if not shown:
        return
    first = next(iter(shown.values()))
    target = first["target"]
    figure, axes = plt.subplots(3, len(shown) + 1, figsize=(2.1 * (len(shown) + 1), 7.2), layout="constrained")
    object_ = target > 0.1 * target.max()
    top = np.quantile(target, 0.995)
    axes[0, 0].imshow(target, cmap="gray", vmin=0, vmax=top)
    axes[0, 0].set_title("full k-space", fontsize=10)
    axes[2, 0].imshow(np.where(object_, first["full_map"], 0), cmap="viridis", vmin=0)
    for column, (method, picture) in enumerate(shown.items(), start=1):
        axes[0, column].imshow(picture["image"], cmap="gray", vmin=0, vmax=top)
        axes[0, column].set_title(LABELS[method], fontsize=10)
        error = np.abs(picture["image"] - target)
        axes[1, column].imshow(error, cmap="inferno", vmin=0, vmax=0.15 * top)
        # maps are free up to a factor: each in units of its own
        axes[2, column].imshow(picture["map"], cmap="viridis", vmin=0)
    for row, label in enumerate(("image", "error, to 0.15 of the top", "map of one coil")):
        axes[row, 0].set_ylabel(label)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.set_frame_on(bool(axis.images))
    figure.savefig(folder / "fig2.png", dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    main()

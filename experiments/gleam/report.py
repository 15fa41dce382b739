"""Write GLEAM's tables and figures from the JSON files of run.py, our value beside the paper's: no number typed by hand.

    python experiments/gleam/report.py --results experiments/gleam/results

Writes tables.md, fig7.png (forward and backward time) and fig8_9.png (PSNR against the number of steps that are run) to
the folder of the results.
"""

import itertools
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from paper import ROWS, TABLES

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import reports
from reports import Results

HERE = Path(__file__).resolve().parent
MEMORY = HERE.parent / "benchmarks" / "results" / "memory.json"
MEMORY_ROWS = {
    "table1": ("pgd_2d", {"end_to_end": "end to end", "gleam": "gleam, M = 8"}),
    "table2": (
        "modl_2d",
        {
            "end_to_end": "end to end",
            "checkpointed": "checkpointed",
            "mel": "invertible, N_cp = 7",
            "gleam": "gleam, M = 8",
        },
    ),
    "table3": ("pgd_2d_deep", {"end_to_end": "end to end", "gleam_n24_m3": "N = 24, gleam, M = 3"}),
    "table4": ("pgd_3d_deep", {"end_to_end": "end to end", "gleam_n12_m3": "N = 12, gleam, M = 3"}),
    "table5": (
        "modl_3d",
        {
            "end_to_end": "end to end",
            "checkpointed": "checkpointed",
            "mel": "invertible, N_cp = 3",
            "gleam": "gleam, M = 4",
        },
    ),
}
"""Table -> that of the memory benchmark, and its rows by the last words of ours."""
SAME_DATA = {"table2_cs_r16": "table1_cs_r16", "table5_cs_cine": "table4_cs_cine"}
EQUAL_MEMORY = {
    "Table III, 2D": ("table3_pgd_r8_end_to_end", "table3_pgd_r8_gleam_n24_m3"),
    "Table IV, 2D + time": ("table4_pgd_cine_end_to_end", "table4_pgd_cine_gleam_n12_m3"),
}
EARLY_EXIT = {
    "PGD, R = 12": "table1_pgd_r12",
    "PGD, R = 16": "table1_pgd_r16",
    "MoDL, R = 4": "table2_modl_r4",
    "MoDL, R = 16": "table2_modl_r16",
}
SLACK = 0.2
"""dB that a step may fall below the one before and the sequence still counts as rising."""
COLORS = {"end_to_end": "C0", "checkpointed": "C1", "mel": "C2", "gleam": "C3"}
NAMES = {"end_to_end": "end-to-end", "checkpointed": "checkpointing", "mel": "MEL", "gleam": "GLEAM"}
DIGITS = {"ssim": 3, "nrmse": 3, "psnr": 2}


def main() -> None:
    folder = reports.results_folder(__doc__, HERE / "results")
    results = reports.read(folder)
    text = [
        "# GLEAM, Tables I to V",
        "",
        "Written by report.py from the JSON files beside it. **The paper's values are of knees, brains and hearts that were "
        "measured; ours, unless a table says otherwise, of small simulated ones and of small, briefly trained networks: they show "
        "how the rows of a table relate to each other, not whether the paper's numbers are met.** mean (standard deviation) over "
        "test slices of subjects that training has not seen, magnitudes, variant gleam; of cine each frame by itself. The best "
        "weights by validation are scored. Memory: temporaries of the compiled training step at the paper's size (one image size "
        "for all: 320 x 256 with 8 coils, cine 20 x 200 x 200), of experiments/benchmarks/memory.py. Seconds per iteration are of a "
        "machine that did other work at the same time, and do not count the wait for a run's last steps: experiments/benchmarks/"
        "gleam_time.py compares times.",
    ]
    text += [line for table in TABLES for line in table_lines(table, results)]
    text += equal_memory(results) + beyond(folder / "beyond.json") + early_exit(results) + times(results, folder)
    (folder / "tables.md").write_text("\n".join(text) + "\n")
    draw_early_exit(results, folder / "fig8_9.png")
    print(f"wrote {folder / 'tables.md'}")


def table_lines(table: str, results: Results) -> list[str]:
    """One table, the rows that were run and the paper's."""
    rows = {name: row for name, row in ROWS.items() if name.startswith(table)}
    runs = {name: results.get(SAME_DATA.get(name, name), []) for name in rows}
    trained = next((r[0] for name, r in runs.items() if r and "_cs_" not in name), None)
    if trained is None:
        return []
    peaks = ["ssim", "nrmse", "psnr"]
    measured = sorted({round(r[0]["test"]["acceleration"], 2) for name, r in runs.items() if r})
    acceleration = ", ".join(f"{found:.2f}" for found in measured)
    lines = ["", f"## {TABLES[table]}", "", f"Ours: {data_in_words(trained)}; R measured: {acceleration}.", ""]
    head = ["", *(f"{m} {who}" for m in ("SSIM", "nRMSE", "PSNR, dB,") for who in ("ours", "paper"))]
    head += ["MiB ours", "GB paper", "s per iteration ours", "paper", "parameters ours", "paper"]
    lines += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, row in rows.items():
        cells = [row["label"] + (f" ({len(runs[name])} seeds)" if len(runs[name]) > 1 else "")]
        for metric in peaks:
            cells += [ours(runs[name], metric), theirs(row, metric)]
        cells += [memory(name), f"{row['gb']}" if "gb" in row else ""]
        cells += [seconds(runs[name]), f"{row['seconds']}" if "seconds" in row else ""]
        cells += [f"{runs[name][0]['parameters']:,}" if runs[name] and "parameters" in runs[name][0] else ""]
        cells += [f"{row['parameters'] / 1e6:.2f} M" if "parameters" in row else ""]
        lines.append("| " + " | ".join(cells) + " |")
        if runs[name] and "factor" in runs[name][0]:
            lines.append(baseline_with_papers_weights(runs[name], len(head)))
    return lines


def data_in_words(result: dict[str, Any]) -> str:
    """What a row was trained and tested on."""
    config, test = result["config"], result["test"]
    *frames, coils, y, x = test["shape"]
    what = f"{frames[0]} frames of " if frames else ""
    simulated = config["simulated"]
    source = (
        f"{simulated['heads']} simulated {'hearts' if frames else 'heads'} for training" if result["small"] else "files"
    )
    model = config["model"]
    text = (
        f"{source}, {test['slices']} {'series' if frames else 'slices'} of {len(test['scans'])} others for the test, "
        f"{what}{y} x {x}, {coils} coils; {model['features']} features"
    )
    if "cg_iters" in model:
        text += f", {model['cg_iters']} CG"
    return text + f"; {config['n_updates']} iterations of batch {config['batch_size']}, learning rate {rate(config)}"


def rate(config: dict[str, Any]) -> str:
    start = config["optimizer"]["learning_rate"]
    start = "1e-4" if start == 1e-4 else f"{start:g}"
    falls = " falling to zero" if config["optimizer"]["kind"] == "adam_cosine" else ""
    averaged = f", weights averaged with decay {config['ema_decay']:g}" if config.get("ema_decay") else ""
    return f"{start}{falls}{averaged}"


def ours(runs: list[dict[str, Any]], metric: str, scores: str = "scores") -> str:
    """Mean over the seeds of mean (std) over slices."""
    if not runs:
        return "not run"
    mean, std = (statistics.fmean(r[scores][metric][part] for r in runs) for part in ("mean", "std"))
    return f"{mean:.{DIGITS[metric]}f} ({std:.{DIGITS[metric]}f})"


def theirs(row: dict[str, Any], metric: str) -> str:
    if row[metric] is None:
        return row["note"]
    return f"{row[metric][0]:.{DIGITS[metric]}f} ({row[metric][1]:.{DIGITS[metric]}f})"


def baseline_with_papers_weights(runs: list[dict[str, Any]], width: int) -> str:
    """CS with the weights that the paper names; the row above has the best multiple of them."""
    factors = ", ".join(f"{r['factor']:g}" for r in runs)
    cells = [f"- the same with the paper's weights (above: times {factors}, chosen on validation slices)"]
    for metric in DIGITS:
        cells += [ours(runs, metric, "scores_with_the_papers_weights"), ""]
    cells += [""] * (width - len(cells))
    zero = ["- zero-filled"]
    for metric in DIGITS:
        zero += [ours(runs, metric, "scores_zero_filled"), ""]
    zero += [""] * (width - len(zero))
    return "| " + " | ".join(cells) + " |\n| " + " | ".join(zero) + " |"


def memory(name: str) -> str:
    """Temporaries at the paper's size, from the memory benchmark."""
    table, labels = MEMORY_ROWS[name[:6]]
    label = next((found for words, found in labels.items() if name.endswith(words)), None)
    tables = json.loads(MEMORY.read_text())["tables"]
    rows = {row["strategy"]: row for row in tables[table]["rows"]} if table in tables else {}
    return f"{rows[label]['temporary_bytes'] / 2**20:.0f}" if label in rows else ""


def seconds(runs: list[dict[str, Any]]) -> str:
    found = [r["seconds_per_iteration"] for r in runs if "seconds_per_iteration" in r]
    return f"{statistics.median(found):.2f}" if found else ""


def equal_memory(results: Results) -> list[str]:
    """Whether three times the depth pays at equal memory, seed by seed."""
    lines = ["", "## Equal memory: GLEAM with three times the depth against end-to-end", ""]
    lines.append("PSNR on unseen slices at equal iterations; seeds change data, masks and weights.")
    lines += ["", "| | seeds | end-to-end | GLEAM | difference, dB | paper's difference |", "|---|---|---|---|---|---|"]
    for title, pair in EQUAL_MEMORY.items():
        by_seed = [{r["seed"]: r["scores"]["psnr"]["mean"] for r in results.get(name, [])} for name in pair]
        seeds = sorted(by_seed[0].keys() & by_seed[1].keys())
        if not seeds:
            continue
        shallow, deep = ([values[seed] for seed in seeds] for values in by_seed)
        gain = [b - a for a, b in zip(shallow, deep, strict=True)]
        published = ROWS[pair[1]]["psnr"][0] - ROWS[pair[0]]["psnr"][0]
        each = ", ".join(f"{g:+.2f}" for g in gain)
        lines.append(
            f"| {title} | {len(seeds)} | {spread(shallow)} | {spread(deep)} | {spread(gain)}: {each} | {published:+.2f} |"
        )
    return lines


def spread(values: list[float]) -> str:
    """Mean and standard deviation over seeds."""
    std = f" +- {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{std}"


def beyond(path: Path) -> list[str]:
    """What beyond.py measured."""
    if not path.exists():
        return []
    psnr = json.loads(path.read_text())["psnr"]
    lines = [
        "",
        "## Beyond the paper: quality",
        "",
        "PGD, R = 12, small, equal iterations, last weights, PSNR in dB on the test slices of Table I; differences to GLEAM "
        "within each seed. What lowers the memory further is in experiments/benchmarks/results/memory.json.",
        "",
        "| | seeds | PSNR | difference |",
        "|---|---|---|---|",
    ]
    for name, of_seeds in psnr.items():
        differences = [value - psnr["gleam"][seed] for seed, value in of_seeds.items()]
        mean = f"{statistics.fmean(differences):+.2f}: " + ", ".join(f"{d:+.2f}" for d in differences)
        lines.append(f"| {name} | {len(of_seeds)} | {statistics.fmean(of_seeds.values()):.2f} | {mean} |")
    return lines


def early_exit(results: Results) -> list[str]:
    """PSNR after each step, and what it says."""
    lines = ["", "## Early exit (the paper's Figs. 8 and 9)", ""]
    lines.append(
        "PSNR in dB when only the first N_inf steps are run; 0 is the zero-filled image. The paper, MoDL at R = 16: rising with "
        f"every step for GLEAM, not so for end-to-end. Rising: no step loses more than {SLACK} dB."
    )
    for title, start in EARLY_EXIT.items():
        rows = {label: results.get(f"{start}_{label}", []) for label in NAMES}
        found = {label: runs[0]["by_steps"]["psnr"] for label, runs in rows.items() if runs}
        if not found:
            continue
        n = len(next(iter(found.values())))
        lines += [
            "",
            f"| {title} | {' | '.join(map(str, range(n)))} | each above zero-filled | rising |",
            "|---" * (n + 3) + "|",
        ]
        for label, psnr in found.items():
            above, rising = verdicts(psnr)
            cells = [f"{p:.2f}" for p in psnr] + [yes_or_no(above), yes_or_no(rising)]
            lines.append(f"| {NAMES[label]} | {' | '.join(cells)} |")
    return lines


def verdicts(psnr: list[float]) -> tuple[bool, bool]:
    """(every prefix is better than the zero-filled image, none is worse than the one before)."""
    above = all(p > psnr[0] for p in psnr[1:])
    return above, all(b > a - SLACK for a, b in itertools.pairwise(psnr))


def yes_or_no(answer: bool) -> str:
    return "yes" if answer else "no"


def draw_early_exit(results: Results, path: Path) -> None:
    """PSNR against N_inf, one panel for each network and R."""
    panels = {t: s for t, s in EARLY_EXIT.items() if any(f"{s}_{label}" in results for label in NAMES)}
    if not panels:
        return
    figure, axes = plt.subplots(1, len(panels), figsize=(3.3 * len(panels), 3.2), squeeze=False, layout="constrained")
    for panel, (title, start) in zip(axes[0], panels.items(), strict=True):
        for label, name in NAMES.items():
            runs = results.get(f"{start}_{label}", [])
            if runs:
                psnr = runs[0]["by_steps"]["psnr"]
                style = "--" if label in ("checkpointed", "mel") else "-"
                panel.plot(range(1, len(psnr)), psnr[1:], style, marker="o", ms=3.5, color=COLORS[label], label=name)
                zero_filled = psnr[0]
        panel.axhline(zero_filled, color="grey", lw=1, label="zero-filled")
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("steps run, $N_{inf}$")
        panel.grid(alpha=0.3)
    axes[0][0].set_ylabel("PSNR on unseen slices, dB")
    axes[0][-1].legend(fontsize=8)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def times(results: Results, folder: Path) -> list[str]:
    """Fig. 7: forward and backward time, as a table and as a figure."""
    if "fig7" not in results:
        return []
    (run, *_) = results["fig7"]
    medians = {label: statistics.median(values) for label, values in run["seconds"].items()}
    forward = medians.pop("forward")
    _, coils, y, x = run["shape"]
    lines = ["", "## Forward and backward time (the paper's Fig. 7)", ""]
    lines.append(
        f"MoDL, N = 8, {y} x {x}, {coils} coils, batch {run['shape'][0]}, on {run['machine']['device']}: the loss alone (forward), and "
        "what its gradient takes beyond that; in turn, median of seven rounds. MEL without checkpoints here; the paper's ratios are "
        "those of Table II, R = 4."
    )
    lines += ["", "| | forward, s | backward, s | together, to end-to-end | paper |", "|---|---|---|---|---|"]
    published = {label: ROWS[f"table2_modl_r4_{label}"]["seconds"] for label in medians}
    for label, both in medians.items():
        ratio = both / medians["end_to_end"]
        lines.append(
            f"| {NAMES[label]} | {forward:.3f} | {both - forward:.3f} | {ratio:.2f} "
            f"| {published[label] / published['end_to_end']:.2f} |"
        )
    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    names = [NAMES[label] for label in medians]
    axes.bar(names, forward, color="C7", label="forward")
    axes.bar(names, [m - forward for m in medians.values()], bottom=forward, color="C0", label="backward")
    axes.set_ylabel("s per iteration")
    axes.set_title(f"MoDL, N = 8, {y} x {x}, {coils} coils", fontsize=10)
    axes.legend(loc="upper left")
    figure.savefig(folder / "fig7.png", dpi=130)
    plt.close(figure)
    return lines


if __name__ == "__main__":
    main()

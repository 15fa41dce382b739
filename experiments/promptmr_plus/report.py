"""Write PromptMR+'s tables and picture from the JSON files of run.py, the published value beside ours: no number typed by hand.

    python experiments/promptmr_plus/report.py --results experiments/promptmr_plus/results

Writes tables.md, and picture.png (zero-filled, plain unrolled, E2E-VarNet, PromptMR+ and truth, with a zoomed inset) from the
runs of the first seed, to the folder of the results.
"""

import statistics
import sys
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from paper import BENCHMARKS, LABELS, METHODS, PICTURE, PUBLISHED

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import reports
from reports import Results, Run, spread

HERE = Path(__file__).resolve().parent
OURS = "knee_r4_promptmr_plus"
SHOWN = {"ablation_baseline": "plain unrolled", "varnet_equal_parameters": "E2E-VarNet", OURS: "PromptMR+"}


def main() -> None:
    folder = reports.results_folder(__doc__, HERE / "results")
    results = read(folder)
    run = next(iter(results.values()))[0]
    text = [
        "# PromptMR+: ablation, comparison with E2E-VarNet, benchmarks",
        "",
        "Written by report.py from the JSON files beside it. **The published values are of measured knees, brains and hearts; ours "
        f"are {data_in_words(run)}: they show how the methods relate to each other there, not whether the published numbers are "
        "met.** Slices of subjects that training has not seen, mean over slices, then over seeds; +-: standard deviation over seeds. "
        "Seeds change subjects, masks and weights; within a seed all rows of one mask have the same. Memory: temporaries of the "
        "compiled training step. Seconds per update are of a machine that did other work at the same time.",
    ]
    text += compared(results) + benchmarks(results)
    drawn = draw(results, folder)
    text += [] if drawn is None else ["", f"picture.png: {drawn} {PICTURE}"]
    (folder / "tables.md").write_text("\n".join(text) + "\n")
    print(f"wrote {folder / 'tables.md'}")


def read(folder: Path) -> Results:
    """Row -> its runs, one for each seed.

    Raises:
      SystemExit: rows of a table were tested on different data.
    """
    results = reports.read(folder)
    runs = [run for found in results.values() for run in found]
    for seed in {run["seed"] for run in runs}:
        same = [run for name in LABELS for run in results.get(name, []) if run["seed"] == seed]
        if len({run["test"]["sha256"] for run in same}) > 1:
            raise SystemExit(f"seed {seed}: {', '.join(run['row'] for run in same)} were not tested on the same data")
    return results


def data_in_words(run: Run) -> str:
    """What the rows were trained and tested on."""
    config, test = run["config"], run["test"]
    *_, coils, y, x = test["shape"]
    if not run["small"]:
        return f"of your files ({len(test['scans'])} for the test)"
    return (
        f"of {config['simulated']['heads']} simulated heads for training and {len(test['scans'])} others for the test, "
        f"{test['slices']} slices, {y} x {x}, {coils} coils (in place of CMRxRecon as many hearts, and frames in place of slices), and "
        f"of small networks trained for {config['n_updates']} updates"
    )


def value(runs: list[Run], metric: str, digits: int, scores: str = "scores") -> str:
    return spread([run[scores][metric]["mean"] for run in runs], digits)


def compared(results: Results) -> list[str]:
    """Ablation rows and E2E-VarNet, on the same data."""
    lines = ["", "## Ablation, and E2E-VarNet at equal parameters and at equal memory: random lines, R = 4", ""]
    head = [
        "",
        "seeds",
        "SSIM",
        "PSNR, dB",
        "NMSE",
        "PromptMR+ less this, SSIM by seed",
        "parameters",
        "MiB",
        "s per update",
    ]
    lines += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    ours = {run["seed"]: run["scores"]["ssim"]["mean"] for run in results.get(OURS, [])}
    for name, label in LABELS.items():
        runs = results.get(name, [])
        cells = [label, str(len(runs))]
        cells += [value(runs, metric, digits) for metric, digits in (("ssim", 4), ("psnr", 2), ("nmse", 4))]
        gains = [ours[r["seed"]] - r["scores"]["ssim"]["mean"] for r in runs if r["seed"] in ours and name != OURS]
        cells.append(", ".join(f"{gain:+.4f}" for gain in gains))
        cells += [f"{runs[0]['parameters']:,}", f"{runs[0]['temporary_bytes'] / 2**20:.1f}"] if runs else ["", ""]
        cells.append(f"{statistics.median(r['seconds_per_iteration'] for r in runs):.2f}" if runs else "")
        lines.append("| " + " | ".join(cells) + " |")
    zero = results.get(OURS, [])
    cells = [
        "zero-filled",
        "",
        *(value(zero, m, d, "scores_zero_filled") for m, d in (("ssim", 4), ("psnr", 2), ("nmse", 4))),
    ]
    return [*lines, "| " + " | ".join([*cells, "", "", "", ""]) + " |"]


def benchmarks(results: Results) -> list[str]:
    """PSNR / SSIM of each benchmark."""
    lines = ["", "## Benchmarks: PSNR in dB / SSIM", "", "R: measured, of our test.", ""]
    lines += ["| | | seeds | R | ours | published |", "|---" * 6 + "|"]
    for benchmark, title in BENCHMARKS.items():
        for method, label in METHODS.items():
            name = f"{benchmark}_{method}"
            if name in PUBLISHED:
                runs = results.get(name, [])
                ours = f"{value(runs, 'psnr', 2)} / {value(runs, 'ssim', 4)}" if runs else "not run"
                rate = f"{statistics.fmean(run['test']['acceleration'] for run in runs):.1f}" if runs else ""
                lines.append(f"| {title} | {label} | {len(runs)} | {rate} | {ours} | {PUBLISHED[name]} |")
    return lines


def draw(results: Results, folder: Path) -> str | None:
    """The talk's row of images of one test slice, errors and a zoomed inset; returns what was drawn, None without runs."""
    pictures: dict[str, dict[str, np.ndarray]] = {}
    for name in SHOWN:
        for run in results.get(name, [])[:1]:
            path = folder / "runs" / f"{name}_seed{run['seed']}" / "picture.npz"
            if path.exists():
                with np.load(path, allow_pickle=False) as file:
                    pictures[name] = {key: file[key] for key in file.files}
    if not pictures:
        return None
    first = next(iter(pictures.values()))
    target = first["target"]
    images = {"zero-filled": first["zero_filled"]}
    images |= {SHOWN[name]: picture["image"] for name, picture in pictures.items()} | {"truth": target}
    top = np.quantile(target, 0.995)
    y, x = busiest(target)
    figure, axes = plt.subplots(2, len(images), figsize=(2.1 * len(images), 4.9), layout="constrained")
    for (name, image), (above, below) in zip(images.items(), axes.T, strict=True):
        above.imshow(image, cmap="gray", vmin=0, vmax=top)
        above.set_title(name, fontsize=10)
        inset = above.inset_axes((0.6, 0, 0.4, 0.4))
        inset.imshow(image[y, x], cmap="gray", vmin=0, vmax=top)
        above.add_patch(plt.Rectangle((x.start, y.start), x.stop - x.start, y.stop - y.start, fill=False, ec="C1"))
        if image is not target:
            below.imshow(np.abs(image - target), cmap="inferno", vmin=0, vmax=0.15 * top)
        for axis in (above, below, inset):
            axis.set(xticks=[], yticks=[])
        below.set_frame_on(bool(below.images))
        inset.spines[:].set_color("C1")
    axes[1, 0].set_ylabel("error, to 0.15 of the top")
    figure.savefig(folder / "picture.png", dpi=130)
    plt.close(figure)
    return f"one test slice of the first seed, {', '.join(images)}, with the orange square enlarged; below the errors."


def busiest(image: np.ndarray, part: int = 4) -> tuple[slice, slice]:
    """The square, a part of the image wide, within its middle, with the most detail (sum of absolute differences)."""
    size = min(image.shape) // part
    detail = np.abs(np.diff(image, axis=0, append=0)) + np.abs(np.diff(image, axis=1, append=0))
    summed = np.lib.stride_tricks.sliding_window_view(detail, (size, size)).sum((-2, -1))
    margin = [n // 4 for n in summed.shape]
    inner = summed[margin[0] : -margin[0], margin[1] : -margin[1]]
    y, x = (int(i) + m for i, m in zip(np.unravel_index(np.argmax(inner), inner.shape), margin, strict=True))
    return slice(y, y + size), slice(x, x + size)


if __name__ == "__main__":
    main()

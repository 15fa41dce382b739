"""Write the tables of README.md beside this script, and six numbers into the front README, from results/: no number is typed by hand.

python experiments/benchmarks/report.py
"""

import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
READMES = (HERE.parents[1] / "README.md", HERE / "README.md")


def classical(report: dict) -> str:
    """Ratios of the classical core to its rivals."""
    rivals = list(dict.fromkeys(side for task in report["tasks"].values() for side in task["ratio"]))
    lines = [
        f"Data: {report['data']}, {' x '.join(map(str, report['shape']))}; {report['machine']['cores']} cores, "
        f"jax {report['versions']['jax']}; median of {report['rounds']} rounds of {report['calls_per_round']} calls after compilation.",
        "",
        "| task | jaxrecon | " + " | ".join(f"{side} / jaxrecon" for side in rivals) + " | compile |",
        "|---|---|" + "---|" * len(rivals) + "---|",
    ]
    for name, task in report["tasks"].items():
        cells = [f"{task['ratio'][side]:.1f}x" if side in task["ratio"] else "" for side in rivals]
        own = f"{task['seconds']['jaxrecon'] * 1e3:.1f} ms"
        lines.append(
            f"| {name.replace('_', ' ')} | {own} | " + " | ".join(cells) + f" | {task['compile_seconds']:.1f} s |"
        )
    return "\n".join(lines)


def memory(report: dict) -> str:
    """Compiled temporaries of a training step under every strategy."""
    lines = [
        f"Temporaries of one whole training step (loss, gradient, Adam, donated state) as compiled for the {report['backend'].upper()}, "
        f"jax {report['versions']['jax']}; nothing is run. Beside each: how many times larger end-to-end training is, as a Python loop and "
        "as a scan.",
    ]
    for table in report["tables"].values():
        size = " x ".join(map(str, table["image"]))
        lines += [
            "",
            f"| {table['title']}; {table['batch']} x {table['coils']} coils x {size} | MiB | loop is | scan is |",
            "|---|---|---|---|",
        ]
        for row in table["rows"]:
            ratios = [f"{row[key]:.2f}x" if row[key] else "" for key in ("loop_ratio", "scan_ratio")]
            lines.append(f"| {row['strategy']} | {row['temporary_bytes'] / 2**20:.0f} | " + " | ".join(ratios) + " |")
    return "\n".join(lines)


def networks(report: dict) -> str:
    """Forward and forward + backward of the networks beside PyTorch."""
    lines = [
        f"The same weights and input on both sides, one core; jax {report['versions']['jax']}, torch {report['versions']['torch']} in the "
        f"faster of its two layouts, ours, where a form is named, in the faster of scan and Python loop; least CPU time of "
        f"{report['rounds']} rounds.",
        "",
        "| network | mode | jaxrecon | form | torch / jaxrecon | compile |",
        "|---|---|---|---|---|---|",
    ]
    for name, contest in report["networks"].items():
        for mode in ("forward", "forward + backward"):
            one = contest[mode]
            own, compiled = one["minimum_seconds"][one["faster_form"]] * 1e3, one["compile_cpu_seconds"]
            forms = [label for label in one["minimum_seconds"] if label.startswith("jaxrecon")]
            form = "" if len(forms) == 1 else "Python loop" if "loop" in one["faster_form"] else "scan"
            lines.append(f"| {name} | {mode} | {own:.0f} ms | {form} | {one['ratio']:.2f}x | {compiled:.1f} s |")
    return "\n".join(lines)


def promptmr_memory(report: dict) -> str:
    """PromptMR+'s memory as a part of its predecessor's."""
    parts = [
        f"{name} {ratio:.1%} ({report['published'][name]['ratio']:.1%})".replace("%", " %")
        for name, ratio in report["ratios"].items()
    ]
    return (
        "PromptMR+ at its published size, compiled the same way, takes of PromptMR's memory (in brackets: what its authors report of "
        f"their code): {', '.join(parts)}."
    )


def gleam_time(report: dict) -> str:
    """Time of a training step under each strategy, and P-GLEAM's gain."""
    options = report["options"]
    size = " x ".join(map(str, (options["batch"], options["coils"], *options["image"])))
    lines = [
        f"Seconds per mini-batch ({size}), the least of {report['rounds']} rounds. A row's processes have one core each; P-GLEAM: schedule "
        f"spmd, {options['stack']} mini-batches in a call, so that filling and draining allow a gain of at most "
        f"{2 * options['stack'] / (options['stack'] + 1):.2f}.",
        "",
        "| | " + " | ".join(name.upper() if name == "pgd" else "MoDL" for name in report["models"]) + " |",
        "|---|" + "---|" * len(report["models"]),
    ]
    rows = list(dict.fromkeys(row for model in report["models"].values() for row in model["seconds"]))
    for row in rows:
        cells = []
        for model in report["models"].values():
            ratio, gain = model["ratios"].get(f"{row} / end to end"), model["gains"].get(row)
            beside = f" ({ratio:.2f} of end to end)" if ratio else f" ({gain:.2f}x GLEAM on one core)" if gain else ""
            cells.append(f"{model['seconds'][row]:.2f}{beside}" if row in model["seconds"] else "")
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def deep_jsense(report: dict) -> str:
    """Deep J-Sense beside PyTorch."""
    size = report["networks"]["deep_jsense"]["size"]
    head = (
        f"Deep J-Sense, {size['coils']} x {' x '.join(map(str, size['size']))}, N = {size['steps']}, n1 = n2 = {size['iterations']}, "
        f"kernels {' x '.join(map(str, size['kernel']))}, {size['features']} features."
    )
    return f"{head} {networks(report)}"


def promptmr(report: dict) -> str:
    """PromptMR+ beside PyTorch."""
    size = report["networks"]["promptmr_plus"]["size"]
    head = (
        f"PromptMR+, {size['adjacent']} slices x {size['coils']} x {' x '.join(map(str, size['size']))}, {size['steps']} cascades, "
        f"{size['features']} features, {size['parameters'] / 1e6:.1f} million parameters."
    )
    return f"{head} {networks(report)}"


TABLES = {
    "classical": classical,
    "memory": memory,
    "promptmr_memory": promptmr_memory,
    "networks": networks,
    "deep_jsense": deep_jsense,
    "promptmr": promptmr,
    "promptmr_48": promptmr,
    "gleam_time": gleam_time,
}


def headline() -> str:
    """Six numbers of six reports."""
    read = lambda name: json.loads((RESULTS / f"{name}.json").read_text())
    tables, times, classical_ = read("memory")["tables"], read("gleam_time")["models"], read("classical")["tasks"]
    least = lambda table: max(row["loop_ratio"] for row in tables[table]["rows"] if row["strategy"] == "gleam, M = 8")
    jsense = read("deep_jsense")["networks"]["deep_jsense"]
    rows = [
        ("MoDL trained by GLEAM, N = 8: less memory than end to end as a Python loop", f"{least('modl_2d'):.1f} times"),
        ("PGD trained by GLEAM, N = 8: less memory than end to end as a Python loop", f"{least('pgd_2d'):.1f} times"),
        (
            "P-GLEAM on two cores, MoDL: faster than GLEAM on one",
            f"{times['modl']['gains']['p_gleam, two cores']:.2f} times",
        ),
        (
            "Deep J-Sense, forward + backward: faster than its PyTorch code",
            f"{jsense['forward + backward']['ratio']:.1f} times",
        ),
        ("ESPIRiT: faster than sigpy", f"{classical_['espirit']['ratio']['sigpy']:.1f} times"),
        ("CG-SENSE: faster than BART", f"{classical_['cg_sense']['ratio']['bart']:.1f} times"),
    ]
    return "\n".join(
        ["| measured on two CPU cores | |", "|---|---|", *(f"| {what} | {value} |" for what, value in rows)]
    )


def main() -> None:
    """Replace what stands between the markers of each table."""
    texts = {path: path.read_text(encoding="utf-8") for path in READMES}
    for name, table in (TABLES | {"headline": lambda _: headline()}).items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        path = RESULTS / f"{name}.json"
        for readme, text in texts.items():
            if begin not in text or (name in TABLES and not path.exists()):
                continue
            head, rest = text.split(begin, 1)
            report = json.loads(path.read_text()) if name in TABLES else {}
            texts[readme] = f"{head}{begin}\n{table(report)}\n{end}{rest.split(end, 1)[1]}"
    for readme, text in texts.items():
        readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

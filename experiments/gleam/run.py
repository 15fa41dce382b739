"""Train and score the rows of GLEAM's tables: a JSON file for each row and seed, which report.py makes tables of.

    python experiments/gleam/run.py --small --out experiments/gleam/results
    python experiments/gleam/run.py --small --rows "table3*" --seeds 0 1 2 --out experiments/gleam/results
    python experiments/gleam/run.py --rows "table1*" --data prepared/mridata --out runs/mridata

With --small on simulated heads (Tables IV, V: beating hearts): rows of Table I took 100 to 280 s on two busy cores,
the first of a process longest, as it compiles most. Without it the published setting on your data, divided by scan as
the paper does (0.72 / 0.08 / 0.2). A row that has its JSON is not repeated, one that was stopped goes on from its last
checkpoint in runs/<row>_seed<seed>. Rows are the configuration files beside this one; *_cs_* the compressed-sensing
baselines on the same test data; fig7 the times.

Test data: heads that neither training nor validation has seen. Scores: mean and standard deviation over test slices of
magnitudes, variant gleam (of cine each frame by itself), for the output of every step, that is for every N_inf.
"""

import argparse
import dataclasses
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from cs import BASELINES, GRID, reconstruct_cs

from jaxrecon.classical import zero_filled
from jaxrecon.data import GLEAM_SPLIT
from jaxrecon.data.pipeline import Labelled, batches, labelled
from jaxrecon.experiment import Experiment, find_data, load_experiment, preparation, train
from jaxrecon.losses import LOSSES
from jaxrecon.metrics import summarize
from jaxrecon.models import abstract_params, batched, build
from jaxrecon.models import run as run_model
from jaxrecon.problem import Problem
from jaxrecon.strategies import checkpointed, end_to_end, gleam, invertible
from jaxrecon.training import evaluate, load_params, read_log
from jaxrecon.training.evaluate import Labelled as LabelledExample

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import rows

HERE = Path(__file__).resolve().parent
FIG7 = "fig7"


def main() -> None:
    names = [*sorted(p.stem for p in HERE.glob("table*.py")), *BASELINES, FIG7]
    parser = rows.parser(__doc__, seeds=None)
    parser.add_argument("--data", default="simulated", help="folder of prepared scans (without --small)")
    options = parser.parse_args()
    if not options.small and options.data == "simulated":
        parser.error("the published setting needs data: give --data FOLDER, or --small")
    chosen = rows.choose(names, options.rows, parser.error)
    for seed in options.seeds or [None]:
        for name in chosen:
            measure(name, seed, options)


def measure(name: str, seed: int | None, options: argparse.Namespace) -> None:
    """One row, unless its JSON is there."""
    config = BASELINES[name].config if name in BASELINES else "table2_modl_r4_end_to_end" if name == FIG7 else name
    experiment = load_experiment(HERE / f"{config}.py", small=options.small)
    if seed is not None:
        experiment = dataclasses.replace(experiment, seed=seed)

    def measured(folder: Path) -> dict[str, Any]:
        if name == FIG7:
            return times_of_strategies(options)
        if name in BASELINES:
            return baseline(name, experiment, options.data)
        return network(experiment, options.data, folder)

    rows.measure(name, experiment, options, measured, in_words)


def in_words(result: dict[str, Any]) -> str:
    return f"PSNR {result['scores']['psnr']['mean']:.2f} dB, " if "scores" in result else ""


def test_slices(experiment: Experiment, data: str) -> Sequence:
    """Slices that neither training nor validation sees, with maps."""
    if data != "simulated":
        return find_data(experiment, data, None, split=GLEAM_SPLIT).test
    return rows.unseen(experiment)


def test_examples(experiment: Experiment, data: str) -> Labelled:
    """Undersampled problems of the test slices; each scan has one mask, which follows from its name."""
    return labelled(test_slices(experiment, data), preparation(experiment, use="test"))


def network(experiment: Experiment, data: str, folder: Path) -> dict[str, Any]:
    """Train a row, or go on with it; score its best weights on the test slices for every N_inf."""
    split = None if data == "simulated" else GLEAM_SPLIT
    train(experiment, data=data, split=split, out=folder)
    params = load_params(folder, abstract_params(experiment.model))
    model = build(experiment.model)
    every_step = jax.jit(lambda params, problem: run_model(model, params, problem, every_step=True))
    examples = test_examples(experiment, data)
    by_steps = score(lambda problem: [zero_filled(problem), *every_step(params, problem)], examples, experiment.variant)
    records = [r for r in read_log(folder) if r["event"] == "training"]
    evaluations = [r for r in read_log(folder) if r["event"] == "evaluation"]
    return {
        "test": fingerprint(examples),
        "scores": by_steps[-1],
        "by_steps": {metric: [s[metric]["mean"] for s in by_steps] for metric in ("psnr", "ssim", "nrmse")},
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "seconds_per_iteration": float(np.median([1 / r["steps_per_second"] for r in records])),
        "temporary_bytes": rows.step_memory(experiment, examples),
        "loss": [[r["step"], r["loss"]] for r in records],
        "validation": [[r["step"], r["psnr"]] for r in evaluations],
    }


def score(
    reconstruct: Callable[[Problem], Sequence], examples: Iterable[LabelledExample], variant: str
) -> list[dict[str, dict[str, float]]]:
    """Mean and standard deviation over slices for each of the images that `reconstruct` gives; one scan in memory."""
    volumes = []
    for _, scan in itertools.groupby(examples, key=lambda example: example[0]):
        scan = list(scan)
        images = zip(*(map(np.asarray, reconstruct(problem)) for _, _, problem, _ in scan), strict=True)
        scores = [evaluate(lambda _, left=left: next(left), scan, variant=variant) for left in map(iter, images)]
        volumes.append([one for s in scores for one in s.volumes.values()])
    return [
        {
            name: {"mean": s.mean, "std": s.std, "n": s.n}
            for name, s in summarize(of_all).items()
            if name in ("psnr", "ssim", "nrmse")
        }
        for of_all in zip(*volumes, strict=True)
    ]


def fingerprint(examples: Iterable[LabelledExample]) -> dict[str, Any]:
    """What was tested on; equal hashes are equal data and masks."""
    return rows.fingerprint(examples, lambda example: (example[2].kspace, example[3].image))


def baseline(name: str, experiment: Experiment, data: str) -> dict[str, Any]:
    """Compressed sensing with the paper's weights, and with the best multiple of them on the validation slices."""
    found = find_data(experiment, data, None, split=None if data == "simulated" else GLEAM_SPLIT)
    validation = labelled(found.validation, preparation(experiment, use="validation"))
    test = test_examples(experiment, data)
    solve = jax.jit(lambda problem, factor: reconstruct_cs(problem, BASELINES[name], factor))
    tried = score(lambda problem: [solve(problem, factor) for factor in GRID], validation, experiment.variant)
    grid = {factor: scores["psnr"]["mean"] for factor, scores in zip(GRID, tried, strict=True)}
    best = max(grid, key=grid.__getitem__)
    zero, published, chosen = score(
        lambda problem: [zero_filled(problem), solve(problem, 1.0), solve(problem, best)], test, experiment.variant
    )
    return {
        "test": fingerprint(test),
        "weights": dataclasses.asdict(BASELINES[name]),
        "factor": best,
        "validation_psnr": {str(k): v for k, v in grid.items()},
        "scores": chosen,
        "scores_with_the_papers_weights": published,
        "scores_zero_filled": zero,
    }


def times_of_strategies(options: argparse.Namespace, *, rounds: int = 7) -> dict[str, Any]:
    """Forward and backward time of MoDL under each strategy, in turn, median over rounds; nothing is trained.

    Forward is the loss of the plain network; backward what gradient takes beyond it. MEL without checkpoints, as in the
    paper's figure.
    """
    functions, seconds = {}, {}
    strategies = {"end_to_end": end_to_end, "checkpointed": checkpointed, "mel": lambda: invertible(0)}
    for label in (*strategies, "gleam"):
        experiment = load_experiment(HERE / f"table2_modl_r4_{label}.py", small=options.small)
        model, loss = batched(build(experiment.model)), LOSSES[experiment.loss].function
        if not functions:
            found = find_data(experiment, options.data, None).training
            feed = batches(found, preparation(experiment), batch_size=experiment.batch_size, seed=0)
            problem, target = next(iter(feed))
            params = jax.jit(model.init)(jax.random.key(0), problem)
            functions["forward"] = jax.jit(lambda p, x, t, m=model, f=loss: f(run_model(m, p, x), t))
        strategy = gleam(model.n_steps) if label == "gleam" else strategies[label]()
        grad_fn = strategy(model, loss)
        functions[label] = jax.jit(lambda p, x, t, g=grad_fn: optax.tree.norm(g(p, x, t)[1]))
    for n in range(rounds + 1):
        for label, function in functions.items():
            started = time.perf_counter()
            jax.block_until_ready(function(params, problem, target))
            if n:  # the first round compiles
                seconds.setdefault(label, []).append(time.perf_counter() - started)
    return {"shape": list(problem.kspace.shape), "seconds": seconds}


if __name__ == "__main__":
    main()

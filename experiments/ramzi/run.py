"""Train and score the rows of Ramzi's benchmark: a JSON file for each row and seed, which report.py makes tables of.

    python experiments/ramzi/run.py --small --out experiments/ramzi/results
    python experiments/ramzi/run.py --small --rows pdnet cascade --seeds 0 1 2 --out experiments/ramzi/results
    python experiments/ramzi/run.py --small --data volumes --out runs/volumes
    python experiments/ramzi/run.py --data fastmri/singlecoil_train --test fastmri/singlecoil_val --out runs/knees

With --small on magnitude slices of simulated heads; --data then names a folder of magnitude volumes of your own (see `persons` of
magnitude_data.py), of which some persons are trained on beside the simulated heads and others are for the test. Without --small
the published setting on fastMRI's single-coil knees. Rows: zero-filled images, wavelets (FISTA, their weight chosen on slices of the
training), KIKI-net (four trainings, one network after the other), U-Net, Cascade net, PDNet, and depth_*: PDNet with
fewer iterations, for the figure of quality, memory and time.

All rows of a seed have the same slices and masks, and as many updates (--updates). A row that has its JSON is not repeated; one that
was stopped, by hand or after --minutes, has none and goes on from its last checkpoint in runs/<row>_seed<seed> when the command is
given again. Scores: means over volumes, variant ramzi; the best weights by validation.
"""

import argparse
import dataclasses
import functools
import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import ramzi_settings as settings
from magnitude_data import magnitude_data
from ramzi_settings import Stages

from jaxrecon.classical import zero_filled
from jaxrecon.data.pipeline import Labelled, labelled
from jaxrecon.experiment import Experiment, TrainingData, WithMaps, find_data, preparation, train
from jaxrecon.files import atomic
from jaxrecon.models import build
from jaxrecon.models import run as run_model
from jaxrecon.problem import Problem
from jaxrecon.recon import Settings, find_lam, reconstruct_problem
from jaxrecon.training import read_log

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import rows

LAMS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
"""Weights of the wavelets, of which slices of the training choose one."""
CHOOSING = 8
"""How many slices choose."""
SHOWN = 2
"""Which test slice is drawn."""


class Stopped(Exception):
    """The time of a row is over; the same command goes on."""


def main() -> None:
    parser = rows.parser(__doc__, seeds=[0])
    parser.add_argument("--data", help="folder of scans to train on; with --small: of magnitude volumes")
    parser.add_argument("--test", help="folder of scans to test on (without --small)")
    parser.add_argument("--updates", type=int, help="of each row in all; default: that of the settings")
    parser.add_argument("--minutes", type=float, help="time of each row's training, after which it is stopped")
    options = parser.parse_args()
    if not options.small and not (options.data and options.test):
        parser.error("the published setting needs data: give --data FOLDER and --test FOLDER, or --small")
    named = settings.rows(small=options.small, n_updates=options.updates)
    for name in rows.choose(["zero_filled", "wavelet", *named], options.rows, parser.error):
        for seed in options.seeds:
            stages = [dataclasses.replace(one, seed=seed) for one in named.get(name, named["cascade"])]
            try:
                measure(name, tuple(stages), options)
            except Stopped as stopped:
                print(f"{name}, seed {seed}: {stopped}", flush=True)


def measure(name: str, stages: Stages, options: argparse.Namespace) -> None:
    """One row, unless its JSON is there."""

    def measured(folder: Path) -> dict[str, Any]:
        folder.mkdir(parents=True, exist_ok=True)
        of = functools.partial(data_of, options=options)
        if name == "zero_filled":
            return scored(zero_filled, stages[-1], of, folder)
        if name == "wavelet":
            return wavelet(stages[-1], of, folder)
        return network(stages, of, folder, options.minutes)

    in_words = lambda result: f"PSNR {result['scores']['psnr']['mean']:.2f} dB, "
    rows.measure(name, stages[-1], options, measured, in_words)


def data_of(experiment: Experiment, options: argparse.Namespace) -> TrainingData:
    """The slices of a row; without --small those of the validation are those of the test."""
    if not options.small:
        found = find_data(experiment, options.data, options.test)
        return found._replace(test=found.validation)
    folder = Path(options.data) if options.data else None
    found = magnitude_data(experiment.simulated, experiment.seed, folder)
    parts = {name: WithMaps(getattr(found, name), experiment) for name in ("training", "validation", "test")}
    return found._replace(**parts)


def network(
    stages: Stages, data: Callable[[Experiment], TrainingData], folder: Path, minutes: float | None
) -> dict[str, Any]:
    """Train a row, or go on with it, and score its best weights."""
    started, out, validation = time.monotonic(), None, []
    over = lambda: minutes is not None and time.monotonic() - started > 60 * minutes
    for i, stage in enumerate(stages):
        weights, out = out, folder / f"stage{i + 1}"
        trained = train(stage, data=data(stage), out=out, weights=weights, stop=over)
        if trained.n_updates < stage.n_updates:
            raise Stopped(f"stage {i + 1} stopped at {trained.n_updates} of {stage.n_updates} updates")
        records = trained.records
        validation.append([[r["step"], r["psnr"], r["nmse"]] for r in records if r["event"] == "evaluation"])
    whole, params, model = stages[-1], trained.params, build(stages[-1].model)
    reconstruct = jax.jit(lambda params, problem: run_model(model, params, problem))
    rates = [r["steps_per_second"] for r in read_log(folder / f"stage{len(stages)}") if r["event"] == "training"]
    return {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "n_updates": sum(stage.n_updates for stage in stages),
        "validation": validation,
        "seconds_per_update": float(np.median([1 / rate for rate in rates])),
        "temporary_bytes": rows.step_memory(whole, examples_of(whole, data)),
        **scored(lambda problem: reconstruct(params, problem), whole, data, folder),
    }


def wavelet(experiment: Experiment, data: Callable[[Experiment], TrainingData], folder: Path) -> dict[str, Any]:
    """Sparsity in wavelets by FISTA."""
    training = data(experiment).training
    spread = np.linspace(0, len(training) - 1, CHOOSING).astype(int)
    pairs = [pair[2:] for pair in labelled([training[i] for i in spread], preparation(experiment))]
    problems = [problem for problem, _ in pairs]
    found = find_lam(problems, [np.asarray(target.image) for _, target in pairs], lams=LAMS)
    *_, height, width = problems[0].kspace.shape
    chosen = Settings(method="l1-wavelet", lam=found.lam).complete((height, width), n_coils=1, given_maps=True)
    result = scored(lambda problem: reconstruct_problem(problem, chosen)[0], experiment, data, folder)
    return {"lam": found.lam, "nmse_by_lam": {str(lam): error for lam, error in found.errors.items()}, **result}


def examples_of(experiment: Experiment, data: Callable[[Experiment], TrainingData]) -> Labelled:
    """Undersampled problems of the test slices; each volume has one mask, which follows from its name."""
    return labelled(data(experiment).test, preparation(experiment, use="test"))


def scored(
    reconstruct: Callable[[Problem], Any],
    experiment: Experiment,
    data: Callable[[Experiment], TrainingData],
    folder: Path,
) -> dict[str, Any]:
    """Scores of the test slices, the time of one, and its image in the run folder."""
    examples = examples_of(experiment, data)
    scores = rows.score(reconstruct, experiment.variant, examples)
    _, _, problem, target = next(itertools.islice(examples, SHOWN, None))
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        image = jax.block_until_ready(reconstruct(problem))
        seconds.append(time.perf_counter() - started)
    # k-space is in the units of the row
    unit = float(target.scale)
    with atomic(folder / "picture.npz", overwrite=True) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file, image=unit * np.abs(np.asarray(image)), target=unit * np.abs(np.asarray(target.image))
        )
    test = data(experiment).test
    references = (test[i].target for i in range(len(test)))
    fingerprint = rows.fingerprint(examples, lambda example: (example[2].op.encoding.mask, next(references)))
    return {"test": fingerprint, "scores": scores, "seconds_per_slice": float(np.median(seconds))}


if __name__ == "__main__":
    main()

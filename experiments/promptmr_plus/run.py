"""Train and score PromptMR+'s rows: a JSON file for each row and seed, which report.py makes tables of.

    python experiments/promptmr_plus/run.py --small --out experiments/promptmr_plus/results
    python experiments/promptmr_plus/run.py --small --rows "knee_r4*" "varnet*" --seeds 0 1 2 --out experiments/promptmr_plus/results
    python experiments/promptmr_plus/run.py --rows "knee*" --data fastmri/multicoil_train --test fastmri/multicoil_val --out runs/knee

With --small on simulated heads; without it the published setting on your data; training is scored on the test scans once
in an epoch and takes nothing from it. A row that has its JSON is not repeated, one that was stopped goes on from its last
checkpoint in runs/<row>_seed<seed>. Rows are the configuration files beside this one.

Test data: heads that training has not seen; seeds change heads, masks and weights, and rows of one seed and mask share the
slices that are scored (networks of neighbouring slices see two more). The weights after the last step are scored.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrecon.complex_ops import rss
from jaxrecon.data import Source, index_files
from jaxrecon.data.pipeline import labelled
from jaxrecon.experiment import Experiment, load_experiment, preparation, train
from jaxrecon.files import atomic
from jaxrecon.fourier import ifftc
from jaxrecon.metrics import crop_to_target
from jaxrecon.models import abstract_params, build
from jaxrecon.models import run as run_model
from jaxrecon.problem import Problem
from jaxrecon.training import load_params, read_log

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import rows

HERE = Path(__file__).resolve().parent
PATTERNS = ("knee_*.py", "calgary_*.py", "cmrxrecon_*.py", "ablation_*.py", "varnet_*.py")
SHOWN = 2
"""Which test slice is drawn."""


def main() -> None:
    names = [path.stem for pattern in PATTERNS for path in sorted(HERE.glob(pattern))]
    parser = rows.parser(__doc__, seeds=None)
    parser.add_argument("--data", help="folder of scans to train on (without --small)")
    parser.add_argument("--test", help="folder of scans to test on (without --small)")
    options = parser.parse_args()
    if not options.small and not (options.data and options.test):
        parser.error("the published setting needs data: give --data FOLDER and --test FOLDER, or --small")
    for seed in options.seeds or [None]:
        for name in rows.choose(names, options.rows, parser.error):
            measure(name, seed, options)


def measure(name: str, seed: int | None, options: argparse.Namespace) -> None:
    """One row, unless its JSON is there."""
    experiment = load_experiment(HERE / f"{name}.py", small=options.small)
    if seed is not None:
        experiment = dataclasses.replace(experiment, seed=seed)

    def in_words(result: dict[str, Any]) -> str:
        return f"SSIM {result['scores']['ssim']['mean']:.4f}, PSNR {result['scores']['psnr']['mean']:.2f} dB, "

    rows.measure(name, experiment, options, lambda folder: network(experiment, options, folder), in_words)


def network(experiment: Experiment, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train a row, or go on with it; score its last weights and the zero-filled images, keep one slice to draw."""
    data, test = ("simulated", None) if options.small else (options.data, Path(options.test))
    train(experiment, data=data, validation=test, out=folder)
    params = load_params(folder, abstract_params(experiment.model), step=experiment.n_updates)
    model = build(experiment.model)
    reconstruct = jax.jit(lambda params, problem: run_model(model, params, problem))
    examples = labelled(test_slices(experiment, options.test), preparation(experiment, use="test"))
    scores = rows.score(lambda problem: reconstruct(params, problem), experiment.variant, examples)
    records = [r for r in read_log(folder) if r["event"] == "training"]
    _, _, problem, target = next(e for i, e in enumerate(examples) if i == SHOWN)
    shown = {"image": reconstruct(params, problem), "zero_filled": root_of_squares(problem), "target": target.image}
    with atomic(folder / "picture.npz", overwrite=True) as temporary, open(temporary, "wb") as file:
        shape = np.shape(target.image)
        np.savez_compressed(
            file, **{name: crop_to_target(np.abs(np.asarray(x)).astype(np.float32), shape) for name, x in shown.items()}
        )
    return {
        "test": rows.fingerprint(examples, lambda e: (e[2].op.encoding.mask, middle(e[2]), e[3].image)),
        "scores": scores,
        "scores_zero_filled": rows.score(root_of_squares, experiment.variant, examples),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "seconds_per_iteration": float(np.median([1 / r["steps_per_second"] for r in records])),
        "temporary_bytes": rows.step_memory(experiment, examples),
        "loss": [[r["step"], r["loss"]] for r in records],
    }


def test_slices(experiment: Experiment, folder: str | None) -> Sequence:
    """Slices that training does not see: those of further heads, or of the scans of a folder."""
    if folder is None:
        return rows.unseen(experiment)
    return Source(index_files(folder), adjacent=build(experiment.model).wants.n_adjacent)


def middle(problem: Problem) -> Any:
    """K-space (coil, y, x) of the slice that is scored."""
    return problem.kspace[len(problem.kspace) // 2] if problem.kspace.ndim == 4 else problem.kspace


def root_of_squares(problem: Problem) -> Any:
    """The zero-filled image of that slice; these networks are given no maps."""
    return rss(ifftc(np.asarray(middle(problem))))


if __name__ == "__main__":
    main()

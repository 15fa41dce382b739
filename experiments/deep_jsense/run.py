"""Train and score the rows of the Deep J-Sense paper: a JSON file for each row and seed, which report.py makes tables of.

    python experiments/deep_jsense/run.py --small --out experiments/deep_jsense/results
    python experiments/deep_jsense/run.py --small --rows "table1*" --seeds 0 1 2 --out experiments/deep_jsense/results
    python experiments/deep_jsense/run.py --data fastmri/multicoil_train --test fastmri/multicoil_val --out runs/knees

With --small on simulated heads, minutes for each row; without it the published setting on your data:
five central slices of each volume, as in the paper. Training is scored on the test volumes once in an epoch and takes nothing
from it. A row that has its JSON is not repeated, one that was stopped goes on from its last checkpoint in
runs/<row>_seed<seed>. Rows are those of deep_jsense_settings.py.

Test data: heads that training has not seen; seeds change heads, masks and weights, and rows of one seed share them. Scores:
each slice by itself (variant deep-jsense); rows of Table 1 at R = 2 ... 6 (Fig. 3), the others at R = 4. The weights after
the last step are scored.
"""

import argparse
import dataclasses
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import deep_jsense_settings as settings
import jax
import numpy as np
from deep_jsense_settings import ACCELERATIONS

from jaxrecon.complex_ops import rss
from jaxrecon.data import Source, index_files, select
from jaxrecon.data.pipeline import labelled
from jaxrecon.experiment import Experiment, WithMaps, preparation, train
from jaxrecon.files import atomic
from jaxrecon.fourier import ifftc
from jaxrecon.metrics import crop_to_target
from jaxrecon.models import abstract_params, build
from jaxrecon.models import run as run_model
from jaxrecon.operators import kernels_to_maps
from jaxrecon.problem import Problem, Target
from jaxrecon.training import load_params, read_log

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import rows

SHOWN = {"example": 2, "coil": 1}
"""Fig. 2: which test slice, and the map of which coil."""


def main() -> None:
    parser = rows.parser(__doc__, seeds=[0])
    parser.add_argument("--data", help="folder of scans to train on (without --small)")
    parser.add_argument("--test", help="folder of scans to test on (without --small)")
    options = parser.parse_args()
    if not options.small and not (options.data and options.test):
        parser.error("the published setting needs data: give --data FOLDER and --test FOLDER, or --small")
    named = settings.rows(small=options.small)
    for name in rows.choose(named, options.rows, parser.error):
        for seed in options.seeds:
            measure(name, dataclasses.replace(named[name], seed=seed), options)


def measure(name: str, experiment: Experiment, options: argparse.Namespace) -> None:
    """One row, unless its JSON is there."""

    def in_words(result: dict[str, Any]) -> str:
        return f"SSIM {result['by_acceleration'][str(int(experiment.data.acceleration))]['ssim']['mean']:.4f}, "

    rows.measure(name, experiment, options, lambda folder: network(name, experiment, options, folder), in_words)


def network(name: str, experiment: Experiment, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train a row, or go on with it; score its last weights, draw one slice."""
    data, test = ("simulated", None) if options.small else (options.data, Path(options.test))
    train(experiment, data=data, validation=test, out=folder)
    params = load_params(folder, abstract_params(experiment.model), step=experiment.n_updates)
    model = build(experiment.model)
    reconstruct = functools.partial(
        jax.jit(lambda params, problem: run_model(model, params, problem, carry=True)), params
    )
    slices, by_acceleration = test_slices(experiment, options.test), {}
    for acceleration in ACCELERATIONS if name.startswith("table1") else (int(experiment.data.acceleration),):
        # the calibration region, and hence ESPIRiT's maps, stay those of the training
        data = dataclasses.replace(experiment.data, acceleration=float(acceleration))
        at = dataclasses.replace(experiment, data=data)
        examples = list(labelled(slices, preparation(at, use="test")))
        by_acceleration[str(acceleration)] = rows.score(
            lambda problem: reconstruct(problem)[0], experiment.variant, examples
        )
        if acceleration == experiment.data.acceleration:
            tested = fingerprint(examples)
            zero_filled = rows.score(root_of_squares, experiment.variant, examples)
            _, _, *shown = examples[SHOWN["example"]]
            picture(*reconstruct(shown[0]), *shown, slices[SHOWN["example"]].kspace, folder / "picture.npz")
    return {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "test": tested,
        "by_acceleration": by_acceleration,
        "scores_zero_filled": zero_filled,
        "loss": [[r["step"], r["loss"]] for r in read_log(folder) if r["event"] == "training"],
    }


def test_slices(experiment: Experiment, folder: str | None) -> Sequence:
    """Slices that training does not see: those of further heads, or the central ones of the scans of a folder."""
    if folder is None:
        return rows.unseen(experiment)
    slices = Source(select(index_files(folder), slices=experiment.data.slices or (None, None)))
    return WithMaps(slices, experiment) if build(experiment.model).wants.maps == "given" else slices


def root_of_squares(problem: Problem) -> Any:
    """The zero-filled image."""
    return rss(ifftc(np.asarray(problem.kspace)))


def picture(image: Any, carry: Any, context: Any, problem: Problem, target: Target, full: Any, path: Path) -> None:
    """Fig. 2: a reconstruction and one coil's map, and both from the full k-space."""
    if isinstance(carry, dict) and "kernels" in carry:
        maps = kernels_to_maps(carry["kernels"], problem.kspace.shape[-2:])
    elif isinstance(context, dict):
        maps = context["image_op"].maps
    else:
        maps = context[1].maps
    coil_images = ifftc(np.asarray(full))
    magnitude = lambda x: crop_to_target(np.abs(np.asarray(x)).astype(np.float32), target.image.shape)
    arrays = {
        "image": magnitude(image),
        "map": magnitude(maps[SHOWN["coil"]]),
        "target": magnitude(target.image),
        "full_map": magnitude(coil_images[SHOWN["coil"]] / rss(coil_images)),
    }
    with atomic(path, overwrite=True) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


def fingerprint(examples: list) -> dict[str, Any]:
    """What was tested on; equal hashes are equal k-space and masks."""
    found = rows.fingerprint(examples, lambda example: (example[2].op.encoding.mask, example[2].kspace))
    return found | {"scans": len(found["scans"])}


if __name__ == "__main__":
    main()

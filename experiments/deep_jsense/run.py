"""Train and score the rows of the Deep J-Sense paper: a JSON file for each row and seed, which report.py makes tables of.

    python experiments/deep_jsense/run.py --small --out experiments/deep_jsense/results
    python experiments/deep_jsense/run.py --small --rows "table1*" --seeds 0 1 2 --out experiments/deep_jsense/results
    python experiments/deep_jsense/run.py --data fastmri/multicoil_train --test fastmri/multicoil_val --out runs/knees

With --small on simulated heads, a minute or two for each row on two cores; without it the published setting on your data:
five central slices of each test volume, as in the paper. A row that has its JSON is not repeated, one that was stopped goes
on from its last checkpoint in runs/<row>_seed<seed>. Rows are those of deep_jsense_settings.py.

Test data: heads that training has not seen; seeds change heads, masks and weights, and rows of one seed share them. Scores:
each slice by itself (variant deep-jsense); rows of Table 1 at R = 2 ... 6 (Fig. 3), the others at R = 4. The weights after
the last step are scored.
"""

import argparse
import dataclasses
import fnmatch
import functools
import hashlib
import json
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from deep_jsense_settings import ACCELERATIONS, rows

from jaxrecon.cli import train
from jaxrecon.cli.training_data import WithMaps, preparation, simulate_heads
from jaxrecon.complex_ops import rss
from jaxrecon.data import Source, index_files
from jaxrecon.data.pipeline import labelled
from jaxrecon.data.write import atomic
from jaxrecon.fourier import ifftc
from jaxrecon.metrics import crop_to_target, summarize
from jaxrecon.models import run as run_model
from jaxrecon.operators import kernels_to_maps
from jaxrecon.problem import Problem
from jaxrecon.training import Experiment, Target, evaluate, load_params, read_log
from jaxrecon.training.checkpoints import as_json
from jaxrecon.training.experiment_json import to_json
from jaxrecon.training.networks import abstract_params, build, needs_maps

TEST_HEADS = 8
"""Simulated heads to test on, after those for training and validation."""
CENTRAL = range(13, 18)
"""Slices of a knee that the paper takes."""
SHOWN = {"example": 2, "coil": 1}
"""Fig. 2: which test slice, and the map of which coil."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the JSON files")
    parser.add_argument("--small", action="store_true", help="small networks on simulated data")
    parser.add_argument("--rows", nargs="+", default=["*"], help="names, or patterns in quotes")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of data, masks and weights")
    parser.add_argument("--data", help="folder of scans to train on (without --small)")
    parser.add_argument("--test", help="folder of scans to test on (without --small)")
    options = parser.parse_args()
    if not options.small and not (options.data and options.test):
        parser.error("the published setting needs data: give --data FOLDER and --test FOLDER, or --small")
    named = rows(small=options.small)
    chosen = list(dict.fromkeys(name for pattern in options.rows for name in fnmatch.filter(named, pattern)))
    if not chosen:
        parser.error(f"no row is called {options.rows}; there are {', '.join(named)}")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in chosen:
        for seed in options.seeds:
            measure(name, dataclasses.replace(named[name], seed=seed), options)


def measure(name: str, experiment: Experiment, options: argparse.Namespace) -> None:
    """One row, unless its JSON is there."""
    name_and_seed = f"{name}_seed{experiment.seed}"
    path, folder = options.out / f"{name_and_seed}.json", options.out / "runs" / name_and_seed
    if path.exists():
        print(f"{path.name} is there", flush=True)
        return
    started = time.monotonic()
    train.run(train.Options(data="simulated" if options.small else options.data, out=folder, experiment=experiment))
    params = load_params(folder, abstract_params(experiment.model), step=experiment.n_updates)
    model = build(experiment.model)
    network = functools.partial(jax.jit(lambda params, problem: run_model(model, params, problem, carry=True)), params)
    slices, by_acceleration = test_slices(experiment, options.test), {}
    for acceleration in ACCELERATIONS if name.startswith("table1") else (int(experiment.acceleration),):
        # the calibration region, and hence ESPIRiT's maps, stay those of the training
        at = dataclasses.replace(experiment, acceleration=float(acceleration))
        examples = list(labelled(slices, preparation(at, first_mask=2 * at.n_masks)))
        by_acceleration[str(acceleration)] = score(lambda problem: network(problem)[0], experiment.variant, examples)
        if acceleration == experiment.acceleration:
            tested = fingerprint(examples)
            _, _, *shown = examples[SHOWN["example"]]
            picture(*network(shown[0]), *shown, slices[SHOWN["example"]].kspace, folder / "picture.npz")
    result = {
        "row": name,
        "small": options.small,
        "seed": experiment.seed,
        "config": to_json(experiment),
        "versions": {"python": platform.python_version(), "jax": jax.__version__},
        "machine": {"device": str(jax.devices()[0]), "processor": platform.processor() or platform.machine()},
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "test": tested,
        "by_acceleration": by_acceleration,
        "loss": [[r["step"], r["loss"]] for r in read_log(folder) if r["event"] == "training"],
    }
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(as_json(result), indent=1) + "\n")
    ssim = by_acceleration[str(int(experiment.acceleration))]["ssim"]["mean"]
    print(f"{path.name}: SSIM {ssim:.4f}, {time.monotonic() - started:.0f} s", flush=True)


def test_slices(experiment: Experiment, folder: str | None) -> Sequence:
    """Slices that training does not see: of further heads, or the central ones of the scans of a folder."""
    if folder is None:
        heads = experiment.simulated
        first = heads.heads + heads.validation_heads
        slices: Sequence = simulate_heads(heads, range(first, first + TEST_HEADS), seed=experiment.seed)
    else:
        slices = Source([entry for entry in index_files(folder) if entry.index in CENTRAL])
    return WithMaps(slices, experiment) if needs_maps(experiment.model) else slices


def score(reconstruct: Callable[[Problem], Any], variant: str, examples: list) -> dict[str, Any]:
    """Mean, median and standard deviation over slices, and the slices of each volume."""
    scores = evaluate(reconstruct, examples, variant=variant)
    table: dict[str, Any] = {
        name: dataclasses.asdict(statistics)
        for name, statistics in summarize(scores.volumes.values()).items()
        if name in ("ssim", "nmse", "psnr")
    }
    for metric in list(table):
        table[metric]["slices"] = {
            Path(file).name: [round(float(v), 6) for v in volume.per_slice[metric]]
            for file, volume in scores.volumes.items()
        }
    return table


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
    digest = hashlib.sha256()
    for _, _, problem, _ in examples:
        digest.update(np.ascontiguousarray(np.asarray(problem.op.mask)).tobytes())
        digest.update(np.ascontiguousarray(problem.kspace).tobytes())
    measured = [1 / float(np.mean(np.asarray(problem.op.mask) != 0)) for _, _, problem, _ in examples]
    return {
        "scans": len({file for file, *_ in examples}),
        "slices": len(examples),
        "shape": list(examples[0][2].kspace.shape),
        "acceleration": float(np.mean(measured)),
        "sha256": digest.hexdigest(),
    }


if __name__ == "__main__":
    main()

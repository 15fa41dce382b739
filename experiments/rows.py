"""What the experiments' run.py share: the options, one JSON file for each row and seed, test data, and scores.

A run.py stands in the folder of its experiment and puts this file's folder on sys.path.
"""

import argparse
import dataclasses
import fnmatch
import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrecon.data import scan_name
from jaxrecon.experiment import Experiment, WithMaps, make_update, simulated_slices, to_json
from jaxrecon.files import atomic
from jaxrecon.metrics import summarize
from jaxrecon.models import batched, build
from jaxrecon.problem import Problem
from jaxrecon.training import compiled_memory, evaluate
from jaxrecon.training.checkpoints import as_json
from jaxrecon.training.evaluate import Labelled

TEST_HEADS = 8
"""Simulated heads (hearts) to test on, after those for training and validation."""


def parser(doc: str | None, *, seeds: list[int] | None) -> argparse.ArgumentParser:
    """The options that every run.py has."""
    found = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--out", type=Path, required=True, help="folder for the JSON files")
    found.add_argument("--small", action="store_true", help="small networks on simulated data")
    found.add_argument("--rows", nargs="+", default=["*"], help="names, or patterns in quotes")
    kept = "" if seeds else "; default: that of the row"
    found.add_argument("--seeds", nargs="+", type=int, default=seeds, help=f"of data, masks and weights{kept}")
    return found


def choose(names: Iterable[str], patterns: Sequence[str], error: Callable[[str], Any]) -> list[str]:
    """The names that a pattern fits, in the order of the patterns; `error` is told where there are none."""
    names = list(names)
    chosen = list(dict.fromkeys(name for pattern in patterns for name in fnmatch.filter(names, pattern)))
    if not chosen:
        error(f"no row is called {patterns}; there are {', '.join(names)}")
    return chosen


def measure(
    name: str,
    experiment: Experiment,
    options: argparse.Namespace,
    measured: Callable[[Path], dict[str, Any]],
    in_words: Callable[[dict[str, Any]], str],
) -> None:
    """Write <row>_seed<seed>.json, unless it is there.

    Args:
      name: name of the row.
      experiment: its settings, with the seed.
      options: the options of `parser`.
      measured: run folder -> what the JSON says beside row, settings, versions and machine.
      in_words: what the terminal says of that result.
    """
    name_and_seed = f"{name}_seed{experiment.seed}"
    path, folder = options.out / f"{name_and_seed}.json", options.out / "runs" / name_and_seed
    if path.exists():
        print(f"{path.name} is there", flush=True)
        return
    started = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    about = {
        "row": name,
        "small": options.small,
        "seed": experiment.seed,
        "config": to_json(experiment),
        "versions": {"python": platform.python_version(), "jax": jax.__version__},
        "machine": {"device": str(jax.devices()[0]), "processor": platform.processor() or platform.machine()},
    }
    result = measured(folder)
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(about | as_json(result), indent=1) + "\n")
    print(f"{path.name}: {in_words(result)}{time.monotonic() - started:.0f} s", flush=True)


def unseen(experiment: Experiment) -> Sequence:
    """Slices (of networks of frames: series) of simulated subjects that neither training nor validation sees."""
    first = experiment.simulated.heads + experiment.simulated.validation_heads
    slices: Sequence = simulated_slices(experiment, range(first, first + TEST_HEADS))
    return WithMaps(slices, experiment) if build(experiment.model).wants.maps == "given" else slices


def score(reconstruct: Callable[[Problem], Any], variant: str, examples: Iterable[Labelled]) -> dict[str, Any]:
    """Mean, median and standard deviation over slices, and the slices of each volume."""
    scores = evaluate(reconstruct, examples, variant=variant)
    table: dict[str, Any] = {
        name: dataclasses.asdict(statistics)
        for name, statistics in summarize(scores.volumes.values()).items()
        if name in ("ssim", "nmse", "psnr")
    }
    for metric in list(table):
        table[metric]["slices"] = {
            scan_name(file): [round(float(v), 6) for v in volume.per_slice[metric]]
            for file, volume in scores.volumes.items()
        }
    return table


def fingerprint(
    examples: Iterable[Labelled], hashed: Callable[[Labelled], Sequence[Any]] = lambda example: (example[2].kspace,)
) -> dict[str, Any]:
    """What was tested on; equal hashes are equal data, as far as `hashed` (example -> arrays) shows them."""
    digest, files, measured = hashlib.sha256(), [], []
    for example in examples:
        file, _, problem, _ = example
        for array in hashed(example):
            digest.update(np.ascontiguousarray(array).tobytes())
        files.append(file)
        measured.append(1 / float(np.mean(np.asarray(problem.op.encoding.mask) != 0)))
        shape = problem.kspace.shape
    return {
        "scans": [scan_name(file) for file in dict.fromkeys(files)],
        "slices": len(files),
        "shape": list(shape),
        "acceleration": float(np.mean(measured)),
        "sha256": digest.hexdigest(),
    }


def step_memory(experiment: Experiment, examples: Iterable[Labelled]) -> int:
    """Temporaries of the compiled training step, in bytes."""
    _, _, *example = next(iter(examples))
    stack = lambda a: jax.ShapeDtypeStruct((experiment.batch_size, *a.shape), a.dtype)
    problem, target = jax.tree.map(stack, tuple(example))
    update = make_update(experiment, updates_per_epoch=1)
    key = jax.eval_shape(lambda: jax.random.key(0))
    params = jax.eval_shape(batched(build(experiment.model)).init, key, problem)
    return compiled_memory(update, jax.eval_shape(update.init, params, key), problem, target).temporary

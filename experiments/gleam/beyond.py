"""Beyond the paper: what raises GLEAM's quality at as many iterations. PGD, R = 12, small, on simulated heads.

    python experiments/gleam/beyond.py --out experiments/gleam/results/beyond.json --seeds 0 1 2

Variants of Table I's row: modules of two steps (M = 4) and three times the depth in three modules, whose memory is GLEAM's
only where their steps are recomputed (../benchmarks/memory.py),
local losses weighted towards the last module (Adam undoes a weight but for the L2 penalty, hence the learning rates of the
modules are weighted instead), and a last quarter of the iterations end to end with checkpointing, whose memory is about
GLEAM's. The last weights are scored, on the test slices of run.py. What lowers the memory: ../benchmarks/memory.py.
"""

import argparse
import dataclasses
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import run
from gleam_settings import pgd_mridata

from jaxrecon.data.pipeline import batches
from jaxrecon.experiment import Every, Experiment, find_data, make_update, preparation
from jaxrecon.files import atomic
from jaxrecon.losses import LOSSES
from jaxrecon.models import batched, build
from jaxrecon.models import run as run_model
from jaxrecon.strategies import Checkpointed, Gleam
from jaxrecon.training import evaluation_params, fit
from jaxrecon.training.optimizers import GleamAdam


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    options = parser.parse_args()
    result = json.loads(options.out.read_text()) if options.out.exists() else {"psnr": {}}
    for seed in options.seeds:
        for name, phases in variants(seed).items():
            of_seeds = result["psnr"].setdefault(name, {})
            if str(seed) not in of_seeds:
                of_seeds[str(seed)] = psnr(phases)
                with atomic(options.out, overwrite=True) as temporary:
                    temporary.write_text(json.dumps(result, indent=1) + "\n")
            print(f"seed {seed}, {name}: {of_seeds[str(seed)]:.2f} dB", flush=True)
    for name, of_seeds in result["psnr"].items():
        differences = [value - result["psnr"]["gleam"][seed] for seed, value in of_seeds.items()]
        print(f"{name:40} {statistics.fmean(differences):+.2f} dB against gleam, seeds {', '.join(of_seeds)}")


def variants(seed: int) -> dict[str, list[tuple[Experiment, Callable]]]:
    """Name -> phases of a training: an experiment, and what makes an update of it."""
    plain = dataclasses.replace(pgd_mridata(12.0, Gleam(), small=True), seed=seed)
    n = plain.n_updates
    last = n // 4
    as_stated = lambda experiment: make_update(experiment, updates_per_epoch=1)
    model = dataclasses.replace(plain.model, n_steps=24)  # type: ignore[type-var]
    deep = dataclasses.replace(plain, model=model, strategy=Gleam(3))
    tuned = dataclasses.replace(plain, strategy=Checkpointed(), n_updates=last)
    return {
        "gleam": [(plain, as_stated)],
        "checkpointed (end to end)": [(dataclasses.replace(plain, strategy=Checkpointed()), as_stated)],
        "gleam, M = 4": [(dataclasses.replace(plain, strategy=Gleam(4)), as_stated)],
        "gleam, N = 24, M = 3": [(deep, as_stated)],
        "gleam, rates rising over modules": [(plain, rising_rates)],
        "gleam, last quarter checkpointed": [
            (dataclasses.replace(plain, n_updates=n - last), as_stated),
            (tuned, as_stated),
        ],
    }


def rising_rates(experiment: Experiment):
    """GLEAM with learning rates from a half of the experiment's (first module) to three halves (last)."""
    model = batched(build(experiment.model))
    n = model.n_steps
    rates = [experiment.optimizer.learning_rate * (0.5 + m / (n - 1)) for m in range(n)]  # type: ignore[attr-defined]
    return experiment.strategy.build(
        model, LOSSES[experiment.loss].function, [GleamAdam(rate).build() for rate in rates]
    )


def psnr(phases: list[tuple[Experiment, Callable]]) -> float:
    """Train through the phases, each with a new optimizer; mean PSNR on the test slices."""
    first = phases[0][0]
    data = find_data(first, "simulated", None).training
    feed = batches(data, preparation(first), batch_size=first.batch_size, seed=first.seed)
    problem, _ = next(iter(feed))
    params_key, key = jax.random.split(jax.random.key(first.seed))
    params = jax.jit(batched(build(first.model)).init)(params_key, problem)
    for experiment, update_of in phases:
        update = update_of(experiment)
        with tempfile.TemporaryDirectory() as folder:
            state = fit(
                update,
                update.init(params, key),
                feed,
                out=Path(folder) / "run",
                n_updates=experiment.n_updates,
                every=Every(evaluate=experiment.n_updates, checkpoint=experiment.n_updates),
                progress=False,
            )
        params = evaluation_params(state)
    model = build(first.model)
    reconstruct = jax.jit(lambda params, problem: run_model(model, params, problem))
    examples = run.test_examples(first, "simulated")
    (scores,) = run.score(lambda problem: [reconstruct(params, problem)], examples, first.variant)
    return scores["psnr"]["mean"]


if __name__ == "__main__":
    main()

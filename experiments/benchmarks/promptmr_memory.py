"""Memory of PromptMR+ at the published sizes, as the compiler plans it: maps, training, inference, and the carry. Nothing is run.

    python experiments/benchmarks/promptmr_memory.py --out experiments/benchmarks/results/promptmr_memory.json
    python experiments/benchmarks/promptmr_memory.py --scale 4        # small images, to try it

Temporary bytes of jitted functions: the maps and their gradient; loss and gradient of the whole network,
batch 1; inference. `published` holds what the authors report for their own implementation (nvidia-smi's view of a
process: weights, optimizer and caches included), which is no number of the same kind: compare the ratios. The bar: maps from
adjacent slices at 45 % or less of maps coil by coil, in the setting of Calgary-Campinas. About ten minutes on one core; run
again, it goes on with what --out has.
"""

import argparse
import dataclasses
import json
import os
import platform
from pathlib import Path

# what the machine code looks like does not change the plan of the buffers, but takes most of the compile time
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"

import jax
import jax.numpy as jnp

from jaxrecon.models import PROMPTMR_PLUS_BASELINE, PromptMRPlusConfig, batched, promptmr_plus, run
from jaxrecon.operators import CartesianSense
from jaxrecon.problem import Problem, Target
from jaxrecon.strategies import checkpointed, end_to_end, gleam
from jaxrecon.training import carry_bytes, compiled_memory, losses

PLUS, BASELINE = PromptMRPlusConfig(), PROMPTMR_PLUS_BASELINE
CALGARY = {"coils": 12, "size": (218, 170), "plane": True}
"""Poisson-disc masks in the plane of both phase encodes."""
CARDIAC = {"coils": 10, "size": (448, 204), "plane": False}
"""CMRxRecon, a cine of ordinary size, lines."""
BAR = 0.45
PUBLISHED = {
    "maps": {"ratio": 0.45, "source": "slides: reduced by 55 %, setting not stated"},
    "training": {"ratio": 11.2 / 19.7, "source": "repository: 19.7 to 11.2 GB, Calgary-Campinas, one example per GPU"},
    "inference": {"ratio": 2844 / 8624, "source": "repository: 8624 to 2844 MiB, CMRxRecon 2023"},
}


def problem(config, *, coils, size, plane, scale, batch=()):
    """Shapes of a problem; `scale` divides the image size."""
    y, x = (n // scale for n in size)
    kspace = jax.ShapeDtypeStruct((*batch, config.n_adjacent, coils, y, x), jnp.complex64)
    mask = jax.ShapeDtypeStruct((*batch, y if plane else 1, x), jnp.float32)
    return Problem(kspace, CartesianSense(None, mask))


def parameters(config):
    """Shapes of the parameters."""
    model = promptmr_plus(config)
    return jax.eval_shape(model.init, jax.eval_shape(jax.random.key, 0), problem(config, **CALGARY, scale=8))


def maps(setting, scale):
    """The sensitivity network alone, for gradients and forward."""
    rows = {}
    for name, changes in {
        "coil by coil": {"adjacent_maps": False},
        "adjacent": {},
        "coil by coil, one at a time": {"adjacent_maps": False, "one_map_at_a_time": True},
        "adjacent, one at a time": {"one_map_at_a_time": True},
    }.items():
        config = dataclasses.replace(PLUS, n_steps=1, **changes)
        model = promptmr_plus(config)

        def estimate(start, given, model=model):
            return model.start(start, given)[1][0].maps

        def value(start, given, estimate=estimate):
            return jnp.sum(jnp.abs(estimate(start, given).real))

        start, given = parameters(config)["start"], problem(config, **setting, scale=scale)
        rows[name] = {
            "gradient": compiled_memory(jax.grad(value), start, given).temporary,
            "forward": compiled_memory(estimate, start, given).temporary,
        }
    return rows


def training(setting, scale, rows, keep):
    """Loss and gradient of whole networks; an optimizer adds its state to the arguments, not to the peak."""
    everything = {"end_to_end": end_to_end(), "checkpointed": checkpointed(), "gleam, 6 modules": gleam(6)}
    for name, config, strategies in (
        ("PromptMR (image domain)", BASELINE, ("end_to_end", "checkpointed")),
        ("PromptMR+", PLUS, tuple(everything)),
    ):
        given, size = problem(config, **setting, scale=scale, batch=(1,)), [n // scale for n in setting["size"]]
        target = Target(jax.ShapeDtypeStruct((1, *size), jnp.float32), jax.ShapeDtypeStruct((1,), jnp.float32))
        model = batched(promptmr_plus(config))
        for strategy in strategies:
            row = f"{name}, {strategy}"
            if row not in rows:
                grad_fn = everything[strategy](model, losses.ssim)
                rows[row] = compiled_memory(grad_fn, parameters(config), given, target)._asdict()
                keep()
            print(f"training, {row:44} {rows[row]['temporary'] / 2**20:9.0f} MiB", flush=True)


def inference(setting, scale):
    """Whole reconstructions."""
    rows = {}
    for name, config in {"PromptMR (image domain)": BASELINE, "PromptMR+": PLUS}.items():
        model = promptmr_plus(config)
        reconstruct = lambda params, given, model=model: run(model, params, given)
        rows[name] = compiled_memory(reconstruct, parameters(config), problem(config, **setting, scale=scale))._asdict()
    return rows


def carry(scale):
    """Bytes handed from cascade to cascade, one example."""
    sizes = {"Calgary-Campinas": CALGARY, "320 x 320": {**CALGARY, "size": (320, 320)}}
    model = promptmr_plus(PLUS)
    return {name: carry_bytes(model, problem(PLUS, **s, scale=scale, batch=(1,))) for name, s in sizes.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--scale", type=int, default=1, help="divide the image size by this")
    options = parser.parse_args()
    mebibytes = lambda n: f"{n / 2**20:9.0f} MiB"
    report = {
        "backend": jax.default_backend(),
        "machine": {"device": str(jax.devices()[0]), "processor": platform.processor() or platform.machine()},
        "versions": {"python": platform.python_version(), "jax": jax.__version__},
        "scale": options.scale,
        "published": PUBLISHED,
    }
    if options.out and options.out.exists():
        found = json.loads(options.out.read_text())
        if any(found.get(name) != value for name, value in report.items()):
            parser.error(
                f"{options.out} was made with other options, versions or on another machine: name another file"
            )
        report = found

    def keep():
        if options.out:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(report, indent=1) + "\n")

    for name, measure in (
        ("carry", lambda: carry(options.scale)),
        ("maps", lambda: maps(CALGARY, options.scale)),
        ("inference", lambda: inference(CARDIAC, options.scale)),
    ):
        if name not in report:
            report[name] = measure()
            keep()
    alone = report["maps"]["coil by coil"]
    for name, row in report["maps"].items():
        print(f"maps, {name:30} gradient {mebibytes(row['gradient'])} = {row['gradient'] / alone['gradient']:.3f},"
              f" forward {mebibytes(row['forward'])} = {row['forward'] / alone['forward']:.3f}", flush=True)  # fmt: skip
    for name, row in report["inference"].items():
        print(f"inference, {name:25} {mebibytes(row['temporary'])}", flush=True)
    training(CALGARY, options.scale, report.setdefault("training", {}), keep)
    report["ratios"] = {
        "maps": report["maps"]["adjacent"]["gradient"] / alone["gradient"],
        "training": report["training"]["PromptMR+, end_to_end"]["temporary"]
        / report["training"]["PromptMR (image domain), end_to_end"]["temporary"],
        "inference": report["inference"]["PromptMR+"]["temporary"]
        / report["inference"]["PromptMR (image domain)"]["temporary"],
    }
    report["missed"] = ["maps"] if options.scale == 1 and report["ratios"]["maps"] > BAR else []
    for name, ratio in report["ratios"].items():
        print(f"{name:10} PromptMR+ is {ratio:.3f} of PromptMR; published {PUBLISHED[name]['ratio']:.3f}")
    keep()


if __name__ == "__main__":
    main()

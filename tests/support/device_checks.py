"""What is checked on several devices, in one process with four of them: `python -m support.device_checks OUT [CACHE]`.

Every check trains T mini-batches, more than there are stages, so that pipelines fill, run full and drain. Its result is
the largest difference in weights, optimizer states and metrics from the reference, `gleam` on one device one mini-batch at
a time; and whether all weights are bit for bit those of the same schedule on one device. Results go to OUT as JSON.
"""

import json
import os
import sys
from pathlib import Path

M = N = 4
T = 5
FIRST_SEED = {"pgd": 10}
"""Of the data: with those from 0 one weight has a gradient near 0, of which Adam makes steps of the size of its rounding."""
MODULES = {"promptmr plus": 2}
"""Of the networks that do not have M: steps in pairs, for the latent to learn."""
BATCH = 2
# schedule, devices, data shards
EVERY_WAY = [
    *[(schedule, n, 1) for schedule in ("pipeline", "algorithm2", "spmd") for n in (1, 2, 4)],
    ("pmap", 4, 1),
    ("pipeline", 4, 2),
    ("algorithm2", 4, 2),
    ("spmd", 4, 2),
]
NETWORKS = ("toy", "toy, learned start", "pgd", "modl", "varnet", "promptmr plus")
ALL = [(model, *way) for model in NETWORKS for way in EVERY_WAY if way[1] // way[2] <= MODULES.get(model, M)]
CHECKS = [("toy, learned start", *way) for way in EVERY_WAY if way not in (("spmd", 1, 1), ("algorithm2", 4, 2))] + [
    ("pgd", "pipeline", 2, 1),
    ("modl", "algorithm2", 2, 1),
    ("varnet", "spmd", 2, 1),
    # maps that were learned, the latent and the history go from device to device
    ("promptmr plus", "pipeline", 2, 1),
    ("promptmr plus", "spmd", 2, 1),
]
"""Those of each run of the tests: networks take long to compile; with JAXRECON_ALL_DEVICE_CHECKS set it is ALL."""


def name_of(check):
    model, schedule, n_devices, n_data = check
    return f"{model} {schedule} {n_devices // n_data}" + (f" x {n_data} data shards" if n_data > 1 else "")


def build(name):
    import dataclasses

    from jaxrecon import models
    from support.models import TINY
    from support.toy import toy

    plus = TINY["promptmr-plus"]
    configs = {
        "pgd": TINY["pgd"],
        "modl": dataclasses.replace(TINY["modl-gleam"], cg_iters=4),
        "varnet": TINY["varnet"],
        # attention's ReLU may happen to be off everywhere
        "promptmr plus": dataclasses.replace(plus, sizes=dataclasses.replace(plus.sizes, attention=False)),
    }
    if name.startswith("toy"):
        return toy(learned_start=name == "toy, learned start")
    return models.build(dataclasses.replace(configs[name], n_steps=N))


def batch(model, seed):
    """(problems, targets) of BATCH examples."""
    from support.problems import problem_for, stack

    return stack(*(problem_for(model, seed=BATCH * seed + i) for i in range(BATCH)))


def difference(a, b):
    import jax
    import numpy as np

    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(float(np.max(np.abs(np.asarray(x, float) - np.asarray(y, float)))) for x, y in pairs)


def run_checks(checks, say):
    import jax
    import optax

    from jaxrecon.models import batched, stack_problems
    from jaxrecon.strategies import gleam, module_mesh, p_gleam, per_module
    from jaxrecon.training import from_grad_fn
    from support.problems import random_params
    from support.programs import mean_error

    tx = optax.chain(optax.add_decayed_weights(1e-4), optax.adam(1e-3))
    references, alone = {}, {}
    for check in checks:
        name, schedule, n_devices, n_data = check
        model, n_modules = batched(build(name)), MODULES.get(name, M)
        batches = [batch(build(name), FIRST_SEED.get(name, 0) + seed) for seed in range(T)]
        if name not in references:
            params = jax.device_get(random_params(model, batches[0][0]))
            per = per_module(tx, n_modules, untrained=model.untrained)
            update = from_grad_fn(gleam(n_modules)(model, mean_error), per, ema_decay=0.9)
            state, metrics = update.init(params, jax.random.key(1)), []
            for one in batches:
                state, own = update(state, *one)
                metrics.append(own)
            references[name] = (
                params,
                *jax.device_get((state.params, state.opt_state, state.ema, stack_problems(metrics))),
            )
        params, *reference = references[name]
        mesh = module_mesh(n_devices, n_data=n_data)
        update = p_gleam(n_modules, mesh, tx, schedule=schedule, n_batches=T, ema_decay=0.9)(model, mean_error)
        state, metrics = update(update.init(params, jax.random.key(1)), *stack_problems(batches))
        own = jax.device_get((state.params, state.opt_state, state.ema, metrics))
        placed = {s.device for leaf in jax.tree.leaves(state.params["steps"]) for s in leaf.addressable_shards}
        result = {
            "difference": difference(own[:3], reference[:3]),
            "metrics": difference(own[3], reference[3]),
            "moved": difference(own[0], params),
            "steps": int(state.step),
            "devices": len(placed),
        }
        if n_devices == 1:
            alone[name, schedule] = own
        elif (name, schedule) in alone:
            same = jax.tree.map(lambda a, b: (a == b).all(), own, alone[name, schedule])
            result["bitwise"] = bool(jax.tree.all(same))
        say(name_of(check), result)


def run_commands(say, out):
    """`jaxrecon train` on two devices beside the same on one, and then the other way."""
    import jax

    from jaxrecon.cli import main
    from jaxrecon.experiment.as_json import from_json
    from jaxrecon.models import abstract_params
    from jaxrecon.training import load_config, load_params, read_log

    tiny = [
        "train", "--model", "pgd", "--small", "--data", "simulated", "--simulated.heads", "2",
        "--simulated.validation-heads", "1", "--simulated.slices", "1", "--simulated.shape", "16", "14",
        "--simulated.coils", "2", "--mask", "equispaced", "--acs", "6", "--n-masks", "2", "--model.n-steps", "2",
        "--model.features", "2", "--every.log", "1", "--n-updates", "2", "--batch-size", "2", "--seed", "3",
    ]  # fmt: skip
    runs = {"one": ["--strategy", "gleam"], "modules": ["--strategy", "p_gleam", "--devices", "2"]}
    weights = {}
    for name, options in runs.items():
        assert main([*tiny, "--out", str(out / name), *options]) == 0
        like = abstract_params(from_json(load_config(out / name), where=out).model)
        weights[name] = jax.device_get(load_params(out / name, like, step=2))
    losses = [[r["losses"] for r in read_log(out / name) if r["event"] == "training"] for name in runs]
    say("command", {"difference": difference(weights["modules"], weights["one"]), "losses": difference(*losses)})
    # the run of two devices goes on with one, and with other modules
    assert (
        main([*tiny, "--out", str(out / "modules"), *runs["one"], "--n-updates", "3", "--strategy.n-modules", "1"]) == 0
    )
    losses = [r["losses"] for r in read_log(out / "modules") if r["event"] == "training"]
    say("resumed", {"modules": [len(own) for own in losses]})


def run_data_parallel(say):
    """A GradFn strategy with the examples of a batch on two devices."""
    import jax
    import optax

    from jaxrecon.models import batched
    from jaxrecon.strategies import data_parallel, end_to_end, module_mesh
    from jaxrecon.training import from_grad_fn
    from support.problems import random_params
    from support.toy import mean_square

    model, one = batched(build("toy, learned start")), batch(build("toy, learned start"), 0)
    update = from_grad_fn(end_to_end()(model, mean_square), optax.adam(1e-3))
    params, states = jax.device_get(random_params(model, one[0])), []
    for own in (update, data_parallel(update, module_mesh(2, n_data=2))):
        state, _ = own(own.init(params, jax.random.key(1)), *one)
        states.append(jax.device_get((state.params, state.opt_state)))
    say(
        "data parallel", {"difference": difference(*states), "devices": len(jax.tree.leaves(state.params)[0].devices())}
    )


if __name__ == "__main__":
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
    import jax

    jax.config.update("jax_numpy_rank_promotion", "raise")
    if len(sys.argv) > 2:
        jax.config.update("jax_compilation_cache_dir", sys.argv[2])
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    folder, results = Path(sys.argv[1]), {}

    def say(name, result):
        results[name] = result
        (folder / "results.json").write_text(json.dumps(results))
        print(name, result, flush=True)

    run_data_parallel(say)
    run_checks(ALL if os.environ.get("JAXRECON_ALL_DEVICE_CHECKS") else CHECKS, say)
    run_commands(say, folder)

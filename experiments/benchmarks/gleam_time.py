"""Time of a training step: end to end, checkpointing, MEL and GLEAM on one core, P-GLEAM on two processes of one core each.

    python experiments/benchmarks/gleam_time.py --out experiments/benchmarks/results/gleam_time.json
    python experiments/benchmarks/gleam_time.py --small        # small images and few features, to try it

GLEAM's networks (PGD 2D and MoDL 2D, N = M = 8, the paper's features and CG iterations), all strategies in the same form: a
jitted lax.scan over the steps, loss, gradient and Adam included. Three groups of processes take turns, the others wait:

  one core     one process pinned to a core, with a forward pass and every strategy in turn;
  two cores    one process on both: GLEAM, so that P-GLEAM's gain is seen to be more than the second core;
  p_gleam      two processes, each pinned to a core, that meet over jax.distributed: schedule spmd, a stack of
               mini-batches in each call, whose filling and draining is part of the time.

A time is wall time per mini-batch, the least of all rounds; ratios are of times of the same run. Linux, two cores or more.
"""

import argparse
import dataclasses
import json
import os
import platform
import socket
import subprocess
import sys
import time
from pathlib import Path

BARS = {"gleam / end to end": 1.05, "checkpointed / end to end": 1.4}
"""At most."""
GAIN = 1.6
"""P-GLEAM on two cores over GLEAM on one, at least."""
N = 8


@dataclasses.dataclass(frozen=True)
class Options:
    """Sizes: image (y, x), coils, examples in a mini-batch, features (None: the paper's), mini-batches in a call of P-GLEAM."""

    image: tuple[int, int] = (96, 80)
    coils: int = 8
    batch: int = 1
    features: int | None = None
    stack: int = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--models", nargs="+", choices=("pgd", "modl"), default=["pgd", "modl"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(**json.loads(arguments.worker))
        return
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise SystemExit("this benchmark compares one core with two, but there is only one")
    options = Options((32, 24), 4, 1, 8, 8) if arguments.small else Options()
    report = {
        "options": dataclasses.asdict(options),
        "rounds": arguments.rounds,
        "machine": {"processor": platform.processor() or platform.machine(), "cores": 2},
        "models": {name: measure(name, options, cores, arguments.rounds) for name in arguments.models},
    }
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


def measure(model: str, options: Options, cores: list[int], rounds: int) -> dict:
    """Start the three groups, let them take turns, and compare."""
    groups = {
        "one core": [Worker(model, options, cores[:1], "strategies")],
        "two cores": [Worker(model, options, cores, "gleam")],
    }
    for workers in groups.values():
        workers[0].ready()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    pair = [Worker(model, options, [core], "p_gleam", address=address, process=i) for i, core in enumerate(cores)]
    groups["p_gleam"] = pair
    for worker in pair:
        worker.ready()
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for workers in groups.values():
            for worker in workers:
                worker.go()
            answers = [worker.answer() for worker in workers]
            for name in answers[0]:
                seconds.setdefault(name, []).append(max(answer[name] for answer in answers))
    for workers in groups.values():
        for worker in workers:  # both first: processes that met leave together
            worker.process.stdin.close()
        for worker in workers:
            worker.process.wait()
    best = {name: min(own) for name, own in seconds.items()}
    one = best["gleam"]
    ratios = {f"{name} / end to end": best[name] / best["end to end"] for name in best if name in STRATEGIES}
    gains = {"p_gleam, two cores": one / best["p_gleam, two cores"], "gleam, two cores": one / best["gleam, two cores"]}
    bound = options.stack * 2 / (options.stack + 1)
    missed = [name for name, bar in BARS.items() if ratios[name] > bar]
    missed += ["p_gleam, two cores"] if gains["p_gleam, two cores"] < GAIN else []
    print(f"\n{model}, seconds per mini-batch: " + ", ".join(f"{name} {s:.3f}" for name, s in best.items()))
    print(", ".join(f"{name} {r:.2f}" for name, r in ratios.items()))
    print("over gleam on one core: " + ", ".join(f"{name} {g:.2f}" for name, g in gains.items()), end="")
    print(
        f" (filling and draining allow {bound:.2f})" + (f"; missed: {', '.join(missed)}" if missed else ""), flush=True
    )
    return {"seconds": best, "all_seconds": seconds, "ratios": ratios, "gains": gains, "bound": bound, "missed": missed}


class Worker:
    """A process of its own on some cores; it computes when told to, and answers with times by name."""

    def __init__(self, model: str, options: Options, cores: list[int], role: str, **more):
        content = {"model": model, "options": dataclasses.asdict(options), "cores": cores, "role": role, **more}
        command = [sys.executable, __file__, "--worker", json.dumps(content)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ready(self) -> None:
        """Wait until all is compiled."""
        if self.answer() != {}:
            raise SystemExit("a worker answered before it was asked")

    def go(self) -> None:
        """One round."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, float]:
        """What the worker measured."""
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit(f"a worker stopped with exit status {self.process.wait()}")


STRATEGIES = ("end to end", "checkpointed", "invertible", "gleam")


def work(model, options, cores, role, address=None, process=0) -> None:
    """What a worker does: compile, then a round for each line that it reads."""
    os.sched_setaffinity(0, set(cores))  # before jax counts the cores
    from jaxrecon.strategies import join_hosts

    if role == "p_gleam":
        join_hosts(address, 2, process)
    calls = build(model, Options(**options), role)
    for call in calls.values():
        call()
    print("{}", flush=True)
    for _ in sys.stdin:
        seconds = {}
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name] = (time.perf_counter() - start) / call.n_batches
        print(json.dumps(seconds), flush=True)


class Training:
    """A training run that goes on by one call of its update, or a forward pass, whenever it is called."""

    def __init__(self, step, carried, data, n_batches=1):
        self.step, self.carried, self.data, self.n_batches = step, carried, data, n_batches

    def __call__(self) -> None:
        """One call, waited for."""
        import jax

        self.carried, out = self.step(self.carried, *self.data)
        jax.block_until_ready((self.carried, out))


def build(name: str, options: Options, role: str) -> dict[str, Training]:
    """What a role computes, by name."""
    import jax
    import jax.numpy as jnp

    from jaxrecon.models import MODL_2D_GLEAM, PGDConfig, batched, modl, pgd, run, stack_problems
    from jaxrecon.operators import CartesianSense
    from jaxrecon.problem import Problem
    from jaxrecon.strategies import checkpointed, end_to_end, gleam, invertible, module_mesh, p_gleam, per_module
    from jaxrecon.training import from_grad_fn, losses, optimizers

    config = {"pgd": PGDConfig(), "modl": MODL_2D_GLEAM}[name]
    if options.features:
        config = dataclasses.replace(config, features=options.features)
    model = batched({"pgd": pgd, "modl": modl}[name](config))
    keys = jax.random.split(jax.random.key(0), 3)
    shape = (options.batch, options.coils, *options.image)
    maps = jax.random.normal(keys[0], shape, jnp.complex64)
    maps /= jnp.sqrt(jnp.sum(jnp.abs(maps) ** 2, 1, keepdims=True))
    mask = (jax.random.uniform(keys[1], (options.batch, *options.image)) < 0.25).astype(jnp.float32)
    target = jax.random.normal(keys[2], (options.batch, *options.image), jnp.complex64)
    op = CartesianSense(maps, mask)
    problem = Problem(jax.vmap(lambda op, x: op.forward(x))(op, target), op)
    params = jax.device_get(jax.jit(model.init)(jax.random.key(1), problem))
    tx, loss, key = optimizers.GleamAdam().build(), losses.complex_l1, jax.random.key(2)
    if role == "p_gleam":
        update = p_gleam(N, module_mesh(2), tx, schedule="spmd", n_batches=options.stack)(model, loss)
        data = jax.device_get(stack_problems([(problem, target)] * options.stack))
        return {"p_gleam, two cores": Training(update, update.init(params, key), data, options.stack)}
    wanted = {"gleam": gleam(N)}
    if role == "strategies":
        wanted = {"end to end": end_to_end(), "checkpointed": checkpointed(), **wanted}
        if model.inverse is not None:
            wanted["invertible"] = invertible(0)
    calls = {}
    for label, strategy in wanted.items():
        own = per_module(tx, N) if label == "gleam" else tx
        update = from_grad_fn(strategy(model, loss), own)
        step = jax.jit(update.step, donate_argnums=0)
        label = "gleam, two cores" if role == "gleam" else label
        calls[label] = Training(step, update.init(params, key), (problem, target))
    if role == "strategies":
        forward = jax.jit(lambda params, problem: (params, run(model, params, problem)))
        calls["forward"] = Training(forward, params, (problem,))
    return calls


if __name__ == "__main__":
    main()

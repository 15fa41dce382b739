"""A network against PyTorch's: the same weights, the same input, one core, one process, ratios in one run.

The sides must agree in image and gradients at the size that is timed. PyTorch runs in both of its memory layouts, ours
with the steps in a scan and, where it has several, in a Python loop, which is PyTorch's own form; the faster one of
each counts. What is measured is the CPU time of the process, pinned to one core, with the sides taking turns; the ratio
is that of the minima. Compile time is given apart: the CPU time of the first call less that of a later one.
"""

import argparse
import dataclasses
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import chex
import jax
import numpy as np
import torch

FORWARD, BOTH = "forward", "forward + backward"
BARS = {FORWARD: 1.0, BOTH: 0.8}
"""torch's time / ours. Aimed at: 1 for both."""
AGREEMENT = {FORWARD: 1e-4, BOTH: 5e-3}
"""Largest relative difference between the sides, of the image and of all gradients together; or twice that between PyTorch's own
two layouts, where rounding alone makes more (batch norm over eight layers of ReLU)."""
SCAN, LOOP = "jaxrecon", "jaxrecon, Python loop"
LAYOUTS = {"torch": False, "torch, channels last": True}


@dataclasses.dataclass
class Side:
    """One implementation: what to time for each mode, and arrays by name from what it returns, to be compared."""

    calls: dict[str, Callable[[], Any]]
    arrays: Callable[[str, Any], dict[str, np.ndarray]]


@dataclasses.dataclass
class Contest:
    """One network on both sides, each in one form or more."""

    size: dict[str, Any]
    ours: dict[str, Side]
    rivals: dict[str, Side]


def our_side(
    forward: Callable[..., Any],
    loss: Callable[..., Any],
    arguments: tuple,
    published: Callable[[Any], dict[str, np.ndarray]],
) -> Side:
    """Our network, jitted.

    Args:
      forward: the arguments -> image.
      loss: the arguments -> (scalar, image), differentiated with respect to the first.
      arguments: parameters, and what else there is.
      published: gradient -> arrays under the published names.
    """
    calls = {}
    for mode, function in ((FORWARD, forward), (BOTH, jax.value_and_grad(loss, has_aux=True))):
        # a second trace of the same shapes raises
        jitted = jax.jit(chex.assert_max_traces(lambda *args, f=function: f(*args), n=1))
        calls[mode] = lambda jitted=jitted: jax.block_until_ready(jitted(*arguments))

    def arrays(mode, out):
        if mode == FORWARD:
            return {"image": np.asarray(out)}
        return {"image": np.asarray(out[0][1]), **published(out[1])}

    return Side(calls, arrays)


def torch_side(
    module: torch.nn.Module,
    forward: Callable[[], torch.Tensor],
    loss: Callable[[torch.Tensor], torch.Tensor],
    *,
    training: Callable[[], torch.Tensor] | None = None,
    named: Callable[[dict], dict] = lambda gradients: gradients,
) -> Side:
    """A PyTorch network.

    Args:
      module: holds the parameters.
      forward: () -> image.
      loss: image -> scalar.
      training: forward where it is differentiated, if that is another.
      named: gradients by the module's names -> by the published ones.
    """

    def only_forward():
        with torch.inference_mode():
            return forward()

    def forward_backward():
        module.zero_grad(set_to_none=True)
        out = (training or forward)()
        loss(out).backward()
        return out

    def arrays(mode, out):
        gradients = {name: p.grad for name, p in module.named_parameters()} if mode == BOTH else {}
        return {"image": out.detach().numpy(), **{k: np.asarray(v) for k, v in named(gradients).items()}}

    return Side({FORWARD: only_forward, BOTH: forward_backward}, arrays)


def state(module: torch.nn.Module) -> dict[str, np.ndarray]:
    """Copies of a module's weights."""
    return {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}


def run_contest(name: str, contest: Contest, *, rounds: int, bars: dict[str, float]) -> dict:
    """Warm up, check that the sides agree, time them in turn, for both modes."""
    result: dict = {"size": contest.size}
    sides = {**contest.ours, **contest.rivals}
    for mode in (FORWARD, BOTH):
        first, arrays = {}, {}
        for label, side in sides.items():
            chex.clear_trace_counter()  # it counts by the place in the source, which all networks share
            first[label], out = cpu_seconds(side.calls[mode])
            arrays[label] = side.arrays(mode, out)
        worst = max(difference(arrays[own], arrays[rival]) for own in contest.ours for rival in contest.rivals)
        among_rivals = difference(*(arrays[label] for label in contest.rivals))
        if not worst <= max(AGREEMENT[mode], 2 * among_rivals):
            raise SystemExit(f"{name}, {mode}: the two sides differ by {worst:.2g}: no fair comparison")
        seconds = take_turns({label: side.calls[mode] for label, side in sides.items()}, rounds)
        least = {label: min(s) for label, s in seconds.items()}
        own, rival = (min(forms, key=least.__getitem__) for forms in (contest.ours, contest.rivals))
        ratio = least[rival] / least[own]
        result[mode] = {
            "minimum_seconds": least,
            "median_seconds": {label: statistics.median(s) for label, s in seconds.items()},
            "faster_form": own,
            "faster_rival": rival,
            "ratio": ratio,
            "ratio_of_medians": statistics.median(seconds[rival]) / statistics.median(seconds[own]),
            "bar": bars[mode],
            "met": ratio >= bars[mode],
            "compile_cpu_seconds": first[own] - least[own],
            "difference": worst,
            "difference_among_rivals": among_rivals,
        }
        words = ", ".join(f"{label} {s * 1e3:.0f}" for label, s in least.items())
        print(
            f"{name:8} {mode:19} {ratio:5.2f} x torch (bar {bars[mode]:g}); ms: {words}; compiled in "
            f"{result[mode]['compile_cpu_seconds']:.1f} s; sides differ by {worst:.1e}",
            flush=True,
        )
    return result


def difference(ours: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """The larger of two relative l2 differences: that of the image, and that of all gradients as one vector."""
    if set(ours) != set(other):
        raise SystemExit(f"the sides return different arrays: {sorted(set(ours) ^ set(other))}")
    groups = [["image"], sorted(set(ours) - {"image"})]
    vector = lambda arrays, names: np.concatenate([np.ravel(arrays[n]) for n in names])
    found = []
    for names in filter(None, groups):
        a, b = vector(ours, names), vector(other, names)
        found.append(float(np.linalg.norm(a - b) / np.linalg.norm(b)))
    return max(found)


def cpu_seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    """CPU time of the whole process for one call, and what it returns."""
    start = time.process_time()
    out = call()
    return time.process_time() - start, out


def take_turns(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each call in each round; a busy moment of the machine hits all of them."""
    seconds: dict[str, list[float]] = {label: [] for label in calls}
    for _ in range(rounds):
        for label, call in calls.items():
            seconds[label].append(cpu_seconds(call)[0])
    return seconds


def parser(doc: str | None, golden: Path) -> argparse.ArgumentParser:
    """The options that every such benchmark has."""
    found = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--out", type=Path, help="JSON file for the results")
    found.add_argument("--golden", type=Path, default=golden, help="folder that holds golden files")
    found.add_argument("--rounds", type=int, default=7)
    found.add_argument("--small", action="store_true", help="small images and networks, to try it")
    return found


def measure(
    arguments: argparse.Namespace,
    contests: Iterable[tuple[str, Callable[[], Contest]]],
    check_golden: Callable[[Path], Any],
    *,
    bars: dict[str, float] = BARS,
    beside: Sequence[tuple[str, Callable[[], Any]]] = (),
) -> None:
    """Check PyTorch's networks, run the contests and what is measured beside them on one core, and write the report."""
    # before anything is computed: the thread pools count the cores when they start
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    golden = check_golden(arguments.golden)
    print(f"PyTorch on the golden files, largest error / tolerance: {golden}\n", flush=True)
    report = {
        "rounds": arguments.rounds,
        "machine": {"processor": processor(), "cores_used": 1},
        "versions": {"python": platform.python_version(), "jax": jax.__version__, "torch": torch.__version__},
        "golden": golden,
        "networks": {
            name: run_contest(name, contest(), rounds=arguments.rounds, bars=bars) for name, contest in contests
        },
        **{name: function() for name, function in beside},
    }
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


def processor() -> str:
    """The model's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()

"""Speed of the networks against PyTorch: the same weights, the same input, one core, one process, ratios in one run.

    python experiments/benchmarks/networks.py --out experiments/benchmarks/results/networks.json
    python experiments/benchmarks/networks.py --small        # small images, to try it

Needs the extra `bench`. PyTorch's networks (torch_networks.py) must first meet the golden files of --golden, then agree
with ours in image and gradient at the size that is timed. PyTorch runs in both of its memory layouts, the faster one
counts. What is measured is the CPU time of the process, pinned to one core, with the sides taking turns; the ratio is
that of the minima. Compile time is given apart: the CPU time of the first call less that of a later one.

Beside that: the gradient of a convolution in a loop (lax.scan) and in a Python loop, XLA's own and ours.
"""

import argparse
import dataclasses
import functools
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch_networks as rival
from jax import lax

from jaxrecon import models, nn, sampling
from jaxrecon.complex_ops import abs2
from jaxrecon.data import simulate
from jaxrecon.models.modl import MoDLConfig, modl
from jaxrecon.models.varnet import VarNetConfig, varnet
from jaxrecon.operators import CartesianSense
from jaxrecon.problem import Problem
from jaxrecon.training import Target, losses
from jaxrecon.weights import E2E_VARNET, FASTMRI_UNET, MODL, from_published, to_published

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
FORWARD, BOTH = "forward", "forward + backward"
LEAST = {FORWARD: 1.0, BOTH: 0.8}
"""Bars: torch's time / ours. Aimed at: 1 for both."""
AGREEMENT = {FORWARD: 1e-4, BOTH: 5e-3}
"""Largest relative difference between the sides, of the image and of all gradients together; or twice that between PyTorch's own
two layouts, where rounding alone makes more (batch norm over eight layers of ReLU)."""


@dataclasses.dataclass
class Side:
    """One implementation: what to time for each mode, and arrays by name from what it returns, to be compared."""

    calls: dict[str, Callable[[], Any]]
    arrays: Callable[[str, Any], dict[str, np.ndarray]]


@dataclasses.dataclass
class Contest:
    """One network on both sides."""

    size: dict[str, Any]
    ours: Side
    rivals: dict[str, Side]


@dataclasses.dataclass(frozen=True)
class Options:
    """Sizes (y, x) and the networks' widths."""

    unet_size: tuple[int, int] = (320, 320)
    unet_features: int = 32
    varnet_size: tuple[int, int] = (320, 256)
    varnet_features: int = 18
    varnet_cascades: int = 4
    modl_size: tuple[int, int] = (256, 232)
    modl_features: int = 64
    modl_steps: int = 3
    coils: int = 8


SMALL = Options((64, 64), 8, (64, 48), 6, 2, (48, 40), 16, 2, 3)


def unet(options: Options) -> Contest:
    """FastMRI's U-Net on a normalised image, L1 loss."""
    size, features = options.unet_size, options.unet_features
    torch.manual_seed(0)
    weights = _state(rival.UNet(1, features))
    params, config = from_published(weights, FASTMRI_UNET)
    net = nn.UNet(1, features)
    theta = jax.tree.map(lambda a: jnp.asarray(a[0]), params["steps"])
    rng = np.random.default_rng(0)
    image, target = rng.normal(size=(2, *size)).astype(np.float32)

    def loss(theta, image, target):
        out = net.apply(theta, image[..., None])[..., 0]
        return jnp.mean(jnp.abs(out - target)), out

    def published(gradient):
        tree = {"start": {}, "steps": jax.tree.map(lambda a: a[None], gradient)}
        return to_published(tree, FASTMRI_UNET, config)

    def torch_side(channels_last):
        module = rival.UNet(1, features, channels_last=channels_last)
        rival.load(module, weights)
        x, t = (torch.from_numpy(a)[None, None] for a in (image, target))
        return _torch_side(module, lambda: module(x)[0, 0], lambda out: torch.mean(torch.abs(out - t[0, 0])))

    return _contest(
        {"image": size, "features": features, "pools": 4, "parameters": sum(a.size for a in weights.values())},
        loss,
        (theta, jnp.asarray(image), jnp.asarray(target)),
        published,
        torch_side,
    )


def e2e_varnet(options: Options) -> Contest:
    """E2E-VarNet with learned maps, SSIM loss."""
    size, n, features = options.varnet_size, options.varnet_cascades, options.varnet_features
    pools, sens_features, sens_pools = 4, 8, 4
    torch.manual_seed(0)
    build = functools.partial(rival.VarNet, n, features, pools, sens_features, sens_pools)
    weights = _state(build())
    params, config = from_published(weights, E2E_VARNET)
    assert config == VarNetConfig(n, features, pools, sens_features, sens_pools)
    model = varnet(config)
    head = simulate.simulate(jax.random.key(0), shape=size, n_coils=options.coils)
    mask = sampling.random_lines(jax.random.key(1), size[1], acceleration=4, center_fraction=0.08)
    mask = jnp.asarray(mask, jnp.float32).reshape(-1)
    kspace, image = head.kspace * mask, jnp.abs(head.image)
    target = Target(image, jnp.max(image))

    def loss(params, problem, target):
        out = models.run(model, params, problem)
        return losses.ssim(out, target), out

    def torch_side(channels_last):
        module = build(channels_last=channels_last)
        rival.load(module, weights)
        y, t = (torch.from_numpy(np.array(a))[None] for a in (kspace, image))
        m = torch.from_numpy(np.array(mask) != 0)
        peak = torch.amax(t, (1, 2))
        return _torch_side(module, lambda: module(y, m)[0], lambda out: rival.ssim_loss(out[None], t, peak))

    return _contest(
        {"kspace": kspace.shape, "cascades": n, "features": features, "pools": pools},
        loss,
        (jax.tree.map(jnp.asarray, params), Problem(kspace, CartesianSense(None, mask)), target),
        lambda gradient: to_published(gradient, E2E_VARNET, config),
        torch_side,
    )


def modl_network(options: Options) -> Contest:
    """MoDL: forward with the moving averages, backward in training mode with the statistics of the batch."""
    size, n_steps, features = options.modl_size, options.modl_steps, options.modl_features
    torch.manual_seed(0)
    first = rival.MoDL(n_steps, features)
    weights = rival.published_modl(first, dict(first.named_parameters()) | dict(first.named_buffers()))
    config = MoDLConfig(n_steps=n_steps, features=features, norm="frozen")
    params, _ = from_published(weights, MODL, config=config)
    frozen, training = modl(config), modl(dataclasses.replace(config, norm="batch"))
    head = simulate.simulate(jax.random.key(0), shape=size, n_coils=options.coils)
    mask = sampling.poisson_disc(jax.random.key(1), size, acceleration=6, calib_size=(16, 16))
    mask = jnp.asarray(mask, jnp.float32)
    peak = jnp.max(jnp.abs(head.image))
    problem = Problem(head.kspace * mask / peak, CartesianSense(head.maps, mask))
    target = head.image / peak

    def forward(params, problem, target):
        return models.run(frozen, params, problem)

    def loss(params, problem, target):
        out = models.run(training, params, problem)
        return jnp.mean(abs2(out - target)), out

    def torch_side(channels_last):
        module = rival.MoDL(n_steps, features, channels_last=channels_last)
        rival.load_modl(module, weights)
        # its transform is uncentred: the same operator with the mask shifted
        m = torch.from_numpy(np.fft.fftshift(np.array(mask)).copy())[None]
        maps, start, t = (
            torch.from_numpy(np.array(a))[None] for a in (head.maps, problem.op.adjoint(problem.kspace), target)
        )
        out = lambda training: module.train(training)(start, maps, m)[-1][0]
        return _torch_side(
            module,
            lambda: out(False),
            lambda image: torch.mean(rival.abs2(image - t[0])),
            training=lambda: out(True),
            named=functools.partial(rival.published_modl, module),
        )

    return _contest(
        {"kspace": problem.kspace.shape, "steps": n_steps, "features": features, "cg_iterations": config.cg_iters},
        loss,
        (jax.tree.map(jnp.asarray, params), problem, target),
        lambda gradient: {k: v for k, v in to_published(gradient, MODL, config).items() if "moving" not in k},
        torch_side,
        forward=forward,
    )


def _contest(size, loss, arguments, published, torch_side, forward=None) -> Contest:
    """Both sides of a network; loss: (params, ...) -> (scalar, image); published: gradient -> arrays by name."""
    functions = {
        FORWARD: forward or (lambda *args: loss(*args)[1]),
        BOTH: jax.value_and_grad(loss, has_aux=True),
    }
    calls = {}
    for mode, function in functions.items():
        # a second trace of the same shapes raises
        jitted = jax.jit(chex.assert_max_traces(lambda *args, f=function: f(*args), n=1))
        calls[mode] = lambda jitted=jitted: jax.block_until_ready(jitted(*arguments))

    def arrays(mode, out):
        if mode == FORWARD:
            return {"image": np.asarray(out)}
        return {"image": np.asarray(out[0][1]), **published(out[1])}

    return Contest(size, Side(calls, arrays), {"torch": torch_side(False), "torch, channels last": torch_side(True)})


def _torch_side(module, forward, loss, training=None, named=lambda tensors: tensors) -> Side:
    """A PyTorch module; forward, training: () -> image; named: parameters' gradients -> arrays by published name."""

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


def _state(module):
    return {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}


def run_contest(name: str, contest: Contest, rounds: int) -> dict:
    """Warm up, check that the sides agree, time them in turn, for both modes."""
    result: dict = {"size": contest.size}
    sides = {"jaxrecon": contest.ours, **contest.rivals}
    for mode in (FORWARD, BOTH):
        chex.clear_trace_counter()  # it counts by the place in the source, which all networks share
        first, arrays = {}, {}
        for label, side in sides.items():
            first[label], out = cpu_seconds(side.calls[mode])
            arrays[label] = side.arrays(mode, out)
        differences = {label: _difference(arrays["jaxrecon"], arrays[label]) for label in contest.rivals}
        worst = max(max(d.values()) for d in differences.values())
        among_rivals = max(_difference(*(arrays[label] for label in contest.rivals)).values())
        if not worst <= max(AGREEMENT[mode], 2 * among_rivals):
            raise SystemExit(f"{name}, {mode}: the two sides differ by {worst:.2g}: no fair comparison")
        seconds = take_turns({label: side.calls[mode] for label, side in sides.items()}, rounds)
        best = min(contest.rivals, key=lambda label: min(seconds[label]))
        ratio = min(seconds[best]) / min(seconds["jaxrecon"])
        result[mode] = {
            "minimum_seconds": {label: min(s) for label, s in seconds.items()},
            "median_seconds": {label: statistics.median(s) for label, s in seconds.items()},
            "faster_rival": best,
            "ratio": ratio,
            "ratio_of_medians": statistics.median(seconds[best]) / statistics.median(seconds["jaxrecon"]),
            "bar": LEAST[mode],
            "met": ratio >= LEAST[mode],
            "compile_cpu_seconds": first["jaxrecon"] - min(seconds["jaxrecon"]),
            "difference": worst,
            "difference_among_rivals": among_rivals,
        }
        words = ", ".join(f"{label} {min(s) * 1e3:.0f}" for label, s in seconds.items())
        print(
            f"{name:8} {mode:19} {ratio:5.2f} x torch (bar {LEAST[mode]:g}); ms: {words}; compiled in "
            f"{result[mode]['compile_cpu_seconds']:.1f} s; sides differ by {worst:.1e}",
            flush=True,
        )
    return result


def _difference(ours, other):
    """Relative l2 differences: of the image, and of all gradients as one vector."""
    if set(ours) != set(other):
        raise SystemExit(f"the sides return different arrays: {sorted(set(ours) ^ set(other))}")
    groups = [["image"], sorted(set(ours) - {"image"})]
    vector = lambda arrays, names: np.concatenate([np.ravel(arrays[n]) for n in names])
    out = {}
    for names in filter(None, groups):
        a, b = vector(ours, names), vector(other, names)
        out[names[0]] = float(np.linalg.norm(a - b) / np.linalg.norm(b))
    return out


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


def convolution_in_loops(rounds: int, *, layers: int = 8, features: int = 32, size: int = 64) -> dict:
    """Gradient (weights and input) of a chain of convolutions: lax.scan and Python loop, XLA's own rule and ours."""
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (1, size, size, features))
    kernels = jax.random.normal(keys[1], (layers, 3, 3, features, features)) / (9 * features) ** 0.5

    def native(x, kernel):
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def in_scan(conv):
        return lambda x, kernels: lax.scan(lambda h, k: (jax.nn.relu(conv(h, k)), None), x, kernels)[0]

    def in_python(conv):
        return lambda x, kernels: functools.reduce(lambda h, k: jax.nn.relu(conv(h, k)), kernels, x)

    calls = {}
    for label, conv in (("native", native), ("ours", nn.conv)):
        for form, chain in (("scan", in_scan(conv)), ("Python loop", in_python(conv))):
            gradient = jax.jit(jax.grad(lambda x, k, chain=chain: jnp.sum(chain(x, k) ** 2), (0, 1)))
            calls[f"{label}, {form}"] = lambda g=gradient: jax.block_until_ready(g(x, kernels))
    reference = jax.tree.leaves(calls["native, Python loop"]())
    for label, call in calls.items():
        for a, b in zip(jax.tree.leaves(call()), reference, strict=True):
            if not np.linalg.norm(a - b) <= 1e-4 * np.linalg.norm(b):
                raise SystemExit(f"gradient of a convolution: '{label}' disagrees with XLA's own")
    best = {label: min(s) for label, s in take_turns(calls, rounds).items()}
    ratios = {
        "loop / no loop, native": best["native, scan"] / best["native, Python loop"],
        "loop / no loop, ours": best["ours, scan"] / best["ours, Python loop"],
        "ours in a scan / native in a Python loop": best["ours, scan"] / best["native, Python loop"],
    }
    print(f"\ngradient of {layers} convolutions {features} -> {features} at {size} x {size}, ms: ", end="")
    print(", ".join(f"{label} {s * 1e3:.1f}" for label, s in best.items()))
    print(", ".join(f"{label} {r:.2f}" for label, r in ratios.items()), flush=True)
    return {"layers": layers, "features": features, "size": size, "minimum_seconds": best, "ratios": ratios}


NETWORKS = {"unet": unet, "varnet": e2e_varnet, "modl": modl_network}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--golden", type=Path, default=GOLDEN, help="folder that holds golden files")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--core", type=int, help="default: the last one of this process")
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--small", action="store_true", help="small images and networks")
    for field in dataclasses.fields(Options):
        kind: dict = {"nargs": 2} if field.name.endswith("size") else {}
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=int, **kind)
    arguments = parser.parse_args()
    given = {f.name: getattr(arguments, f.name) for f in dataclasses.fields(Options)}
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items() if v is not None}
    options = dataclasses.replace(SMALL if arguments.small else Options(), **given)

    # before anything is computed: the thread pools count the cores when they start
    core = max(os.sched_getaffinity(0)) if arguments.core is None else arguments.core
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    report = {
        "rounds": arguments.rounds,
        "options": dataclasses.asdict(options),
        "machine": {"processor": processor(), "cores_used": 1},
        "versions": {
            "python": platform.python_version(),
            "jax": jax.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "golden": rival.check_golden(arguments.golden),
    }
    print("PyTorch's networks on the golden files, largest error / tolerance:")
    print(", ".join(f"{name} {part:.2g}" for name, part in report["golden"].items()) + "\n", flush=True)
    report["networks"] = {
        name: run_contest(name, NETWORKS[name](options), arguments.rounds) for name in arguments.networks
    }
    report["convolution_gradient"] = convolution_in_loops(max(arguments.rounds, 7))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


def processor() -> str:
    """The model's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()

"""Speed of Deep J-Sense against PyTorch: the same weights, the same input, one core, one process, ratios in one run.

    python experiments/benchmarks/deep_jsense.py --out experiments/benchmarks/results/deep_jsense.json
    python experiments/benchmarks/deep_jsense.py --small     # a small image, to try it

Needs the extra `bench`. PyTorch's network (torch_deep_jsense.py) must first meet the golden files of --golden, then
agree with ours in image and gradient at the size that is timed. How it is measured stands in networks.py.
"""

import argparse
import dataclasses
import functools
import json
import os
import platform
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch_deep_jsense as rival
import torch_networks
from networks import BOTH, FORWARD, LEAST, Contest, Side, processor, run_contest

from jaxrecon import models, sampling
from jaxrecon.data import simulate
from jaxrecon.models.deep_jsense import DeepJSenseConfig, deep_jsense, rss_kernels
from jaxrecon.operators import CartesianSense
from jaxrecon.problem import Problem
from jaxrecon.training import Target, losses
from jaxrecon.weights import DEEP_JSENSE, from_published, to_published

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden" / "deep_jsense"
BAR = 4.0
"""PyTorch's time / ours."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Sizes: the paper's steps, iterations and kernels and the coils of its data, on a smaller slice and a thinner network."""

    size: tuple[int, int] = (160, 128)
    coils: int = 15
    steps: int = 6
    iterations: int = 6
    kernel: tuple[int, int] = (15, 9)
    features: int = 8


SMALL = Options((48, 40), 4, 2, 3, (7, 5), 4)


def contest(options: Options) -> Contest:
    """Both sides: SSIM loss, checked weights."""
    config = DeepJSenseConfig(
        n_steps=options.steps,
        map_iters=options.iterations,
        image_iters=options.iterations,
        kernel=options.kernel,
        features=options.features,
    )
    build = functools.partial(rival.DeepJSense, options.steps, options.iterations, options.iterations, options.features)
    torch.manual_seed(0)
    weights = {name: tensor.numpy().copy() for name, tensor in build().state_dict().items()}
    params, _ = from_published(weights, DEEP_JSENSE, config=config)
    params, model = jax.tree.map(jnp.asarray, params), deep_jsense(config)
    head = simulate.simulate(jax.random.key(0), shape=options.size, n_coils=options.coils)
    n_acs = round(0.08 * options.size[1])
    mask = sampling.fixed_count_lines(jax.random.key(1), options.size[1], acceleration=4, n_acs=n_acs)
    mask = jnp.asarray(mask, jnp.float32).reshape(1, -1)
    peak = jnp.max(jnp.abs(head.kspace * mask[None]))
    problem = Problem(head.kspace * mask[None] / peak, CartesianSense(None, mask))
    image = jnp.abs(head.image) / peak
    target = Target(image, jnp.max(image))

    def forward(params, problem, target):
        return models.run(model, params, problem)

    def loss(params, problem, target):
        out = forward(params, problem, target)
        return losses.ssim(out, target), out

    calls = {}
    for mode, function in ((FORWARD, forward), (BOTH, jax.value_and_grad(loss, has_aux=True))):
        # a second trace of the same shapes raises
        jitted = jax.jit(chex.assert_max_traces(lambda *args, f=function: f(*args), n=1))
        calls[mode] = lambda jitted=jitted: jax.block_until_ready(jitted(params, problem, target))

    def arrays(mode, out):
        if mode == FORWARD:
            return {"image": np.asarray(out)}
        return {"image": np.asarray(out[0][1]), **to_published(out[1], DEEP_JSENSE, config)}

    given = [torch.from_numpy(np.array(a)) for a in (problem.kspace, mask, rss_kernels(problem.kspace, config.kernel))]
    truth = torch.from_numpy(np.array(image))[None]

    def torch_side(channels_last):
        net = build(channels_last=channels_last)
        torch_networks.load(net, weights)

        def only_forward():
            with torch.inference_mode():
                return rival.magnitude(net(*given)[0])

        def forward_backward():
            net.zero_grad(set_to_none=True)
            out = rival.magnitude(net(*given)[0])
            rival.ssim_loss(out[None], truth, truth.amax((1, 2))).backward()
            return out

        def torch_arrays(mode, out):
            gradients = {n: p.grad.numpy() for n, p in net.named_parameters()} if mode == BOTH else {}
            return {"image": out.detach().numpy(), **gradients}

        return Side({FORWARD: only_forward, BOTH: forward_backward}, torch_arrays)

    size = dataclasses.asdict(options) | {"parameters": sum(a.size for a in weights.values())}
    rivals = {"torch": torch_side(False), "torch, channels last": torch_side(True)}
    return Contest(size, Side(calls, arrays), rivals)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--golden", type=Path, default=GOLDEN, help="folder that holds golden files")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--small", action="store_true", help="a small image and network")
    arguments = parser.parse_args()
    options = SMALL if arguments.small else Options()

    # before anything is computed: the thread pools count the cores when they start
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    golden = torch_networks.check_golden(arguments.golden)
    print("PyTorch's network on the golden files, largest error / tolerance:", golden, flush=True)
    LEAST.update(dict.fromkeys(LEAST, BAR))
    report = {
        "rounds": arguments.rounds,
        "machine": {"processor": processor(), "cores_used": 1},
        "versions": {"python": platform.python_version(), "jax": jax.__version__, "torch": torch.__version__},
        "golden": golden,
        "networks": {"deep_jsense": run_contest("deep_jsense", contest(options), arguments.rounds)},
    }
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Speed of Deep J-Sense against PyTorch: the same weights, the same input, one core, one process, ratios in one run.

    python experiments/benchmarks/deep_jsense.py --out experiments/benchmarks/results/deep_jsense.json
    python experiments/benchmarks/deep_jsense.py --small     # a small image, to try it

Needs the extra `bench`. PyTorch's network (torch_deep_jsense.py) must first meet the golden files of --golden. How it is
measured stands in contest.py.
"""

import dataclasses
import functools
from pathlib import Path

import contest
import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch_deep_jsense as rival
import torch_networks
from contest import BOTH, FORWARD, LAYOUTS, LOOP, SCAN, Contest, our_side, state, torch_side

from jaxrecon import models, sampling
from jaxrecon.data import simulate
from jaxrecon.models.deep_jsense import DeepJSenseConfig, deep_jsense, rss_kernels
from jaxrecon.operators import CartesianSense
from jaxrecon.problem import Problem, Target
from jaxrecon.training import losses
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


def deep_jsense_contest(options: Options) -> Contest:
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
    weights = state(build())
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

    def ours(loop):
        forward = lambda params, problem, _: models.run(model, params, problem, loop=loop)

        def loss(params, problem, target):
            out = forward(params, problem, target)
            return losses.ssim(out, target), out

        published = lambda gradient: to_published(gradient, DEEP_JSENSE, config)
        return our_side(forward, loss, (params, problem, target), published)

    given = [torch.from_numpy(np.array(a)) for a in (problem.kspace, mask, rss_kernels(problem.kspace, config.kernel))]
    truth = torch.from_numpy(np.array(image))[None]

    def pytorch(channels_last):
        net = build(channels_last=channels_last)
        torch_networks.load(net, weights)
        loss = lambda out: rival.ssim_loss(out[None], truth, truth.amax((1, 2)))
        return torch_side(net, lambda: rival.magnitude(net(*given)[0]), loss)

    return Contest(
        dataclasses.asdict(options) | {"parameters": sum(a.size for a in weights.values())},
        {SCAN: ours(loop=False), LOOP: ours(loop=True)},
        {label: pytorch(channels_last) for label, channels_last in LAYOUTS.items()},
    )


def main() -> None:
    arguments = contest.parser(__doc__, GOLDEN).parse_args()
    options = SMALL if arguments.small else Options()
    contest.measure(
        arguments,
        [("deep_jsense", functools.partial(deep_jsense_contest, options))],
        torch_networks.check_golden,
        bars={FORWARD: BAR, BOTH: BAR},
    )


if __name__ == "__main__":
    main()

"""Speed of PromptMR+ against PyTorch: the same weights, the same input, one core, one process, ratios in one run.

    python experiments/benchmarks/promptmr.py --out experiments/benchmarks/results/promptmr.json
    python experiments/benchmarks/promptmr.py --features 48 --out experiments/benchmarks/results/promptmr_48.json
    python experiments/benchmarks/promptmr.py --small     # a small image, to try it

Needs the extra `bench`. PyTorch's network (torch_promptmr.py) must first meet the golden files of --golden (those at
the default place hold only blocks of it). How it is measured stands in contest.py.
"""

import dataclasses
import functools
from pathlib import Path

import contest
import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch_networks
import torch_promptmr as rival
from contest import LAYOUTS, LOOP, SCAN, Contest, our_side, state, torch_side

from jaxrecon import models, sampling
from jaxrecon.data import simulate
from jaxrecon.models.promptmr_plus import promptmr_plus
from jaxrecon.operators import CartesianSense
from jaxrecon.problem import Problem, Target
from jaxrecon.sampling.acs import acs_from_mask
from jaxrecon.training import losses
from jaxrecon.weights import PROMPTMR_PLUS, from_published, to_published

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden" / "promptmr"


@dataclasses.dataclass(frozen=True)
class Options:
    """Sizes: the published slices, blocks and prompts and a history of all cascades, on a smaller slice with half the features."""

    size: tuple[int, int] = (96, 80)
    coils: int = 8
    adjacent: int = 5
    steps: int = 3
    features: int = 24

    def published(self) -> dict:
        """Arguments of the published constructor; the widths are in its proportions."""
        widths = lambda n: {
            "n_feat0": n,
            "feature_dim": [3 * n // 2, 2 * n, 5 * n // 2],
            "prompt_dim": [n // 2, n, 3 * n // 2],
        }
        return {
            "num_cascades": self.steps,
            "num_adj_slices": self.adjacent,
            **widths(self.features),
            **{f"sens_{name}": value for name, value in widths(self.features // 2).items()},
            "len_prompt": [5, 5, 5],
            "prompt_size": [64, 32, 16],
            "n_enc_cab": [2, 3, 3],
            "n_dec_cab": [2, 2, 3],
            "n_skip_cab": [1, 1, 1],
            "n_bottleneck_cab": 3,
            "no_use_ca": False,
            "adaptive_input": True,
            "n_buffer": 4,
            "n_history": self.steps - 1,
            "use_sens_adj": True,
        }


SMALL = Options((40, 32), 3, 3, 2, 16)


def promptmr_contest(options: Options) -> Contest:
    """Both sides: SSIM loss of the middle slice, checked weights."""
    torch.manual_seed(0)
    first = rival.PromptMRPlus(options.published())
    weights = state(first)
    params, config = from_published(weights, PROMPTMR_PLUS)
    params, model = jax.tree.map(jnp.asarray, params), promptmr_plus(config)
    # each trained parameter once: the shared slope under the first of its names, no prompts
    trained = [name for name, p in first.named_parameters() if p.requires_grad]

    position = 0.2 + 0.01 * jnp.arange(options.adjacent)
    head = jax.vmap(
        lambda p: simulate.simulate(jax.random.key(0), shape=options.size, n_coils=options.coils, position=p)
    )(position)
    n_acs = round(0.08 * options.size[1])
    mask = sampling.fixed_count_lines(jax.random.key(1), options.size[1], acceleration=4, n_acs=n_acs)
    mask = jnp.asarray(mask, jnp.float32).reshape(1, -1)
    acs = acs_from_mask(mask)
    problem = Problem(head.kspace * mask[None, None], CartesianSense(None, mask), acs)
    image = jnp.abs(head.image[options.adjacent // 2])
    target = Target(image, jnp.max(image))

    def ours(loop):
        forward = lambda params, problem, _: models.run(model, params, problem, loop=loop)

        def loss(params, problem, target):
            out = forward(params, problem, target)
            return losses.ssim(out, target), out

        def published(gradient):
            named = to_published(gradient, PROMPTMR_PLUS, config)
            return {name: named[name] for name in trained}

        return our_side(forward, loss, (params, problem, target), published)

    kspace, truth = (torch.from_numpy(np.array(a)) for a in (problem.kspace, image))
    lines, centre = (torch.from_numpy(np.array(a)[0] != 0) for a in (mask, acs))

    def pytorch(channels_last):
        net = rival.PromptMRPlus(options.published(), channels_last=channels_last)
        torch_networks.load(net, weights)
        loss = lambda out: torch_networks.ssim_loss(out[None], truth[None], truth.max()[None])
        named = lambda gradients: {name: gradients[name] for name in trained} if gradients else {}
        return torch_side(net, lambda: net(kspace, lines, centre)[0], loss, named=named)

    return Contest(
        dataclasses.asdict(options) | {"parameters": sum(p.numel() for p in first.parameters())},
        {SCAN: ours(loop=False), LOOP: ours(loop=True)},
        {label: pytorch(channels_last) for label, channels_last in LAYOUTS.items()},
    )


def main() -> None:
    parser = contest.parser(__doc__, GOLDEN)
    parser.add_argument("--features", type=int, help="of the first level; 48 as published")
    arguments = parser.parse_args()
    options = SMALL if arguments.small else Options()
    options = dataclasses.replace(options, features=arguments.features or options.features)
    contest.measure(
        arguments,
        [("promptmr_plus", functools.partial(promptmr_contest, options))],
        torch_networks.check_golden,
    )


if __name__ == "__main__":
    main()

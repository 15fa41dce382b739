"""Speed of PromptMR+ against PyTorch: the same weights, the same input, one core, one process, ratios in one run.

    python experiments/benchmarks/promptmr.py --out experiments/benchmarks/results/promptmr.json
    python experiments/benchmarks/promptmr.py --features 48 --out experiments/benchmarks/results/promptmr_48.json
    python experiments/benchmarks/promptmr.py --small     # a small image, to try it

Needs the extra `bench`. PyTorch's network (torch_promptmr.py) must first meet the golden files of --golden (those at
the default place hold only blocks of it), then agree with ours in image and gradient at the size that is timed. How it
is measured stands in networks.py.
"""

import argparse
import dataclasses
import json
import os
import platform
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch_networks
import torch_promptmr as rival
from networks import BOTH, FORWARD, Contest, Side, processor, run_contest

from jaxrecon import models, sampling
from jaxrecon.data import simulate
from jaxrecon.models.promptmr_plus import promptmr_plus
from jaxrecon.operators import CartesianSense
from jaxrecon.problem import Problem
from jaxrecon.sampling.acs import acs_from_mask
from jaxrecon.training import Target, losses
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


def contest(options: Options) -> Contest:
    """Both sides: SSIM loss of the middle slice, checked weights."""
    torch.manual_seed(0)
    first = rival.PromptMRPlus(options.published())
    weights = {name: tensor.numpy().copy() for name, tensor in first.state_dict().items()}
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
        gradients = to_published(out[1], PROMPTMR_PLUS, config)
        return {"image": np.asarray(out[0][1]), **{name: gradients[name] for name in trained}}

    kspace, truth = (torch.from_numpy(np.array(a)) for a in (problem.kspace, image))
    lines, centre = (torch.from_numpy(np.array(a)[0] != 0) for a in (mask, acs))

    def torch_side(channels_last):
        net = rival.PromptMRPlus(options.published(), channels_last=channels_last)
        torch_networks.load(net, weights)

        def only_forward():
            with torch.inference_mode():
                return net(kspace, lines, centre)[0]

        def forward_backward():
            net.zero_grad(set_to_none=True)
            out, _ = net(kspace, lines, centre)
            torch_networks.ssim_loss(out[None], truth[None], truth.max()[None]).backward()
            return out

        def torch_arrays(mode, out):
            parameters = dict(net.named_parameters())
            gradients = {name: parameters[name].grad.numpy() for name in trained} if mode == BOTH else {}
            return {"image": out.detach().numpy(), **gradients}

        return Side({FORWARD: only_forward, BOTH: forward_backward}, torch_arrays)

    size = dataclasses.asdict(options) | {"parameters": sum(p.numel() for p in first.parameters())}
    rivals = {"torch": torch_side(False), "torch, channels last": torch_side(True)}
    return Contest(size, Side(calls, arrays), rivals)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--golden", type=Path, default=GOLDEN, help="folder that holds golden files")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--features", type=int, help="of the first level; 48 as published")
    parser.add_argument("--small", action="store_true", help="a small image and network")
    arguments = parser.parse_args()
    options = SMALL if arguments.small else Options()
    options = dataclasses.replace(options, features=arguments.features or options.features)

    # before anything is computed: the thread pools count the cores when they start
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    golden = torch_networks.check_golden(arguments.golden)
    print("PyTorch's network on the golden files, largest error / tolerance:", golden, flush=True)
    report = {
        "rounds": arguments.rounds,
        "machine": {"processor": processor(), "cores_used": 1},
        "versions": {"python": platform.python_version(), "jax": jax.__version__, "torch": torch.__version__},
        "golden": golden,
        "networks": {"promptmr_plus": run_contest("promptmr_plus", contest(options), arguments.rounds)},
    }
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()

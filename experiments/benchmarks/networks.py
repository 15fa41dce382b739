"""Speed of the U-Net, E2E-VarNet and MoDL against PyTorch: ratios in one run on one core, as contest.py measures them.

    python experiments/benchmarks/networks.py --out experiments/benchmarks/results/networks.json
    python experiments/benchmarks/networks.py --small        # small images, to try it

Needs the extra `bench`. PyTorch's networks (torch_networks.py) must first meet the golden files of --golden.

Beside that: the gradient of a convolution in a loop (lax.scan) and in a Python loop, XLA's own and ours.
"""

import dataclasses
import functools
from pathlib import Path

import contest
import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch_networks as rival
from contest import LAYOUTS, LOOP, SCAN, Contest, our_side, state, take_turns, torch_side
from jax import lax

from jaxrecon import models, nn, sampling
from jaxrecon.complex_ops import abs2
from jaxrecon.data import simulate
from jaxrecon.models.modl import MoDLConfig, modl
from jaxrecon.models.varnet import VarNetConfig, varnet
from jaxrecon.operators import CartesianSense
from jaxrecon.problem import Problem, Target
from jaxrecon.training import losses
from jaxrecon.weights import E2E_VARNET, FASTMRI_UNET, MODL, from_published, to_published

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"


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
    """fastMRI's U-Net on a normalised image, L1 loss."""
    size, features = options.unet_size, options.unet_features
    torch.manual_seed(0)
    weights = state(rival.UNet(1, features))
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

    def pytorch(channels_last):
        module = rival.UNet(1, features, channels_last=channels_last)
        rival.load(module, weights)
        x, t = (torch.from_numpy(a)[None, None] for a in (image, target))
        return torch_side(module, lambda: module(x)[0, 0], lambda out: torch.mean(torch.abs(out - t[0, 0])))

    arguments = (theta, jnp.asarray(image), jnp.asarray(target))
    return Contest(
        {"image": size, "features": features, "pools": 4, "parameters": sum(a.size for a in weights.values())},
        {SCAN: our_side(lambda *args: loss(*args)[1], loss, arguments, published)},
        {label: pytorch(channels_last) for label, channels_last in LAYOUTS.items()},
    )


def e2e_varnet(options: Options) -> Contest:
    """E2E-VarNet with learned maps, SSIM loss."""
    size, n, features = options.varnet_size, options.varnet_cascades, options.varnet_features
    pools, sens_features, sens_pools = 4, 8, 4
    torch.manual_seed(0)
    build = functools.partial(rival.VarNet, n, features, pools, sens_features, sens_pools)
    weights = state(build())
    params, config = from_published(weights, E2E_VARNET)
    assert config == VarNetConfig(n, features, pools, sens_features, sens_pools)
    model = varnet(config)
    head = simulate.simulate(jax.random.key(0), shape=size, n_coils=options.coils)
    mask = sampling.random_lines(jax.random.key(1), size[1], acceleration=4, center_fraction=0.08)
    mask = jnp.asarray(mask, jnp.float32).reshape(-1)
    kspace, image = head.kspace * mask, jnp.abs(head.image)
    target = Target(image, jnp.max(image))

    def ours(loop):
        def loss(params, problem, target):
            out = models.run(model, params, problem, loop=loop)
            return losses.ssim(out, target), out

        arguments = (jax.tree.map(jnp.asarray, params), Problem(kspace, CartesianSense(None, mask)), target)
        published = lambda gradient: to_published(gradient, E2E_VARNET, config)
        return our_side(lambda *args: loss(*args)[1], loss, arguments, published)

    def pytorch(channels_last):
        module = build(channels_last=channels_last)
        rival.load(module, weights)
        y, t = (torch.from_numpy(np.array(a))[None] for a in (kspace, image))
        m = torch.from_numpy(np.array(mask) != 0)
        peak = torch.amax(t, (1, 2))
        return torch_side(module, lambda: module(y, m)[0], lambda out: rival.ssim_loss(out[None], t, peak))

    return Contest(
        {"kspace": kspace.shape, "cascades": n, "features": features, "pools": pools},
        {SCAN: ours(loop=False), LOOP: ours(loop=True)},
        {label: pytorch(channels_last) for label, channels_last in LAYOUTS.items()},
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

    def ours(loop):
        def loss(params, problem, target):
            out = models.run(training, params, problem, loop=loop)
            return jnp.mean(abs2(out - target)), out

        def published(gradient):
            return {k: v for k, v in to_published(gradient, MODL, config).items() if "moving" not in k}

        arguments = (jax.tree.map(jnp.asarray, params), problem, target)
        forward = lambda params, problem, _: models.run(frozen, params, problem, loop=loop)
        return our_side(forward, loss, arguments, published)

    def pytorch(channels_last):
        module = rival.MoDL(n_steps, features, channels_last=channels_last)
        rival.load_modl(module, weights)
        # its transform is uncentred: the same operator with the mask shifted
        m = torch.from_numpy(np.fft.fftshift(np.array(mask)).copy())[None]
        maps, start, t = (
            torch.from_numpy(np.array(a))[None] for a in (head.maps, problem.op.adjoint(problem.kspace), target)
        )
        out = lambda training: module.train(training)(start, maps, m)[-1][0]
        return torch_side(
            module,
            lambda: out(False),
            lambda image: torch.mean(rival.abs2(image - t[0])),
            training=lambda: out(True),
            named=functools.partial(rival.published_modl, module),
        )

    return Contest(
        {"kspace": problem.kspace.shape, "steps": n_steps, "features": features, "cg_iterations": config.cg_iters},
        {SCAN: ours(loop=False), LOOP: ours(loop=True)},
        {label: pytorch(channels_last) for label, channels_last in LAYOUTS.items()},
    )


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
    parser = contest.parser(__doc__, GOLDEN)
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    arguments = parser.parse_args()
    options = SMALL if arguments.small else Options()
    contest.measure(
        arguments,
        [(name, functools.partial(NETWORKS[name], options)) for name in arguments.networks],
        rival.check_golden,
        beside=[("convolution_gradient", lambda: convolution_in_loops(max(arguments.rounds, 7)))],
    )


if __name__ == "__main__":
    main()

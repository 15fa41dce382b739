"""Cross-domain networks: the benchmark's of one coil, and D5C5 with its trained weights."""

import jax
import jax.numpy as jnp
import numpy as np
from golden_case import UnknownAlgorithmError
from support.programs import run

from golden_cases.cross_domain_denoisers import UNET, _renamed, _tree
from jaxrecon import models
from jaxrecon.fourier import fftc
from jaxrecon.nn import MWCNNConfig
from jaxrecon.operators import CartesianSense
from jaxrecon.problem import Problem


def expect(config, **known):
    """Raise unless the configuration names the algorithms that are known here."""
    for name, value in known.items():
        if config.get(name) != value:
            raise UnknownAlgorithmError(f"{name} {config.get(name)!r}")


def problems(case):
    """A batch of problems: k-space (B, [C,] H, W, 1), mask, and maps (B, C, H, W) or those of one coil."""
    kspace = jnp.asarray(case["kspace"])[..., 0]
    kspace = kspace if "smaps" in case.file.files else kspace[:, None]
    mask = jnp.asarray(case["mask"]).reshape(len(kspace), -1, kspace.shape[-1])
    maps = jnp.asarray(case["smaps"]) if "smaps" in case.file.files else jnp.ones_like(kspace)
    make = lambda kspace, maps, mask: Problem(kspace, CartesianSense(maps, mask))
    return jax.vmap(make)(kspace, maps, mask)


def convolutions(case, module):
    """conv_j of a plain network."""
    n = sum(name.startswith(f"{module}/conv") and name.endswith("kernel") for name in case.weights)
    layer = lambda j: {kind: case.weights[f"{module}/conv{j}/{kind}"] for kind in ("kernel", "bias")}
    return {"params": {f"conv_{j}": layer(j) for j in range(n)}}


def steps(n, **modules):
    """Parameters of n steps: own name of a net -> (number of the step -> its parameters)."""
    return models.stack_steps([{name: of(i) for name, of in modules.items()} for i in range(n)])


def evaluate(case, config, params, **options):
    """(reconstructions (B, H, W), last carry, context)."""
    return run(models.batched(models.build(config)), params, problems(case), carry=True, **options)


def channels_last(carry):
    return jnp.moveaxis(carry["image"], 1, -1)


def cascade(case):
    config = case.config
    expect(
        config,
        activation="relu",
        residual=True,
        start="zero-filled image",
        order_in_cascade="network, data consistency",
    )
    n = config["n_cascades"]
    out = {}
    for name, variant in config["variants"].items():
        learned = "lam" in variant
        if variant["dc"] not in ("hard", "soft: k + lambda (k0 - m k)"):
            raise UnknownAlgorithmError(variant["dc"])
        own = models.CascadeConfig(n, config["n_filters"], config["n_convs"] + 1, learned, image="complex")
        start = {"dc_weight": case.cast(np.asarray(variant["lam"]))} if learned else {}
        params = {"start": start, "steps": steps(n, image_net=lambda i: convolutions(case, f"block{i}"))}
        final = evaluate(case, own, params)[0][..., None]
        out |= {
            f"y_{name}": jnp.abs(final),
            f"y_f64_{name}": jnp.abs(final),
            f"final_complex_f64_{name}": final,
        }
    return out


def kiki(case):
    config = case.config
    expect(
        config,
        activation="lrelu 0.1",
        kspace_residual=False,
        image_residual=True,
        last_kernel_size=[1, 1],
        dc="hard",
        variants={"sequential": "K0 I0 DC K1 I1", "joint": "(K I DC) twice, DC last"},
    )
    n = config["n_cascades"]
    nets = {"kspace_net": lambda i: convolutions(case, f"K{i}"), "image_net": lambda i: convolutions(case, f"I{i}")}
    params = {"start": {}, "steps": steps(n, **nets)}
    out = {}
    for name, joint in (("sequential", False), ("joint", True)):
        own = models.KIKIConfig(n, config["n_filters"], config["n_convs"] + 1, joint)
        out[f"y_{name}"] = out[f"y_f64_{name}"] = evaluate(case, own, params)[0][..., None]
    out["image_after_I0_f64"] = channels_last(evaluate(case, own, params, n_steps=1)[1])
    return out


def pdnet(case):
    config = case.config
    expect(config, activation="relu", residual=True, backward_component=0)
    n, primal_only = config["n_iter"], config["primal_only"]
    nets = {"image_net": lambda i: convolutions(case, f"image_net_{i}")}
    if not primal_only:
        nets["kspace_net"] = lambda i: convolutions(case, f"kspace_net_{i}")
    params = {"start": {}, "steps": steps(n, **nets)}
    begins = {"zero buffers": "zero", "A^H y (primal), y (dual)": "adjoint"}
    out = {}
    for name, variant in config["variants"].items():
        if variant["init"] not in begins:
            raise UnknownAlgorithmError(variant["init"])
        own = models.PDNetConfig(
            n,
            config["n_primal"],
            config["n_dual"],
            config["n_filters"],
            config["n_convs"] + 1,
            primal_only,
            begins[variant["init"]],
            variant["forward_component"],
        )
        image, carry, _ = evaluate(case, own, params)
        out[f"y_{name}"] = out[f"y_f64_{name}"] = image[..., None]
        out[f"primal_f64_{name}"] = channels_last(carry)
    return out


def mwcnn(case, config, i):
    """Weights of an MWCNN under our names: first half down or before, second half up or after."""
    n_first, scales = config["n_first_convs"], config["n_convs_per_scale"]
    names = {f"first_convs_{j}": f"first_{j}" if j < n_first else f"last_{j - n_first}" for j in range(2 * n_first)}
    for s, n in enumerate(scales):
        names |= {f"scale{s}_conv{j}": f"down_{s}_{j}" if j < n else f"up_{s}_{j - n}" for j in range(2 * n)}
    layer = lambda name: {kind: case.weights[f"image_net_{i}/{name}/{kind}"] for kind in ("kernel", "bias")}
    return {"params": {"net": {own: layer(name) for name, own in names.items()}}}


def refiner(case, config):
    """Weights of the refiner of maps."""
    expect(config, non_linearity="lrelu 0.1", residual=True, normalise="divide by rss over coils, no epsilon")
    prefix = "smaps_refiner/"
    weights = {name.removeprefix(prefix): a for name, a in case.weights.items() if name.startswith(prefix)}
    return _tree(weights, lambda name: "unet/net/" + _renamed(name, UNET))


def xpdnet(case):
    config = case.config
    expect(config, denoiser="mwcnn", residual=True, init="A^H y (primal), y (dual)")
    n, sizes = config["n_iter"], config["mwcnn"]
    expect(sizes, activation="relu", residual=False)
    denoiser = MWCNNConfig(
        tuple(sizes["n_filters_per_scale"]),
        tuple(sizes["n_convs_per_scale"]),
        sizes["first_conv_n_filters"],
        sizes["n_first_convs"],
    )
    assert denoiser.multiple == config["pad_multiple"]
    nets, dual = {"image_net": lambda i: mwcnn(case, sizes, i)}, {}
    if not config["primal_only"]:
        nets["kspace_net"] = lambda i: convolutions(case, f"kspace_net_{i}")
        dual = {"dual_net": "cnn", "dual_features": config["n_dual_filters"]}
        assert config["n_dual_convs"] == 2
    start = {}
    if config["refine_smaps"]:
        dual["refiner"] = "big" if config["refine_big"] else "small"
        start["refiner"] = refiner(case, config["refiner"])
    own = models.XPDNetConfig(n, config["n_primal"], denoiser, n_dual=config["n_dual"], **dual)
    image, carry, context = evaluate(case, own, {"start": start, "steps": steps(n, **nets)})
    out = {"y": image[..., None], "y_f64": image[..., None], "primal_f64": channels_last(carry)}
    out["adjoint_init_f64"] = context["zero_filled"][..., None]
    out["smaps_refined_f64"] = context["op"].maps
    return out


def d5c5(case):
    """The zero frequency is at index 0 in the file: a centred transform of the same image differs by a phase of each sample."""
    config = case.config
    expect(
        config,
        kernel_size=3,
        activation="relu",
        conv_padding="same, zeros",
        convolution="cross-correlation",
        residual=True,
        dc="hard (noiseless)",
        fft="uncentred",
        mask_axis=0,
    )
    n, layers = config["n_cascades"], config["n_convs"] + 1
    names = [*(f"conv{j + 1}" for j in range(layers - 1)), "conv_aggr"]

    def net(i, flip=False):
        def kernel(name):
            return case.weights[f"cascade{i}/{name}/W"][(..., *[slice(None, None, -1 if flip else None)] * 2)]

        layer = lambda name: {
            "kernel": kernel(name).transpose(2, 3, 1, 0),
            "bias": case.weights[f"cascade{i}/{name}/b"],
        }
        return {"params": {f"conv_{j}": layer(name) for j, name in enumerate(names)}}

    image = jnp.asarray(case["image"])
    mask = jnp.asarray(np.fft.fftshift(case["mask_uncentred"]).astype(image.real.dtype))[:, None]
    problem = Problem((mask * fftc(image))[None], CartesianSense(jnp.ones_like(image)[None], mask))
    model = models.build(models.CascadeConfig(n, config["n_filters"], layers, image="complex"))
    plain, flipped = ({"start": {}, "steps": steps(n, image_net=lambda i, f=f: net(i, f))} for f in (False, True))
    every = run(model, plain, problem, every_step=True)
    pictures = np.asarray([problem.op.adjoint(problem.kspace), *every])
    errors = np.mean(np.abs(pictures - case["image"]) ** 2, (1, 2))
    return {
        "after_cascade1": every[0],
        "final": every[-1],
        "final_if_kernels_flipped": run(model, flipped, problem),
        "psnr_db": -10 * np.log10(errors),
    }


HANDLERS = {
    ("cross-domain", "cascade"): cascade,
    ("cross-domain", "kiki"): kiki,
    ("cross-domain", "pdnet"): pdnet,
    ("cross-domain", "xpdnet"): xpdnet,
    ("cascade", "d5c5"): d5c5,
}

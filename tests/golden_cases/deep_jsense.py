"""Handlers of the topic deep_jsense (classical JSENSE stands in coils.py)."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from golden_case import UnknownAlgorithmError

from golden_cases.names import from_tree, to_tree
from jaxrecon import data, metrics, models, nn, operators
from jaxrecon.classical import iterate
from jaxrecon.classical.cg import cg_start, cg_step
from jaxrecon.data.preparation import acs_maximum, kspace_maximum
from jaxrecon.fourier import fftc
from jaxrecon.models import DeepJSenseConfig, MoDLDeepJSenseConfig, deep_jsense, rss_kernels
from jaxrecon.operators import CartesianSense, ImageConvolution, MapConvolution
from jaxrecon.problem import Problem
from jaxrecon.sampling.acs import block, low_lines


def conv_ops(case):
    config = case.config
    _expect(config, fft="centred", fft_norm="ortho", image_operator_scale=1.0, map_operator_scale="sqrt(P * Q)")
    shape, kernel, grid = (tuple(config[k]) for k in ("data_size", "kernel", "grid_size"))
    assert operators.linear_grid(shape, kernel) == grid
    b = np.sqrt(np.prod(grid))

    def apply(s, x, y, mask, suffix):
        image = ImageConvolution(s, mask, shape, grid)
        maps = MapConvolution(x, mask, shape, kernel)
        return {
            f"sense_forward{suffix}": image.forward(x),
            f"image_forward{suffix}": b * maps.forward(s),
            f"sense_adjoint{suffix}": image.adjoint(y),
            f"image_adjoint{suffix}": b * maps.adjoint(y),
            f"sense_normal{suffix}": image.normal(x),
            f"image_normal{suffix}": b**2 * maps.normal(s),
        }

    arrays = [case[name] for name in ("s", "x", "y")]
    both = lambda mask, *arrays: apply(*arrays, mask, "") | apply(*arrays, None, "_nomask")
    out = jax.jit(both)(case["mask"], *arrays)
    return out | {"linear_conv_valid": out["image_forward_nomask"]}


def cg(case):
    """Steps of CG on a batch of matrices; the stopping rule is looked at here, the library's CG freezes by itself."""
    config = case.config
    _expect(config, eps_kind="absolute, on the residual norm, largest over the batch")
    lam, mixed, x_eps = config["lam"], config["mixed"], config["x_eps"]

    @jax.jit
    def states(matrices, rhs, x0):
        """The iterates (step, batch, n) and the largest squared residual norm (step,), before and after each step."""
        normal = lambda g: lambda v: g @ v + lam * v
        start = jax.vmap(lambda g, b, x: cg_start(normal(g), b, x))(matrices, rhs, x0)
        step = lambda state: jax.vmap(lambda g, state: cg_step(normal(g), state))(matrices, state)
        return iterate(step, start, n_iter=x_eps["max_iter"], watch=lambda state: (state.x, jnp.max(state.rr)))[1]

    def until(history, eps, n_iter):
        """The iterates until the rule stops."""
        iterates, rr = (np.asarray(a)[: n_iter + 1] for a in history)
        small = np.flatnonzero(rr < eps**2)
        return iterates[: small[0] + 1] if small.size else iterates

    matrices, rhs, mixed_rhs = (case[name] for name in ("normal_matrix", "rhs", "mixed_rhs"))
    history = states(matrices, rhs, case["x0"])
    iterates = until(history, config["eps"], max(config["iterations"]))
    early = until(history, x_eps["eps"], x_eps["max_iter"])
    last = until(states(matrices, mixed_rhs, np.zeros_like(mixed_rhs)), mixed["eps"], mixed["iterations"])[-1]
    system = matrices + lam * np.eye(matrices.shape[-1], dtype=rhs.dtype)[None]
    return {f"x_{k}": iterates[k] for k in config["iterations"]} | {
        "x_eps": early[-1],
        "x_eps_iters": len(early) - 1,
        f"mixed_x_{mixed['iterations']}": last,
        "solution": np.linalg.solve(system, rhs[..., None])[..., 0],
    }


def resnet(case):
    config = case.config
    _expect(config, in_channels=2, out_channels=2, kernel_size=3, bias=False, batch_norm=False, padding="reflect")
    names = resnet_names(config["blocks"], own="params/")
    net = nn.BiasFreeResNet(config["features"], config["blocks"])
    last, first = (lambda a: np.moveaxis(a, 1, -1)), (lambda a: np.moveaxis(np.asarray(a), -1, 1))

    def weighted(params, x):
        output = net.apply(params, x)
        return jnp.sum(output * last(case["cotangent"])), output

    gradient = jax.jit(jax.grad(weighted, (0, 1), has_aux=True))
    (params, x), output = gradient(to_tree(case.weights, names), last(case["input"]))
    out = {"output": first(output), "output_f64": first(output), "grad_input": first(x)}
    return out | {f"grad/{name}": value for name, value in from_tree(params, names).items()}


def whole(case):
    """The network in both conventions, with its MoDL mode; every estimate of every step beside the reference's log."""
    config = case.config
    _expect(config, fft="centred", fft_norm="ortho", cg_start="previous estimate", lambda_in_first_rhs=False)
    _expect(config, loss="1 - ssim on the cropped rss", data_range="max(target)", shared_weights=True)
    given = config["mode"] == "MoDL"
    _expect(config, map_init="external" if given else "estimated", img_init="A^H y" if given else "estimated")
    of_image = {
        "n_steps": config["N"],
        "image_iters": config["n2"],
        "features": config["features"],
        "blocks": config["blocks"],
        "image_net": config["use_img_net"],
    }
    if given:
        _expect(config, n1=0)
        settings = MoDLDeepJSenseConfig(**of_image)
    else:
        settings = DeepJSenseConfig(
            **of_image,
            map_iters=config["n1"],
            kernel=tuple(config["kernel"]),
            map_net=config["use_map_net"],
            convention=config["convention"],
        )
    names = published_names(settings)
    weights = {name: value for name, value in case.weights.items() if name in names}
    assert set(case.weights) - set(names) <= set(published_names(DeepJSenseConfig(blocks=config["blocks"])))
    steps = to_tree(weights, names)
    steps |= {name: value[0] for name, value in steps.items() if name.endswith("lam")}
    kspace = jnp.asarray(case["ksp"])
    problem = Problem(kspace, CartesianSense(jnp.asarray(case["maps"]) if given else None, jnp.asarray(case["mask"])))
    window = metrics.SSIMVariant(size=config["ssim_window"], k1=config["ssim_k1"], k2=config["ssim_k2"])

    def evaluate(steps, problem, kernels, target):
        build = models.build if given else functools.partial(_from_given_kernels, kernels)
        model, params = build(settings), {"start": {}, "steps": steps}
        look = dataclasses.replace(model, finish=lambda carry, _: carry)
        carries, carry, context = models.run(look, params, problem, every_step=True, carry=True)
        crop = metrics.crop_to_target(model.finish(carry, context), tuple(config["crop"]), rounding="ceil")
        similarity = metrics.ssim(target, crop, data_range=jnp.max(target), variant=window)
        out = {"out_rss_crop": crop, "out_image": carry["image"]}
        if given:
            out |= {"out_maps": problem.op.maps, "out_ksp": fftc(problem.op.expand(carry["image"]))}
        else:
            op = ImageConvolution(carry["kernels"], None, problem.kspace.shape[-2:], carry["image"].shape)
            out |= {"out_maps": carry["kernels"], "out_ksp": op.forward(carry["image"])}
        first, _ = model.start({}, problem)
        return 1 - similarity, out | _logs(build, settings, steps, context, first, carries)

    gradient = jax.jit(jax.value_and_grad(evaluate, has_aux=True))
    (value, out), grads = gradient(steps, problem, None if given else case["init_maps"], case["target"])
    if not given:
        # the file's kernels are rounded, and the model starts from these
        first = np.asarray(jax.jit(rss_kernels, static_argnums=1)(kspace, settings.kernel))
        np.testing.assert_allclose(first, case["init_maps"], atol=1e-5 * np.abs(first).max())
    grads = {k: np.asarray(v)[None] if k.endswith("lam") else v for k, v in grads.items()}
    named = {f"grad/{name}": value for name, value in from_tree(grads, names).items()}
    return {"ssim_loss": value, **out, **named}


def _from_given_kernels(kernels, settings):
    """The network, started from given map kernels."""
    model = deep_jsense(settings)

    def start(params, problem):
        _, context = model.start(params, problem)
        image = context["image_op"].replace(kernels=kernels).combine(context["coil_images"])
        return {"image": image, "kernels": kernels}, context

    return dataclasses.replace(model, start=start)


def _logs(build, settings, steps, context, first, carries):
    """Estimates before and after each network: those before by the same step without it."""
    before = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b[:-1]]), first, carries)

    def without(**nets):
        step = build(dataclasses.replace(settings, **nets)).step
        return jax.vmap(lambda carry, i: step(steps, carry, context, i))(before, jnp.arange(settings.n_steps))

    logged = {
        "log_image_cg": jnp.concatenate([first["image"][None], without(image_net=False)["image"]]),
        "log_image_net": carries["image"],
    }
    if "kernels" in first:
        maps = without(image_net=False, map_net=False)["kernels"]
        logged |= {"log_maps_cg": jnp.concatenate([first["kernels"][None], maps]), "log_maps_net": carries["kernels"]}
    return logged


def resnet_names(blocks, reference="", own=""):
    """Published names beside the paths of BiasFreeResNet."""
    names = {}
    for i in range(blocks):
        if i in (0, blocks - 1):
            names[f"{reference}ResNetBlocks.{i}.conv0.net.1.weight"] = f"{own}block_{i}/shortcut/kernel"
        for j in range(2):
            names[f"{reference}ResNetBlocks.{i}.conv{j + 1}.net.1.weight"] = f"{own}block_{i}/conv_{j}/kernel"
    return names


def published_names(settings):
    """Published names of the weights that a configuration uses beside the paths in steps."""
    names = {"block2_l2lam": "image_lam"}
    if settings.image_net:
        names |= resnet_names(settings.blocks, "image_net.", "image_net/params/")
    if isinstance(settings, DeepJSenseConfig) and settings.map_iters:
        names["block1_l2lam"] = "map_lam"
        if settings.map_net:
            names |= resnet_names(settings.blocks, "maps_net.", "map_net/params/")
    return names


def _expect(config, **values):
    for name, value in values.items():
        if config[name] != value:
            raise UnknownAlgorithmError(f"{name} = {config[name]}")


def data_pipeline(case):
    """From raw k-space to what the network is given; the mask's random part is given."""
    config = case.config
    _expect(config, scale="max |k-space| of the ACS lines", use_acs=True)
    kspace = case["kspace"]
    removed = data.dead_columns(kspace, threshold=config["dead_line_threshold"])
    kspace = np.delete(kspace, removed, -1)
    width = kspace.shape[-1]
    n_acs = low_lines(width, 0.08 if 2 <= config["R"] <= 6 else 0.04)
    mask = case["sampling_mask"][None].astype(kspace.real.dtype)
    kspace = kspace * mask[None]
    acs = block(width, (width - n_acs) // 2, n_acs)
    assert mask[0, acs].all()
    scale = acs_maximum({"kspace": kspace, "acs": acs})
    assert scale == kspace_maximum({"kspace": kspace})
    target = case["reconstruction_rss"] / scale
    np.testing.assert_array_equal(np.delete(data.restore_columns(kspace, removed), removed, -1), kspace)
    return {
        "out_ksp": np.stack([kspace.real, kspace.imag], -1) / scale,
        "out_init_maps": jax.jit(rss_kernels, static_argnums=1)(kspace / scale, tuple(config["kernel"])),
        "out_mask": mask,
        "out_acs_lines": n_acs,
        "out_dead_lines": removed,
        "out_ref_rss": target,
        "out_data_range": target.max(),
        "out_max_acs": scale,
    }


HANDLERS = {
    ("deep_jsense", "data_pipeline"): data_pipeline,
    ("deep_jsense", "conv_ops"): conv_ops,
    ("deep_jsense", "cg"): cg,
    ("deep_jsense", "resnet"): resnet,
    ("deep_jsense", "deep_jsense"): whole,
    ("deep_jsense", "modl_mode"): whole,
}

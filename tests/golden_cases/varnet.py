import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from golden_case import UnknownAlgorithmError

from golden_cases.names import from_tree, to_tree, unet_names
from jaxrecon import metrics, models, nn
from jaxrecon.fourier import center_crop
from jaxrecon.models.varnet import VarNetConfig, varnet
from jaxrecon.operators import CartesianSense
from jaxrecon.problem import Problem
from jaxrecon.sampling.acs import acs_columns, detect_acs_lines


def unet(case):
    config, x, cotangent = case.config, _last(case["input"]), _last(case["cotangent"])
    _expect(config, drop_prob=0, negative_slope=0.2, instance_norm_eps=1e-5)
    names = unet_names(config["num_pool_layers"], own="params/")
    net = nn.UNet(config["out_chans"], config["chans"], config["num_pool_layers"])

    def weighted(params, x):
        output = net.apply(params, x)
        return jnp.sum(output * cotangent), output

    grads, output = jax.jit(jax.grad(weighted, (0, 1), has_aux=True))(to_tree(case.weights, names), x)
    return {"output": _first(output), "grad_input": _first(grads[1])} | _named("grad/", from_tree(grads[0], names))


def norm_unet(case):
    config, x = case.config, _complex(case["input"])
    _expect(
        config, drop_prob=0, negative_slope=0.2, instance_norm_eps=1e-5, pad_multiple=16, std="unbiased", norm_groups=2
    )
    names = unet_names(config["num_pools"], "unet.", "params/unet/")
    net = nn.NormUNet(config["chans"], config["num_pools"])

    @jax.jit
    def apply(params, x):
        parts, mean, std = nn.normalize_parts(x)
        channels = jnp.moveaxis(parts.reshape(x.shape[0], -1, *x.shape[-2:]), 1, -1)
        return net.apply(params, x), mean[..., 0], std[..., 0], nn.pad_to_multiple(channels)

    output, mean, std, padded = apply(to_tree(case.weights, names), x)
    return {"output": _real(output), "mean": mean, "std": std, "padded": _first(padded)}


def sens_net(case):
    config, kspace, mask = case.config, _complex(case["masked_kspace"]), _mask(case["mask"])
    _expect(config, pad_multiple=16, fft="centred", fft_norm="ortho")
    names = unet_names(config["num_pools"], "norm_unet.unet.", "params/norm_unet/unet/")
    net = nn.SensitivityNet(config["chans"], config["num_pools"])
    acs = _fixed_acs(config, kspace)
    params = to_tree(case.weights, names)

    def maps(kspace, mask):
        region = nn.calibration_mask(mask, acs)
        return net.apply(params, kspace * region[None] if config["mask_center"] else kspace)

    found, (start, n) = jax.jit(jax.vmap(lambda kspace, mask: (maps(kspace, mask), detect_acs_lines(mask[0]))))(
        kspace, mask
    )
    if acs is not None:
        start, n = (np.full_like(start, int(v)) for v in (np.argmax(acs), np.sum(acs)))
    return {"sens_maps": _real(found), "pad": start, "num_low": n}


def varnet_block(case):
    """One step of a network with one step."""
    config = case.config
    _expect(config, pad_multiple=16, fft="centred", fft_norm="ortho", dc_weight="weight dc_weight")
    model = varnet(VarNetConfig(1, config["chans"], config["num_pools"]))
    theta = to_tree(case.weights, _block_names(config["num_pools"]))
    theta["dc_weight"] = theta["dc_weight"][0]
    measured, maps = _complex(case["ref_kspace"]), _complex(case["sens_maps"])

    def step(theta, kspace, measured, maps, mask):
        return model.step(theta, kspace, (measured, CartesianSense(maps, mask)), 0)

    batched = jax.jit(jax.vmap(step, (None, 0, 0, 0, 0)))
    return {"output": _real(batched(theta, _complex(case["current_kspace"]), measured, maps, _mask(case["mask"])))}


def whole(case):
    config, kspace = case.config, _complex(case["masked_kspace"])
    _expect(config, pad_multiple=16, fft="centred", fft_norm="ortho", data_range="max_value")
    _expect(config, loss="ssim on output and target, both centre-cropped to crop")
    model = models.batched(
        varnet(
            VarNetConfig(
                config["num_cascades"],
                config["chans"],
                config["pools"],
                config["sens_chans"],
                config["sens_pools"],
                config["mask_center"],
            )
        )
    )
    start_names = unet_names(config["sens_pools"], "sens_net.norm_unet.unet.", "params/norm_unet/unet/")
    block_names = _block_names(config["pools"])
    prefixes = [f"cascades.{t}." for t in range(config["num_cascades"])]
    own = lambda prefix: {k.removeprefix(prefix): v for k, v in case.weights.items() if k.startswith(prefix)}
    steps = jax.tree.map(lambda *a: np.stack(a), *(to_tree(own(p), block_names) for p in prefixes))
    steps["dc_weight"] = steps["dc_weight"][:, 0]
    start = to_tree({k: v for k, v in case.weights.items() if k.startswith("sens_net.")}, start_names)

    acs = _fixed_acs(config, kspace)
    acs = None if acs is None else np.broadcast_to(acs, (len(kspace), 1, kspace.shape[-1]))
    problem = Problem(kspace, CartesianSense(None, _mask(case["mask"])), acs)
    window = metrics.SSIMVariant(size=config["ssim_window"], k1=config["ssim_k1"], k2=config["ssim_k2"])

    look = dataclasses.replace(model, finish=lambda kspace, _: kspace)

    def loss(params, problem):
        steps, last, context = models.run(look, params, problem, every_step=True, carry=True)
        output = model.finish(last, context)
        crop = [center_crop(a, config["crop"]) for a in (case["target"], output)]
        similarity = jax.vmap(lambda t, x, peak: metrics.ssim(t, x, data_range=peak, variant=window))
        return 1 - jnp.mean(similarity(*crop, case["max_value"])), (output, context, steps)

    params = {"start": start, "steps": steps}
    (value, (output, context, after)), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params, problem)
    out = {
        "output": output,
        "sens_maps": _real(context[1].maps),
        "kspace_after_cascade": _real(after),
        "ssim_loss": value,
    }
    out |= _named("grad/", from_tree(grads["start"], start_names))
    grads = jax.device_get(grads)
    grads["steps"]["dc_weight"] = grads["steps"]["dc_weight"][:, None]
    for prefix, theta in zip(prefixes, models.unstack_steps(grads["steps"]), strict=True):
        out |= _named("grad/" + prefix, from_tree(theta, block_names))
    return out


def _block_names(pools):
    return unet_names(pools, "model.unet.", "net/params/unet/") | {"dc_weight": "dc_weight"}


def _fixed_acs(config, kspace):
    """The stated number of central columns as a mask (1, x); None: to be detected."""
    n = config["num_low_frequencies"]
    return acs_columns(kspace.shape[-1], n).astype(np.float32)[None] if n else None


def _expect(config, **values):
    for name, value in values.items():
        if config[name] != value:
            raise UnknownAlgorithmError(f"{name} = {config[name]}")


def _named(prefix, arrays):
    return {prefix + name: array for name, array in arrays.items()}


def _complex(x):
    return jnp.asarray(x[..., 0] + 1j * x[..., 1])


def _real(x):
    x = np.asarray(x)
    return np.stack([x.real, x.imag], -1)


def _mask(mask):
    """(B, 1, 1, W, 1) bool to (B, 1, W)."""
    return jnp.asarray(mask[:, 0, :, :, 0], np.float32)


def _last(x):
    return np.moveaxis(np.asarray(x), 1, -1)


def _first(x):
    return np.moveaxis(np.asarray(x), -1, 1)


HANDLERS = {
    ("varnet", "unet"): unet,
    ("varnet", "norm_unet"): norm_unet,
    ("varnet", "sens_net"): sens_net,
    ("varnet", "varnet_block"): varnet_block,
    ("varnet", "varnet"): whole,
}

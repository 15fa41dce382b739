import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from golden_case import UnknownAlgorithmError

from jaxrecon import metrics, models, nn
from jaxrecon.complex_ops import rss
from jaxrecon.fourier import ifftc
from jaxrecon.models import PromptMRConfig, PromptMRPlusConfig, PromptSizes
from jaxrecon.models.promptmr import estimate_maps, prompt_nets
from jaxrecon.operators import CartesianSense, Sense
from jaxrecon.problem import Problem, Target
from jaxrecon.sampling import acs_disc, acs_square, detect_acs_lines
from jaxrecon.sampling.acs import acs_columns
from jaxrecon.training import losses
from jaxrecon.weights import PROMPTMR, PROMPTMR_PLUS, from_published, to_published
from jaxrecon.weights.promptmr import Names, prompt_unet_rules

SHARED = "prelu, shared as in the state dict"


def cab(case):
    config, x = case.config, _last(case["in/x"])
    _expect(config, kernel_size=3, reduction=4, bias=False, activation="prelu")
    out = {}
    for name, options in config["cases"].items():
        attention = not options["no_use_ca"]
        params = _params(case, name, lambda names: names.cab(config["n_feat"]), attention=attention)
        out[f"{name}/out/y"] = _first(_apply(nn.CAB(attention), params, x, params["slope"]))
    return out


def prompt_block(case):
    c = case.config
    params = _params(case, None, lambda n: n.prompt(c["lin_dim"], c["prompt_dim"], c["prompt_len"], c["prompt_size"]))
    net = nn.PromptBlock(c["prompt_dim"], c["prompt_len"], c["prompt_size"])
    weights = nn.PromptWeights(c["prompt_len"])
    out = {}
    for height, width in c["sizes"]:
        x = _last(case[f"in/{height}x{width}/x"])
        out[f"out/{height}x{width}/y"] = _first(_apply(net, params, x))
        out[f"out/{height}x{width}/weights"] = _apply(weights, params["weights"], x)
    return out


def blocks(case):
    config = case.config
    _expect(config, kernel_size=3, reduction=4, bias=False, activation=SHARED, no_use_ca=False)
    down, up, skip = (config[name] for name in ("down", "up", "skip"))
    n_in, n_out = down["input_channel"], down["output_channel"]
    _expect(down, first_act=True)
    params = _params(case, "down_first", lambda n: n.encoder(n_in, n_out, down["n_cab"], first_slope=True))
    net = nn.EncoderLevel(n_out, down["n_cab"], first_slope=True)
    lower, kept = _apply(net, params, _last(case["down_first/in/x"]), params["slope"])
    out = {"down_first/out/down": _first(lower), "down_first/out/enc": _first(kept)}

    n_in, n_out, n_prompt = up["in_dim"], up["out_dim"], up["prompt_dim"]
    for n_history in up["n_history"]:
        name = f"up_h{n_history}"
        params = _params(case, name, lambda n, h=n_history: n.decoder(n_in, n_out, n_prompt, up["n_cab"], h))
        net = nn.DecoderLevel(n_out, up["n_cab"], n_history)
        x, prompt, shortcut = (_last(case[f"{name}/in/{part}"]) for part in ("x", "prompt", "skip"))
        decode = lambda history, a=(net, params, x, prompt, shortcut): _first(_apply(*a, a[1]["slope"], history))
        # with no past the present stands in for it
        out[f"{name}/out/y_nohist"] = decode(np.tile(x, n_history) if n_history else None)
        if n_history:
            out[f"{name}/out/y_hist"] = decode(_last(case[f"{name}/in/history"]))

    params = _params(case, "skip", lambda n: n.cabs("skip_attn", "cab_", skip["n_cab"], skip["enc_dim"]))
    out["skip/out/y"] = _first(_apply(nn.CABs(skip["n_cab"]), params, _last(case["skip/in/x"]), params["slope"]))
    return out


def prompt_unet(case):
    config = case.config
    _expect_net(config)
    net = _unet(config)
    params = _unet_params(case, net, config["in_chans"] * (1 + config["n_buffer"]))
    out, history = {}, net.empty_history(*case["in/x0"].shape[-2:], case["in/x0"].dtype)
    history = tuple(np.tile(h[None], (len(case["in/x0"]), 1, 1, 1)) for h in history)
    for t in range(config["calls"]):
        y, history = _apply(net, params, _last(case[f"in/x{t}"]), params["slope"], history, t == 0)
        out[f"out/y{t}"] = _first(y)
        for level, features in zip((3, 2, 1), history, strict=True):
            out[f"out/history{t}_level{level}"] = _first(features)
    return out


def norm_prompt_unet(case):
    config = case.config
    _expect_net(config)
    _expect(config, std="unbiased", norm_eps=0.0, pad_multiple=8)
    x = np.concatenate([_complex(case["in/x"]), _complex(case["in/buffer"])], 1)
    net = nn.NormPromptUnet(_unet(config))
    params = {"unet": _unet_params(case, net.unet, 2 * x.shape[1])}
    n, slope = case["in/x"].shape[1], params["unet"]["slope"]
    history = tuple(np.tile(h[None], (len(x), 1, 1, 1)) for h in net.empty_history(x))
    y = np.asarray(_apply(net, params, x, slope, history, True)[0])

    @jax.jit
    def prepare(x):
        parts, mean, std = nn.standardize(jnp.concatenate([x.real, x.imag], 1))
        return mean, std, nn.pad_to_multiple(jnp.moveaxis(parts, 1, -1), net.multiple)

    mean, std, padded = prepare(x)
    return {
        "out/y": _real(y[:, :n]),
        "out/latent": _real(y[:, 2 * n : 3 * n]),
        "out/mean": mean,
        "out/std": std,
        "out/net_in": _first(padded),
    }


def sens_model(case):
    config = case.config
    _expect(config, activation=SHARED, conv_bias="only down convolutions", kernel_size=3, reduction=4)
    _expect(config, fft="centred", fft_norm="ortho")
    n, shape = config["num_low"], (config["h"], config["w"])
    regions = {
        "cartesian": acs_columns(shape[1], n)[None],
        "kt_random": acs_columns(shape[1], n)[None],
        "poisson_disc": acs_disc(shape, n),
        "kt_radial": acs_square(shape, n),
    }
    full = _slices(case["in/kspace_full"], config["num_adj_slices"])
    out = {}
    for which, options in config["cases"].items():
        sizes = PromptSizes(
            sens_features=config["n_feat0"],
            sens_level_features=tuple(config["feature_dim"]),
            sens_prompt_features=tuple(config["prompt_dim"]),
            **_shared_sizes(config),
        )
        net, adjacent = prompt_nets(sizes)[0], options["use_sens_adj"]
        channels = 2 * (config["num_adj_slices"] if options["use_sens_adj"] else 1)
        rules = prompt_unet_rules(
            net.unet, channels=channels, name="norm_unet.unet.", path="start/params/unet/", slope="start/slope"
        )
        tree = _tree(case, f"{which}/w/", rules)["start"]
        params = {"slope": tree["slope"], "sens_net": {"params": tree["params"]}}

        @jax.jit
        def maps(params, kspace, mask, acs, net=net, adjacent=adjacent):
            problem = Problem(kspace, CartesianSense(None, mask), acs)
            return estimate_maps(net, params, problem, adjacent=adjacent)

        for kind in (*config["mask_types"], "cartesian_auto"):
            name = kind.removesuffix("_auto")
            if name not in regions:
                raise UnknownAlgorithmError(f"mask type {name}")
            mask = _mask(case[f"in/{name}/mask"], config["num_adj_slices"])
            # of one shape, so that all regions are one program; where there is none the mask is looked at
            acs = None if kind == "cartesian_auto" else np.broadcast_to(regions[name], shape).astype(np.float32)
            kspace = full * mask
            seen = mask if acs is None else np.ones((len(mask), 1), np.float32)
            found = [maps(params, k, m, acs) for k, m in zip(kspace, seen, strict=True)]
            out[f"out/{which}/{kind}"] = _real(_flat(np.stack(found)))
            if acs is not None:
                out[f"out/acs_{kind}"] = _real(_flat(np.where(acs != 0, kspace, 0)))
    detect = jax.jit(jax.vmap(detect_acs_lines))
    start, count = detect(_mask(case["in/cartesian/mask"], 1)[:, 0, 0, 0])
    return out | {"out/auto_pad": start, "out/auto_num_low": count}


def promptmr(case):
    config = case.config
    _expect(config, explicit_num_low=True)
    made = PromptMRConfig(n_steps=config["num_cascades"], **_model_sizes(config))
    out, carries, _ = _whole(case, models.promptmr(made), PROMPTMR, made)
    for t in range(made.n_steps):
        out[f"out/cascade{t}/kspace_pred"] = _real(_flat(carries[t]))
    return out


def promptmr_plus(case):
    config = case.config
    made = PromptMRPlusConfig(
        n_steps=config["num_cascades"],
        n_buffers=config["n_buffer"] if config["adaptive_input"] else 0,
        n_history=config["n_history"],
        adjacent_maps=config["use_sens_adj"],
        learn_prompts=config["learnable_prompt"],
        **_model_sizes(config),
    )
    out, carries, context = _whole(case, models.promptmr_plus(made), PROMPTMR_PLUS, made)
    out["out/img_zf_combined"] = _real(context[1])
    kspace = _slices(case["in/masked_kspace"], made.n_adjacent)
    out["out/img_zf"] = jax.jit(lambda kspace: rss(ifftc(kspace)))(kspace[:, made.n_adjacent // 2])
    for t in range(made.n_steps):
        out[f"out/cascade{t}/img_pred"] = _real(carries["image"][t])
        if made.n_buffers:
            out[f"out/cascade{t}/latent"] = _real(carries["latent"][t])
    return out


def _whole(case, single, published, made):
    """Outputs that both models have; the carries after all steps; the context."""
    config = case.config
    _expect(config, activation=SHARED, conv_bias="only down convolutions", kernel_size=3, reduction=4)
    _expect(config, loss="ssim", data_range="in/max_value", fft="centred", fft_norm="ortho", mask_type="cartesian")
    params, found = from_published(case.weights, published)
    assert found == made
    kspace = _slices(case["in/masked_kspace"], made.n_adjacent)
    acs = np.asarray(acs_columns(config["w"], config["num_low_frequencies"]), np.float32)
    acs = np.tile(acs[None, None], (len(kspace), 1, 1))
    mask = np.asarray(case["in/mask"][:, 0, :, :, 0], np.float32)
    problem = Problem(kspace, CartesianSense(None, mask), acs)
    target = Target(case["in/target"], case["in/max_value"])
    window = metrics.SSIMVariant(size=config["ssim_window"], k1=config["ssim_k1"], k2=config["ssim_k2"])
    model = models.batched(single)
    inputs = jax.tree.map(jnp.asarray, (params, problem, target))

    def evaluate(params, problem, target):
        look = dataclasses.replace(model, finish=lambda carry, _: carry)
        carries, last, context = models.run(look, params, problem, every_step=True, carry=True)
        image = model.finish(last, context)
        return losses.ssim(image, target, variant=window), (image, carries, context)

    gradient = jax.jit(jax.value_and_grad(evaluate, has_aux=True))
    (value, (image, carries, context)), gradients = jax.device_get(gradient(*inputs))
    norm = np.sqrt(sum(np.sum(g.astype(float) ** 2) for g in jax.tree.leaves(gradients)))
    out = {
        "out/sens_maps": _real(_flat(context[_op_place(context)].maps)),
        "out/img_pred": image,
        "out/ssim_loss": value,
        "out/grad_global_norm": norm,
    }
    named = to_published(gradients, published, made)
    return out | {f"out/grad/{name}": g for name, g in named.items()}, carries, context


def _op_place(context):
    return next(i for i, part in enumerate(context) if isinstance(part, Sense))


def ssim_loss(case):
    config = case.config
    _expect(config, window="uniform", covariance="sample", border="valid")
    window = metrics.SSIMVariant(size=config["ssim_window"], k1=config["ssim_k1"], k2=config["ssim_k2"])

    @jax.jit
    def evaluate(output, target, peak):
        aim = Target(target[:, 0], peak)
        value, gradient = jax.value_and_grad(lambda x: losses.ssim(x[:, 0], aim, variant=window))(output)
        maps = jax.vmap(lambda t, x, peak: metrics.ssim_map(t, x, data_range=peak, variant=window))
        loss_map = 1 - maps(target[:, 0], output[:, 0], peak)[:, None]
        return {"out/loss": value, "out/grad_output": gradient, "out/loss_map": loss_map}

    return evaluate(*(case[f"in/{name}"] for name in ("output", "target", "data_range")))


def _params(case, name, rules, *, attention=True):
    """Weights of one block (of a case, where the file has several), the shared slope under "slope"."""
    names = Names("", "", step=None, slope="slope", attention=attention)
    prefix = case.meta["weights_prefix"]
    tree = _tree(case, prefix if name is None else prefix[name], rules(names))
    return tree if "slope" in tree else tree | {"slope": np.zeros(())}


def _unet_params(case, net, channels):
    return _tree(case, case.meta["weights_prefix"], prompt_unet_rules(net, channels=channels, **_prefix(case)))


def _prefix(case):
    inside = any(name.startswith("unet.") for name in case.weights)
    return {"name": "unet." if inside else ""}


def _tree(case, prefix, rules):
    """A parameter tree by rules, which must name all weights under the prefix."""
    weights = {k[len(prefix) :]: case.cast(case.file[k]) for k in case.file.files if k.startswith(prefix)}
    assert set(weights) == {rule.name for rule in rules}, set(weights) ^ {rule.name for rule in rules}
    tree: dict = {}
    for rule in rules:
        *folders, last = rule.path.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        assert weights[rule.name].shape == rule.shape, rule
        node[last] = jnp.asarray(rule.to_own(weights[rule.name]))
    return tree


def _apply(net, params, *args):
    params = {k: v for k, v in params.items() if k != "slope" or getattr(net, "own_slope", False)}
    return _applied(net, params, *args)


@functools.partial(jax.jit, static_argnums=0)
def _applied(net, params, *args):
    return net.apply({"params": params}, *args)


def _shared_sizes(config):
    """What both networks of a model have."""
    names = {
        "prompt_lengths": "len_prompt",
        "prompt_sizes": "prompt_size",
        "enc_cabs": "n_enc_cab",
        "dec_cabs": "n_dec_cab",
        "skip_cabs": "n_skip_cab",
    }
    sizes = {own: tuple(config[name]) for own, name in names.items()}
    return sizes | {"bottleneck_cabs": config["n_bottleneck_cab"], "attention": not config["no_use_ca"]}


def _unet_sizes(config, own="", reference=""):
    return {
        f"{own}features": config[f"{reference}n_feat0"],
        f"{own}level_features": tuple(config[f"{reference}feature_dim"]),
        f"{own}prompt_features": tuple(config[f"{reference}prompt_dim"]),
    }


def _model_sizes(config):
    sizes = _unet_sizes(config) | _unet_sizes(config, "sens_", "sens_") | _shared_sizes(config)
    return {"n_adjacent": config["num_adj_slices"], "sizes": PromptSizes(**sizes)}


def _unet(config):
    return nn.PromptUnet(**_unet_sizes(config), **_shared_sizes(config), n_history=config["n_history"])


def _expect_net(config):
    _expect(config, activation=SHARED, conv_bias="only down convolutions", kernel_size=3, reduction=4)
    _expect(config, adaptive_input=True, out_chans=config["in_chans"])


def _expect(config, **values):
    for name, value in values.items():
        if config[name] != value:
            raise UnknownAlgorithmError(f"{name} = {config[name]}")


def _complex(x):
    return x[..., 0] + 1j * x[..., 1]


def _real(x):
    x = np.asarray(x)
    return np.stack([x.real, x.imag], -1)


def _slices(x, n_adjacent):
    """(B, adjacent x coil, H, W, 2) to complex (B, adjacent, coil, H, W)."""
    x = _complex(x)
    return x.reshape(len(x), n_adjacent, -1, *x.shape[-2:])


def _flat(x):
    """(B, adjacent, coil, H, W) to (B, adjacent x coil, H, W)."""
    return np.reshape(x, (len(x), -1, *x.shape[-2:]))


def _mask(mask, n_adjacent):
    """(B, 1 or adjacent x coil, 1 or H, W, 1) bool to (B, 1 or adjacent, 1 or coil, 1 or H, W)."""
    mask = np.asarray(mask[..., 0], np.float32)
    return mask.reshape(len(mask), n_adjacent if mask.shape[1] > 1 else 1, -1, *mask.shape[-2:])


def _last(x):
    return np.moveaxis(x, 1, -1)


def _first(x):
    return np.moveaxis(np.asarray(x), -1, 1)


HANDLERS = {
    ("promptmr", "cab"): cab,
    ("promptmr", "prompt_block"): prompt_block,
    ("promptmr", "blocks"): blocks,
    ("promptmr", "prompt_unet"): prompt_unet,
    ("promptmr", "norm_prompt_unet"): norm_prompt_unet,
    ("promptmr", "sens_model"): sens_model,
    ("promptmr", "promptmr_plus"): promptmr_plus,
    ("promptmr", "promptmr"): promptmr,
    ("promptmr", "ssim_loss"): ssim_loss,
}

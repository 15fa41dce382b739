"""Denoisers of the cross-domain networks: the reference's weights by the names of their layers."""

import re

import jax
import numpy as np
from golden_case import UnknownAlgorithmError

from jaxrecon import nn

ACTIVATIONS = {"relu": "relu", "lrelu 0.1": "leaky_relu", "prelu": "prelu"}
UNET = (
    (r"attention/alpha$", "attention/act/slope"),
    (r"final(\d)/attention", r"out_\1_attention"),
    (r"final(\d)/alpha$", r"out_\1_act/slope"),
    (r"final(\d)", r"out_\1"),
    (r"^(down|up)(\d)/", r"\1_\2/"),
    (r"upconv", "up_conv"),
    (r"conv(\d)/", r"conv_\1/"),
    (r"conv(_\d)?/alpha$", r"conv\1_act/slope"),
)
DIDN = (
    (r"dub(\d)/scale(\d)/(pooling|unpooling|agg)/", lambda m: f"block_{m[1]}/{DIDN_LAYERS[m[3]]}_{m[2]}/"),
    (r"dub(\d)/final_conv/", r"block_\1/last/"),
    (r"recon/conv(\d)/", r"recon/conv_\1/"),
    (r"^(first|last)_conv/", r"\1/"),
    (r"^post_recon_conv/", "after_merge/"),
    (r"^post_recon_agg/", "merge/"),
    (r"^pooling/", "pool/"),
    (r"alpha$", "act/slope"),
)
DIDN_LAYERS = {"pooling": "pool", "unpooling": "unpool", "agg": "merge"}
FOCNET = (
    (r"^first_conv/", "first/"),
    (r"^final_conv/", "last/"),
    (r"^scale(\d)/(conv|switch|unpool)(\d+)", r"\2_\1_\3"),
)


def unet(case):
    net, x = _unet(case.config), case["x"]
    params = _tree(case.weights, lambda name: _renamed(name, UNET))
    y = jax.jit(net.apply)(params, x)
    linear = net.clone(penultimate_activation=False)
    outputs = {"y": y, "y_f64": y}
    return outputs | (
        {"y_penultimate_linear": jax.jit(linear.apply)(params, x)} if case.config["non_linearity"] == "relu" else {}
    )


def unet_complex(case):
    config = case.config
    _expect(config, padding="same, zeros", pad_multiple=2 ** (config["n_layers"] - 1), residual=True)
    settings = nn.BenchmarkUNetConfig(
        tuple(config["layers_n_channels"]), config["layers_n_non_lins"], ACTIVATIONS[config["non_linearity"]]
    )
    net = nn.complex_unet(settings, config["out_channels"])
    params = _tree(case.weights, lambda name: "net/" + _renamed(name, UNET))
    y = np.moveaxis(jax.jit(net.apply)(params, np.moveaxis(case["x"], -1, -3)), -3, -1)
    return {"y": y, "y_f64": y}


def mwcnn(case):
    config = case.config
    _expect(config, residual=False, activation="relu")
    net = nn.MWCNN(
        config["n_outputs"],
        tuple(config["n_filters_per_scale"]),
        tuple(config["n_convs_per_scale"]),
        config["first_conv_n_filters"],
        config["n_first_convs"],
    )

    def path(name):
        found = re.fullmatch(r"(?:scale(\d)_conv|first_convs_)(\d+)/(\w+)", name)
        scale, i, leaf = found[1], int(found[2]), found[3]
        half = config["n_first_convs"] if scale is None else config["n_convs_per_scale"][int(scale)]
        way = ("first", "last") if scale is None else (f"down_{scale}", f"up_{scale}")
        return f"{way[i // half]}_{i % half}/{leaf}"

    y, dwt = jax.jit(lambda params, x: (net.apply(params, x), nn.haar(x)))(_tree(case.weights, path), case["x"])
    return {"y": y, "y_f64": y, "dwt_x": dwt}


def didn(case):
    config = case.config
    _expect(config, n_scales=3, residual=False, activation="prelu (per channel)")
    net = nn.DIDN(config["n_outputs"], config["n_filters"], config["n_dubs"], config["n_convs_recon"])

    def path(name):
        if found := re.fullmatch(r"dub(\d)/scale(\d)/conv(\d)/(\w+)", name):
            block, scale, i = int(found[1]), int(found[2]), int(found[3])
            down = (2, 1, 1)[scale]
            name = f"block_{block}/" + (f"down_{scale}_{i}" if i < down else f"up_{scale}_{i - down}") + f"/{found[4]}"
        name = _renamed(name, DIDN).replace(f"recon/conv_{config['n_convs_recon'] - 1}", "recon/out")
        *folders, leaf = name.split("/")
        has_activation = re.match(r"down_|up_|conv_|first$|after_merge$", folders[-1]) or (
            folders[-1:] == ["last"] and len(folders) > 1
        )
        return "/".join([*folders, "conv", leaf]) if has_activation and leaf in ("kernel", "bias") else name

    y = jax.jit(net.apply)(_tree(case.weights, path), case["x"])
    return {"y": y, "y_f64": y}


def focnet(case):
    config = case.config
    n = config["n_scales"]
    _expect(config, beta=nn.focnet.BETA, residual=False, activation="relu")
    _expect(config, n_convs_per_scale=list(nn.focnet.BLOCKS[:n]))
    _expect(config, communications=[[list(pair) for pair in pairs] for pairs in nn.focnet.COMMUNICATIONS[: n - 1]])
    net = nn.FocNet(config["n_outputs"], config["n_filters"], n)
    y = jax.jit(net.apply)(_tree(case.weights, lambda name: _renamed(name, FOCNET)), case["x"])
    return {"y": y, "y_f64": y}


def _unet(config):
    _expect(config, pooling="max", upsampling="nearest, then 2x2 conv", attention_reduction=nn.benchmark_unet.REDUCTION)
    _expect(
        config,
        penultimate_channels=max(4, config["out_channels"]),
        pad_multiple=1,
        padding="same, zeros",
        complex=False,
    )
    return nn.BenchmarkUNet(
        config["out_channels"],
        tuple(config["layers_n_channels"]),
        config["layers_n_non_lins"],
        ACTIVATIONS[config["non_linearity"]],
        config["penultimate_activation"],
        "top" if config["channel_attention"] else "none",
        config["residual"],
    )


def _renamed(name, rules):
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _tree(weights, path):
    """The reference's weights as parameters; dense layers are 1x1 convolutions, slopes vectors."""
    tree: dict = {}
    for name, value in weights.items():
        *folders, leaf = path(name).split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        assert leaf not in node, name
        if leaf == "kernel" and value.ndim == 2:
            value = value[None, None]
        node[leaf] = value.reshape(-1) if leaf == "slope" else value
    return {"params": tree}


def _expect(config, **values):
    for name, value in values.items():
        if config[name] != value:
            raise UnknownAlgorithmError(f"{name} = {config[name]}")


HANDLERS = {
    ("cross-domain", "unet"): unet,
    ("cross-domain", "unet_attention"): unet,
    ("cross-domain", "unet_complex"): unet_complex,
    ("cross-domain", "mwcnn"): mwcnn,
    ("cross-domain", "didn"): didn,
    ("cross-domain", "focnet"): focnet,
}

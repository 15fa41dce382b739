"""The published weights of Deep J-Sense: PyTorch checkpoints of the public code, 22 tensors.

Convolutions are (out, in, y, x) there and (y, x, in, out) here; `block1` are the maps, `block2` the image. A training
checkpoint holds them as `model_state_dict` beside the optimizer and an object with the settings, which is passed over,
never run. Weights tell neither the numbers of steps and iterations nor the size of the map kernels: those of the paper
(6, 6, 6; 15 x 9) are assumed where no configuration is given. Published ones are trained with the public code's
operators, hence convention "reference".

Source: Arvinte et al., MICCAI 2021; its code, whose names these are.
"""

from typing import Any

from ..checks import UserError
from ..models.deep_jsense import DeepJSenseConfig
from ..models.modl_deep_jsense import MoDLDeepJSenseConfig
from .mapping import Published, Rule, Shapes, count, size

_CONVOLUTION = (2, 3, 1, 0)


def _image_sizes(shapes: Shapes) -> dict[str, Any]:
    first = "image_net.ResNetBlocks.0.conv1.net.1.weight"
    return {
        "features": size(shapes, first, 0, DeepJSenseConfig.features),
        "blocks": count(shapes, "image_net.ResNetBlocks."),
    }


def _config(shapes: Shapes) -> DeepJSenseConfig:
    return DeepJSenseConfig(**_image_sizes(shapes), convention="reference")


def _modl_config(shapes: Shapes) -> MoDLDeepJSenseConfig:
    return MoDLDeepJSenseConfig(**_image_sizes(shapes))


def _rules(config: DeepJSenseConfig) -> list[Rule]:
    rules = _image_rules(config)
    if config.map_iters:
        rules.insert(0, Rule("block1_l2lam", (1,), "steps/map_lam", scalar=True))
    if config.map_iters and config.map_net:
        rules += _network("maps_net", "steps/map_net/params", config.features, config.blocks)
    return rules


def _image_rules(config: DeepJSenseConfig | MoDLDeepJSenseConfig) -> list[Rule]:
    if not config.shared:
        raise UserError("published weights of Deep J-Sense are those of a network whose steps share them all")
    rules = [Rule("block2_l2lam", (1,), "steps/image_lam", scalar=True)]
    if config.image_net:
        rules += _network("image_net", "steps/image_net/params", config.features, config.blocks)
    return rules


def _network(name: str, path: str, features: int, blocks: int) -> list[Rule]:
    rules = []
    for i in range(blocks):
        n_in = 2 if i == 0 else features
        n_out = 2 if i == blocks - 1 else features
        layers = [
            ("conv1", "conv_0", (features, n_in, 3, 3)),
            ("conv2", "conv_1", (n_out, features, 3, 3)),
        ]
        if n_in != n_out:
            layers.insert(0, ("conv0", "shortcut", (n_out, n_in, 1, 1)))
        for published, own, shape in layers:
            tensor = f"{name}.ResNetBlocks.{i}.{published}.net.1.weight"
            rules.append(Rule(tensor, shape, f"{path}/block_{i}/{own}/kernel", _CONVOLUTION))
    return rules


_IMAGE_UNTOLD = {
    "n_steps": "unrolled steps, which share their weights (default 6, as published)",
    "image_iters": "CG iterations for the image (default 6)",
}
DEEP_JSENSE = Published(
    "Deep J-Sense",
    _config,
    _rules,
    option="deep-jsense",
    untold={
        **_IMAGE_UNTOLD,
        "map_iters": "CG iterations for the maps (default 6, as published)",
        "kernel": "size (y, x) of the maps in k-space (default 15 9)",
        "convention": "reference: trained with the public code (the default); consistent: with jaxrecon's operators",
    },
    scale="kspace_maximum",
)
"""Weights of `models.deep_jsense`."""
MODL_DEEP_JSENSE = Published(
    "the MoDL of Deep J-Sense",
    _modl_config,
    _image_rules,
    option="modl-deep-jsense",
    untold=_IMAGE_UNTOLD,
    scale="kspace_maximum",
)
"""Weights of `models.modl_deep_jsense`: those of Deep J-Sense without the maps."""

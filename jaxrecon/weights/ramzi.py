"""The weights of PDNet and XPDNet as the reference code saves them by Keras: layers in their order, under generated names.

Kernels are (y, x, in, out) there as here, each followed by its bias. What a layer is follows from the shapes: a network in the image
takes 2 real channels more than it gives, one in k-space 4 more, and the refiner of maps takes 2. Networks of a kind are those of the
steps in their order; the kinds may come one after the other, as in the class of today, or in turn, as in the functions of the
benchmark.

Source: Ramzi et al. 2020 and their code, functional_models/pdnet.py, subclassed_models/{pdnet,xpdnet,cross_domain}.py.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from ..checks import DataError, UserError
from ..models.pdnet import PDNET_BENCHMARK, PDNetConfig
from ..models.xpdnet import XPDNET_BRAIN_2020, XPDNetConfig
from ..nn import REFINER_BIG, REFINER_SMALL, MWCNNConfig
from .mapping import Published, Rule, Shapes

Kernel = tuple[int, ...]
"""Shape (y, x, in, out)."""


def named(state: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of a Keras file under names of their place, "image_net/0/1/kernel": kind of network, step, layer.

    Args:
      state: generated name -> array, in the order of the file.

    Raises:
      DataError: no kernels with their biases, or layers that make none of these networks.
    """
    if "image_net/0/0/kernel" in state:  # written here
        return dict(state)
    names = list(state)
    kernels = _kernels(names, {name: tuple(array.shape) for name, array in state.items()})
    out, counts = {}, {"refiner": 0, "image_net": 0, "kspace_net": 0}
    place = 0
    for kind, length in _networks(kernels):
        for layer in range(length):
            for part, name in zip(("kernel", "bias"), names[2 * place : 2 * place + 2], strict=True):
                out[f"{kind}/{counts[kind]}/{layer}/{part}"] = state[name]
            place += 1
        counts[kind] += 1
    return out


def _kernels(names: list[str], shapes: Shapes) -> list[Kernel]:
    """The shapes of the kernels, each of which is followed by its bias."""
    for kernel, bias in zip(names[::2], [*names[1::2], None], strict=False):
        if len(shapes[kernel]) != 4 or bias is None or shapes[bias] != shapes[kernel][3:]:
            raise DataError(
                "these are no weights of PDNet or XPDNet: expected kernels (y, x, in, out), each followed by its bias (out,), found "
                f"{kernel} {shapes[kernel]}, then {'nothing' if bias is None else f'{bias} {shapes[bias]}'}"
            )
    return [shapes[name] for name in names[::2]]


def _networks(kernels: list[Kernel]) -> Iterator[tuple[str, int]]:
    """(kind, number of layers) of the networks, one after the other."""
    place = 0
    while place < len(kernels):
        rest = kernels[place:]
        kind, length = next(
            (
                (kind, length)
                for kind, find in (("refiner", _refiner), ("kspace_net", _kspace_net), ("image_net", _image_net))
                if (length := find(rest))
            ),
            ("", 0),
        )
        if not length:
            raise DataError(
                f"these are no weights of PDNet or XPDNet: layer {place} of {len(kernels)} with a kernel of shape {rest[0]} begins none "
                "of their networks, or one that is cut off"
            )
        yield kind, length
        place += length


def _refiner(kernels: list[Kernel]) -> int:
    for features in (REFINER_SMALL, REFINER_BIG):
        layers = [kernel for _, kernel in _unet(features)]
        if kernels[: len(layers)] == layers:
            return len(layers)
    return 0


def _kspace_net(kernels: list[Kernel]) -> int:
    return 3 if kernels[0][2] - 4 in _outputs(kernels)[2:3] else 0


def _image_net(kernels: list[Kernel]) -> int:
    """A plain network, or an MWCNN: its layers at full resolution, then those of each scale."""
    found = [n for n, out in enumerate(_outputs(kernels)) if n and out == kernels[0][2] - 2]
    length, above = (found[-1] + 1 if found else 0), kernels[0][3]
    while length and length < len(kernels) and kernels[length][2] == 4 * above:
        found = [n for n, out in enumerate(_outputs(kernels[length:])) if n and out == 4 * above]
        above = kernels[length][3]
        length = length + found[0] + 1 if found else 0
    return length


def _outputs(kernels: list[Kernel]) -> list[int]:
    """Channels of the layers 3x3 as far as each takes what the one before it gives."""
    outputs: list[int] = []
    for kernel in kernels:
        if kernel[:2] != (3, 3) or (outputs and kernel[2] != outputs[-1]):
            break
        outputs.append(kernel[3])
    return outputs


def _unet(features: tuple[int, ...]) -> list[tuple[str, Kernel]]:
    """(own name, kernel) of the layers of a complex U-Net of one channel, two convolutions at each level."""
    last = len(features) - 1
    layers: list[tuple[str, Kernel]] = []

    def level(name, n_in, n_out):
        layers.append((f"{name}/conv_0", (3, 3, n_in, n_out)))
        layers.append((f"{name}/conv_1", (3, 3, n_out, n_out)))

    for i, n in enumerate(features):
        level("bottom" if i == last else f"down_{i}", features[i - 1] if i else 2, n)
    for i in reversed(range(last)):
        layers.append((f"up_{i}/up_conv", (2, 2, features[i + 1], features[i])))
        level(f"up_{i}", 2 * features[i], features[i])
    return [*layers, ("out_0", (1, 1, features[0], 4)), ("out_1", (1, 1, 4, 2))]


def _mwcnn(config: MWCNNConfig, n_in: int, n_out: int) -> list[tuple[str, Kernel]]:
    """(own name, kernel) of the layers of an MWCNN."""
    first, n = config.first_features, config.first_convs
    widths = [n_in, *[first] * (2 * n - 1), n_out]
    names = [*(f"first_{i}" for i in range(n)), *(f"last_{i}" for i in range(n))]
    layers: list[tuple[str, Kernel]] = [
        (name, (3, 3, a, b)) for name, (a, b) in zip(names, itertools.pairwise(widths), strict=True)
    ]
    above = first
    for scale, (width, convs) in enumerate(zip(config.features, config.convs, strict=True)):
        widths = [4 * above, *[width] * (2 * convs - 1), 4 * above]
        names = [f"{way}_{scale}_{i}" for way in ("down", "up") for i in range(convs)]
        layers += [(name, (3, 3, a, b)) for name, (a, b) in zip(names, itertools.pairwise(widths), strict=True)]
        above = width
    return layers


def _mwcnn_config(kernels: list[Kernel]) -> MWCNNConfig:
    """The sizes of an MWCNN of these kernels, if it is one."""
    n_first = len(_outputs(kernels))  # the scales begin with four times the channels
    first, rest, features, convs = kernels[0][3], kernels[n_first:], [], []
    above = first
    while rest:
        found = [n for n, out in enumerate(_outputs(rest)) if n and out == 4 * above] or [0]
        features.append(rest[0][3])
        convs.append(max((found[0] + 1) // 2, 1))
        above, rest = rest[0][3], rest[found[0] + 1 :]
    if not features:
        return MWCNNConfig()
    return MWCNNConfig(tuple(features), tuple(convs), first, n_first // 2)


def _plain(n_in: int, n_out: int, features: int, layers: int) -> list[tuple[str, Kernel]]:
    widths = [n_in, *[features] * (layers - 1), n_out]
    return [(f"conv_{j}", (3, 3, a, b)) for j, (a, b) in enumerate(itertools.pairwise(widths))]


def _network_rules(kind: str, layers: list[tuple[str, Kernel]], path: str, step: int | None) -> list[Rule]:
    rules = []
    for j, (own, kernel) in enumerate(layers):
        name = f"{kind}/{step or 0}/{j}"
        rules.append(Rule(f"{name}/kernel", kernel, f"{path}/{own}/kernel", None, step))
        rules.append(Rule(f"{name}/bias", kernel[3:], f"{path}/{own}/bias", None, step))
    return rules


def _of(shapes: Shapes, kind: str) -> list[Kernel]:
    """Kernels of the first network of a kind."""
    found: list[Kernel] = []
    while (name := f"{kind}/0/{len(found)}/kernel") in shapes:
        found.append(shapes[name])
    return found


def _n_steps(shapes: Shapes, default: int) -> int:
    return len({name.split("/")[1] for name in shapes if not name.startswith("refiner")}) or default


def _pdnet_config(shapes: Shapes) -> PDNetConfig:
    image, kspace = _of(shapes, "image_net"), _of(shapes, "kspace_net")
    if not image:
        return PDNET_BENCHMARK
    n_primal, features = image[-1][3] // 2, image[0][3]
    if image != [kernel for _, kernel in _plain(2 * n_primal + 2, 2 * n_primal, features, len(image))]:
        raise DataError(
            f"these are no weights of PDNet, but of a network whose first one in the image has kernels {image}"
        )
    return dataclasses.replace(
        PDNET_BENCHMARK,
        n_steps=_n_steps(shapes, PDNetConfig.n_steps),
        n_primal=n_primal,
        n_dual=kspace[-1][3] // 2 if kspace else PDNetConfig.n_dual,
        features=features,
        layers=len(image),
        primal_only=not kspace,
        forward_channel=min(PDNET_BENCHMARK.forward_channel, n_primal - 1),
    )


def _pdnet_rules(config: PDNetConfig) -> list[Rule]:
    rules = []
    for step in range(config.n_steps):
        for kind, more, n in (("image_net", 1, config.n_primal), ("kspace_net", 2, config.n_dual)):
            if kind == "image_net" or not config.primal_only:
                layers = _plain(2 * (n + more), 2 * n, config.features, config.layers)
                rules += _network_rules(kind, layers, f"steps/{kind}/params", step)
    return rules


def _xpdnet_config(shapes: Shapes) -> XPDNetConfig:
    image, kspace, refiner = (_of(shapes, kind) for kind in ("image_net", "kspace_net", "refiner"))
    if not image:
        return XPDNET_BRAIN_2020
    n_primal = image[0][2] // 2 - 1
    denoiser = _mwcnn_config(image)
    if image != [kernel for _, kernel in _mwcnn(denoiser, 2 * n_primal + 2, 2 * n_primal)]:
        raise DataError(f"these are no weights of XPDNet with an MWCNN: its network in the image has kernels {image}")
    return XPDNetConfig(
        n_steps=_n_steps(shapes, XPDNetConfig.n_steps),
        n_primal=n_primal,
        denoiser=denoiser,
        dual_net="cnn" if kspace else "none",
        n_dual=kspace[-1][3] // 2 if kspace else XPDNetConfig.n_dual,
        dual_features=kspace[0][3] if kspace else XPDNetConfig.dual_features,
        refiner="none" if not refiner else "big" if len(refiner) == len(_unet(REFINER_BIG)) else "small",
        center=XPDNET_BRAIN_2020.center,
    )


def _xpdnet_rules(config: XPDNetConfig) -> list[Rule]:
    denoiser = config.denoiser
    if not isinstance(denoiser, MWCNNConfig) or denoiser.first_convs < 1 or config.dual_net == "didn":
        raise UserError(
            "published weights of XPDNet are those of networks with an MWCNN, and with none or a plain one in k-space"
        )
    rules = []
    if config.refiner != "none":
        layers = _unet(REFINER_BIG if config.refiner == "big" else REFINER_SMALL)
        rules += _network_rules("refiner", layers, "start/refiner/params/unet/net", None)
    for step in range(config.n_steps):
        layers = _mwcnn(denoiser, 2 * config.n_primal + 2, 2 * config.n_primal)
        rules += _network_rules("image_net", layers, "steps/image_net/params/net", step)
        if config.dual_net == "cnn":
            layers = _plain(2 * config.n_dual + 4, 2 * config.n_dual, config.dual_features, 3)
            rules += _network_rules("kspace_net", layers, "steps/kspace_net/params", step)
    return rules


PDNET = Published(
    "PDNet",
    _pdnet_config,
    _pdnet_rules,
    named=named,
    option="pdnet",
    untold={
        "begin": "zero (the default): trained with the functions of the benchmark, as published; adjoint: with the class",
        "forward_channel": "image channel that is brought to k-space: 1 (the default) with zero, 0 with adjoint",
    },
    scale="1e-6",
)
"""Weights of `models.pdnet`."""
XPDNET = Published(
    "XPDNet",
    _xpdnet_config,
    _xpdnet_rules,
    named=named,
    option="xpdnet",
    untold={
        "center": "part of k-space that coil maps are made of: 0.08 at R = 4 (the default), 0.04 at R = 8; 0: they are given",
    },
    scale="1e-6",
)
"""Weights of `models.xpdnet` with an MWCNN."""

"""The published weights of PromptMR and PromptMR+: state dicts of PyTorch, alone or in a Lightning checkpoint.

Convolutions are (out, in, y, x) there and (y, x, in, out) here, linear layers (out, in) there and (in, out) here,
prompts (1, length, channel, y, x) there and (length, y, x, channel) here. The one slope of nearly all PReLUs stands
under the name of each of them there, and once, as start/slope, here. Lightning puts `promptmr.` before the names and
adds the window `loss.w` of the loss.

The names and shapes of PromptMR (k-space) and of PromptMR+ without its additions (image domain) are the same, their
arithmetic is not. A Lightning checkpoint names it in its settings: `model_version` promptmr_v2 is the image domain, promptmr
k-space.

Source: Xin et al. 2023 and 2024; their code (promptmr.py, promptmr_v2.py), whose names these are.
"""

from typing import Any

from ..models.promptmr import PromptMRConfig, PromptSizes, prompt_nets
from ..models.promptmr_plus import PromptMRPlusConfig
from ..nn import PromptUnet
from .mapping import Published, Rule, Shapes, count, size

_CONVOLUTION = (2, 3, 1, 0)
_LINEAR = (1, 0)
_PROMPT = (1, 3, 4, 2)
_SENS = "sens_net.norm_unet.unet."
_CASCADE = "cascades.0.model.unet."


class Names:
    """Rules under a prefix of published names and one of our paths; blocks are called as in prompt_blocks.py."""

    def __init__(self, name: str, path: str, *, step: int | None, slope: str, attention: bool):
        self.name, self.path, self.step, self.slope, self.attention = name, path, step, slope, attention

    def at(self, name: str, path: str) -> "Names":
        """A part of this one."""
        return Names(
            f"{self.name}{name}.", f"{self.path}{path}/", step=self.step, slope=self.slope, attention=self.attention
        )

    def rule(self, name: str, path: str, shape: tuple[int, ...], axes=None) -> Rule:
        """One tensor."""
        return Rule(f"{self.name}{name}", shape, f"{self.path}{path}", axes, self.step)

    def conv(self, name: str, path: str, n_in: int, n_out: int, width: int = 3) -> Rule:
        """A convolution without bias."""
        return self.rule(f"{name}.weight", f"{path}/kernel", (n_out, n_in, width, width), _CONVOLUTION)

    def cab(self, n: int, *, own_slope: bool = False) -> list[Rule]:
        """A channel attention block of n channels."""
        gate = [
            self.conv("CA.conv_du.0", "attention_0", n, n // 4, 1),
            self.conv("CA.conv_du.2", "attention_1", n // 4, n, 1),
        ]
        slope = f"{self.path}slope" if own_slope else self.slope
        shared = Rule(f"{self.name}body.1.weight", (1,), slope, step=self.step if own_slope else None, scalar=True)
        body = [self.conv("body.0", "conv_0", n, n), shared, self.conv("body.2", "conv_1", n, n)]
        return [*(gate if self.attention else []), *body]

    def cabs(self, name: str, path: str, number: int, n: int, *, first_slope: bool = False) -> list[Rule]:
        """Blocks in a row."""
        parts = [self.at(f"{name}.{i}", f"{path}{i}").cab(n, own_slope=first_slope and i == 0) for i in range(number)]
        return [rule for part in parts for rule in part]

    def encoder(self, n_in: int, n_out: int, number: int, *, first_slope: bool = False) -> list[Rule]:
        """EncoderLevel."""
        return [
            *self.cabs("encoder", "encoder/cab_", number, n_in, first_slope=first_slope),
            self.conv("down", "down", n_in, n_out),
            self.rule("down.bias", "down/bias", (n_out,)),
        ]

    def prompt(self, n_in: int, n: int, length: int, pixels: int) -> list[Rule]:
        """PromptBlock."""
        return [
            self.rule("prompt_param", "prompt", (1, length, n, pixels, pixels), _PROMPT),
            self.rule("linear_layer.weight", "weights/kernel", (length, n_in), _LINEAR),
            self.rule("linear_layer.bias", "weights/bias", (length,)),
            self.conv("dec_conv3x3", "conv", n, n),
        ]

    def decoder(self, n_in: int, n_out: int, n_prompt: int, number: int, n_history: int) -> list[Rule]:
        """DecoderLevel."""
        rules = []
        if n_history:
            shape = (n_in, (n_history + 1) * n_in, 1, 1)
            rules.append(self.rule("momentum.0.weight", "momentum", shape, _CONVOLUTION))
            rules += self.at("momentum.1", "momentum_cab").cab(n_in)
        return [
            *rules,
            *self.cabs("fuse", "fuse_", number, n_in + n_prompt),
            self.conv("reduce", "reduce", n_in + n_prompt, n_in, 1),
            self.conv("up.1", "up", n_in, n_out, 1),
            *self.at("ca", "cab").cab(n_out),
        ]


def prompt_unet_rules(
    net: PromptUnet, *, channels: int, name: str = "", path: str = "", step: int | None = None, slope: str = "slope"
) -> list[Rule]:
    """Rules of one PromptUnet.

    Args:
      net: the network, for its sizes.
      channels: real channels, in and out.
      name: what stands before the published names.
      path: what stands before our paths.
      step: index along the leading axis of our leaves, if they have one.
      slope: where the shared slope is.

    Returns:
      The rules, in the order of the published files.
    """
    top = Names(name, path, step=step, slope=slope, attention=net.attention)
    widths, levels = net.widths, range(len(net.level_features))
    rules = [top.conv("feat_extract", "feat", channels, widths[0])]
    for i in levels:
        level = top.at(f"enc_level{i + 1}", f"enc_{i + 1}")
        rules += level.encoder(widths[i], widths[i + 1], net.enc_cabs[i], first_slope=i == 0)
    for i in levels:
        rules += top.at(f"skip_attn{i + 1}", f"skip_{i + 1}").cabs("skip_attn", "cab_", net.skip_cabs[i], widths[i])
    rules += top.cabs("bottleneck", "bottleneck/cab_", net.bottleneck_cabs, widths[-1])
    for i in reversed(levels):
        n_prompt, level = net.prompt_features[i], top.at(f"dec_level{i + 1}", f"dec_{i + 1}")
        prompt = top.at(f"prompt_level{i + 1}", f"prompt_{i + 1}")
        rules += prompt.prompt(widths[i + 1], n_prompt, net.prompt_lengths[i], net.prompt_sizes[i])
        rules += level.decoder(widths[i + 1], widths[i], n_prompt, net.dec_cabs[i], net.n_history)
    return [*rules, top.conv("conv_last", "out", widths[0], channels, 5)]


def _promptmr_rules(config: PromptMRConfig) -> list[Rule]:
    return _rules(config.sizes, config.n_steps, maps=1, images=config.n_adjacent, n_history=0)


def _promptmr_plus_rules(config: PromptMRPlusConfig) -> list[Rule]:
    return _rules(
        config.sizes,
        config.n_steps,
        maps=config.n_adjacent if config.adjacent_maps else 1,
        images=config.n_adjacent * (1 + config.n_buffers),
        n_history=config.n_history,
    )


def _rules(sizes: PromptSizes, n_steps: int, *, maps: int, images: int, n_history: int) -> list[Rule]:
    """Rules of a whole network whose parts see so many maps and images at once."""
    maps_net, net = prompt_nets(sizes, n_history=n_history)
    slope = "start/slope"
    rules = prompt_unet_rules(
        maps_net.unet, channels=2 * maps, name=_SENS, path="start/sens_net/params/unet/", slope=slope
    )
    for t in range(n_steps):
        rules.append(Rule(f"cascades.{t}.dc_weight", (1,), "steps/dc_weight", step=t, scalar=True))
        rules += prompt_unet_rules(
            net.unet,
            channels=2 * images,
            name=f"cascades.{t}.model.unet.",
            path="steps/net/params/unet/",
            step=t,
            slope=slope,
        )
    return rules


def _sizes(shapes: Shapes) -> dict[str, Any]:
    """What both configurations have; the default where the tensor that tells it is missing."""
    default = PromptSizes()
    levels = range(_count(shapes, f"{_CASCADE}enc_level"))
    if not levels:  # not such a network at all
        return {"n_steps": PromptMRConfig.n_steps}

    def widths(unet, like):
        return tuple(size(shapes, f"{unet}enc_level{i + 1}.down.weight", 0, like[min(i, 2)]) for i in levels)

    def prompts(unet, axis, like):
        return tuple(size(shapes, f"{unet}prompt_level{i + 1}.prompt_param", axis, like[min(i, 2)]) for i in levels)

    def cabs(name, least=0):
        return tuple(max(_count(shapes, f"{_CASCADE}{name.format(i + 1)}."), least) for i in levels)

    sizes = PromptSizes(
        features=size(shapes, f"{_CASCADE}feat_extract.weight", 0, default.features),
        level_features=widths(_CASCADE, default.level_features),
        prompt_features=prompts(_CASCADE, 2, default.prompt_features),
        sens_features=size(shapes, f"{_SENS}feat_extract.weight", 0, default.sens_features),
        sens_level_features=widths(_SENS, default.sens_level_features),
        sens_prompt_features=prompts(_SENS, 2, default.sens_prompt_features),
        prompt_lengths=prompts(_CASCADE, 1, default.prompt_lengths),
        prompt_sizes=prompts(_CASCADE, 3, default.prompt_sizes),
        enc_cabs=cabs("enc_level{}.encoder", least=1),
        dec_cabs=cabs("dec_level{}.fuse"),
        skip_cabs=cabs("skip_attn{}.skip_attn"),
        bottleneck_cabs=_count(shapes, f"{_CASCADE}bottleneck."),
        attention=any(".CA.conv_du." in name for name in shapes),
    )
    return {"n_steps": count(shapes, "cascades."), "sizes": sizes}


def _count(shapes: Shapes, prefix: str) -> int:
    """As `count`, or 0."""
    return count(shapes, prefix) if any(name.startswith(prefix) for name in shapes) else 0


def _images(shapes: Shapes) -> int:
    """Complex images that the network of a cascade sees."""
    return size(shapes, f"{_CASCADE}feat_extract.weight", 1, 2 * PromptMRConfig.n_adjacent) // 2


def _odd(n: int) -> int:
    """A number of slices that a configuration takes, so that what does not fit is told by its names."""
    return n if n > 0 and n % 2 else PromptMRConfig.n_adjacent


def _promptmr_config(shapes: Shapes) -> PromptMRConfig:
    return PromptMRConfig(n_adjacent=_odd(_images(shapes)), **_sizes(shapes))


def _promptmr_plus_config(shapes: Shapes) -> PromptMRPlusConfig:
    images = _images(shapes)
    n_maps = size(shapes, f"{_SENS}feat_extract.weight", 1, 2) // 2
    # maps coil by coil do not tell the slices: all published networks with buffers have 4 of these
    slices = n_maps if n_maps > 1 else images // 5 if images > 5 and images % 5 == 0 else images
    channels = size(shapes, f"{_CASCADE}dec_level1.momentum.0.weight", 0, 1)
    buffers = images // max(slices, 1) - 1
    return PromptMRPlusConfig(
        n_adjacent=_odd(slices),
        n_buffers=buffers if buffers == 0 or buffers > 2 else PromptMRPlusConfig.n_buffers,
        n_history=size(shapes, f"{_CASCADE}dec_level1.momentum.0.weight", 1, channels) // max(channels, 1) - 1,
        adjacent_maps=n_maps > 1,
        **_sizes(shapes),
    )


_LIGHTNING: dict[str, Any] = {"ignored": ("loss.w",)}
PROMPTMR = Published(
    "PromptMR", _promptmr_config, _promptmr_rules, versions=("promptmr",), option="promptmr", **_LIGHTNING
)
"""Weights of `models.promptmr`."""
PROMPTMR_PLUS = Published(
    "PromptMR+",
    _promptmr_plus_config,
    _promptmr_plus_rules,
    versions=("promptmr_v2",),
    option="promptmr-plus",
    **_LIGHTNING,
)
"""Weights of `models.promptmr_plus`, with or without its additions."""

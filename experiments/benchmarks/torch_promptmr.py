"""PromptMR+ in PyTorch, written for the benchmark from a description of its public code: the rival of promptmr.py.

It has the structure of that code: the past features are one tensor that each cascade makes anew, momentum is a
convolution of it and the present ones, features are upsampled before their channels are reduced, the network computes
all images that it is shown. Weights have the published names and sizes those of the published constructor; nearly all
PReLUs are one module. `check_golden` of torch_networks.py holds it against the reference implementation.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_networks import CHECKS, abs2, fftc, ifftc, load, ssim_loss

Sizes = Mapping[str, Any]


def convolution(n_in: int, n_out: int, width: int = 3) -> nn.Conv2d:
    """No bias; the size is kept."""
    return nn.Conv2d(n_in, n_out, width, padding=width // 2, bias=False)


def lay_out(module: nn.Module, channels_last: bool) -> torch.memory_format:
    """The memory layout, after all kernels of a module have it; prompts, with five axes, know no such layout."""
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.to(memory_format=memory_format)
    return memory_format


class ChannelAttention(nn.Module):
    """A factor for each channel from the channels' means."""

    def __init__(self, n: int):
        super().__init__()
        layers = convolution(n, n // 4, 1), nn.ReLU(inplace=True), convolution(n // 4, n, 1), nn.Sigmoid()
        self.conv_du = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, y, x) to the same shape."""
        return x * self.conv_du(x.mean((2, 3), keepdim=True))


class CAB(nn.Module):
    """Convolution, PReLU, convolution, channel attention, plus the input."""

    def __init__(self, n: int, prelu: nn.PReLU, *, attention: bool):
        super().__init__()
        self.body = nn.Sequential(convolution(n, n), prelu, convolution(n, n))
        self.CA = ChannelAttention(n) if attention else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, y, x) to the same shape."""
        return x + self.CA(self.body(x))


class Down(nn.Module):
    """CABs, then a convolution of stride 2 with bias."""

    def __init__(self, n_in: int, n_out: int, cabs: list[CAB]):
        super().__init__()
        self.encoder = nn.Sequential(*cabs)
        self.down = nn.Conv2d(n_in, n_out, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, in, y, x) to (the next level's features, what is skipped)."""
        x = self.encoder(x)
        return self.down(x), x


class Skip(nn.Module):
    """CABs; their place is part of the names."""

    def __init__(self, cabs: list[CAB]):
        super().__init__()
        self.skip_attn = nn.Sequential(*cabs)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, y, x) to the same shape."""
        return self.skip_attn(x)


class PromptBlock(nn.Module):
    """A mixture of prompts, whose shares the features' means decide, resized to the features."""

    def __init__(self, n_in: int, n: int, length: int, size: int):
        super().__init__()
        self.prompt_param = nn.Parameter(torch.rand(1, length, n, size, size), requires_grad=False)
        self.linear_layer = nn.Linear(n_in, length)
        self.dec_conv3x3 = convolution(n, n)

    def shares(self, x: Tensor) -> Tensor:
        """(batch, in, y, x) to (batch, length)."""
        return torch.softmax(self.linear_layer(x.mean((2, 3))), 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, y, x) to (batch, n, y, x)."""
        prompt = torch.einsum("bl,lcyx->bcyx", self.shares(x), self.prompt_param[0])
        return self.dec_conv3x3(functional.interpolate(prompt, x.shape[-2:], mode="bilinear"))


class Up(nn.Module):
    """Momentum, CABs on features and prompt, reduction, upsampling, a CAB with what was skipped."""

    def __init__(self, n_in: int, n_out: int, n_prompt: int, n_cabs: int, n_history: int, cab):
        super().__init__()
        if n_history:
            self.momentum = nn.Sequential(convolution((n_history + 1) * n_in, n_in, 1), cab(n_in))
        self.fuse = nn.Sequential(*[cab(n_in + n_prompt) for _ in range(n_cabs)])
        self.reduce = convolution(n_in + n_prompt, n_in, 1)
        self.up = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), convolution(n_in, n_out, 1))
        self.ca = cab(n_out)

    def forward(self, x: Tensor, prompt: Tensor, skip: Tensor, past: Tensor | None) -> Tensor:
        """(batch, in, y, x) and past features (batch, n_history in, y, x), the newest first, to (batch, out, 2 y, 2 x)."""
        if past is not None:
            x = self.momentum(torch.cat([x, past], 1))
        x = self.reduce(self.fuse(torch.cat([x, prompt], 1)))
        return self.ca(self.up(x) + skip)


class PromptUnet(nn.Module):
    """A U-Net of CABs with prompts at each decoder level; `prelu` is shared by all CABs but the first."""

    def __init__(self, channels: int, sizes: Sizes, n_history: int, prelu: nn.PReLU, *, channels_last: bool = False):
        super().__init__()
        cab = lambda n, prelu=prelu: CAB(n, prelu, attention=not sizes["no_use_ca"])
        widths = [sizes["n_feat0"], *sizes["feature_dim"]]
        self.levels, self.n_history = range(1, len(widths)), n_history
        self.feat_extract = convolution(channels, widths[0])
        for i, (thin, wide) in enumerate(itertools.pairwise(widths)):
            prompt, level = sizes["prompt_dim"][i], i + 1
            encoder = [cab(thin, prelu if i or j else nn.PReLU()) for j in range(sizes["n_enc_cab"][i])]
            skip = Skip([cab(thin) for _ in range(sizes["n_skip_cab"][i])])
            self.add_module(f"enc_level{level}", Down(thin, wide, encoder))
            self.add_module(f"skip_attn{level}", skip)
            prompts = PromptBlock(wide, prompt, sizes["len_prompt"][i], sizes["prompt_size"][i])
            self.add_module(f"prompt_level{level}", prompts)
            self.add_module(f"dec_level{level}", Up(wide, thin, prompt, sizes["n_dec_cab"][i], n_history, cab))
        self.bottleneck = nn.Sequential(*[cab(widths[-1]) for _ in range(sizes["n_bottleneck_cab"])])
        self.conv_last = convolution(widths[0], channels, 5)
        self.memory_format = lay_out(self, channels_last)

    def forward(self, x: Tensor, history: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """(batch, channels, y, x) and past features of each level, the coarsest first, to (the same shape, history)."""
        part = lambda name, level: getattr(self, f"{name}{level}")
        x = self.feat_extract(x.contiguous(memory_format=self.memory_format))
        skips = {}
        for level in self.levels:
            x, skips[level] = part("enc_level", level)(x)
        x, kept = self.bottleneck(x), []
        for level in reversed(self.levels):
            past = None
            if self.n_history:
                past = x.repeat(1, self.n_history, 1, 1) if history is None else history[len(kept)]
                kept.append(past if history is None else torch.cat([x, past[:, : -x.shape[1]]], 1))
            prompt, skip = part("prompt_level", level)(x), part("skip_attn", level)(skips[level])
            x = part("dec_level", level)(x, prompt, skip, past)
        return self.conv_last(x), kept


class NormPromptUnet(nn.Module):
    """A PromptUnet between normalisation of complex images and its inverse."""

    def __init__(self, images: int, sizes: Sizes, n_history: int, prelu: nn.PReLU, *, channels_last: bool = False):
        super().__init__()
        self.unet = PromptUnet(2 * images, sizes, n_history, prelu, channels_last=channels_last)

    def forward(self, images: Tensor, history: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """Complex (batch, image, y, x) to (the same shape, history)."""
        x = torch.cat([images.real, images.imag], 1)
        std, mean = torch.std_mean(x, (1, 2, 3), keepdim=True)
        height, width = x.shape[-2:]
        top, left = -height % 8 // 2, -width % 8 // 2
        x = functional.pad((x - mean) / std, (left, -width % 8 - left, top, -height % 8 - top))
        x, history = self.unet(x, history)
        real, imag = (x[..., top : top + height, left : left + width] * std + mean).chunk(2, 1)
        return torch.complex(real, imag), history


class SensitivityModel(nn.Module):
    """Maps from the calibration region; parameters below `norm_unet`."""

    def __init__(self, images: int, sizes: Sizes, prelu: nn.PReLU, *, channels_last: bool):
        super().__init__()
        self.norm_unet = NormPromptUnet(images, sizes, 0, prelu, channels_last=channels_last)
        self.adjacent = images > 1

    def forward(self, calibration: Tensor) -> Tensor:
        """K-space (adjacent, coil, y, x) of the calibration region to maps of unit rss."""
        images = ifftc(calibration)
        if self.adjacent:
            maps = self.norm_unet(images.transpose(0, 1))[0].transpose(0, 1)
        else:
            maps = self.norm_unet(images.flatten(0, 1)[:, None])[0].reshape(images.shape)
        return maps / torch.sqrt(torch.sum(abs2(maps), 1, keepdim=True))


class Cascade(nn.Module):
    """One adaptive gradient step on the images, with its network below `model`."""

    def __init__(self, n_adjacent: int, n_buffer: int, sizes: Sizes, n_history: int, prelu, *, channels_last: bool):
        super().__init__()
        images = n_adjacent * (1 + n_buffer)
        self.model = NormPromptUnet(images, sizes, n_history, prelu, channels_last=channels_last)
        self.dc_weight = nn.Parameter(torch.ones(1))
        self.n_buffer = n_buffer

    def forward(self, x, latent, zero_filled, mask, maps, history):
        """Images (adjacent, y, x), maps (adjacent, coil, y, x) to (images, latent, history)."""
        kspace = torch.where(mask, fftc(maps * x[:, None]), torch.zeros((), dtype=maps.dtype))
        normal = torch.sum(maps.conj() * ifftc(kspace), 1)
        gradient, n = normal - zero_filled, len(x)
        shown = [x]
        if self.n_buffer:
            shown += [normal, latent, zero_filled, *[gradient] * (self.n_buffer - 3)]
        out, history = self.model(torch.cat(shown)[None], history)
        latent = out[0, 2 * n : 3 * n] if self.n_buffer else latent
        return x - self.dc_weight * gradient - out[0, :n], latent, history


class PromptMRPlus(nn.Module):
    """The whole network for one example; sizes by the names of the published constructor."""

    def __init__(self, sizes: Sizes, *, channels_last: bool = False):
        super().__init__()
        prelu, n, n_history = nn.PReLU(), sizes["num_adj_slices"], sizes["n_history"]
        own = {k: sizes[f"sens_{k}"] for k in ("n_feat0", "feature_dim", "prompt_dim")}
        images = n if sizes["use_sens_adj"] else 1
        self.sens_net = SensitivityModel(images, {**sizes, **own}, prelu, channels_last=channels_last)
        n_buffer = sizes["n_buffer"] if sizes["adaptive_input"] else 0
        cascade = lambda: Cascade(n, n_buffer, sizes, n_history, prelu, channels_last=channels_last)
        self.cascades = nn.ModuleList(cascade() for _ in range(sizes["num_cascades"]))

    def forward(self, kspace: Tensor, mask: Tensor, acs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """K-space (adjacent, coil, y, x), bool masks (x,) to (magnitude of the middle slice, all between by name)."""
        maps = self.sens_net(torch.where(acs, kspace, torch.zeros((), dtype=kspace.dtype)))
        zero_filled = torch.sum(maps.conj() * ifftc(kspace), 1)
        between = {"sens_maps": maps.flatten(0, 1), "img_zf_combined": zero_filled}
        x, latent, history = zero_filled, zero_filled, None
        for t, cascade in enumerate(self.cascades):
            x, latent, history = cascade(x, latent, zero_filled, mask, maps, history)
            between[f"cascade{t}/img_pred"] = x
            if cascade.n_buffer:
                between[f"cascade{t}/latent"] = latent
        middle = len(kspace) // 2
        return torch.sqrt(torch.sum(abs2(maps[middle] * x[middle]), 0)), between


def _golden_cab(config, arrays, weights, channels_last):
    found, x = {}, torch.from_numpy(arrays["in/x"])
    for name, options in config["cases"].items():
        net = CAB(config["n_feat"], nn.PReLU(), attention=not options["no_use_ca"])
        load(net, _below(arrays, f"{name}/w/"))
        found[f"{name}/out/y"] = net(_in_layout(net, x, channels_last)).detach()
    return found


def _golden_prompt_block(config, arrays, weights, channels_last):
    net = PromptBlock(config["lin_dim"], config["prompt_dim"], config["prompt_len"], config["prompt_size"])
    load(net, weights)
    found = {}
    for height, width in config["sizes"]:
        size = f"{height}x{width}"
        x = _in_layout(net, torch.from_numpy(arrays[f"in/{size}/x"]), channels_last)
        found |= {f"out/{size}/y": net(x).detach(), f"out/{size}/weights": net.shares(x).detach()}
    return found


def _golden_unet(config, arrays, weights, channels_last):
    channels = config["in_chans"] * (1 + config["n_buffer"])
    net = PromptUnet(channels, config, config["n_history"], nn.PReLU(), channels_last=channels_last)
    load(net, weights)
    found, history = {}, None
    with torch.inference_mode():
        for t in range(config["calls"]):
            found[f"out/y{t}"], history = net(torch.from_numpy(arrays[f"in/x{t}"]), history)
            found |= {f"out/history{t}_level{3 - i}": features for i, features in enumerate(history)}
    return found


def _golden_model(config, arrays, weights, channels_last):
    net = PromptMRPlus(config, channels_last=channels_last)
    load(net, weights)
    kspace = torch.view_as_complex(torch.from_numpy(arrays["in/masked_kspace"]))
    kspace = kspace.reshape(config["num_adj_slices"], config["coils"], *kspace.shape[-2:])
    width, n_acs = config["w"], config["num_low_frequencies"]
    columns, start = torch.arange(width), (width - n_acs + 1) // 2
    acs = (columns >= start) & (columns < start + n_acs)
    image, between = net(kspace, torch.from_numpy(arrays["in/mask"][0, 0, 0, :, 0]), acs)
    target, peak = (torch.from_numpy(arrays[f"in/{name}"]) for name in ("target", "max_value"))
    loss = ssim_loss(image[None], target, peak)
    loss.backward()
    gradients = {name: p.grad for name, p in net.named_parameters() if p.requires_grad}
    norm = torch.sqrt(sum(torch.sum(g**2) for g in gradients.values()))
    found = {f"out/{name}": torch.view_as_real(value.detach())[None] for name, value in between.items()}
    chosen = (name.removeprefix("out/grad/") for name in arrays if name.startswith("out/grad/"))
    found |= {f"out/grad/{name}": gradients[name] for name in chosen}
    return found | {"out/img_pred": image.detach()[None], "out/ssim_loss": loss.detach(), "out/grad_global_norm": norm}


def _below(arrays, prefix):
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def _in_layout(net, x, channels_last):
    return x.contiguous(memory_format=lay_out(net, channels_last))


CHECKS |= {
    ("promptmr", "cab"): _golden_cab,
    ("promptmr", "prompt_block"): _golden_prompt_block,
    ("promptmr", "prompt_unet"): _golden_unet,
    ("promptmr", "promptmr_plus"): _golden_model,
}

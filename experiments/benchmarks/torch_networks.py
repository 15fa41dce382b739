"""The U-Net, E2E-VarNet and MoDL in PyTorch, written for the benchmark from their papers: the rivals of networks.py.

Weights have the published names (MoDL's TensorFlow names are mapped by `load_modl`). Complex images are complex
tensors, batched; `channels_last` chooses the memory layout of the convolutions, with the same numbers. `check_golden`
holds them against the reference implementations.
"""

import fnmatch
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvBlock(nn.Module):
    """Twice: convolution 3x3, instance norm, leaky ReLU."""

    def __init__(self, n_in: int, n_out: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
            nn.InstanceNorm2d(n_out),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Identity(),  # the place of the dropout: layer numbers are part of the names
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
            nn.InstanceNorm2d(n_out),
            nn.LeakyReLU(0.2, inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, y, x) to (batch, out, y, x)."""
        return self.layers(x)


class TransposedBlock(nn.Module):
    """Transposed convolution 2x2 of stride 2, instance norm, leaky ReLU."""

    def __init__(self, n_in: int, n_out: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(n_in, n_out, 2, 2, bias=False),
            nn.InstanceNorm2d(n_out),
            nn.LeakyReLU(0.2, inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, y, x) to (batch, out, 2 y, 2 x)."""
        return self.layers(x)


class UNet(nn.Module):
    """fastMRI's U-Net."""

    def __init__(self, channels: int, features: int = 32, pools: int = 4, *, channels_last: bool = False):
        super().__init__()
        widths = [features * 2**i for i in range(pools + 1)]
        pairs = list(itertools.pairwise(widths))[::-1]  # (thin, wide), from the bottom up
        self.down_sample_layers = nn.ModuleList(
            ConvBlock(a, b) for a, b in zip([channels, *widths], widths[:-1], strict=False)
        )
        self.conv = ConvBlock(widths[-2], widths[-1])
        self.up_transpose_conv = nn.ModuleList(TransposedBlock(wide, thin) for thin, wide in pairs)
        blocks: list[nn.Module] = [ConvBlock(wide, thin) for thin, wide in pairs]
        blocks[-1] = nn.Sequential(blocks[-1], nn.Conv2d(features, channels, 1))
        self.up_conv = nn.ModuleList(blocks)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.to(memory_format=self.memory_format)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, y, x) to the same shape."""
        x = x.contiguous(memory_format=self.memory_format)
        skips = []
        for block in self.down_sample_layers:
            x = block(x)
            skips.append(x)
            x = functional.avg_pool2d(x, 2)
        x = self.conv(x)
        for up, block in zip(self.up_transpose_conv, self.up_conv, strict=True):
            x, skip = up(x), skips.pop()
            missing = skip.shape[-1] - x.shape[-1], skip.shape[-2] - x.shape[-2]
            if any(missing):
                x = functional.pad(x, (0, missing[0], 0, missing[1]), "reflect")
            x = block(torch.cat([x, skip], 1))
        return x


class NormUNet(nn.Module):
    """The U-Net between normalisation of real and imaginary part and its inverse."""

    def __init__(self, features: int, pools: int, *, channels_last: bool = False):
        super().__init__()
        self.unet = UNet(2, features, pools, channels_last=channels_last)

    def forward(self, image: Tensor) -> Tensor:
        """Complex (batch, y, x) to the same shape."""
        x = torch.stack([image.real, image.imag], 1)
        std, mean = torch.std_mean(x, (2, 3), keepdim=True)
        x = (x - mean) / std
        height, width = x.shape[-2:]
        top, left = -height % 16 // 2, -width % 16 // 2
        x = self.unet(functional.pad(x, (left, -width % 16 - left, top, -height % 16 - top)))
        x = x[..., top : top + height, left : left + width] * std + mean
        return torch.complex(x[:, 0], x[:, 1])


class SensitivityModel(nn.Module):
    """Maps from the calibration region; parameters below `norm_unet`."""

    def __init__(self, features: int, pools: int, *, channels_last: bool = False):
        super().__init__()
        self.norm_unet = NormUNet(features, pools, channels_last=channels_last)

    def forward(self, kspace: Tensor, acs: slice) -> Tensor:
        """K-space (batch, coil, y, x) and the columns of the calibration region to maps of unit rss."""
        calibration = torch.zeros_like(kspace)
        calibration[..., acs] = kspace[..., acs]
        maps = self.norm_unet(ifftc(calibration).flatten(0, 1)).reshape(kspace.shape)
        return maps / rss(maps)[:, None]


class Cascade(nn.Module):
    """One gradient step in k-space with its network below `model`."""

    def __init__(self, features: int, pools: int, *, channels_last: bool = False):
        super().__init__()
        self.model = NormUNet(features, pools, channels_last=channels_last)
        self.dc_weight = nn.Parameter(torch.ones(1))

    def forward(self, kspace: Tensor, measured: Tensor, mask: Tensor, maps: Tensor) -> Tensor:
        """K-space (batch, coil, y, x) to the same shape."""
        image = torch.sum(maps.conj() * ifftc(kspace), 1)
        refinement = fftc(maps * self.model(image)[:, None])
        soft = torch.where(mask, kspace - measured, torch.zeros((), dtype=kspace.dtype)) * self.dc_weight
        return kspace - soft - refinement


class VarNet(nn.Module):
    """The end-to-end variational network."""

    def __init__(
        self,
        n_cascades: int,
        features: int,
        pools: int,
        sens_features: int,
        sens_pools: int,
        *,
        channels_last: bool = False,
    ):
        super().__init__()
        self.sens_net = SensitivityModel(sens_features, sens_pools, channels_last=channels_last)
        self.cascades = nn.ModuleList(Cascade(features, pools, channels_last=channels_last) for _ in range(n_cascades))

    def forward(self, kspace: Tensor, mask: Tensor) -> Tensor:
        """K-space (batch, coil, y, x) and the mask (x,) of all of them, bool, to magnitudes (batch, y, x)."""
        measured, maps = kspace, self.sens_net(kspace, calibration_columns(mask))
        for cascade in self.cascades:
            kspace = cascade(kspace, measured, mask, maps)
        return rss(ifftc(kspace))


class MoDL(nn.Module):
    """Denoiser with batch norm and conjugate gradients, K times with the same weights; one example at a time.

    The Fourier transform is the uncentred one: masks have DC at index 0, as in the published code.
    """

    def __init__(self, n_steps: int, features: int, layers: int = 5, *, channels_last: bool = False):
        super().__init__()
        widths = [2, *[features] * (layers - 1), 2]
        pairs = list(itertools.pairwise(widths))
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(b, eps=1e-3, momentum=0.01) for _, b in pairs)
        self.lam = nn.Parameter(torch.tensor(0.05))
        self.n_steps = n_steps
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.to(memory_format=self.memory_format)

    def denoise(self, image: Tensor) -> Tensor:
        """Complex (batch, y, x) to the same shape."""
        x = torch.view_as_real(image).movedim(-1, 1).contiguous(memory_format=self.memory_format)
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = norm(convolution(x))
            if i < len(self.norms) - 1:
                x = functional.relu(x, inplace=True)
        return image + torch.complex(x[:, 0], x[:, 1])

    def forward(self, zero_filled: Tensor, maps: Tensor, mask: Tensor, *, tolerance: float = 0.0) -> list[Tensor]:
        """A^H y (batch, y, x), maps (batch, coil, y, x), mask (batch, y, x) to the image after each of the K steps."""
        images = [zero_filled]
        for _ in range(self.n_steps):
            rhs = zero_filled + self.lam * self.denoise(images[-1])
            solved = [
                conjugate_gradient(s, m, self.lam, b, tolerance=tolerance)
                for s, m, b in zip(maps, mask, rhs, strict=True)
            ]
            images.append(torch.stack(solved))
        return images[1:]


def conjugate_gradient(maps: Tensor, mask: Tensor, lam: Tensor, rhs: Tensor, *, tolerance: float, n_iter: int = 10):
    """(A^H A + lam)^{-1} rhs by CG from zero, stopped at a squared residual norm of `tolerance` (0: never)."""

    def normal(x):
        coils = torch.fft.ifft2(mask * torch.fft.fft2(maps * x))
        return torch.sum(maps.conj() * coils, 0) + lam * x

    x, r, p = torch.zeros_like(rhs), rhs, rhs
    rr = torch.sum(abs2(r))
    for _ in range(n_iter):
        if tolerance and rr.item() <= tolerance:
            break
        ap = normal(p)
        alpha = rr / torch.sum(p.real * ap.real + p.imag * ap.imag)
        x, r = x + alpha * p, r - alpha * ap
        rr, before = torch.sum(abs2(r)), rr
        p = r + rr / before * p
    return x


def ssim_loss(image: Tensor, target: Tensor, data_range: Tensor) -> Tensor:
    """1 - SSIM with a uniform window of 7 x 7 where it fits: (batch, y, x), data_range (batch,)."""
    x, y = (a[:, None] / data_range.reshape(-1, 1, 1, 1) for a in (image, target))
    window = lambda a: functional.avg_pool2d(a, 7, 1)
    mx, my = window(x), window(y)
    unbiased = 49 / 48
    vx, vy, vxy = (
        unbiased * (window(a * b) - ma * mb) for a, b, ma, mb in ((x, x, mx, mx), (y, y, my, my), (x, y, mx, my))
    )
    c1, c2 = 0.01**2, 0.03**2
    return 1 - torch.mean((2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))


def fftc(x: Tensor) -> Tensor:
    """Centred unitary FFT over the last two axes."""
    return torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(x, (-2, -1)), norm="ortho"), (-2, -1))


def ifftc(x: Tensor) -> Tensor:
    """Centred unitary inverse FFT over the last two axes."""
    return torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(x, (-2, -1)), norm="ortho"), (-2, -1))


def abs2(x: Tensor) -> Tensor:
    """|x|^2 of a complex tensor."""
    return x.real**2 + x.imag**2


def rss(x: Tensor) -> Tensor:
    """Root of the sum of squares over axis 1, the coils."""
    return torch.sqrt(torch.sum(abs2(x), 1))


def calibration_columns(mask: Tensor) -> slice:
    """The fully sampled columns around the centre of a mask (x,)."""
    width, lines = len(mask), mask.tolist()
    left = next((n for n, seen in enumerate(lines[width // 2 - 1 :: -1]) if not seen), 0)
    right = next((n for n, seen in enumerate(lines[width // 2 :]) if not seen), 0)
    n = max(2 * min(left, right), 1)
    start = (width - n + 1) // 2
    return slice(start, start + n)


def load(module: nn.Module, weights: Mapping[str, np.ndarray]) -> None:
    """Set all parameters from arrays under their published names."""
    module.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})


def load_modl(module: MoDL, weights: Mapping[str, np.ndarray]) -> None:
    """Set all parameters and moving averages from arrays under the published TensorFlow names."""
    state = {name: _to_torch(weights[published]) for name, published in modl_names(module).items()}
    module.load_state_dict(state, strict=False)


def modl_names(module: MoDL) -> dict[str, str]:
    """Names here to published names: Wts/Layer1/W, ..."""
    names = {"lam": "Wts/lam1"}
    own: Sequence[str] = ("weight", "bias", "running_mean", "running_var")
    for i in range(len(module.norms)):
        layer = f"Wts/Layer{i + 1}"
        names[f"convolutions.{i}.weight"] = f"{layer}/W"
        for a, b in zip(own, ("gamma", "beta", "moving_mean", "moving_variance"), strict=True):
            names[f"norms.{i}.{a}"] = f"{layer}/BN/{b}"
    return names


def published_modl(module: MoDL, tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Tensors by the names here (weights, or their gradients) as arrays by published name; kernels (y, x, in, out)."""
    names = modl_names(module)
    arrays = {names[name]: t.detach().numpy() for name, t in tensors.items() if name in names}
    return {name: np.array(a.transpose(2, 3, 1, 0) if a.ndim == 4 else a) for name, a in arrays.items()}


def _to_torch(array: np.ndarray) -> Tensor:
    array = np.array(array)
    return torch.from_numpy(array.transpose(3, 2, 0, 1).copy() if array.ndim == 4 else array)


def check_golden(folder: Path) -> dict[str, float]:
    """The largest error of PyTorch's networks on the golden files of a folder, as a part of the tolerance."""
    reached = {}
    for path in sorted(folder.rglob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            meta = json.loads(str(file["meta"])) if "meta" in file.files else {}
            check = CHECKS.get((meta.get("topic"), meta.get("kind")))
            if check is None:
                continue
            arrays = {name: file[name] for name in file.files if name != "meta"}
        weights = {k.removeprefix("w/"): v for k, v in arrays.items() if k.startswith("w/")}
        worst = 0.0
        for channels_last in (False, True):
            for name, value in check(meta["config"], arrays, weights, channels_last).items():
                worst = max(worst, _part_of_tolerance(meta, name, value, arrays[name]))
        reached[path.name] = worst
        if not worst <= 1:
            raise SystemExit(f"PyTorch's network misses {path} by {worst:.2g} times its tolerance: no fair comparison")
    if not reached:
        raise SystemExit(f"{folder} holds no golden file of these networks: nothing says that PyTorch's are right")
    return reached


def _part_of_tolerance(meta, name, value, reference):
    rule = meta["tolerance"]
    matching = [p for p in rule.get("per_output", {}) if fnmatch.fnmatchcase(name, p)]
    rule = rule["per_output"][max(matching, key=len)] if matching else rule
    kind = rule.get("kind", meta["tolerance_kind"])
    error = np.abs(np.asarray(value) - reference.astype(np.result_type(reference, np.float64)))
    if kind == "l2":
        error = np.linalg.norm(error) / (np.linalg.norm(reference) or 1.0)
    elif kind == "max":
        error = error.max() / (np.abs(reference).max() or 1.0)
    elif kind != "abs":
        raise SystemExit(f"no measure for the tolerance kind '{kind}'")
    return float(np.max(error)) / rule["float32"]


def _golden_unet(config, arrays, weights, channels_last):
    net = UNet(config["in_chans"], config["chans"], config["num_pool_layers"], channels_last=channels_last)
    load(net, weights)
    out = net(torch.from_numpy(arrays["input"]))
    torch.sum(out * torch.from_numpy(arrays["cotangent"])).backward()
    return {"output": out.detach(), **{f"grad/{name}": p.grad for name, p in net.named_parameters()}}


def _golden_varnet(config, arrays, weights, channels_last):
    sizes = [config[k] for k in ("num_cascades", "chans", "pools", "sens_chans", "sens_pools")]
    net = VarNet(*sizes, channels_last=channels_last)
    load(net, weights)
    kspace = torch.view_as_complex(torch.from_numpy(arrays["masked_kspace"]))
    out = net(kspace, torch.from_numpy(arrays["mask"][0, 0, 0, :, 0]))
    height, width = config["crop"]
    top, left = (out.shape[-2] - height) // 2, (out.shape[-1] - width) // 2
    crop = lambda a: a[:, top : top + height, left : left + width]
    peak = torch.from_numpy(arrays["max_value"]).float()
    loss = ssim_loss(crop(out), crop(torch.from_numpy(arrays["target"])), peak)
    loss.backward()
    gradients = {f"grad/{name}": p.grad for name, p in net.named_parameters()}
    return {"output": out.detach(), "ssim_loss": loss.detach(), **gradients}


def _golden_modl(config, arrays, weights, channels_last):
    net = MoDL(config["K"], config["features"], config["layers"], channels_last=channels_last)
    load_modl(net, {name.removesuffix(":0"): value for name, value in weights.items()})
    zero_filled, target = (torch.view_as_complex(torch.from_numpy(arrays[name])) for name in ("atb", "org"))
    maps, mask = torch.from_numpy(arrays["csm"]), torch.from_numpy(arrays["mask"])
    images = net.train(config["training"])(zero_filled, maps, mask, tolerance=config["cg_tol"])
    loss = torch.sum(torch.mean(abs2(images[-1] - target), (1, 2))) / 2
    loss.backward()
    out = {f"dc{k + 1}": torch.view_as_real(image).detach() for k, image in enumerate(images)}
    gradients = published_modl(net, {name: p.grad for name, p in net.named_parameters()}) if config["training"] else {}
    return {**out, "loss": loss.detach(), **{f"grad/{name}:0": g for name, g in gradients.items()}}


CHECKS = {
    ("varnet", "unet"): _golden_unet,
    ("varnet", "varnet"): _golden_varnet,
    ("modl", "model"): _golden_modl,
}

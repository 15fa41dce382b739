"""Deep J-Sense in PyTorch, written for the benchmark from its paper: the rival of deep_jsense.py.

It has the structure of the public code: both operators transform all coils on the padded grid, the normal operator is
the adjoint after the forward operator, and backpropagation goes through the loops of conjugate gradients. Weights have
the published names; `check_golden` of torch_networks.py holds it against the reference implementation.
"""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_networks import CHECKS, abs2, fftc, ifftc, load, ssim_loss


class Layer(nn.Module):
    """Convolution without bias, mirrored border; its number in `net` is part of the name."""

    def __init__(self, n_in: int, n_out: int, size: int):
        super().__init__()
        pad = nn.ReflectionPad2d(size // 2) if size > 1 else nn.Identity()
        self.net = nn.Sequential(pad, nn.Conv2d(n_in, n_out, size, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, y, x) to (batch, out, y, x)."""
        return self.net(x)


class Block(nn.Module):
    """ReLU, convolution, ReLU (not in the last block), convolution, plus the input."""

    def __init__(self, n_in: int, features: int, n_out: int, *, last: bool):
        super().__init__()
        if n_in != n_out:
            self.conv0 = Layer(n_in, n_out, 1)
        self.conv1, self.conv2 = Layer(n_in, features, 3), Layer(features, n_out, 3)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, y, x) to (batch, out, y, x)."""
        h = self.conv1(functional.relu(x))
        h = self.conv2(h if self.last else functional.relu(h))
        return h + (self.conv0(x) if hasattr(self, "conv0") else x)


class ResNet(nn.Module):
    """Residual blocks with a global residual, on complex images."""

    def __init__(self, features: int, blocks: int, *, channels_last: bool):
        super().__init__()
        widths = [2, *[features] * (blocks - 1), 2]
        pairs = itertools.pairwise(widths)
        self.ResNetBlocks = nn.ModuleList(Block(a, features, b, last=i == blocks - 1) for i, (a, b) in enumerate(pairs))
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.to(memory_format=self.memory_format)

    def forward(self, image: Tensor) -> Tensor:
        """Complex (batch, y, x) to the same shape."""
        x = torch.stack([image.real, image.imag], 1).contiguous(memory_format=self.memory_format)
        h = x
        for block in self.ResNetBlocks:
            h = block(h)
        h = h + x
        return torch.complex(h[:, 0], h[:, 1])


class DeepJSense(nn.Module):
    """Maps and image in turn, N times with the same weights; one slice. `reference`: the public code's two operators."""

    def __init__(self, n_steps, n_maps, n_image, features, blocks=4, *, reference=False, channels_last=False):
        super().__init__()
        self.block1_l2lam, self.block2_l2lam = (nn.Parameter(torch.full((1,), 0.01)) for _ in range(2))
        self.image_net, self.maps_net = (ResNet(features, blocks, channels_last=channels_last) for _ in range(2))
        self.n_steps, self.n_maps, self.n_image, self.reference = n_steps, n_maps, n_image, reference

    def forward(self, kspace: Tensor, mask: Tensor, kernels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """K-space (coil, y, x), mask (1, x), first kernels (coil, ky, kx) to coil k-space, image on the grid, kernels."""
        shape, kernel = kspace.shape[-2:], kernels.shape[-2:]
        grid = tuple(n + k - 1 for n, k in zip(shape, kernel, strict=True))
        b = math.sqrt(math.prod(grid)) if self.reference else 1.0

        def image_forward(maps, x):
            return mask * crop(fftc(maps * x), shape)

        def image_adjoint(maps, y):
            return torch.sum(maps.conj() * ifftc(pad(mask * y, grid)), 0)

        def map_forward(image, s):
            return b * mask * crop(fftc(image * ifftc(pad(s, grid))), shape)

        def map_adjoint(image, y):
            return b * crop(fftc(image.conj() * ifftc(pad(mask * y, grid))), kernel)

        image = image_adjoint(ifftc(pad(kernels, grid)), kspace)
        for j in range(self.n_steps):
            if self.n_maps:
                lam, x = self.block1_l2lam, image
                rhs = map_adjoint(x, kspace) + (lam * kernels if j else 0)
                normal = lambda s, x=x, lam=lam: map_adjoint(x, map_forward(x, s)) + lam * s
                kernels = conjugate_gradient(normal, rhs, kernels, self.n_maps)
                if self.maps_net is not None:
                    kernels = fftc(self.maps_net(swapped_ifft(kernels) if self.reference else ifftc(kernels)))
            lam, maps = self.block2_l2lam, ifftc(pad(kernels, grid))
            rhs = image_adjoint(maps, kspace) + (lam * image if j else 0)
            normal = lambda x, maps=maps, lam=lam: image_adjoint(maps, image_forward(maps, x)) + lam * x
            image = conjugate_gradient(normal, rhs, image, self.n_image)
            image = image if self.image_net is None else self.image_net(image[None])[0]
        return crop(fftc(ifftc(pad(kernels, grid)) * image), shape), image, kernels


def conjugate_gradient(normal, rhs: Tensor, x: Tensor, n_iter: int, eps: float = 1e-6) -> Tensor:
    """A fixed number of iterations from x, fewer once the residual's norm is below eps."""
    r = rhs - normal(x)
    p, rr = r, torch.sum(abs2(r))
    for _ in range(n_iter):
        if rr.item() < eps**2:
            break
        ap = normal(p)
        alpha = rr / torch.sum(p.real * ap.real + p.imag * ap.imag)
        x, r = x + alpha * p, r - alpha * ap
        rr, before = torch.sum(abs2(r)), rr
        p = r + rr / before * p
    return x


def pad(x: Tensor, shape) -> Tensor:
    """Zeros around the last two axes, the larger half in front."""
    extra = [m - n for m, n in zip(shape, x.shape[-2:], strict=True)]
    front = [-(-e // 2) for e in extra]
    return functional.pad(x, (front[1], extra[1] - front[1], front[0], extra[0] - front[0]))


def crop(x: Tensor, shape) -> Tensor:
    """The centre of the last two axes; the inverse of `pad`."""
    top, left = (-(-(n - m) // 2) for n, m in zip(x.shape[-2:], shape, strict=True))
    return x[..., top : top + shape[0], left : left + shape[1]]


def swapped_ifft(x: Tensor) -> Tensor:
    """The public code's inverse transform around the maps' network, its shifts exchanged."""
    return torch.fft.ifftshift(torch.fft.ifft2(torch.fft.fftshift(x, (-2, -1)), norm="ortho"), (-2, -1))


def magnitude(kspace: Tensor) -> Tensor:
    """Root of the sum of squares of the coil images, (y, x)."""
    return torch.sqrt(torch.sum(abs2(ifftc(kspace)), 0))


def _golden(config, arrays, weights, channels_last):
    """In double precision, as the reference; files without one of the networks too."""
    reference = config["convention"] == "reference"
    sizes = [config[k] for k in ("N", "n1", "n2", "features", "blocks")]
    net = DeepJSense(*sizes, reference=reference, channels_last=channels_last).double()
    net.image_net = net.image_net if config["use_img_net"] else None
    net.maps_net = net.maps_net if config["use_map_net"] else None
    load(net, weights)
    kspace, kernels = (torch.from_numpy(arrays[k]).to(torch.complex128) for k in ("ksp", "init_maps"))
    out, image, maps = net(kspace, torch.from_numpy(arrays["mask"]).double(), kernels)
    cropped, target = crop(magnitude(out), config["crop"]), torch.from_numpy(arrays["target"]).double()
    loss = ssim_loss(cropped[None], target[None], target.max()[None])
    loss.backward()
    found = {"out_ksp": out, "out_image": image, "out_maps": maps, "out_rss_crop": cropped, "ssim_loss": loss}
    gradients = {f"grad/{name}": p.grad for name, p in net.named_parameters() if p.grad is not None}
    return {name: value.detach().numpy() for name, value in found.items()} | gradients


CHECKS[("deep_jsense", "deep_jsense")] = _golden

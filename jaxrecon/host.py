"""What readers and commands compute on the host: loaders do not touch a device, each process would start one of its own."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Complex, Float


def native(x: Any) -> Any:
    """An array of NumPy in the byte order of this machine, as JAX wants it; any other array as it is."""
    return x.astype(x.dtype.newbyteorder("=")) if isinstance(x, np.ndarray) and not x.dtype.isnative else x


def fftc(x: Complex[np.ndarray, "..."], axis: int) -> Complex[np.ndarray, "..."]:
    """Centred unitary FFT of one axis."""
    return np.fft.fftshift(np.fft.fft(np.fft.ifftshift(x, axis), axis=axis, norm="ortho"), axis)


def ifftc(x: Complex[np.ndarray, "..."], axis: int) -> Complex[np.ndarray, "..."]:
    """Centred unitary inverse FFT of one axis."""
    return np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(x, axis), axis=axis, norm="ortho"), axis)


def coil_images(kspace: Complex[np.ndarray, "*frame coil y x"]) -> Complex[np.ndarray, "*frame coil y x"]:
    """The images of the coils: the inverse transform along y and x."""
    return ifftc(ifftc(kspace, -2), -1)


def combine(images: Complex[np.ndarray, "*frame coil y x"], maps: Complex[np.ndarray, "coil y x"]) -> np.ndarray:
    """Coil images combined with maps: sum_c conj(S_c) u_c, ([frame,] y, x)."""
    return np.sum(np.conj(maps) * images, -3)


def rss(images: Complex[np.ndarray, "*frame coil y x"]) -> Float[np.ndarray, "*frame y x"]:
    """Root of the sum of squares over the coils."""
    return np.sqrt(np.sum(np.abs(images) ** 2, -3))


def crop_or_pad(x: np.ndarray, wanted: int, axis: int) -> np.ndarray:
    """Crop or zero-pad one axis so that its centre n // 2 stays the centre."""
    before = wanted // 2 - x.shape[axis] // 2
    after = wanted - x.shape[axis] - before
    x = np.take(x, range(max(-before, 0), x.shape[axis] - max(-after, 0)), axis)
    pads = [(0, 0)] * x.ndim
    pads[axis] = (max(before, 0), max(after, 0))
    return np.pad(x, pads)


def complete_width(mask: Bool[np.ndarray, "..."]) -> int:
    """Width w of the largest complete square (or cube) in the middle, [n // 2 - w // 2, ... + w) along each axis; 0: none."""
    width = 0
    for wider in range(1, min(mask.shape) + 1):
        if not mask[tuple(slice(n // 2 - wider // 2, n // 2 - wider // 2 + wider) for n in mask.shape)].all():
            break
        width = wider
    return width

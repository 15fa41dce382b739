"""Simulated multi-coil data with known maps, shared by the tests of the coil tools."""

import numpy as np


def smooth_maps(n_coils, shape):
    """Unit-norm maps (coil, *shape) with few spatial frequencies, different for each coil."""
    grids = np.meshgrid(*[(np.arange(n) - n // 2) / n for n in shape], indexing="ij")
    rng = np.random.default_rng(1)
    maps = []
    for coil in range(n_coils):
        angle = 2 * np.pi * coil / n_coils
        direction = [np.cos(angle), np.sin(angle), 0.5][: len(shape)]
        along = sum(d * g for d, g in zip(direction, grids, strict=True))
        maps.append((1.2 + np.sin(np.pi * along)) * np.exp(1j * (rng.uniform(-1, 1) + 2 * grids[0] * np.cos(angle))))
    maps = np.stack(maps)
    return maps / np.linalg.norm(maps, axis=0)


def ellipsoid(shape, radius=0.4):
    grids = np.meshgrid(*[(np.arange(n) - n // 2) / n for n in shape], indexing="ij")
    return sum(g**2 for g in grids) < radius**2


def fft(images):
    axes = tuple(range(1, images.ndim))
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(images, axes), axes=axes, norm="ortho"), axes)


def simulate(n_coils, shape, noise=0.0, seed=0):
    """(kspace, maps, object support), complex64."""
    rng = np.random.default_rng(seed)
    inside = ellipsoid(shape)
    # texture, so that the calibration data are rich
    image = inside * (1 + 0.5 * rng.standard_normal(shape))
    maps = smooth_maps(n_coils, shape)
    kspace = fft(maps * image)
    kspace = kspace + noise * (rng.standard_normal(kspace.shape) + 1j * rng.standard_normal(kspace.shape))
    return kspace.astype(np.complex64), maps.astype(np.complex64), inside

"""A tiny measured object for the tests of the command line: an asymmetric one, so that flips and shifts show."""

import numpy as np

SHAPE = (40, 33)
SIMULATED = (48, 39)
"""The size of simulated subjects, of 4 coils: one for all tests, since the simulation takes long to compile."""
PREPARE = ["--calib-size", "13", "--kernel", "6"]
"""ESPIRiT of `jaxrecon prepare` as `jaxrecon recon` makes it of scans with `line_mask`: one program."""
TRAIN = [
    "train", "--model", "pgd", "--small", "--split", "0.5", "0.25", "0.25", "--mask", "equispaced", "--acs", "13",
    "--n-masks", "2", "--model.n-steps", "2", "--model.features", "4", "--every.log", "1",
    "--strategy", "gleam", "--optimizer.learning-rate", "0.003", "--espirit-crop", "0",
]  # fmt: skip
"""A small network on the scans that the fixture `prepared` makes."""


def fftc(x):
    x = np.fft.ifftshift(x, (-2, -1))
    return np.fft.fftshift(np.fft.fft2(x, norm="ortho"), (-2, -1))


def object_and_maps(n_coils=4, shape=SHAPE):
    """Image (y, x) and smooth maps (coil, y, x) of unit root sum of squares."""
    y, x = np.meshgrid(*[(np.arange(n) - n // 2) / n for n in shape], indexing="ij")
    image = ((y / 0.4) ** 2 + (x / 0.35) ** 2 < 1) * 1.0
    image += 0.8 * (((y + 0.15) / 0.1) ** 2 + ((x - 0.1) / 0.08) ** 2 < 1)
    angles = 2 * np.pi * np.arange(n_coils) / n_coils
    maps = np.stack([np.exp(-((y - 0.6 * np.sin(a)) ** 2 + (x - 0.6 * np.cos(a)) ** 2) / 0.5 + 1j * a) for a in angles])
    return image, maps / np.sqrt((np.abs(maps) ** 2).sum(0))


def measured(n_coils=4, shape=SHAPE, noise=1e-3, unit=1.0):
    """K-space (coil, y, x) complex64 and the image (y, x)."""
    image, maps = object_and_maps(n_coils, shape)
    rng = np.random.default_rng(3)
    kspace = fftc(image * maps) + noise * (rng.standard_normal(maps.shape) + 1j * rng.standard_normal(maps.shape))
    return (unit * kspace).astype(np.complex64), unit * image


def line_mask(n=SHAPE[1], n_acs=13, step=4):
    mask = np.zeros(n, bool)
    mask[::step] = True
    mask[n // 2 - n_acs // 2 : n // 2 - n_acs // 2 + n_acs] = True
    return mask


def nrmse(image, reference):
    return np.linalg.norm(np.abs(image) - reference) / np.linalg.norm(reference)

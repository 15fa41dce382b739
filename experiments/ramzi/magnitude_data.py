"""Data made as those of OASIS in the benchmark: magnitude slices, whose FFT is the k-space of a single coil.

The objects are hence real, and their k-space is symmetric. Slices come from simulated heads, or from volumes of your own.
"""

import functools
import itertools
from pathlib import Path

import jax
import numpy as np

from jaxrecon.data import Slice
from jaxrecon.data.simulate import CONTRASTS, simulate
from jaxrecon.experiment import SimulatedHeads, TrainingData
from jaxrecon.fourier import fftc, ifftc
from jaxrecon.host import crop_or_pad

TEST_HEADS = 8
"""Simulated heads to test on, after those for training and validation."""


def magnitude_data(heads: SimulatedHeads, seed: int, folder: Path | None) -> TrainingData:
    """Slices for training, validation and test.

    Args:
      heads: simulated heads for training, and without a folder for validation too; other ones are for the test.
      seed: of the simulated heads.
      folder: volumes of `persons`, of which a third is for the test, one for validation, and the others are trained on
        beside the simulated heads.

    Raises:
      SystemExit: a folder with fewer than three persons.
    """
    ends = np.cumsum([0, heads.heads, heads.validation_heads, TEST_HEADS])
    if folder is None:
        parts = [simulated(heads, range(a, b), seed) for a, b in itertools.pairwise(ends)]
        words = f"magnitude slices of {heads.heads}, {heads.validation_heads} and {TEST_HEADS} simulated heads"
        return TrainingData(*parts[:2], words, {"training": words}, parts[2])
    found = persons(folder, heads.shape)
    names = sorted(found)
    n_test = len(names) // 3
    if not n_test:
        raise SystemExit(f"{folder} holds volumes of {len(names)} persons: three or more are needed")
    divided = {"training": names[: -n_test - 1], "validation": names[-n_test - 1 : -n_test], "test": names[-n_test:]}
    training, validation, test = ([s for name in part for s in found[name]] for part in divided.values())
    words = f"magnitude slices of {heads.heads} simulated heads; " + "; ".join(
        f"{part}: {', '.join(of)}" for part, of in divided.items()
    )
    training = [*simulated(heads, range(heads.heads), seed), *training]
    return TrainingData(training, validation, words, {"training": words}, test)


@functools.cache
def simulated(heads: SimulatedHeads, subjects: range, seed: int) -> list[Slice]:
    """T1-weighted slices; the noise is that of a magnitude image, and stays in the reference."""
    slices = []
    for head in subjects:
        for i in range(heads.slices):
            scan = simulate(
                jax.random.fold_in(jax.random.key(seed), head),
                shape=heads.shape,
                n_coils=1,
                position=0.15 + 0.5 * (i + 0.5) / heads.slices,
                contrast=CONTRASTS["t1"],
                snr=heads.snr,
            )
            slices.append(of_magnitude(np.abs(ifftc(scan.kspace[0])), f"simulated head {head}", i))
    return slices


def persons(folder: Path, shape: tuple[int, int]) -> dict[str, list[Slice]]:
    """Person -> slices of the volumes in the .npz files of a folder: each array (slice, y, x) is one of the person of its name.

    Several files may have volumes of one person. Each is divided by its 99.9th percentile, and brought to the shape (y, x)
    by a crop of its k-space.
    """
    found: dict[str, list[Slice]] = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            volumes = {name: file[name] for name in file.files if file[name].ndim == 3}
        for person, volume in volumes.items():
            volume = volume / np.percentile(volume, 99.9)
            slices = [of_magnitude(resized(image, shape), f"{path.stem} {person}", i) for i, image in enumerate(volume)]
            found.setdefault(person, []).extend(slices)
    return found


def of_magnitude(image: np.ndarray, file: str, index: int) -> Slice:
    """A slice whose k-space is the FFT of a magnitude."""
    image = np.asarray(image, np.float32)
    return Slice(kspace=np.asarray(fftc(image.astype(np.complex64)))[None], target=image, index=index, file=file)


def resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A magnitude at another resolution: padded to the ratio of the shape, its k-space cropped to it."""
    pixel = max(n / wanted for n, wanted in zip(image.shape, shape, strict=True))
    for axis, wanted in zip((-2, -1), shape, strict=True):
        image = crop_or_pad(image, round(wanted * pixel), axis)
    kspace, unit = np.asarray(fftc(image.astype(np.complex64))), np.sqrt(np.prod(shape) / image.size)
    for axis, wanted in zip((-2, -1), shape, strict=True):
        kspace = crop_or_pad(kspace, wanted, axis)
    return np.asarray(np.abs(ifftc(kspace)) * unit)

"""`jaxrecon simulate`: a multi-coil scan of a phantom or of given images, written as a fastMRI file with its truth."""

import dataclasses
import functools
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import tyro
from jaxtyping import Complex, Float

from .. import host
from ..checks import UserError, check_seed
from ..sampling.named import draw, names
from ..sampling.pattern import pattern
from .common import acceleration_of, check_figure, check_output, choices, chosen_slices, literal, progress, say

SUFFIXES = (".h5", ".hdf5")


@dataclasses.dataclass(frozen=True)
class Options:
    """Simulate a multi-coil scan: k-space, mask and target in a fastMRI-style .h5 that recon and evaluate read.

    The anatomy is a random analytic head (phantom), or the images of a file, by magnitude. It gets a smooth phase,
    coils after Biot and Savart, and complex white noise. The target (reconstruction_rss) is the truth, without noise.

    Examples:
      jaxrecon simulate --out sim.h5
      jaxrecon simulate phantom --slices 8 --contrast flair --snr 20 --mask equispaced -R 4 --out sim.h5
      jaxrecon simulate anatomy.nii.gz --coils 8 --mask poisson --acceleration 8 --out sim.h5
      jaxrecon recon sim.h5 --out recon.h5 && jaxrecon evaluate recon.h5 --target sim.h5
    """

    out: Path
    """Where to write: .h5."""
    anatomy: tyro.conf.Positional[str] = "phantom"
    """phantom, or a file of images: .nii, .nii.gz, .npy, .npz, .h5."""
    coils: int = 8
    """Receive coils."""
    shape: tuple[int, int] | None = None
    """Matrix y x. Default: 256 256, or the size of the images."""
    slices: str | None = None
    """Of the phantom how many, of one subject, from the basal ganglia upwards; default 3. Of a file which: one as 5, or a
    range as 3:7; default all."""
    contrast: Literal["t1", "t2", "pd", "flair"] = "t1"
    """Contrast of the phantom; images have their own."""
    snr: float = 30.0
    """Mean magnitude within the object over the standard deviation of the complex noise; inf for none."""
    mask: literal(names("lines", "plane")) | None = None
    """Undersample by this mask (jaxrecon masks --help). Default: fully sampled."""
    acceleration: Annotated[float | None, tyro.conf.arg(aliases=["-R"])] = None
    """R of the mask. Default: 4."""
    acs: int | float | None = None
    """Width of the fully sampled center, or, below 1, its share of the columns."""
    seed: int = 0
    """Seed of anatomy, coils, phase, noise and mask."""
    figure: bool = True
    """Save a figure beside the scan: sim.h5 -> sim_figure.png."""
    overwrite: bool = False
    """Replace existing files."""


class Measured(NamedTuple):
    """A simulated slice: truth (y, x), maps (coil, y, x), noisy k-space (coil, y, x), and the noise in it."""

    truth: Float[np.ndarray, "y x"]
    maps: Complex[np.ndarray, "coil y x"]
    kspace: Complex[np.ndarray, "coil y x"]
    noise_std: float


def run(options: Options) -> None:
    """Simulate slice by slice, undersample, write."""
    source = None if options.anatomy == "phantom" else Path(options.anatomy)
    check_output(options.out, suffixes=SUFFIXES, overwrite=options.overwrite, source=source)
    figure = check_figure(options.out, SUFFIXES, overwrite=options.overwrite) if options.figure else None
    check_seed(options.seed)
    rate = acceleration_of(options.mask, options.acceleration, options.acs, option="--mask")
    options = dataclasses.replace(options, acceleration=rate)
    if not options.snr > 0:
        raise UserError(f"--snr must be positive (inf for no noise), but it is {options.snr}")
    with progress("simulating ") as track:
        parts = list(_phantom(options, track) if options.anatomy == "phantom" else _from_images(options, track))
    kspace = np.stack([part.kspace for part in parts])
    shape = kspace.shape[-2:]
    mask = np.ones((1, 1), np.float32)
    if options.mask:
        mask = draw(options.mask, shape, acceleration=rate, acs=options.acs, seed=options.seed)
    kspace = (kspace * mask[None, None]).astype(np.complex64)
    found = pattern(mask, shape)
    what = f"phantom, {options.contrast}" if options.anatomy == "phantom" else options.anatomy
    chosen = f"{options.mask or 'none'}: {found.kind}, R = {found.acceleration:.2f}, center {found.center}"
    rows = [
        ("k-space", "slices {}, coils {}, {} x {}".format(*kspace.shape), "--slices, --coils, --shape"),
        ("mask", chosen, "--mask, --acceleration, --acs"),
        ("SNR", f"{options.snr:g} (mean magnitude over standard deviation of the noise)", "--snr"),
        ("seed", str(options.seed), "--seed"),
    ]
    choices(f"{what} -> {options.out}", rows)
    _write(options, figure, parts, kspace, mask)
    say(f"wrote {options.out}" + (f" and {figure}" if figure else ""))


def _phantom(options: Options, track):
    import jax

    from ..data.simulate import CONTRASTS, simulate

    text = "3" if options.slices is None else options.slices
    if not text.isdecimal() or (n_slices := int(text)) < 1:
        raise UserError(f"--slices {text}: of the phantom it is how many, 1 or more")
    key = jax.random.key(options.seed)
    for position in track(np.linspace(0.2, 0.6, n_slices) if n_slices > 1 else np.array([0.2])):
        part = simulate(
            key,
            shape=options.shape or (256, 256),
            n_coils=options.coils,
            position=float(position),
            contrast=CONTRASTS[options.contrast],
            snr=options.snr,
        )
        yield Measured(np.abs(part.image), np.asarray(part.maps), np.asarray(part.kspace), float(part.noise_std))


def _from_images(options: Options, track):
    """Images of a file, all divided by the largest value, with the phase and the coils of one subject."""
    from ..data import open

    path = Path(options.anatomy)
    with open(path) as scan:
        if scan.header.has_kspace:
            raise UserError(f"file {path}: expected images to measure, found k-space: see jaxrecon recon --undersample")
        slices = chosen_slices(options.slices, len(scan))
        images = np.stack([np.abs(scan[i].image) for i in slices])  # type: ignore[arg-type]
    if not images.any():
        raise UserError(f"file {path}: expected images, found zeros only")
    import jax

    shape = options.shape or images.shape[1:]
    measure_image = jax.jit(functools.partial(_measure_image, shape=shape, n_coils=options.coils))
    for i, image in enumerate(track(list(images.astype(np.float32) / images.max()))):
        truth, maps, kspace, noise_std = measure_image(jax.random.key(options.seed), image, i, options.snr)
        yield Measured(np.asarray(truth), np.asarray(maps), np.asarray(kspace), float(noise_std))


def _affine(options: Options, shape: tuple[int, int]):
    """Where the pixels of the file's images lie, scaled to `shape`; None where the file does not say."""
    from ..data import image_header, open

    with open(Path(options.anatomy)) as scan:
        header = scan.header
        step = max(old / new for old, new in zip(header.shape, shape, strict=True))  # as `deform` scales images
        return image_header(header, shape, chosen_slices(options.slices, len(scan)), scale=(step, step)).affine


def _measure_image(key, image, index, snr, *, shape, n_coils):
    """One image, scaled to `shape`, as it would be measured; the same key gives each index its own noise."""
    import jax
    import jax.numpy as jnp

    from ..data.simulate import coil_maps, complex_noise, deform, smooth_phase
    from ..fourier import fftc

    phase_key, coil_key, noise_key = jax.random.split(key, 3)
    if tuple(shape) != image.shape:
        image = deform(phase_key, image[None], shape=shape, amount=0.0)[0]
    # what is brighter than a tenth of the maximum counts as object: the mean over air would understate the signal
    noise_std = jnp.sum(jnp.where(image > 0.1, image, 0)) / jnp.maximum(jnp.sum(image > 0.1), 1) / snr
    maps = coil_maps(coil_key, shape=shape, n_coils=n_coils)
    kspace = fftc(image[None] * jnp.exp(1j * smooth_phase(phase_key, shape=shape))[None] * maps)
    noise = complex_noise(jax.random.fold_in(noise_key, index), kspace.shape, std=noise_std)
    return image, maps, kspace + noise, noise_std


def _write(options: Options, figure: Path | None, parts: list[Measured], kspace, mask) -> None:
    import h5py

    from .. import plots
    from ..files import atomic

    truth = np.stack([part.truth for part in parts]).astype(np.float32)
    attributes: dict[str, Any] = {
        "acquisition": f"SIMULATED_{options.contrast.upper()}" if options.anatomy == "phantom" else "SIMULATED",
        "max": float(truth.max()),
        "norm": float(np.linalg.norm(truth)),
        "recon_size": (*truth.shape[-2:], 1),
        "seed": options.seed,
        "snr": options.snr,
        "noise_std": [part.noise_std for part in parts],
        "anatomy": Path(options.anatomy).name,
    }
    if options.anatomy != "phantom" and (affine := _affine(options, truth.shape[-2:])) is not None:
        attributes["affine"] = affine
    if options.mask:
        attributes |= {"acceleration": options.acceleration, "mask_name": options.mask}
    with atomic(options.out, overwrite=options.overwrite) as temporary:
        with h5py.File(temporary, "w") as file:
            file["kspace"] = kspace
            file["reconstruction_rss"] = truth
            if (
                options.mask and mask.shape[0] == 1
            ):  # fastMRI's files hold masks of columns; others are seen from the zeros
                file["mask"] = mask[0]
            file.attrs.update(attributes)
        if figure:
            middle = len(parts) // 2
            panels = {
                "truth": truth[middle],
                "zero-filled (rss)": host.rss(host.coil_images(kspace[middle])),
                "mask": np.broadcast_to(mask, truth.shape[-2:]),
                "map of coil 0": np.abs(parts[middle].maps[0]),
            }
            title = f"slice {middle}, SNR {options.snr:g}, seed {options.seed}"
            with atomic(figure, overwrite=options.overwrite) as drawn:
                plots.save(plots.image_grid(panels, columns=4, title=title), drawn)

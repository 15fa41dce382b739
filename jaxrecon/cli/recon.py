"""`jaxrecon recon`: images from measured Cartesian k-space of any readable format, each choice printed."""

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro

from ..checks import UserError
from ..classical.methods import METHODS
from ..classical.scale import Rule
from ..coils.espirit import CROP
from ..sampling.named import center_of, draw, names
from .common import acceleration_of, check_figure, check_output, choices, chosen_slices, literal, progress, say

if TYPE_CHECKING:
    from ..data import Parts, Scan
    from ..recon import Settings
    from ..recon.describe import Description

SUFFIXES = (".h5", ".hdf5", ".npy", ".npz", ".cfl", ".nii", ".nii.gz", ".png")


@dataclasses.dataclass(frozen=True)
class Options:
    """Reconstruct images from Cartesian k-space: any scan, without tuning; what was chosen is printed with its option.

    Mask, never acquired columns and calibration region are found from the file, maps estimated from the center, the
    data scaled so that one lam fits all scanners (undone in the result), and the image cropped to the size that the
    file names. A figure is saved beside the result, and scores are printed where the file has a target.

    Examples:
      jaxrecon recon scan.h5 --out recon.h5
      jaxrecon recon brain.cfl --method cg-sense --out recon.nii.gz
      jaxrecon recon scan.h5 --checkpoint runs/varnet --out recon.h5
      jaxrecon recon scan.h5 --checkpoint runs/own --experiment my_experiment.py --out recon.h5
      jaxrecon recon scan.h5 --slices 10:15 --lam 0.006 --iterations 60 --out recon.npy   (smoother)
      jaxrecon recon full.h5 --undersample poisson --acceleration 6 --out try.png
      jaxrecon recon scan.npy --maps maps.npy --mask mask.npy --out recon.cfl
    """

    file: tyro.conf.Positional[Path]
    """The scan: fastMRI, Calgary-Campinas, CMRxRecon, ISMRMRD, BART, .npz, .npy."""
    out: Path
    """Where to write: .h5 (a fastMRI submission), .npy, .npz, .cfl (complex), .nii, .nii.gz, .png."""
    axes: str | None = None
    """What the axes of a .npy or .npz are, which holds no names: some of frame, set, slice, coil, z, y, x in its order, as
    coil,z,y,x for a 3D scan whose readout is x, or slice,y,x. Default: the last of slice,coil,y,x, y being the readout."""
    method: Annotated[
        literal(METHODS) | None,
        tyro.conf.arg(help=". ".join([*(f"{k}: {m.words}" for k, m in METHODS.items()), "Default: l1-wavelet"])),
    ] = None
    checkpoint: Path | None = None
    """A run folder of jaxrecon train or convert: its network reconstructs, in place of --method. A network of frames
    (2D + time) sees all frames of one slice position, (frame, coil, y, x), at once."""
    experiment: Path | None = None
    """The configuration file that --checkpoint was trained with, where its network is one of your own."""
    lam: float | None = None
    """Weight of the regularization, in units of --scale: smaller is sharper and noisier. Default: the method's, where to
    begin; jaxrecon.recon.find_lam finds it on slices whose images are known."""
    iterations: int | None = None
    """Iterations of the solver."""
    wavelet: str | None = None
    """An orthogonal wavelet of PyWavelets: haar, db4, sym8, coif1 ... Default: db4, or haar for small images."""
    scale: Rule | None = None
    """Unit of lam, from the data of each slice: BART's rule (the default), maximum or 95th percentile of the zero-filled
    image, 1."""
    maps: str | None = None
    """espirit, jsense, or a file (.npy, .npz, .cfl). Default: the maps of the file if it has some, else espirit."""
    calib_size: int | None = None
    """Width of the calibration region. Default: what is complete around the center, at most 24."""
    map_sets: int = 1
    """Map sets of ESPIRiT: 2 where the object is larger than the field of view (soft-SENSE)."""
    map_crop: float = CROP
    """ESPIRiT's maps are 0 where the eigenvalue, within 0 and 1, is not above it: a network has that of its training."""
    mask: Path | None = None
    """Sampling mask (.npy, .npz, CMRxRecon's .mat, the mask of an .h5, .cfl): keep only these samples."""
    undersample: literal(names()) | None = None
    """Draw a mask of this name (jaxrecon masks --help), to try what a faster scan would give; kt- for time frames."""
    acceleration: Annotated[float | None, tyro.conf.arg(aliases=["-R"])] = None
    """R of --undersample. Default: 4."""
    acs: int | float | None = None
    """Width of the fully sampled center of --undersample, or, below 1, its share of the columns."""
    seed: int = 0
    """Seed of the mask of --undersample."""
    slices: str | None = None
    """One slice as 5, or a range as 3:7; for a network of frames slice positions. Default: all."""
    crop: bool = True
    """Crop to the size of the file's target, else to the field of view that its header names."""
    interpolate: bool = False
    """Then, where the file has no target, to the reconstruction matrix of its header, by zero-filling k-space."""
    figure: bool = True
    """Save a figure beside the result: recon.h5 -> recon_figure.png."""
    overwrite: bool = False
    """Replace existing files."""


def run(options: Options) -> None:
    """Reconstruct slice by slice; write everything or nothing."""
    check_output(options.out, suffixes=SUFFIXES, overwrite=options.overwrite, source=options.file)
    figure = check_figure(options.out, SUFFIXES, overwrite=options.overwrite) if options.figure else None
    if options.undersample and options.mask:
        raise UserError("--mask and --undersample both choose the samples: give one of them")
    rate = acceleration_of(options.undersample, options.acceleration, options.acs, option="--undersample")
    options = dataclasses.replace(options, acceleration=rate)
    from ..data import open
    from ..experiment import load_experiment
    from ..recon import load_network

    if options.experiment and not options.checkpoint:
        raise UserError("--experiment says what the network of --checkpoint is: give both")
    network = None
    if options.checkpoint is not None:
        own = None if options.experiment is None else load_experiment(options.experiment)
        network = load_network(options.checkpoint, experiment=own)
    with open(options.file, axes=options.axes) as scan:
        _reconstruct(options, scan, _settings(options, network), figure)


def _settings(options: Options, network) -> "Settings":
    from ..recon import Settings
    from ..recon.settings import ESTIMATED

    maps = None if options.maps in (None, *ESTIMATED) else Path(options.maps)  # type: ignore[arg-type]
    if maps and not maps.suffix and not maps.with_suffix(".cfl").exists():
        raise UserError(f"--maps {maps}: expected espirit, jsense, or the name of a file of maps")
    return Settings(
        method=options.method,
        lam=options.lam,
        n_iter=options.iterations,
        wavelet=options.wavelet,
        scale=options.scale,
        maps="given" if maps else options.maps,
        calib_size=options.calib_size,
        n_sets=options.map_sets,
        map_crop=options.map_crop,
        network=network,
    )


def _reconstruct(options: Options, scan: "Scan", settings: "Settings", figure: Path | None) -> None:
    from ..data.maps import read_maps
    from ..data.masks import mask_of_parts, plane, read_mask
    from ..metrics import crop_to_smallest
    from ..recon import parts_of, slices
    from ..recon.describe import describe
    from ..recon.scan import check_scan
    from ..recon.slicewise import ImageSize, reference_of, zero_filled_rss

    check_scan(scan, settings)
    header = scan.header
    settings = settings.complete(
        header.shape, n_coils=header.n_coils, given_maps=settings.maps == "given" or header.has_maps
    )
    parts = parts_of(scan, settings)
    which = chosen_slices(options.slices, len(parts))
    middle = which[len(which) // 2]
    extra, region, described = None, None, ""
    if options.undersample:
        how: dict[str, Any] = {"acceleration": options.acceleration, "acs": options.acs}
        drawn = draw(options.undersample, header.shape, **how, seed=options.seed, frames=header.n_frames)
        extra = mask_of_parts(drawn.reshape(-1, *drawn.shape[-2:]) != 0, parts)
        region = center_of(options.undersample, header.shape, **how)
        described = f", undersampled by {options.undersample}, seed {options.seed}"
    elif options.mask:
        extra, described = mask_of_parts(read_mask(options.mask), parts, file=options.mask), f", and {options.mask}"
    size = ImageSize(crop=options.crop, interpolate=options.interpolate)
    own = None
    if options.maps and settings.maps == "given":
        own = lambda part: read_maps(options.maps, scan, part.index)  # type: ignore[arg-type]
    name = lambda i: f"file {options.file}, slice {i}{described}"
    found = describe(parts, settings, middle, extra=extra, name=name)
    choices(f"{options.file} -> {options.out}", _rows(options, parts, settings, found, described))
    images, references, shown = [], [], {}
    with progress(f"{settings.label} ") as track:
        for result in slices(parts, settings, track(which), extra=extra, region=region, maps=own, size=size, name=name):
            images.append(result.image)
            references.append(reference_of(result, parts, size=size))
            if result.index == middle:
                filled = zero_filled_rss(result, parts, size=size)
                shown = {
                    "zero-filled": filled[0] if parts.in_time else filled,
                    "mask": np.broadcast_to(plane(result.mask), header.shape),
                    "maps": result.maps,
                }
    volume = parts.in_order(images)
    empty = [i for i, image in zip(which, images, strict=True) if not image.any()]
    if len(empty) == len(images):
        raise UserError(f"file {options.file}: expected a signal, found none in any of {len(images)} slices")
    if empty:
        say(f"slices {empty} hold no signal: their images are 0")
    known = all(r is not None for r in references)
    reference = crop_to_smallest(parts.in_order(references), volume)[0] if known else None  # type: ignore[arg-type]
    caption = _print_scores(volume, reference, "target of the file" if header.has_target else "all samples, rss")
    half = len(images) // 2  # for time series the first frame
    drawn_from = (volume[half], None if reference is None else reference[half], shown, caption)
    _write(options, parts, settings, which, volume, figure, lambda: _draw(settings, middle, *drawn_from))


def _rows(options: Options, parts: "Parts", settings: "Settings", found: "Description", described: str):
    """What was chosen: (what, chosen, option)."""
    from ..data.geometry import crop_in_words

    header, method = parts.scan.header, settings.classical
    size, taken = " x ".join(map(str, header.shape)), options.slices or "all"
    slices = f"slices {taken} of {len(parts)}" + (f", {parts.n_frames} frames at once" if parts.in_time else "")
    rows = [
        ("scan", f"{header.format}, {size}, coils {header.n_coils}, {slices}", "--slices"),
        ("mask", f"{found.kind}, R = {found.acceleration:.2f}, {found.source}{described}", "--mask, --undersample"),
    ]
    if header.n_frames > 1 and not parts.in_time:
        text = f"{header.n_frames}, each reconstructed by itself"
        if parts.window:
            text = f"{header.n_frames}, each reconstructed from {parts.window} neighbouring ones"
        rows.append(("frames", f"{text}; a network of frames takes them together", "--checkpoint"))
    if header.format in ("npy", "npz"):
        rows.insert(1, ("axes", ", ".join(header.file_axes), "--axes"))
    if header.padding is not None:
        rows.append(
            ("padding", f"columns outside {header.padding[0]} to {header.padding[1]} count as not measured", "")
        )
    if not settings.needs_maps:
        of_one_coil = header.n_coils == 1 and (method is None or method.maps)
        rows.append(("maps", "none: " + ("one coil" if of_one_coil else f"{settings.label} takes none"), "--maps"))
    elif found.calibration is not None:
        width, kernel = found.calibration
        sets = f", {settings.n_sets} sets" if settings.n_sets > 1 else ""
        source = " of the separate calibration lines" if header.has_calibration else ""
        if settings.maps == "espirit":
            sets += f", crop {settings.map_crop:g}"
        text = (
            f"{settings.maps} from the central {width} x {width} samples{source}, kernels of {kernel} x {kernel}{sets}"
        )
        rows.append(("maps", text, "--maps, --calib-size, --map-sets, --map-crop"))
    else:
        rows.append(("maps", options.maps or "those of the file", "--maps"))
    network = f", trained: {options.checkpoint}" if settings.network else ""
    rows.append(("network" if network else "method", f"{settings.label}{network}", "--method, --checkpoint"))
    if method is not None and method.lam is not None:
        what = f", {settings.wavelet}" if method.wavelet else ""
        rows.append(("solver", f"{settings.n_iter} iterations{what}", "--iterations" + (", --wavelet" if what else "")))
        unit = "the data as they are" if settings.scale == "none" else f"the data's scale ({settings.scale})"
        rows.append(("lam", f"{settings.lam:g}, in units of {unit}", "--lam, --scale"))
    if options.crop:
        rows.append(("crop", crop_in_words(header, interpolate=options.interpolate), "--no-crop, --interpolate"))
    return rows


def _print_scores(volume, reference, name: str) -> str | None:
    """Print the scores, if there is a reference; PSNR and SSIM in a line for the figure."""
    if reference is None:
        return None
    from ..metrics import evaluate
    from .evaluate import print_scores

    scores = evaluate(reference, volume, variant="fastmri")
    print_scores(scores, name)
    return f"PSNR {scores.volume['psnr']:.1f} dB, SSIM {scores.volume['ssim']:.3f}"


def _draw(settings: "Settings", index: int, image, reference, shown, caption):
    from .. import plots
    from ..metrics import crop_to_target

    if reference is not None:
        rivals = {"zero-filled (rss)": shown["zero-filled"], settings.label: image}
        rivals = {name: crop_to_target(rival, reference.shape) for name, rival in rivals.items()}
        captions: dict[str, str] = {settings.label: f"{caption} (all slices)"}
        return plots.comparison(reference, rivals, captions=captions, title=f"slice {index}")
    panels = {settings.label: image, "zero-filled (rss)": shown["zero-filled"], "mask": shown["mask"].astype(float)}
    if shown["maps"] is not None:
        maps = shown["maps"].reshape(-1, *shown["maps"].shape[-2:])[:5]
        panels |= {f"map of coil {c}": magnitude for c, magnitude in enumerate(np.abs(maps))}
    return plots.image_grid(panels, columns=4, title=f"slice {index}")


def _write(options: Options, parts: "Parts", settings: "Settings", slices, volume, figure: Path | None, draw) -> None:
    from ..data import write_reconstruction
    from ..files import atomic

    header = parts.image_header(volume.shape[-2:], slices, interpolate=options.interpolate)
    notes = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings) if f.name != "network"}
    notes = {k: v for k, v in notes.items() if v is not None}
    if settings.network is not None:
        notes |= {"network": settings.label, "checkpoint": str(settings.network.path)}
    notes |= {"source": options.file.name, "slices": f"{slices.start}:{slices.stop}"}
    with contextlib.ExitStack() as stack:
        if figure:
            from .. import plots

            plots.save(draw(), stack.enter_context(atomic(figure, overwrite=options.overwrite)))
        write_reconstruction(options.out, volume, header=header, overwrite=options.overwrite, attributes=notes)
    say(f"wrote {options.out}, {' x '.join(map(str, volume.shape))}" + (f", and {figure}" if figure else ""))

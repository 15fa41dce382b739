"""`jaxrecon recon`: images from measured Cartesian k-space of any readable format, each choice printed."""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import tyro

from .. import host
from . import masks
from .common import (
    acquired_mask,
    check_output,
    choices,
    chosen_slices,
    measure,
    progress,
    read_mask,
    say,
    stem,
)
from .parts import Parts, plane

if TYPE_CHECKING:
    from ..data import Scan, Slice
    from .network import Network
    from .reconstruct import Settings

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
      jaxrecon recon scan.h5 --slices 10:15 --lam 0.002 --iterations 60 --out recon.npy
      jaxrecon recon full.h5 --undersample poisson --acceleration 6 --out try.png
      jaxrecon recon scan.npy --maps maps.npy --mask mask.npy --out recon.cfl
    """

    file: tyro.conf.Positional[Path]
    """The scan: fastMRI, Calgary-Campinas, CMRxRecon, ISMRMRD, BART, .npz, .npy."""
    out: Path
    """Where to write: .h5 (a fastMRI submission), .npy, .npz, .cfl (complex), .nii, .nii.gz, .png."""
    method: Literal["zero-filled", "rss", "cg-sense", "l1-wavelet", "tv"] = "l1-wavelet"
    """zero-filled: A^H y. rss: root of the sum of squares, no maps. cg-sense: least squares by conjugate gradients.
    l1-wavelet: sparsity in wavelets by FISTA. tv: total variation by a primal-dual method."""
    checkpoint: Path | None = None
    """A run folder of jaxrecon train or convert: its network reconstructs, in place of --method. A network of frames
    (2D + time) sees all frames of one slice position, (frame, coil, y, x), at once."""
    lam: float | None = None
    """Weight of the regularization, in units of --scale: smaller is sharper and noisier."""
    iterations: int | None = None
    """Iterations of the solver."""
    wavelet: str | None = None
    """An orthogonal wavelet of PyWavelets: haar, db4, sym8, coif1 ... Default: db4, or haar for small images."""
    scale: Literal["bart", "max", "p95", "none"] = "bart"
    """Unit of lam, from the data of each slice: BART's rule, maximum or 95th percentile of the zero-filled image, 1."""
    maps: str | None = None
    """espirit, jsense, or a file (.npy, .npz, .cfl). Default: the maps of the file if it has some, else espirit."""
    calib_size: int | None = None
    """Width of the calibration region. Default: what is complete around the center, at most 24."""
    map_sets: int = 1
    """Map sets of ESPIRiT: 2 where the object is larger than the field of view (soft-SENSE)."""
    mask: Path | None = None
    """Sampling mask (.npy, .npz, CMRxRecon's .mat): keep only these samples."""
    undersample: masks.StillName | masks.FramesName | None = None
    """Draw a mask of this name (jaxrecon masks --help), to try what a faster scan would give; kt- for time frames."""
    acceleration: Annotated[float, tyro.conf.arg(aliases=["-R"])] = 4.0
    """R of --undersample."""
    acs: int | None = None
    """Width of the fully sampled center of --undersample."""
    seed: int = 0
    """Seed of the mask of --undersample."""
    slices: str | None = None
    """One slice as 5, or a range as 3:7; for a network of frames slice positions. Default: all."""
    crop: bool = True
    """Crop to the size of the file's target, else of its header."""
    figure: bool = True
    """Save a figure beside the result: recon.h5 -> recon_figure.png."""
    overwrite: bool = False
    """Replace existing files."""


def run(options: Options) -> None:
    """Reconstruct slice by slice; write everything or nothing."""
    figure = options.out.with_name(stem(options.out, SUFFIXES) + "_figure.png") if options.figure else None
    check_output(options.out, suffixes=SUFFIXES, overwrite=options.overwrite)
    if figure:
        check_output(figure, suffixes=(".png",), overwrite=options.overwrite)
    if options.undersample and options.mask:
        raise ValueError("--mask and --undersample both choose the samples: give one of them")
    if options.checkpoint and options.method != Options.method:
        raise ValueError("--method and --checkpoint both choose the reconstruction: give one of them")
    from ..data import open

    with open(options.file) as scan:
        if not scan.header.has_kspace:
            raise ValueError(f"file {options.file}: expected k-space, found images; to measure them: jaxrecon simulate")
        if len(scan.header.shape) == 1:
            raise ValueError(
                f"file {options.file}: expected Cartesian k-space, found a trajectory: not yet supported here"
            )
        _reconstruct(options, scan, figure)


def _reconstruct(options: Options, scan: "Scan", figure: Path | None) -> None:
    from ..data import crop_to_recon_size
    from ..metrics import crop_to_smallest
    from .reconstruct import reconstruct_slice

    settings = _settings(options, scan)
    network = settings.network
    source = Parts(scan, in_time=network is not None and network.in_time, window=network.window if network else None)
    slices = chosen_slices(options.slices, len(source))
    middle = slices[len(slices) // 2]
    extra, described = _extra_mask(options, source)
    _print_choices(options, source, settings, middle, extra(middle), described)

    def cropped(image, part: "Slice"):
        return np.asarray(crop_to_recon_size(image, scan.header, target=part.target)) if options.crop else image

    images, references, shown = [], [], {}
    with progress(f"{settings.label} ") as track:
        for i in track(slices):
            part = source[i]
            kspace = np.asarray(part.kspace)
            measured, _ = acquired_mask(part, scan.header)
            mask = measured & extra(i)
            maps, name = _given_maps(settings, scan, part), f"file {options.file}, slice {i}"
            region = _region(options, scan, network, kspace, mask, f"{name}{described}")
            result = reconstruct_slice(kspace, mask, settings, maps=maps, acs=region, name=name)
            images.append(cropped(result.image, part))
            references.append(_reference(source, part, measured, mask, cropped))
            if i == middle:
                zero_filled = cropped(source.of_window(host.rss(host.coil_images(kspace * mask))), part)
                shown = {
                    "zero-filled": source.first_frame(zero_filled),
                    "mask": np.broadcast_to(plane(mask), scan.header.shape),
                    "maps": result.maps,
                }
    volume = source.in_order(images)
    empty = [i for i, image in zip(slices, images, strict=True) if not image.any()]
    if len(empty) == len(images):
        raise ValueError(f"file {options.file}: expected a signal, found none in any of {len(images)} slices")
    if empty:
        say(f"slices {empty} hold no signal: their images are 0")
    has_reference = all(r is not None for r in references)
    reference = crop_to_smallest(source.in_order(references), volume)[0] if has_reference else None
    caption = _print_scores(volume, reference, "target of the file" if scan.header.has_target else "all samples, rss")
    half = len(images) // 2  # for time series the first frame
    draw = lambda: _draw(settings, middle, volume[half], None if reference is None else reference[half], shown, caption)
    _write(options, source, settings, slices, volume, figure, draw)


def _settings(options: Options, scan: "Scan") -> "Settings":
    """The options and what the header decides; values out of range are refused."""
    from .reconstruct import Settings

    maps = options.maps or ("file" if scan.header.has_maps else "espirit")
    if options.maps is None and scan.header.n_coils == 1:
        maps = "none"
    if options.maps == "none" or (options.maps == "file" and not scan.header.has_maps):
        raise ValueError(f"--maps {options.maps}: expected espirit, jsense, or the name of a file of maps")
    if not 1 <= options.map_sets <= max(scan.header.n_coils, 1):
        raise ValueError(
            f"--map-sets {options.map_sets}: {scan.header.n_coils} coils have 1 to {scan.header.n_coils} sets"
        )
    network = None
    if options.checkpoint is not None:
        from .network import load_network

        network = load_network(options.checkpoint)
        if options.map_sets > 1:
            raise ValueError("--map-sets: networks take one map set")
        if network.in_time and scan.header.n_frames < 2:
            raise ValueError(
                f"file {options.file}: expected time frames for the network of {options.checkpoint}, found still images"
            )
        if not network.needs_maps:
            maps = "none"
    settings = Settings(
        method="network" if network else options.method,
        lam=options.lam,
        n_iter=options.iterations,
        wavelet=options.wavelet,
        scale=options.scale,
        maps=maps,
        calib_size=options.calib_size,
        n_sets=options.map_sets,
        network=network,
    )
    if network is not None:
        settings = dataclasses.replace(settings, crop=network.experiment.data.espirit_crop)
    return settings.complete(scan.header.shape)


def _extra_mask(options: Options, parts: Parts) -> tuple[Callable[[int], np.ndarray], str]:
    """Part -> the samples to keep of those measured, broadcasting against its k-space; and what they are called."""
    scan, header = parts.scan, parts.scan.header

    def of_part(frames):
        """From masks (frame, y, x) of all frames, or of one that counts for all."""
        if parts.in_time:
            return lambda _: frames[:, None] if len(frames) > 1 else frames[0]
        per_frame = header.n_slices // header.n_frames
        if parts.window and len(frames) > 1:
            window = parts.window
            return lambda i: np.stack([frames[j // per_frame % len(frames)] for j in scan.neighbours(i, window)])[
                :, None
            ]
        return lambda i: frames[i // per_frame % len(frames)]

    if options.undersample:
        drawn = masks.draw(
            options.undersample,
            header.shape,
            acceleration=options.acceleration,
            acs=options.acs,
            seed=options.seed,
            frames=header.n_frames,
        )
        frames = drawn.reshape(-1, *drawn.shape[-2:]) != 0
        return of_part(frames), f", undersampled by {options.undersample}, seed {options.seed}"
    if options.mask is None:
        return lambda _: np.ones((1, 1), bool), ""
    from ..checks import DataError

    mask = read_mask(options.mask)
    frames = mask.reshape(-1, *mask.shape[-2:])
    fits = all(n in (1, m) for n, m in zip(frames.shape[1:], header.shape, strict=True))
    if not fits or len(frames) not in (1, header.n_frames):
        raise DataError(
            f"the mask does not fit the scan {scan.path.name}",
            file=options.mask,
            dataset="mask",
            expected=f"(y, x) = {header.shape}" + (f", or {header.n_frames} frames" if header.n_frames > 1 else ""),
            found=mask.shape,
        )
    return of_part(frames), f", and {options.mask}"


def _region(options: Options, scan: "Scan", network: "Network | None", kspace, mask, name: str):
    """The calibration region for a network that estimates maps: what --undersample drew, or by the rule of its training.

    None: found by the network.
    """
    if network is None or not network.estimates_maps or not (kspace * mask).any():
        return None
    shape = scan.header.shape
    region = network.calibration(plane(mask), shape)
    if options.undersample:
        region = masks.calibration(options.undersample, shape, acceleration=options.acceleration, acs=options.acs)
    cure = "choose a mask that samples it, or --method rss in place of --checkpoint"
    masks.check_center(mask, region, shape, name=name, cure=cure)
    return region


def _given_maps(settings: "Settings", scan: "Scan", part: "Slice"):
    """The maps of a slice where they are not estimated."""
    from .reconstruct import read_maps

    if settings.maps in ("espirit", "jsense", "none") or settings.method == "rss":
        return None
    return part.maps if settings.maps == "file" else read_maps(settings.maps, scan, part.index)


def _reference(parts: Parts, part: "Slice", measured, mask, cropped):
    """What the image should be: the file's target, or, where samples were left out, the image of all of them."""
    if part.target is not None:
        return np.abs(part.target)
    header = parts.scan.header
    columns = slice(*(header.padding or (None, None)))
    whole = lambda a: np.broadcast_to(a, np.broadcast_shapes(a.shape, header.shape))[..., columns].all()
    complete, fewer = whole(measured), not whole(mask)
    return (
        cropped(parts.of_window(host.rss(host.coil_images(part.kspace * measured))), part)
        if complete and fewer
        else None
    )


def _print_choices(options: Options, parts: Parts, settings: "Settings", middle: int, extra, described: str) -> None:
    from .reconstruct import DEFAULTS, calibration, time_average

    scan, part = parts.scan, parts[middle]
    assert part.kspace is not None  # `run` has seen to it
    measured, source = acquired_mask(part, scan.header)
    mask = measured & extra
    if not mask.any():
        raise ValueError(f"file {options.file}: expected measured samples, found none in slice {middle}{described}")
    header = scan.header
    pattern, acceleration = measure(plane(mask), header.shape).kind, 1 / np.mean(mask)
    size, taken = " x ".join(map(str, header.shape)), options.slices or "all"
    slices = f"slices {taken} of {len(parts)}" + (f", {parts.n_frames} frames at once" if parts.in_time else "")
    rows = [
        ("scan", f"{header.format}, {size}, coils {header.n_coils}, {slices}", "--slices"),
        ("mask", f"{pattern}, R = {acceleration:.2f}, {source}{described}", "--mask, --undersample"),
    ]
    if header.padding is not None:
        rows.append(
            ("padding", f"columns outside {header.padding[0]} to {header.padding[1]} count as not measured", "")
        )
    if not settings.needs_maps:
        of_one_coil = settings.method != "rss" and header.n_coils == 1
        rows.append(("maps", "none: " + ("one coil" if of_one_coil else f"{settings.label} takes none"), "--maps"))
    elif settings.maps in ("espirit", "jsense"):
        _, center = time_average(part.kspace, mask)
        width, kernel = calibration(center, header.shape, settings, name=f"file {options.file}, slice {middle}")
        sets = f", {settings.n_sets} sets" if settings.n_sets > 1 else ""
        text = f"{settings.maps} from the central {width} x {width} samples, kernels of {kernel} x {kernel}{sets}"
        rows.append(("maps", text, "--maps, --calib-size, --map-sets"))
    else:
        rows.append(("maps", "those of the file" if settings.maps == "file" else settings.maps, "--maps"))
    network = f", trained: {options.checkpoint}" if settings.network else ""
    rows.append(("method", f"{settings.label}{network}", "--method, --checkpoint"))
    if settings.method in DEFAULTS:
        what = f", {settings.wavelet}" if settings.method == "l1-wavelet" else ""
        rows.append(("solver", f"{settings.n_iter} iterations{what}", "--iterations" + (", --wavelet" if what else "")))
        unit = "the data as they are" if settings.scale == "none" else f"the data's scale ({settings.scale})"
        rows.append(("lam", f"{settings.lam:g}, in units of {unit}", "--lam, --scale"))
    if options.crop:
        target = "the target" if header.has_target else header.recon_matrix and "the header's reconstruction matrix"
        rows.append(("crop", f"to {target}" if target else "none: the file names no size", "--no-crop"))
    choices(f"{options.file} -> {options.out}", rows)


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


def _write(options: Options, parts: Parts, settings: "Settings", slices, volume, figure: Path | None, draw) -> None:
    from ..data import write_reconstruction
    from ..files import atomic

    scan = parts.scan
    whole = parts.in_time or len(slices) == len(parts)
    # the images are cropped already
    header = dataclasses.replace(
        scan.header, n_slices=len(volume), n_frames=scan.header.n_frames if whole else 1, recon_matrix=None
    )
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

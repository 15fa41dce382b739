"""`jaxrecon demo`: a measured head from fewer lines; simulated heads by classical methods and trained networks; scores, figures."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...checks import UserError
from ...sampling.named import draw
from ...sampling.pattern import Pattern, pattern
from ..common import check_output, choices, progress, say
from .cases import CONTRASTS, GRIDS, OUTPUTS, VARIANT, WAVELET, Case, Options

if TYPE_CHECKING:
    from ...metrics import Evaluation
    from ...recon import Settings
    from .networks import Trained

__all__ = ["Options", "run"]


def run(options: Options) -> None:
    """Reconstruct the measured head; simulate, choose lam, train, reconstruct, score, write."""
    outputs = {name: options.out / name for name in OUTPUTS}
    for name in ("test_slices", "validation_slices", "training_slices", "updates"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} must be 1 or more")
    options.out.mkdir(parents=True, exist_ok=True)
    for path in outputs.values():
        check_output(path, suffixes=(path.suffix,), overwrite=options.overwrite)
    started = time.perf_counter(), time.process_time()
    from .measured import reconstruct_brain
    from .report import Results, print_measured, print_results, write_results

    measured = reconstruct_brain()
    print_measured(measured)
    mask = draw(options.mask, options.shape, acceleration=options.acceleration, seed=options.seed) != 0
    found = pattern(mask, options.shape)
    rows = _describe(options, found)
    choices("demo", rows)
    n_validation, n_test = options.validation_slices, options.test_slices
    n_training = options.training_slices if options.networks else 0
    # one head per slice: no anatomy is in two sets
    with progress("simulating ") as track:
        cases = [_simulate(options, mask, i) for i in track(range(n_validation + n_test + n_training))]
    validation, test = cases[:n_validation], cases[n_validation : n_validation + n_test]
    chosen: dict[str, tuple[float, dict[float, float]]] = {}
    images: dict[str, list[np.ndarray]] = {}
    seconds: dict[str, float] = {}
    trained: dict[str, Trained] = {}
    with progress("reconstructing ") as track:
        for method in track(list(GRIDS)):
            chosen[method] = _choose(method, validation, mask)
            images[method], seconds[method] = _reconstruct(_settings(method, chosen[method][0]), test, mask)
    if options.networks:
        from ...recon import Settings
        from .networks import train_networks

        say("training a network by two strategies")
        trained = train_networks(options, mask, cases[n_validation + n_test :], test)
        for name, one in trained.items():
            images[name], seconds[name] = _reconstruct(Settings(network=one.network), test, mask)
    described, scores = [(name, text) for name, text, _ in rows], _score(test, images)
    results = Results(measured, described, found.acceleration, test, chosen, trained, images, scores, seconds)
    print_results(results)
    total = {"seconds": time.perf_counter() - started[0], "processor_seconds": time.process_time() - started[1]}
    for name in write_results(outputs, options, results, total):
        say(f"{OUTPUTS[name]}: {outputs[name].resolve()}")


def _describe(options: Options, found: Pattern) -> list[tuple[str, str, str]]:
    """Rows (what, chosen, option)."""
    heads = f"{options.test_slices} simulated heads, lam chosen on {options.validation_slices} others"
    if options.networks:
        heads += f", networks trained on {options.training_slices} others"
    size = f"{options.coils} coils, {options.shape[0]} x {options.shape[1]}, SNR {options.snr:g}"
    return [
        ("data", heads, "--test-slices, --training-slices"),
        ("k-space", size, "--coils, --shape, --snr"),
        ("mask", f"{options.mask}: R = {found.acceleration:.2f}, center {found.center}", "--mask, --acceleration"),
        ("maps", "ESPIRiT from the center", ""),
        ("seed", str(options.seed), "--seed"),
    ]


def _simulate(options: Options, mask, index: int) -> Case:
    import jax

    from ...coils.estimate import estimate_maps
    from ...data.simulate import CONTRASTS as SEQUENCES
    from ...data.simulate import simulate

    contrast = CONTRASTS[index % len(CONTRASTS)]
    scan = simulate(
        jax.random.fold_in(jax.random.key(options.seed), index),
        shape=options.shape,
        n_coils=options.coils,
        position=0.2 + 0.1 * (index % 3),
        contrast=SEQUENCES[contrast],
        snr=options.snr,
    )
    kspace = np.asarray(scan.kspace) * mask[None]
    maps = estimate_maps(kspace, mask)
    target = np.sum(np.conj(maps) * np.asarray(scan.maps), 0) * np.asarray(scan.image)
    return Case(np.abs(scan.image), target, kspace, maps, contrast)


def _settings(method: str, lam: float) -> "Settings":
    from ...recon import Settings

    return Settings(method=method, lam=lam, wavelet=WAVELET)


def _reconstruct(settings: "Settings", cases: Sequence[Case], mask) -> tuple[list[np.ndarray], float]:
    """Magnitudes, and the seconds of a slice: the median, the compilation being over before."""
    from ...recon import reconstruct_slice

    settings = settings.complete(mask.shape, n_coils=len(cases[0].kspace), given_maps=True)
    reconstruct_slice(cases[0].kspace, mask, settings, maps=cases[0].maps)
    images, seconds = [], []
    for case in cases:
        start = time.perf_counter()
        image, _, _ = reconstruct_slice(case.kspace, mask, settings, maps=case.maps)
        seconds.append(time.perf_counter() - start)
        images.append(np.abs(image))
    return images, float(np.median(seconds))


def _choose(method: str, cases: Sequence[Case], mask) -> tuple[float, dict[float, float]]:
    """The lam of the smallest mean NMSE over the validation slices, and the NMSE of each."""
    if len(GRIDS[method]) == 1:
        return GRIDS[method][0], {}
    from ...problem import Problem
    from ...recon import find_lam

    problems = [Problem.from_numpy(case.kspace, mask=mask, maps=case.maps) for case in cases]
    return find_lam(problems, [case.truth for case in cases], method=method, lams=GRIDS[method], wavelet=WAVELET)


def _score(test: Sequence[Case], images: dict[str, list[np.ndarray]]) -> "dict[str, list[Evaluation]]":
    from ...metrics import evaluate

    return {
        method: [evaluate(case.truth, image, variant=VARIANT) for case, image in zip(test, found, strict=True)]
        for method, found in images.items()
    }

"""`jaxrecon demo`: simulate heads, undersample, reconstruct by classical methods and trained networks, score, show."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
import tyro

from ..sampling.named import draw, names
from ..sampling.pattern import Pattern, pattern
from .common import check_output, choices, literal, progress, say

if TYPE_CHECKING:
    from ..metrics import Evaluation
    from .demo_networks import Trained
    from .network import Network
    from .reconstruct import Method, Settings

GRIDS: dict["Method", tuple[float, ...]] = {
    "zero-filled": (0.0,),
    "cg-sense": (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1),
    "l1-wavelet": (0.0003, 0.001, 0.003, 0.01, 0.03),
}
"""Method -> values of lam that are tried on the validation slices, in units of BART's data scale."""
CONTRASTS = ("t1", "t2", "flair", "pd")
VARIANT = "fastmri"
OUTPUTS = {
    "index.html": "all of it on one page",
    "figure.png": "images and error maps",
    "training.png": "losses of the networks",
    "early_exit.png": "quality after each step of the networks",
    "results.json": "every number",
}
"""File -> what it holds."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Everything at once on data made here, in a few minutes on two cores: nothing to download, nothing to tune.

    Simulates multi-coil scans of random heads, undersamples them, and reconstructs by zero-filling, CG-SENSE and
    L1-wavelet with maps from ESPIRiT, and by a network that is trained twice on other heads: end to end, and greedily
    by GLEAM, in less memory. lam is chosen on heads that are not scored. Prints tables and writes a page to look at
    (index.html), its figures, results.json (settings, versions, the values of each slice), and the networks (runs/,
    for jaxrecon recon --checkpoint).

    Examples:
      jaxrecon demo
      jaxrecon demo --shape 96 80 --updates 100 --out quick
      jaxrecon demo --no-networks --mask equispaced-fraction --acceleration 4 --out demo_r4
    """

    out: Path = Path("jaxrecon_demo")
    """Folder for the results; made if it does not exist."""
    shape: tuple[int, int] = (192, 160)
    """Matrix y x."""
    coils: int = 8
    """Receive coils."""
    snr: float = 30.0
    """Mean magnitude within the head over the standard deviation of the complex noise."""
    mask: literal(names("lines", "plane")) = "poisson"
    """Sampling mask."""
    acceleration: Annotated[float, tyro.conf.arg(aliases=["-R"])] = 8.0
    """R of the mask."""
    test_slices: int = 4
    """Heads that are scored, of contrasts T1, T2, FLAIR, PD in turn."""
    validation_slices: int = 2
    """Other heads, on which lam is chosen."""
    networks: bool = True
    """Train networks."""
    training_slices: int = 24
    """Further heads, on which networks are trained."""
    updates: int = 300
    """Training steps of each network."""
    learning_rate: float = 0.002
    """Learning rate of Adam."""
    seed: int = 0
    """Seed of anatomy, coils, noise, mask and weights."""
    overwrite: bool = False
    """Replace existing results."""


class Case(NamedTuple):
    """A simulated slice, undersampled.

    Attributes:
      truth: (y, x), magnitude.
      target: (y, x), complex: the truth as the estimated maps see it, without noise.
      kspace: (coil, y, x) with zeros.
      maps: (coil, y, x), from its center.
      contrast: the sequence.
    """

    truth: np.ndarray
    target: np.ndarray
    kspace: np.ndarray
    maps: np.ndarray
    contrast: str


class Results(NamedTuple):
    """What the demo found.

    Attributes:
      described: (what, value) of the data.
      acceleration: measured.
      test: the slices that are scored.
      chosen: classical method -> (lam, validation NMSE of each lam that was tried).
      trained: network -> how it was trained.
      images: method -> magnitude (y, x) of each slice.
      scores: method -> evaluation of each slice, a volume of its own: they are different heads.
      seconds: method -> seconds for a slice.
    """

    described: list[tuple[str, str]]
    acceleration: float
    test: list[Case]
    chosen: "dict[Method, tuple[float, dict[float, float]]]"
    trained: "dict[str, Trained]"
    images: dict[str, list[np.ndarray]]
    scores: "dict[str, list[Evaluation]]"
    seconds: dict[str, float]


def run(options: Options) -> None:
    """Simulate, choose lam, train, reconstruct, score, write."""
    outputs = {name: options.out / name for name in OUTPUTS}
    for name in ("test_slices", "validation_slices", "training_slices", "updates"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be 1 or more")
    options.out.mkdir(parents=True, exist_ok=True)
    for path in outputs.values():
        check_output(path, suffixes=(path.suffix,), overwrite=options.overwrite)
    started = time.perf_counter(), time.process_time()
    mask = draw(options.mask, options.shape, acceleration=options.acceleration, seed=options.seed) != 0
    found = pattern(mask, options.shape)
    rows = _describe(options, pattern)
    choices("demo", rows)
    n_validation, n_test = options.validation_slices, options.test_slices
    n_training = options.training_slices if options.networks else 0
    # one head per slice: no anatomy is in two sets
    with progress("simulating ") as track:
        cases = [_simulate(options, mask, i) for i in track(range(n_validation + n_test + n_training))]
    validation, test = cases[:n_validation], cases[n_validation : n_validation + n_test]
    chosen: dict[Method, tuple[float, dict[float, float]]] = {}
    images: dict[str, list[np.ndarray]] = {}
    seconds: dict[str, float] = {}
    trained: dict[str, Trained] = {}
    with progress("reconstructing ") as track:
        for method in track(list(GRIDS)):
            chosen[method] = _choose(method, validation, mask)
            images[method], seconds[method] = _reconstruct(_settings(method, chosen[method][0]), test, mask)
    if options.networks:
        from .demo_networks import train_networks

        say("training a network by two strategies")
        trained = train_networks(options, mask, cases[n_validation + n_test :], test)
        for name, one in trained.items():
            images[name], seconds[name] = _reconstruct(_settings("network", 0.0, one.network), test, mask)
    from .demo_report import print_results, write_results

    described, scores = [(name, text) for name, text, _ in rows], _score(test, images)
    results = Results(described, pattern.acceleration, test, chosen, trained, images, scores, seconds)
    print_results(results)
    total = {"seconds": time.perf_counter() - started[0], "processor_seconds": time.process_time() - started[1]}
    for name in write_results(outputs, options, results, total):
        say(f"{OUTPUTS[name]}: {outputs[name].resolve()}")


def _describe(options: Options, pattern: Pattern) -> list[tuple[str, str, str]]:
    """Rows (what, chosen, option)."""
    heads = f"{options.test_slices} simulated heads, lam chosen on {options.validation_slices} others"
    if options.networks:
        heads += f", networks trained on {options.training_slices} others"
    size = f"{options.coils} coils, {options.shape[0]} x {options.shape[1]}, SNR {options.snr:g}"
    return [
        ("data", heads, "--test-slices, --training-slices"),
        ("k-space", size, "--coils, --shape, --snr"),
        ("mask", f"{options.mask}: R = {pattern.acceleration:.2f}, center {pattern.center}", "--mask, --acceleration"),
        ("maps", "ESPIRiT from the center", ""),
        ("seed", str(options.seed), "--seed"),
    ]


def _simulate(options: Options, mask, index: int) -> Case:
    import jax

    from ..data.simulate import CONTRASTS as SEQUENCES
    from ..data.simulate import simulate
    from .reconstruct import estimate_maps

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
    maps = estimate_maps(kspace, mask, _settings("cg-sense", 0.0))
    target = np.sum(np.conj(maps) * np.asarray(scan.maps), 0) * np.asarray(scan.image)
    return Case(np.abs(scan.image), target, kspace, maps, contrast)


def _settings(method: "Method", lam: float, network: "Network | None" = None) -> "Settings":
    from .reconstruct import Settings

    return Settings(
        method=method,
        lam=lam,
        n_iter=None,
        wavelet="db4",
        scale="bart",
        maps="espirit",
        calib_size=None,
        n_sets=1,
        network=network,
    )


def _reconstruct(settings: "Settings", cases: Sequence[Case], mask) -> tuple[list[np.ndarray], float]:
    """Magnitudes, and the seconds of a slice: the median, the compilation being over before."""
    from .reconstruct import reconstruct_slice

    settings = settings.complete(mask.shape)
    reconstruct_slice(cases[0].kspace, mask, settings, maps=cases[0].maps)
    images, seconds = [], []
    for case in cases:
        start = time.perf_counter()
        result = reconstruct_slice(case.kspace, mask, settings, maps=case.maps)
        seconds.append(time.perf_counter() - start)
        images.append(np.abs(result.image))
    return images, float(np.median(seconds))


def _choose(method: "Method", cases: Sequence[Case], mask) -> tuple[float, dict[float, float]]:
    """The lam of the smallest mean NMSE over the validation slices, and the NMSE of each."""
    if len(GRIDS[method]) == 1:
        return GRIDS[method][0], {}
    import jax.numpy as jnp

    from ..metrics import nmse

    errors = {}
    for lam in GRIDS[method]:
        images, _ = _reconstruct(_settings(method, lam), cases, mask)
        errors[lam] = float(
            np.mean(
                [nmse(jnp.asarray(case.truth), jnp.asarray(image)) for case, image in zip(cases, images, strict=True)]
            )
        )
    return min(errors, key=lambda lam: errors[lam]), errors


def _score(test: Sequence[Case], images: dict[str, list[np.ndarray]]) -> "dict[str, list[Evaluation]]":
    from ..metrics import evaluate

    return {
        method: [evaluate(case.truth, image, variant=VARIANT) for case, image in zip(test, found, strict=True)]
        for method, found in images.items()
    }

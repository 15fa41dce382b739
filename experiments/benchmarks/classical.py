"""Speed of the classical core against sigpy, and against BART's command where it is installed: ratios in one run.

    python experiments/benchmarks/classical.py --kspace brain8ch_cartesian_ksp.npy --out results/classical.json

Without --kspace a simulated head of the same size stands in. Needs the extra `bench`. Rivals are warmed up, draw no progress bar and
keep no objective log; all sides run the same iterations; each pair of images must agree before its time counts. Compile time is
given apart. Rounds are interleaved, so that a busy moment of the machine hits everybody, and the median of all calls counts.
"""

import argparse
import dataclasses
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxrecon as jr

LAM_SENSE, LAM_L1 = 0.01, 0.005
N_CG, N_FISTA = 30, 100
CROP = 0.95
"""Of ESPIRiT's eigenvalues: sigpy's default."""
CALLS = 3
"""Timed calls of a side in each round."""


@dataclasses.dataclass
class Contest:
    """One task: our function, its rivals, and the relative difference up to which results count as the same."""

    own: Callable[[], np.ndarray]
    rivals: dict[str, Callable[[], np.ndarray | None]]
    tolerance: dict[str, float]
    compile_seconds: float = 0.0


def main() -> None:
    """Run all contests, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kspace", type=Path, help="npy (coil, y, x); default: simulated")
    parser.add_argument("--out", type=Path, default=Path("results/classical.json"))
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    kspace, source = load(options.kspace)
    report = {
        "data": source,
        "shape": list(kspace.shape),
        "rounds": options.rounds,
        "calls_per_round": CALLS,
        "machine": {"processor": platform.processor() or platform.machine(), "cores": len(os.sched_getaffinity(0))},
        "versions": {"python": platform.python_version(), "jax": jax.__version__, "numpy": np.__version__},
        "tasks": {},
    }
    print(f"{source}, {kspace.shape}, {report['machine']['cores']} cores, median of {options.rounds} rounds")
    with tempfile.TemporaryDirectory() as folder:
        for name, contest in contests(kspace, Path(folder)).items():
            report["tasks"][name] = run_contest(name, contest, options.rounds)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"written: {options.out}")


def load(path: Path | None) -> tuple[np.ndarray, str]:
    """K-space (coil, y, x) complex64 and the words that say where it comes from."""
    if path is not None:
        return np.load(path, allow_pickle=False).astype(np.complex64), path.name
    from jaxrecon import data, sampling

    shape = (230, 180)
    head = data.simulate.simulate(jax.random.key(0), shape=shape, n_coils=8)
    mask = sampling.poisson_disc(jax.random.key(1), shape, acceleration=8, calib_size=(24, 24))
    return np.asarray(head.kspace * mask), "simulated head"


def contests(kspace: np.ndarray, folder: Path) -> dict[str, Contest]:
    """All tasks on this k-space; BART takes part where its command is found."""
    import sigpy.mri.app as sigpy

    maps = np.asarray(jr.coils.espirit(kspace, crop=CROP))
    problem = jr.Problem.from_numpy(kspace, maps=maps)
    x = jr.classical.zero_filled(problem)
    quiet = {"show_pbar": False}
    bart = Bart(folder, kspace, maps) if shutil.which("bart") else None

    espirit = ours(lambda k: jr.coils.espirit(k, crop=CROP), kspace)
    cg = ours(lambda p: jr.classical.cg_sense(p, lam=LAM_SENSE, n_iter=N_CG), problem)
    l1 = ours(lambda p: jr.classical.l1_wavelet(p, lam=LAM_L1, n_iter=N_FISTA), problem)
    normal = ours(lambda p, x: p.op.normal(x), problem, x)
    fft = ours(jr.fourier.fftc, problem.kspace)
    espirit.rivals["sigpy"] = lambda: sigpy.EspiritCalib(kspace, **quiet).run()
    cg.rivals["sigpy"] = lambda: sigpy.SenseRecon(kspace, maps, LAM_SENSE, max_iter=N_CG, **quiet).run()
    l1.rivals["sigpy"] = lambda: sigpy.L1WaveletRecon(kspace, maps, LAM_L1, max_iter=N_FISTA, **quiet).run()
    normal.rivals["sigpy"] = sigpy_normal(maps, np.asarray(problem.op.encoding.mask), np.asarray(x))
    fft.rivals["sigpy"] = lambda: __import__("sigpy").fft(kspace, axes=(-2, -1))
    # maps: compared up to phase where both have them; images: the golden files' tolerance, BART's images by magnitude
    for contest, limit in ((espirit, 5e-3), (cg, 5e-3), (l1, 5e-3), (normal, 1e-5), (fft, 1e-5)):
        contest.tolerance["sigpy"] = limit
    if bart:
        espirit.rivals["bart"], espirit.tolerance["bart"] = bart.espirit, 0.2
        cg.rivals["bart"], cg.tolerance["bart"] = bart.cg, 0.08
        l1.rivals["bart"], l1.tolerance["bart"] = bart.l1, 0.08
    return {"espirit": espirit, "cg_sense": cg, "l1_wavelet": l1, "normal operator": normal, "fft": fft}


def ours(function: Callable, *arguments) -> Contest:
    """Compile `function`, timed, and give the compiled call."""
    start = time.perf_counter()
    jitted = function if function.__name__ == "<lambda>" and arguments[0] is None else jax.jit(function)
    jax.block_until_ready(jitted(*arguments))
    compile_seconds = time.perf_counter() - start
    return Contest(lambda: jax.block_until_ready(jitted(*arguments)), {}, {}, compile_seconds)


def sigpy_normal(maps: np.ndarray, mask: np.ndarray, x: np.ndarray) -> Callable[[], np.ndarray]:
    """A^H A x with sigpy's operators."""
    from sigpy.mri.linop import Sense

    operator = Sense(maps, weights=np.broadcast_to(mask, maps.shape[1:])).N
    return lambda: operator(x)


class Bart:
    """BART's commands, two threads each; the time is that of the whole command, reading and writing included."""

    def __init__(self, folder: Path, kspace: np.ndarray, maps: np.ndarray):
        self.folder = folder
        self._write("kspace", kspace)
        self._write("maps", maps)

    def espirit(self) -> np.ndarray:
        """Calibration with one map set, sigpy's threshold (BART compares with its root), BART's 30 iterations."""
        self._run("ecalib", "-m1", "-t", str(0.02**2), "-c", str(CROP), "kspace", "out")
        return self._read("out")

    def cg(self) -> np.ndarray:
        """CG-SENSE, unscaled data."""
        self._run("pics", "-l2", f"-r{LAM_SENSE}", f"-i{N_CG}", "-w1", "kspace", "maps", "out")
        return self._read("out")[0]

    def l1(self) -> np.ndarray:
        """L1-wavelet, unscaled data."""
        self._run("pics", "-l1", f"-r{LAM_L1}", f"-i{N_FISTA}", "-w1", "kspace", "maps", "out")
        return self._read("out")[0]

    def _run(self, *command):
        environment = {**os.environ, "OMP_NUM_THREADS": "2"}
        subprocess.run(["bart", *command], cwd=self.folder, env=environment, check=True, capture_output=True)

    def _write(self, name, array):
        shape = (1, *array.shape[::-1][:2], array.shape[0])
        (self.folder / f"{name}.hdr").write_text("# Dimensions\n" + " ".join(map(str, shape)) + "\n")
        array.astype("<c8").tofile(self.folder / f"{name}.cfl")

    def _read(self, name):
        dims = [int(n) for n in (self.folder / f"{name}.hdr").read_text().splitlines()[1].split()]
        return np.fromfile(self.folder / f"{name}.cfl", "<c8").reshape(dims[::-1]).reshape(-1, dims[2], dims[1])


def run_contest(name: str, contest: Contest, rounds: int) -> dict:
    """Warm up, check agreement, time all sides in turn; print and return the result."""
    sides = {"jaxrecon": contest.own, **contest.rivals}
    outputs = {side: np.asarray(function()) for side, function in sides.items()}
    differences = {}
    for side in contest.rivals:
        differences[side] = difference(outputs["jaxrecon"], outputs[side], by_magnitude=side == "bart")
        if differences[side] > contest.tolerance[side]:
            raise SystemExit(f"{name}: jaxrecon and {side} differ by {differences[side]:.3g}: no fair comparison")
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, function in sides.items():
            function()  # untimed: brings caches and threads back to this side after the others
            for _ in range(CALLS):
                start = time.perf_counter()
                function()
                seconds[side].append(time.perf_counter() - start)
    median = {side: statistics.median(times) for side, times in seconds.items()}
    ratio = {side: median[side] / median["jaxrecon"] for side in contest.rivals}
    words = ", ".join(f"{ratio[s]:.1f}x {s} (differs by {differences[s]:.1e})" for s in ratio)
    print(
        f"{name:16} {median['jaxrecon'] * 1e3:8.2f} ms (compile {contest.compile_seconds:.1f} s): {words}", flush=True
    )
    return {
        "seconds": median,
        "fastest_seconds": {side: min(times) for side, times in seconds.items()},
        "ratio": ratio,
        "difference": differences,
        "compile_seconds": contest.compile_seconds,
    }


def difference(own: np.ndarray, other: np.ndarray, *, by_magnitude: bool) -> float:
    """Relative l2 difference; maps are compared where both sides have any."""
    if by_magnitude:
        own, other = np.abs(own), np.abs(other)
    both = (np.abs(own) > 0) & (np.abs(other) > 0)
    return float(np.linalg.norm((own - other)[both]) / np.linalg.norm(other[both]))


if __name__ == "__main__":
    jnp.zeros(1).block_until_ready()
    main()

"""What is simulated in place of files: slices of heads, frames of beating hearts, windows of either, or whole time series."""

import jax
import numpy as np

from ..checks import UserError
from ..data import Slice
from ..data.simulate import CONTRASTS, simulate, simulate_cine
from ..data.windows import neighbours
from ..models import build
from .experiment import Experiment, SimulatedHeads

NEIGHBOUR_DISTANCE = 0.01
"""Distance between neighbouring slices of a simulated head, as a part of its height."""


def simulated_slices(experiment: Experiment, subjects: range) -> list[Slice]:
    """Fully sampled slices of simulated subjects in the form that the experiment's network takes; targets are true magnitudes.

    Networks of frames get whole time series (frame, coil, y, x), those of neighbouring slices windows (adjacent, coil, y, x).

    Raises:
      ValueError: a heart has fewer frames than slices are wanted.
    """
    wanted, wants = experiment.simulated, build(experiment.model).wants
    if wants.input == "series":
        return _series(wanted, subjects, experiment.seed)
    if wanted.hearts:
        return _frames(wanted, subjects, experiment.seed, wants.n_adjacent)
    return _slices(wanted, subjects, experiment.seed, wants.n_adjacent)


def _slices(heads: SimulatedHeads, subjects: range, seed: int, n_adjacent: int | None) -> list[Slice]:
    """Each head has one contrast."""
    reach = (n_adjacent or 1) // 2
    slices = []
    names = [name for name in CONTRASTS if name != "bssfp"]
    for head in subjects:
        for i in range(heads.slices):
            scans = [
                simulate(
                    jax.random.fold_in(jax.random.key(seed), head),
                    shape=heads.shape,
                    n_coils=heads.coils,
                    position=0.15 + 0.5 * (i + 0.5) / heads.slices + offset * NEIGHBOUR_DISTANCE,
                    contrast=CONTRASTS[names[head % len(names)]],
                    snr=heads.snr,
                )
                for offset in range(-reach, reach + 1)
            ]
            slices.append(
                Slice(
                    kspace=np.stack([scan.kspace for scan in scans]) if n_adjacent else np.asarray(scans[0].kspace),
                    target=np.abs(scans[reach].image),
                    index=i,
                    file=f"simulated head {head}",
                )
            )
    return slices


def _series(hearts: SimulatedHeads, subjects: range, seed: int) -> list[Slice]:
    """One beat of each heart."""
    series = []
    for heart in subjects:
        scan = simulate_cine(
            jax.random.fold_in(jax.random.key(seed), heart),
            shape=(hearts.frames, *hearts.shape),
            n_coils=hearts.coils,
            snr=hearts.snr,
        )
        series.append(Slice(kspace=np.asarray(scan.kspace), target=np.abs(scan.image), file=f"simulated heart {heart}"))
    return series


def _frames(hearts: SimulatedHeads, subjects: range, seed: int, n_adjacent: int | None) -> list[Slice]:
    """Frames evenly spread over the beat of each heart; the beat is periodic, as the windows are."""
    n_frames = hearts.frames
    if n_frames < hearts.slices:
        raise UserError(f"expected frames of a heart for {hearts.slices} slices or more, found {n_frames} frames")
    frames = []
    for beat in _series(hearts, subjects, seed):
        assert beat.kspace is not None and beat.target is not None
        for i in range(hearts.slices):
            frame = i * n_frames // hearts.slices
            around = frame if n_adjacent is None else neighbours(frame, n_frames, n_adjacent, n_frames=n_frames)
            frames.append(
                Slice(
                    kspace=beat.kspace[around],
                    target=beat.target[frame],
                    index=i,
                    frame=frame,
                    n_frames=n_frames,
                    file=beat.file,
                )
            )
    return frames

"""What the demo is asked for, what it is made of, and what it found."""

import dataclasses
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import tyro

from ...sampling.named import names
from ..common import literal

GRIDS: dict[str, tuple[float, ...]] = {
    "zero-filled": (0.0,),
    "cg-sense": (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1),
    "l1-wavelet": (0.0003, 0.001, 0.003, 0.01, 0.03),
}
"""Method -> values of lam that are tried on the validation slices, in units of BART's data scale."""
CONTRASTS = ("t1", "t2", "flair", "pd")
VARIANT = "fastmri"
WAVELET = "db4"
OUTPUTS = {
    "index.html": "all of it on one page",
    "brain.png": "the measured head: images and error maps",
    "figure.png": "simulated heads: images and error maps",
    "training.png": "losses of the networks",
    "early_exit.png": "quality after each step of the networks",
    "results.json": "every number",
}
"""File -> what it holds."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Everything at once, in a few minutes on two cores: nothing to download, nothing to tune.

    Reconstructs a measured head, which is part of the package, from every second, third and fourth line. Simulates
    multi-coil scans of random heads, undersamples them, and reconstructs by zero-filling, CG-SENSE and L1-wavelet with
    maps from ESPIRiT, and by a network that is trained twice on other heads: end to end, and greedily by GLEAM, in less
    memory. lam is chosen on heads that are not scored. Prints tables and writes a page to look at (index.html), its
    figures, results.json (settings, versions, the values of each slice), and the networks (runs/, for jaxrecon recon
    --checkpoint).

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
    updates: int = 200
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

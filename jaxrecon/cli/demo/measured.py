"""The first table of `jaxrecon demo`: classical methods on a measured brain, undersampled, against all of its samples."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from .cases import GRIDS

ACCELERATIONS = (2, 3, 4)
"""Every so manieth line is kept, and the central ones."""
N_CENTER = 24
"""Central lines."""


class Measured(NamedTuple):
    """What was made of the measured brain; images are (y, x), the forehead at the top.

    Attributes:
      reference: the root of the sum of squares of all samples.
      accelerations: R -> measured R.
      images: R -> method -> magnitude.
      errors: R -> method -> `error_within`.
    """

    reference: np.ndarray
    accelerations: dict[int, float]
    images: dict[int, dict[str, np.ndarray]]
    errors: dict[int, dict[str, float]]

    def as_json(self) -> dict[str, Any]:
        """What a report keeps of it."""
        return {str(r): {"measured_acceleration": self.accelerations[r], "error": self.errors[r]} for r in self.errors}


def reconstruct_brain() -> Measured:
    """Reconstruct the brain of the package from fewer lines, each method as it is, without tuning."""
    from ... import host
    from ...data import example
    from ...recon import reconstruct

    kspace = np.asarray(example("brain")[0].kspace)
    reference = host.rss(host.coil_images(kspace)).T
    n = kspace.shape[-1]
    measured = Measured(reference, {}, {}, {})
    for r in ACCELERATIONS:
        lines = np.arange(n) % r == 0
        lines[n // 2 - N_CENTER // 2 : n // 2 + N_CENTER // 2] = True
        measured.accelerations[r] = n / int(lines.sum())
        measured.images[r], maps = {}, None
        for method in GRIDS:
            done = reconstruct(kspace, method=method, mask=lines, maps=maps)
            maps = None if done.maps is None else done.maps[0]
            measured.images[r][method] = np.abs(done.images[0]).T
        measured.errors[r] = {m: error_within(reference, image) for m, image in measured.images[r].items()}
    return measured


def error_within(reference: Float[np.ndarray, "y x"], image: Float[np.ndarray, "y x"]) -> float:
    """The l2 error of an image, as a part of its reference, where this is above a tenth of its maximum; after one scale."""
    inside = reference > 0.1 * reference.max()
    wanted, found = reference[inside], image[inside]
    scale = np.vdot(found, wanted) / np.vdot(found, found)
    return float(np.linalg.norm(scale * found - wanted) / np.linalg.norm(wanted))

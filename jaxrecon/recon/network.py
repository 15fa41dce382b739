"""A trained or converted network of a run folder, applied to slices."""

import dataclasses
import functools
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Complex, Inexact

from .. import struct
from ..checks import DataWarning
from ..data import remove_oversampling
from ..data.recipes import SCALES
from ..experiment.as_json import OWN, from_json, kind_of
from ..experiment.experiment import Experiment
from ..experiment.runs import Trained
from ..experiment.samplings import samplings
from ..models import Unrolled, abstract_params, build, run
from ..problem import Problem
from ..sampling.named import MASKS, center_of
from ..strategies import stopped
from ..training import load_config, load_params
from ..typing import Params

FARTHER = 1.5
"""How many times the R of the training a scan may have without a word."""


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """A network with its weights.

    Attributes:
      path: its run folder.
      experiment: what it was trained by.
      params: its weights.
      model: built from the experiment.
    """

    path: Path
    experiment: Experiment
    params: Params
    model: Unrolled

    __repr__ = struct.shapes_repr

    @property
    def name(self) -> str:
        """Short name, for figures."""
        return kind_of(self.experiment.model).removeprefix(OWN)

    @property
    def needs_maps(self) -> bool:
        """Whether it is given maps."""
        return self.model.wants.maps == "given"

    @property
    def in_time(self) -> bool:
        """Whether it takes frames: it reconstructs whole time series."""
        return self.model.wants.input == "series"

    @property
    def window(self) -> int | None:
        """How many neighbouring slices it sees at once, to reconstruct the middle one; None: that one only."""
        return self.model.wants.n_adjacent

    @property
    def estimates_maps(self) -> bool:
        """Whether it estimates them from the calibration region."""
        return self.model.wants.maps == "estimated"

    def calibration(self, mask: Bool[np.ndarray, "..."], shape: tuple[int, ...]) -> Bool[np.ndarray, "y x"] | None:
        """The calibration region of a mask of two phase encodes, by the rule of the training; None: the network finds it.

        Of several accelerations in the training it is that of the nearest one.

        Args:
          mask: (y, x) or with axes of size 1.
          shape: (y, x) of k-space.
        """
        of_lines = (mask == mask[:1]).all() or (mask == mask[:, :1]).all()
        drawn: list[Any] = [one.data for one in samplings(self.experiment).values()]
        drawn = [of for of in drawn if of.mask in MASKS and MASKS[of.mask].kind == "plane"]
        if of_lines or not drawn:
            return None
        of = min(drawn, key=lambda of: abs(of.acceleration - mask.size / max(mask.sum(), 1)))
        return center_of(of.mask, shape, acceleration=of.acceleration, acs=of.acs)

    def warn_of_acceleration(self, mask: Bool[np.ndarray, "..."], name: str) -> None:
        """Warn where a mask has fewer samples by far than those of the training: R = 8 for weights of R = 4.

        Args:
          mask: of a scan, of any shape.
          name: what the message calls the scan.
        """
        drawn: list[Any] = [one.data for one in samplings(self.experiment).values()]
        trained = max((of.acceleration for of in drawn if of.mask in MASKS), default=np.inf)
        own = 1 / max(np.mean(mask), 1 / mask.size)
        if own > FARTHER * trained:
            warnings.warn(
                f"{name}: one sample of {own:.3g} is measured, and {self.path} was trained with R = {trained:g}: at so much less it "
                "may leave aliasing, or make up what is not there. Use weights of this acceleration",
                DataWarning,
                stacklevel=2,
            )

    def rows(self, shape: tuple[int, ...], mask: Bool[np.ndarray, "..."]) -> int:
        """Rows y of its images: as many as in its training where the scan has more and none is missing, as along a readout.

        Args:
          shape: (..., y, x) of k-space.
          mask: (y, x) or with axes of size 1; for frames also (frame, 1, y, x).
        """
        trained, complete = self.experiment.data.shape, (mask == mask[..., :1, :]).all()
        return min(shape[-2], trained[0]) if trained is not None and complete else shape[-2]

    def image_shape(self, shape: tuple[int, ...], mask: Bool[np.ndarray, "..."]) -> tuple[int, ...]:
        """([frame,] y, x) of its image from masked k-space ([frame,] coil, y, x): fastMRI's U-Net crops, see also `rows`."""
        kspace = np.ones((*shape[:-2], self.rows(shape, mask), shape[-1]), np.complex64)
        problem = Problem.from_numpy(kspace, maps=np.ones(kspace.shape[-3:], np.complex64) if self.needs_maps else None)
        return jax.eval_shape(functools.partial(run, self.model), self.params, problem).shape

    def reconstruct(
        self,
        kspace: Complex[np.ndarray, "*frame coil y x"],
        mask: Bool[np.ndarray, "..."],
        maps: Complex[np.ndarray, "coil y x"] | None,
        *,
        acs: Bool[np.ndarray, "..."] | None = None,
        every_step: bool = False,
    ) -> tuple[Inexact[np.ndarray, "*step image_y image_x"], float]:
        """Image ([frame,] y, x) in the units of the data, and what these were divided by, as in training.

        Where the readout is longer than in the training, the middle of the field of view is reconstructed.

        Args:
          kspace: masked, with signal; (frame, coil, y, x) for a network of frames or of neighbouring slices.
          mask: (y, x) or with axes of size 1; for frames also (frame, 1, y, x).
          maps: (coil, y, x), where it needs them; for one coil they may be None.
          acs: mask of the calibration region, (1, x) or (y, x), for a network that estimates maps; None: it finds that in the mask.
          every_step: the images after each step, (step, [frame,] y, x).
        """
        rows, given = self.rows(kspace.shape, mask), kspace.shape[-2]
        if rows < given:
            kspace, mask = remove_oversampling(kspace, rows).astype(np.complex64), mask[..., :1, :]
            middle = slice(given // 2 - rows // 2, given // 2 - rows // 2 + rows)
            maps = None if maps is None else maps[..., middle, :]
            acs = None if acs is None else acs[..., :1, :]  # whole columns, as the mask is
        example = {"kspace": kspace, "mask": np.asarray(mask, np.float32), "target": np.empty(kspace.shape[-2:])}
        if maps is not None:
            example["maps"] = maps
        rule = SCALES[self.experiment.data.scale]
        scale = np.float32(1 if rule is None else rule(example))
        if not scale > 0:  # a network does not see a signal so small beside its largest values
            scale = np.float32(1)
        problem = Problem.from_numpy(kspace / scale, mask=mask, maps=maps if self.needs_maps else None, acs=acs)
        return np.asarray(_run(self.params, problem, model=self.model, every_step=every_step)) * scale, float(scale)


def load_network(path: str | Path | Trained, *, experiment: Experiment | None = None) -> Network:
    """The network of a run folder, built from the configuration and the best weights in it.

    Args:
      path: the run folder, or what `jaxrecon.train` returned, which has its experiment with it.
      experiment: the experiment of your own file, where the network is one of your own: a run folder holds no code. Sizes that
        were chosen in the training are those of the run all the same.

    Raises:
      ValueError: no run folder, a configuration that is not known here, or weights that do not fit it.
    """
    if isinstance(path, Trained):
        experiment = experiment or path.experiment
    path = path.out if isinstance(path, Trained) else Path(path)
    experiment = from_json(load_config(path), where=path, own=experiment)
    model = build(experiment.model)
    params = load_params(path, abstract_params(experiment.model))
    model = stopped(model.frozen or model, experiment.strategy)
    return Network(path, experiment, jax.tree.map(jnp.asarray, params), model)


@functools.partial(jax.jit, static_argnames=("model", "every_step"))
def _run(params, problem, *, model, every_step):
    return run(model, params, problem, every_step=every_step)

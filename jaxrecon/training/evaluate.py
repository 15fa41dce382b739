"""Scores of a model over whole volumes, by the rule of a named source work."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from ..checks import UserError
from ..metrics import VARIANTS, Evaluation, collect_volumes, crop_to_target, summarize
from ..metrics import evaluate as evaluate_volume
from ..models import Unrolled, run
from ..problem import Problem, Target
from ..typing import Params

Labelled = tuple[str, int, Problem, Target]
"""(file, slice, problem, target), without a batch axis."""


class Scores(NamedTuple):
    """What an evaluation gives.

    Attributes:
      metrics: mean over volumes (or slices, as the variant has it) of each metric.
      volumes: the evaluation of each volume by file.
      images: one slice to look at: "target", "reconstruction", of one size.
    """

    metrics: dict[str, float]
    volumes: dict[str, Evaluation] = {}  # noqa: RUF012
    images: dict[str, np.ndarray] = {}  # noqa: RUF012


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluator:
    """Weights -> Scores of a model: what `evaluator` gives.

    Attributes:
      reconstruct: (weights, problem) -> (..., y, x), jitted.
      examples: as for `evaluate`, by the name of their sampling.
      variant: a name of `jaxrecon.metrics.VARIANTS`.
      data_range: as for `evaluate`.
    """

    reconstruct: Callable[[Params, Problem], Any]
    examples: Mapping[str, Iterable[Labelled]]
    variant: str
    data_range: Callable[[str], float] | None = None

    def __call__(self, params: Params) -> Scores:
        """The scores of these weights."""
        scores = {
            name: evaluate(
                lambda problem: self.reconstruct(params, problem),
                examples,
                variant=self.variant,
                data_range=self.data_range,
            )
            for name, examples in self.examples.items()
        }
        return together(scores) if len(scores) > 1 else next(iter(scores.values()))

    def of_the_first(self) -> "Evaluator":
        """The same for the first example alone: enough to see that it works."""
        first = {name: list(itertools.islice(examples, 1)) for name, examples in self.examples.items()}
        return dataclasses.replace(self, examples=first)


def evaluator(
    model: Unrolled,
    examples: Iterable[Labelled] | Mapping[str, Iterable[Labelled]],
    *,
    variant: str,
    data_range: Callable[[str], float] | None = None,
) -> Evaluator:
    """A function from weights to Scores: `evaluate` of a model, compiled once per shape for all calls.

    Args:
      model: one example at a time, not batched.
      examples: as for `evaluate`; iterated anew at each call. By names, as the accelerations that the same slices are measured
        with: scored one after the other, see `together`.
      variant: a name of `jaxrecon.metrics.VARIANTS`.
      data_range: as for `evaluate`.

    Raises:
      ValueError: an unknown variant.
    """
    if variant not in VARIANTS:
        raise UserError(f"no metric variant '{variant}'; there are {', '.join(VARIANTS)}")
    reconstruct = jax.jit(lambda params, problem: run(model, params, problem))
    return Evaluator(reconstruct, examples if isinstance(examples, Mapping) else {"": examples}, variant, data_range)


def together(scores: Mapping[str, Scores]) -> Scores:
    """One Scores from those of several samplings of the same slices.

    Args:
      scores: name -> Scores.

    Returns:
      Scores with the mean of each metric, and with that of each name as metric_name: "psnr", "psnr_r4", "psnr_r8"; volumes as
      "file, name"; images of the first.
    """
    first, *_ = scores.values()
    metrics = {metric: float(np.mean([one.metrics[metric] for one in scores.values()])) for metric in first.metrics}
    metrics |= {f"{metric}_{name}": value for name, one in scores.items() for metric, value in one.metrics.items()}
    volumes = {f"{file}, {name}": volume for name, one in scores.items() for file, volume in one.volumes.items()}
    return Scores(metrics, volumes, first.images)


def evaluate(
    reconstruct: Callable[[Problem], Any],
    examples: Iterable[Labelled],
    *,
    variant: str,
    data_range: Callable[[str], float] | None = None,
) -> Scores:
    """Reconstruct all slices and score each volume whole; scales are undone before.

    Args:
      reconstruct: problem -> (..., y, x), a model or a classical method; jit it.
      examples: (file, slice, problem, target), the slices of a file one after the other, all of them
        (`jaxrecon.data.pipeline.labelled`).
      variant: a name of `jaxrecon.metrics.VARIANTS`; its crop is applied, and that to the target's size before.
      data_range: file -> the peak that takes the place of the volume's maximum (fastMRI's attribute `max`).

    Returns:
      Scores; `images` holds the middle slice of the first volume.

    Raises:
      ValueError: no examples, an unknown variant, a slice that is missing or came twice.
    """
    volumes: dict[str, Evaluation] = {}
    images: dict[str, np.ndarray] = {}
    for file, slices in itertools.groupby(examples, key=lambda example: example[0]):
        if file in volumes:
            raise UserError(f"the slices of {file} do not follow each other: sort the examples by file")
        pairs = ((file, index, *_compared(reconstruct, problem, target)) for _, index, problem, target in slices)
        ((reference, prediction),) = collect_volumes(pairs).values()
        peak = None if data_range is None else data_range(file)
        volumes[file] = evaluate_volume(reference, prediction, variant=variant, data_range=peak)
        if not images:
            middle = len(reference) // 2
            pair = {"target": reference[middle], "reconstruction": prediction[middle]}
            # where there are frames, the first one
            images = {name: np.abs(x).reshape(-1, *x.shape[-2:])[0] for name, x in pair.items()}
    if not volumes:
        raise UserError("there is nothing to evaluate: the examples are empty")
    return Scores({name: s.mean for name, s in summarize(volumes.values()).items()}, volumes, images)


def _compared(reconstruct, problem, target):
    """(reference, prediction) of one slice in the units of the data, of the target's size where that is the smaller."""
    prediction, reference = np.asarray(reconstruct(problem)), np.asarray(target.image)
    shape = tuple(min(a, b) for a, b in zip(prediction.shape[-2:], reference.shape[-2:], strict=True))
    scale = 1.0 if target.scale is None else float(target.scale)
    return tuple(scale * crop_to_target(x, shape) for x in (reference, prediction))

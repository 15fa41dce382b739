"""Scores of whole volumes by the rule of a named source work, on the host in double precision.

Source: `variants` has one for each rule.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from jaxtyping import Inexact

from .. import struct
from ..checks import UserError, check_at_least, check_finite
from ..typing import AnyArray
from .hfen import hfen
from .ssim import ssim
from .variants import VARIANTS


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Scores of one volume.

    Attributes:
      variant: the name of the rule.
      volume: metric -> its value for the volume (for a slice-wise rule the mean over slices that have a reference).
      per_slice: metric -> (slice,) float64, in the order of the compared slices; NaN where the reference is zero.
      data_range: (slice,) float64, the range used for each slice; equal entries under a volume-wise rule.
      shape: (slice, y, x) of what was compared, after the crop, leading axes flattened.
      given: (y, x) of reference and prediction before the crop.
      zero_slices: indices of slices whose reference is zero everywhere: their NaN values stay out of the means.
    """

    variant: str
    volume: dict[str, float]
    per_slice: dict[str, np.ndarray]
    data_range: np.ndarray
    shape: tuple[int, ...]
    given: tuple[tuple[int, ...], tuple[int, ...]]
    zero_slices: tuple[int, ...]

    __repr__ = struct.shapes_repr

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings for a JSON file; NaN and infinity, which JSON does not have, become None."""
        return {
            "variant": self.variant,
            "source": VARIANTS[self.variant].source,
            "volume": {name: _json(value) for name, value in self.volume.items()},
            "per_slice": {name: [_json(v) for v in values] for name, values in self.per_slice.items()},
            "data_range": [_json(v) for v in self.data_range],
            "shape": list(self.shape),
            "given": [list(size) for size in self.given],
            "zero_slices": list(self.zero_slices),
        }


@dataclasses.dataclass(frozen=True)
class Statistics:
    """One cell of a table: over volumes for a volume-wise rule, over all slices for a slice-wise one.

    fastMRI writes mean +- 2 std, Deep J-Sense mean / median / std, GLEAM mean (std).

    Attributes:
      mean: the mean; NaN where nothing counted.
      median: the median; NaN where nothing counted.
      std: the standard deviation, with the `ddof` of `summarize`.
      n: how many values counted.
    """

    mean: float
    median: float
    std: float
    n: int


def evaluate(
    reference: Inexact[AnyArray, "*slices y x"],
    prediction: Inexact[AnyArray, "*slices y2 x2"],
    *,
    variant: str,
    data_range: float | None = None,
) -> Evaluation:
    """Score one volume by the rule of a named source work.

    Args:
      reference: (slice, y, x), (frame, slice, y, x) or one slice (y, x); complex ones enter as magnitudes unless the
        variant compares complex numbers. All slices of the volume: its maximum counts.
      prediction: the same leading axes; (y, x) may be larger, it is then cropped by the variant's rule.
      variant: a name of VARIANTS, e.g. "fastmri".
      data_range: replaces the maximum of the reference volume where the variant uses that (fastMRI's attribute `max`).

    Returns:
      The values of the volume and of each slice, with the name of the rule.

    Raises:
      ValueError: unknown variant, shapes that do not fit, a data_range that the variant has no use for.
      DataError: NaN or infinity in one of the volumes.

    Example:
      >>> volume = np.random.default_rng(0).random((3, 16, 16))
      >>> round(evaluate(volume, 0.9 * volume, variant="fastmri").volume["nmse"], 6)
      0.01
    """
    if variant not in VARIANTS:
        raise UserError(f"no metric variant '{variant}'; there are {', '.join(VARIANTS)}")
    rule = VARIANTS[variant]
    reference, prediction = np.asarray(reference), np.asarray(prediction)
    given = reference.shape[-2:], prediction.shape[-2:]
    for name, array in (("reference", reference), ("prediction", prediction)):
        check_at_least(name, array, ("y", "x"))
        check_finite(name, array)
    if reference.shape[:-2] != prediction.shape[:-2]:
        raise UserError(
            f"reference has leading axes {reference.shape[:-2]}, prediction {prediction.shape[:-2]}: a slice missing?"
        )
    g, p = (x.reshape(-1, *x.shape[-2:]).astype(_double(x)) for x in rule.crop(reference, prediction))
    g, p = _rescaled(g, p, rule)
    g_abs, p_abs = _magnitude(g), _magnitude(p)
    ranges = _data_ranges(g_abs, p_abs, rule, data_range)
    if not rule.complex_error:
        g, p = g_abs, p_abs
    energy = np.mean(np.abs(g) ** 2, (1, 2))
    error = np.mean(np.abs(g - p) ** 2, (1, 2))
    per_slice = _pointwise(energy, error, ranges)
    if "ssim" in rule.metrics:
        # each pair in units of its own range: raw scanner units have no digits to lose on the way to single precision
        unit = np.where(ranges > 0, ranges, np.nan)[:, None, None]
        pairs = zip(g_abs / unit, p_abs / unit, strict=True)
        per_slice["ssim"] = np.array([float(_ssim(a, b, variant=rule.ssim)) for a, b in pairs])
    if "hfen" in rule.metrics:
        scale = g_abs.max() or 1.0
        pairs = zip(g_abs / scale, p_abs / scale, strict=True)
        per_slice["hfen"] = np.array([float(_hfen(a, b)) for a, b in pairs])
    per_slice = {name: per_slice[name] for name in rule.metrics}
    volume = {name: _mean(values) for name, values in per_slice.items()}
    if rule.scope == "volume":
        at_once = _pointwise(energy.mean(), error.mean(), ranges[0])
        volume |= {name: float(value) for name, value in at_once.items() if name in volume}
    zero = tuple(int(i) for i in np.flatnonzero(energy == 0))
    return Evaluation(variant, volume, per_slice, ranges, g.shape, given, zero)


def summarize(evaluations: Iterable[Evaluation], *, ddof: int = 0) -> dict[str, Statistics]:
    """Mean, median and standard deviation over volumes (volume-wise rule) or over all slices (slice-wise rule).

    Args:
      evaluations: one per volume, all of one variant.
      ddof: 1 for the standard deviation of a sample (fastMRI's script), 0 for that of the numbers themselves.

    Returns:
      metric -> Statistics; NaN values (zero references) are left out, and `n` says how many counted.

    Raises:
      ValueError: none given, or variants mixed.

    Example:
      >>> volumes = np.random.default_rng(0).random((2, 1, 16, 16))
      >>> scores = [evaluate(v, scale * v, variant="fastmri") for v, scale in zip(volumes, (0.9, 0.8))]
      >>> summary = summarize(scores)["nmse"]
      >>> round(summary.mean, 6), summary.n
      (0.025, 2)
    """
    evaluations = list(evaluations)
    names = sorted({e.variant for e in evaluations})
    if len(names) != 1:
        raise UserError(f"expected evaluations of one variant, found {names or 'none'}")
    by_slice = VARIANTS[names[0]].scope == "slice"
    table = {}
    for metric in evaluations[0].volume:
        values = np.concatenate(
            [e.per_slice[metric] if by_slice else np.array([e.volume[metric]]) for e in evaluations]
        )
        values = values[~np.isnan(values)]
        std = float(np.std(values, ddof=ddof)) if values.size > ddof else math.nan
        median = float(np.median(values)) if values.size else math.nan
        table[metric] = Statistics(_mean(values), median, std, values.size)
    return table


def collect_volumes(
    slices: Iterable[tuple[str, int, np.ndarray, np.ndarray]],
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Gather slices that arrive in any order into volumes, so that each volume is scored whole.

    Args:
      slices: (file name, slice index, reference (y, x), prediction (y, x)).

    Returns:
      file name -> (reference, prediction), each (slice, y, x), sorted by slice index.

    Raises:
      ValueError: a slice of a file came twice, or is missing between the first and the last.
    """
    files: dict[str, dict[int, tuple[np.ndarray, np.ndarray]]] = {}
    for name, index, reference, prediction in slices:
        volume = files.setdefault(name, {})
        if index in volume:
            raise UserError(f"slice {index} of {name} came twice")
        volume[index] = np.asarray(reference), np.asarray(prediction)
    for name, volume in files.items():
        missing = sorted(set(range(min(volume), max(volume) + 1)) - set(volume))
        if missing:
            raise UserError(f"{name}: slices {missing} are missing, the volume cannot be scored")
    return {
        name: (np.stack([volume[i][0] for i in sorted(volume)]), np.stack([volume[i][1] for i in sorted(volume)]))
        for name, volume in files.items()
    }


def _rescaled(g, p, rule):
    if rule.rescale == "reference max":
        peak = _magnitude(g).max((1, 2), keepdims=True)
        peak = np.where(peak > 0, peak, np.nan)
        return np.where(np.isnan(peak), 0, g / peak), np.where(np.isnan(peak), 0, p / peak)
    if rule.rescale == "min-max":
        return tuple(_to_unit_interval(_magnitude(x)) for x in (g, p))
    return g, p


def _to_unit_interval(x):
    low, high = x.min((1, 2), keepdims=True), x.max((1, 2), keepdims=True)
    return (x - low) / np.where(high > low, high - low, 1)


def _data_ranges(g, p, rule, given):
    """(slice,) data range of each slice, of magnitudes."""
    if given is not None:
        if rule.scope != "volume" or rule.data_range != "max":
            raise UserError(
                f"data_range replaces the maximum of the reference volume, but this variant uses '{rule.data_range}' "
                f"of each {rule.scope}: leave it out"
            )
        return np.full(len(g), float(given))
    high, low = g.max((1, 2)), g.min((1, 2))
    if rule.data_range == "max - min of both":
        high, low = np.maximum(high, p.max((1, 2))), np.minimum(low, p.min((1, 2)))
    if rule.scope == "volume":
        high, low = np.full(len(g), high.max()), np.full(len(g), low.min())
    return high if rule.data_range == "max" else high - low


def _pointwise(energy, error, data_range):
    """MSE, NMSE, nRMSE, PSNR from mean squares; NaN where there is no reference."""
    with np.errstate(divide="ignore", invalid="ignore"):
        nmse = np.where(energy > 0, error / energy, np.nan)
        psnr = np.where(energy > 0, 10 * np.log10(data_range**2 / error), np.nan)
    return {"mse": error, "nmse": nmse, "nrmse": np.sqrt(nmse), "psnr": psnr}


_hfen = jax.jit(hfen)
_ssim = jax.jit(functools.partial(ssim, data_range=1.0), static_argnames="variant")


def _mean(values):
    """Mean of what is not NaN; NaN if nothing is left."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else math.nan


def _magnitude(x):
    """Magnitude of a complex array; a real one stays as it is, negative values too."""
    return np.abs(x) if np.iscomplexobj(x) else x


def _double(x):
    return np.complex128 if np.iscomplexobj(x) else np.float64


def _json(value):
    return float(value) if math.isfinite(value) else None

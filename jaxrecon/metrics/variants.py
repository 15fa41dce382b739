"""The rules by which each source work scores a volume: region, normalisation, data range, and what is averaged.

The same pair of volumes has different PSNR and SSIM under each of these rules; a table that does not name its rule
means nothing. `VARIANTS` holds one rule per source by the name that a user types.

Source: each rule's own, in its field `source`.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from ..checks import UserError
from ..complex_ops import magnitude
from ..typing import AnyArray
from .crop import crop_to_smallest, crop_to_target
from .ssim import GAUSSIAN, UNIFORM, SSIMVariant

METRICS = ("mse", "nmse", "nrmse", "psnr", "ssim", "hfen")
"""Names of all values, in the order of a table."""

Crop = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""(reference, prediction), each (..., y, x), to the two regions that are compared."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """How one source work scores a volume.

    Attributes:
      source: the work, and where the rule stands.
      crop: the region compared.
      scope: what MSE, NMSE and PSNR are taken of: "volume": the volume at once; "slice": each slice, then their mean
        counts. SSIM and HFEN are always means over slices.
      data_range: the range for PSNR and SSIM, over the scope: the reference's "max", its "max - min", or the
        "max - min of both".
      rescale: what happens to each slice before: nothing; "reference max": both divided by the reference's maximum;
        "min-max": each of the two mapped to [0, 1] by itself.
      complex_error: complex differences in MSE, NMSE, PSNR (SSIM and HFEN stay with magnitudes).
      ssim: the window.
      metrics: the values that the source reports by this rule.
      normalization: the scale in which the source feeds its network. Reference and prediction carry it alike, and all
        values but MSE are free of it.
    """

    source: str
    crop: Crop
    scope: Literal["volume", "slice"] = "volume"
    data_range: Literal["max", "max - min", "max - min of both"] = "max"
    rescale: Literal["reference max", "min-max"] | None = None
    complex_error: bool = False
    ssim: SSIMVariant = UNIFORM
    metrics: tuple[str, ...] = METRICS
    normalization: str = "none"


def top_magnitude_scale(image: Inexact[AnyArray, "..."], *, percentile: float = 0.95) -> Float[Array, ""]:
    """The smallest of the round((1 - percentile) n) largest magnitudes: GLEAM's scale of a zero-filled image.

    An order statistic, not an interpolated percentile.

    Args:
      image: any shape, real or complex, n elements.
      percentile: in [0, 1).

    Returns:
      A scalar to divide k-space and target by.

    Raises:
      ValueError: percentile outside [0, 1).

    Source: GLEAM's code, `TopMagnitudeNormalizer`; the paper does not mention it.
    """
    if not 0 <= percentile < 1:
        raise UserError(f"percentile must be within [0, 1), but is {percentile}")
    values = jnp.sort(magnitude(image).ravel())
    return values[-max(round((1 - percentile) * values.size), 1)]


def _matched(reference, prediction):
    return reference, crop_to_target(prediction, reference.shape[-2:])


def _square(reference, prediction):
    """Crop as fastMRI's evaluation: (W, W) of the target, W its last axis."""
    width = reference.shape[-1]
    shape = min(reference.shape[-2], width), width
    return crop_to_target(reference, shape), crop_to_target(prediction, shape)


def _central(size: int, rounding: Literal["floor", "ceil", "center"]) -> Crop:
    """The central size x size pixels, or as many as there are."""

    def crop(reference, prediction):
        shape = tuple(min(size, n) for n in reference.shape[-2:])
        return tuple(crop_to_target(x, shape, rounding=rounding) for x in (reference, prediction))

    return crop


def _without_ends(n: int) -> Crop:
    """Without the first and last n slices."""

    def crop(reference, prediction):
        if reference.ndim != 3 or len(reference) <= 2 * n:
            raise UserError(f"expected (slice, y, x) with more than {2 * n} slices, found shape {reference.shape}")
        return _matched(reference[n:-n], prediction[n:-n])

    return crop


def _heart(n_frames: int | None) -> Crop:
    """The leaderboard's crop: a third of y (readout), half of x, two central slices, the first frames."""

    def crop(reference, prediction):
        if reference.ndim != 4:
            raise UserError(f"expected (frame, slice, y, x), found shape {reference.shape}")
        reference, prediction = _matched(reference, prediction)
        n_slices, y, x = reference.shape[1:]
        # MATLAB rounds halves up; its slices round(n / 2) - 1 and round(n / 2) count from 1
        last = math.floor(n_slices / 2 + 0.5)
        chosen = slice(last - 2, last) if n_slices > 2 else slice(None)
        shape = math.floor(y / 3 + 0.5), math.floor(x / 2 + 0.5)
        return tuple(crop_to_target(v[:n_frames, chosen], shape, rounding="center") for v in (reference, prediction))

    return crop


_FASTMRI = "fastMRI, evaluate.py: target and reconstruction cropped to (W, W) of the target"
_GLEAM_SCALE = "95th percentile of the zero-filled magnitude (top_magnitude_scale), undone before"

VARIANTS: Mapping[str, Variant] = {
    "fastmri": Variant(_FASTMRI, _square),
    "promptmr-plus-fastmri": Variant(
        "PromptMR+, fastMRI: both cropped to the smaller; data_range is the file's attribute max", crop_to_smallest
    ),
    "promptmr-plus-cmrxrecon": Variant("PromptMR+, CMRxRecon: no crop, a volume is all frames and slices", _matched),
    "cmrxrecon-2023-cine": Variant(
        "CMRxRecon 2023 leaderboard, cine: (frame, slice, y, x) to 3 frames, 2 slices, 1/3 of y, 1/2 of x", _heart(3)
    ),
    "cmrxrecon-2023-mapping": Variant(
        "CMRxRecon 2023 leaderboard, mapping: (weighting, slice, y, x) to 2 slices, 1/3 of y, 1/2 of x", _heart(None)
    ),
    "promptmr-plus-calgary": Variant(
        "PromptMR+, Calgary-Campinas: the challenge's rule without the first and last 50 slices",
        _without_ends(50),
        scope="slice",
        data_range="max - min of both",
        rescale="reference max",
    ),
    "calgary": Variant(
        "Calgary-Campinas challenge: each slice divided by its reference maximum, range of both images",
        _matched,
        scope="slice",
        data_range="max - min of both",
        rescale="reference max",
    ),
    "deep-jsense": Variant(
        "Deep J-Sense: central 320 x 320 (start rounded up), each slice with its own maximum",
        _central(320, "ceil"),
        scope="slice",
        normalization="largest k-space magnitude within the ACS lines",
    ),
    "ramzi": Variant(
        "Ramzi et al., benchmark and NC-PDNet: central 320 x 320, range = maximum - minimum of the volume",
        _central(320, "center"),
        data_range="max - min",
        normalization="k-space times a constant (fastMRI 1e6, OASIS 1e-2), not undone",
    ),
    "gleam": Variant(
        "GLEAM: magnitudes, each slice with its own maximum, Gaussian SSIM; the rule of the paper's tables",
        _matched,
        scope="slice",
        ssim=GAUSSIAN,
        normalization=_GLEAM_SCALE,
    ),
    "gleam-complex": Variant(
        "GLEAM's code: complex differences in PSNR and nRMSE, otherwise as gleam",
        _matched,
        scope="slice",
        complex_error=True,
        ssim=GAUSSIAN,
        normalization=_GLEAM_SCALE,
    ),
    "reconode": Variant(
        "ReconODE names the fastMRI single-coil task only: central 320 x 320, then fastMRI's evaluation (our choice)",
        _central(320, "floor"),
        normalization="not stated in the paper; undone before",
    ),
    "modl": Variant(
        "MoDL's demonstration: each image mapped to [0, 1] by itself, which hides an error of scale; PSNR only",
        _matched,
        scope="slice",
        rescale="min-max",
        metrics=("psnr",),
    ),
}
"""The rules by the names that a user types (`jaxrecon evaluate --variant fastmri`)."""

"""What was chosen for a scan, before the work: seen in one of its parts."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..checks import UserError
from ..coils.estimate import CalibrationSize, calibration_size, time_average
from ..data import Parts
from ..data.center import warn_off_center
from ..data.masks import acquired_mask, plane
from ..sampling.pattern import pattern
from .settings import ESTIMATED, Settings
from .slicewise import ExtraMask, calibration_data


class Description(NamedTuple):
    """The mask of a part in words, its acceleration, how it is known, and the calibration region where maps are estimated."""

    kind: str
    acceleration: float
    source: str
    calibration: CalibrationSize | None


def describe(
    parts: Parts,
    settings: Settings,
    index: int,
    *,
    extra: ExtraMask | None = None,
    name: Callable[[int], str] = "slice {}".format,
) -> Description:
    """Describe what will be done with a part; warn where its data contradict the centre of its k-space.

    Args:
      parts: parts of a scan.
      settings: completed choices.
      index: which part.
      extra: as in `slices`.
      name: what messages call a part.

    Raises:
      ValueError: there are no measured samples, or no calibration region to estimate maps from.
    """
    part, header = parts[index], parts.scan.header
    assert part.kspace is not None  # scans of images are refused before
    warn_off_center(part, name(index))
    mask, source = acquired_mask(part, header)
    mask = mask if extra is None else mask & extra(index)
    if not mask.any():
        raise UserError(f"{name(index)}: expected measured samples, found none")
    calibration = None
    if settings.needs_maps and settings.maps in ESTIMATED:
        _, center = time_average(*calibration_data(part.kspace, mask, part.calibration))
        calibration = calibration_size(
            center, header.shape, method=settings.estimates["method"], calib_size=settings.calib_size, name=name(index)
        )
    return Description(pattern(plane(mask), header.shape).kind, float(1 / np.mean(mask)), source, calibration)

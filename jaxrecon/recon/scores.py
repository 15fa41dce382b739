"""Scores of reconstructed images against those of a scan."""

import contextlib
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Inexact

from .. import host, metrics
from ..checks import DataWarning, UserError
from ..data import Header, Scan, acquired_mask, crop_to_recon_size
from ..data import open as open_scan
from ..data.masks import fully_sampled
from ..metrics import Evaluation
from ..typing import AnyArray

RANGE_OF_FILE = ("promptmr-plus-fastmri",)
"""Rules that take the data range from the target's file, not from the slices at hand."""


def evaluate(
    recon: str | Path | Inexact[AnyArray, "*frame slice y x"],
    target: str | Path | Scan | Inexact[AnyArray, "*frame slice y x"],
    *,
    variant: str = "fastmri",
    which: Sequence[int] | None = None,
) -> Evaluation:
    """Score a reconstruction against a reference, by the rule of a named source.

    Args:
      recon: images ([frame,] slice, y, x), or a file of such.
      target: a scan with a target, images, or a fully sampled scan, whose root of sum of squares it is then; a file, an opened
        scan, or images ([frame,] slice, y, x).
      variant: a name of `jaxrecon.metrics.VARIANTS`.
      which: numbers of the slices of the target's file that were reconstructed; None: all.

    Returns:
      The values of the volume and of each slice, with the name of the rule.

    Raises:
      DataError: a damaged file.
      ValueError: an unknown rule, k-space in place of images, an undersampled target, or numbers of slices that differ.

    Example:
      >>> volume = np.random.default_rng(0).random((3, 16, 16))
      >>> round(jr.evaluate(0.9 * volume, volume).volume["nmse"], 6)
      0.01
    """
    prediction, data_range = _images(recon), None
    if isinstance(target, str | Path | Scan):
        reference, data_range = _of_scan(target, which, variant)
    else:
        reference = np.asarray(target) if which is None else np.asarray(target)[..., list(which), :, :]
    if prediction.shape[:-2] != reference.shape[:-2]:
        prediction = prediction.reshape(-1, *prediction.shape[-2:])
        reference = reference.reshape(-1, *reference.shape[-2:])
    if len(prediction) != len(reference):
        names = [f"file {recon}" if isinstance(recon, str | Path) else "the reconstruction", _name(target)]
        raise UserError(
            f"{names[0]}: expected {len(reference)} slices as in {names[1]}, found {len(prediction)}: name the slices that "
            "were reconstructed"
        )
    return metrics.evaluate(reference, prediction, variant=variant, data_range=data_range)


def _images(recon: str | Path | Inexact[AnyArray, "*frame slice y x"]) -> Inexact[np.ndarray, "*frame slice y x"]:
    """Images ([frame,] slice, y, x), of a file or as they are; complex ones of .npy and .cfl look like k-space to their readers."""
    if not isinstance(recon, str | Path):
        return np.asarray(recon)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # what axes k-space would have is no question here
        opened = open_scan(recon)
    with opened as scan:
        header = scan.header
        if not header.has_kspace:
            volume = np.stack([part.image for part in scan])  # type: ignore[misc]
            return volume.reshape(header.n_frames, -1, *volume.shape[1:]) if header.n_frames > 1 else volume
        if _may_be_images(header):
            return np.concatenate([part.kspace for part in scan])  # type: ignore[misc]
        raise UserError(f"file {scan.path}: expected images, found k-space: reconstruct it first, jaxrecon recon")


def _may_be_images(header: Header) -> bool:
    """Whether what is read as k-space may as well be complex images: the file doesn't say."""
    return header.format == "npy" or (header.format == "BART" and header.n_coils == 1)


def _of_scan(target: str | Path | Scan, which: Sequence[int] | None, variant: str) -> tuple[np.ndarray, float | None]:
    """(the reference of a scan, its data range if the rule takes that of the file)."""
    opened = contextlib.nullcontext(target) if isinstance(target, Scan) else open_scan(target)
    with opened as scan:
        slices = range(len(scan)) if which is None else which
        attributes = scan.header.attributes
        of_file = variant in RANGE_OF_FILE and "max" in attributes
        return _reference(scan, slices), float(attributes["max"]) if of_file else None


def _reference(scan: Scan, slices: Sequence[int]) -> np.ndarray:
    header = scan.header
    images = []
    for i in slices:
        part = scan[i]
        image = part.image if part.image is not None else part.target
        if image is None:
            mask, _ = acquired_mask(part, header)
            if len(header.shape) == 1 or not fully_sampled(mask, header):
                cure = ""
                if _may_be_images(header):
                    cure = "; of complex images give the magnitude, np.abs, or an .npz with the key reconstruction"
                raise UserError(
                    f"file {scan.path}: expected a target, images, or fully sampled k-space, found undersampled k-space"
                    + cure
                )
            image = np.asarray(crop_to_recon_size(host.rss(host.coil_images(part.kspace * mask[None])), header))  # type: ignore[operator]
        images.append(image)
    volume = np.stack(images)
    whole = header.n_frames > 1 and len(slices) == len(scan)
    return volume.reshape(header.n_frames, -1, *volume.shape[1:]) if whole else volume


def _name(target: object) -> str:
    path = getattr(target, "path", target)
    return str(path) if isinstance(path, str | Path) else "the target"

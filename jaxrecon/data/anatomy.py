"""Tissue maps from brain atlases: the MNI152 template, or probability maps of grey and white matter of your own."""

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from ..checks import MissingPackage, UserError
from .phantoms import HEAD_TISSUES


def load_mni152() -> Float[np.ndarray, "slice tissue y x"]:
    """Tissue fractions of the axial slices of the ICBM 152 (2009a, symmetric) template, 1 mm, bottom to top.

    The template's own skull is stripped: scalp, skull and CSF are built around it.

    Returns:
      (slice, tissue, y, x) float32, anterior at the top, the patient's left at the picture's right.

    Raises:
      MissingPackage: the package nilearn, which carries the template, is not installed.
    """
    try:
        from nilearn import datasets
    except ModuleNotFoundError as error:
        raise MissingPackage(
            "the MNI152 template comes with the package nilearn: pip install 'jaxrecon[anatomy]', or use the analytic "
            "phantom (leave the anatomy out)"
        ) from error
    loaders = (datasets.load_mni152_gm_template, datasets.load_mni152_wm_template, datasets.load_mni152_template)
    # (x, y, z) from left, posterior, inferior -> (z, y, x) with anterior and the patient's right first
    grey, white, t1 = (np.asarray(load(resolution=1).get_fdata(), np.float32).T[:, ::-1, ::-1] for load in loaders)
    support = ndimage.binary_fill_holes(t1 > 0.05 * t1.max())
    area = support.sum((1, 2))
    slices = np.flatnonzero(area > 0.3 * area.max())
    return np.stack([tissues_from_probabilities(grey[i], white[i], support=support[i]) for i in slices])


def tissues_from_probabilities(
    grey: Float[np.ndarray, "y x"],
    white: Float[np.ndarray, "y x"],
    *,
    support: Bool[np.ndarray, "y x"],
    pixel: float = 1.0,
) -> Float[np.ndarray, "tissue Y X"]:
    """Tissue fractions of a head around the brain of an atlas.

    Within the support what is neither grey nor white is CSF; around it lie CSF (2 mm), bone with marrow (6 mm), fat
    (4 mm) and skin (2 mm), by the distance to the brain.

    Args:
      grey: probability of grey matter, (y, x) within [0, 1].
      white: probability of white matter, (y, x).
      support: where the brain is, boolean (y, x).
      pixel: size of a pixel in mm.

    Returns:
      Fraction of each of HEAD_TISSUES, (tissue, y + 2 margin, x + 2 margin) float32: larger by 16 mm at each side.

    Raises:
      ValueError: shapes differ, or the support is empty.
    """
    if not grey.shape == white.shape == support.shape:
        raise UserError(
            f"grey {grey.shape}, white {white.shape} and support {support.shape} must have one shape (y, x)"
        )
    if not support.any():
        raise UserError("the support of the brain is empty")
    margin, reach = round(16 / pixel), round(30 / pixel)
    grey, white, brain = (np.pad(np.asarray(a, np.float32), margin + reach) for a in (grey, white, support))
    grey, white = grey * brain, white * brain
    total = np.maximum(grey + white, 1)
    grey, white = grey / total, white / total
    # signed distance in mm to the brain, closed over 30 mm and smoothed: the skull does not follow the fissures
    near = ndimage.distance_transform_edt(brain == 0) < reach
    closed = ndimage.distance_transform_edt(near) >= reach
    distance = pixel * (ndimage.distance_transform_edt(~closed) - ndimage.distance_transform_edt(closed))
    distance = ndimage.gaussian_filter(distance, 2.0 / pixel)
    edges = [2.0, 3.6, 6.6, 8.2, 12.2, 14.2]
    within = [np.clip(0.5 + (edge - distance) / pixel, 0, 1).astype(np.float32) for edge in edges]
    inner, table, marrow, bone, fat, skin = (
        b - a for a, b in zip([np.zeros_like(brain), *within[:-1]], within, strict=True)
    )
    cover = np.minimum(grey + white, inner)
    scale = np.divide(cover, grey + white, out=np.zeros_like(cover), where=grey + white > 0)
    grey, white = grey * scale, white * scale
    fractions = {
        "csf": inner - grey - white,
        "grey": grey,
        "white": white,
        "bone": table + bone,
        "marrow": marrow,
        "fat": fat,
        "muscle": skin,
    }
    empty = np.zeros_like(brain)
    maps = np.stack([fractions.get(name, empty) for name in HEAD_TISSUES])
    return maps[:, reach:-reach, reach:-reach]

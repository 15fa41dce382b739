"""Multiscale structural similarity (MS-SSIM): contrast and structure at several resolutions, luminance at the coarsest.

Source: Wang, Simoncelli and Bovik, Asilomar 2003; the details are those of TensorFlow's ssim_multiscale.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..checks import UserError, check_sizes
from ..typing import AnyArray, Scalar
from .ssim import GAUSSIAN, SSIMVariant, similarity_factors

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""The exponents of the scales, the finest first; as published they sum to 1.0001."""


def ms_ssim(
    reference: Float[AnyArray, "*batch y x"],
    prediction: Float[AnyArray, "*batch y x"],
    *,
    data_range: Scalar,
    scales: int = len(WEIGHTS),
    variant: SSIMVariant = GAUSSIAN,
) -> Float[Array, ""]:
    """Multiscale structural similarity, the mean over leading axes.

    M = prod_{j < J} max(mean c_j, 0)^{w_j} max(mean s_J, 0)^{w_J}, with c_j contrast and structure at scale j, s_J the whole
    SSIM at the coarsest. From scale to scale the mean of 2 x 2 pixels is taken; of an odd size the last pixel counts twice.

    Args:
      reference: (..., y, x), real, magnitudes as a rule.
      prediction: the same shape.
      data_range: one scalar, in the unit of the images; vmap for one per slice.
      scales: J; with fewer than the five that Wang et al. define, the first J weights, made to sum to 1.
      variant: window and constants at each scale, 2D.

    Returns:
      A scalar of at most 1; gradient 0 where the images are so unlike that a mean is not positive.

    Raises:
      ValueError: images of which the window does not fit into the coarsest scale: five scales of 11 pixels need 161;
        scales outside 1 to 5; as `ssim_map`.

    Source: Wang, Simoncelli and Bovik, Asilomar 2003, eq. 7, as TensorFlow computes it.
    """
    check_scales(reference.shape[-2:], scales, variant)
    weights = np.array(WEIGHTS[:scales])
    if scales < len(WEIGHTS):
        weights /= weights.sum()
    product: Array | float = 1.0
    for scale, weight in enumerate(weights):
        if scale:
            reference, prediction = _halved(reference), _halved(prediction)
        luminance, factor = similarity_factors(reference, prediction, data_range=data_range, variant=variant)
        if scale == scales - 1:
            factor = luminance * factor
        mean = jnp.mean(factor, (-2, -1))
        # the inner where keeps the gradient of the power finite where the mean is 0
        product = product * jnp.where(mean > 0, jnp.where(mean > 0, mean, 1) ** weight, 0)
    return jnp.mean(product)


def most_scales(shape: tuple[int, ...], variant: SSIMVariant = GAUSSIAN) -> int:
    """How many of the five scales images of (y, x) have: at each the window must fit; 0 where it fits nowhere.

    Args:
      shape: (y, x).
      variant: the window.

    Example:
      >>> most_scales((161, 320)), most_scales((96, 80)), most_scales((10, 64))
      (5, 3, 0)
    """
    return sum(least_size(scale, variant) <= min(shape) for scale in range(1, len(WEIGHTS) + 1))


def least_size(scales: int, variant: SSIMVariant = GAUSSIAN) -> int:
    """Pixels along each axis that so many scales need: the window at the coarsest, sizes halved and rounded up.

    Args:
      scales: number of scales.
      variant: the window.

    Example:
      >>> [least_size(scales) for scales in range(1, 6)]
      [11, 21, 41, 81, 161]
    """
    return (variant.size - 1) * 2 ** (scales - 1) + 1


def check_scales(shape: tuple[int, ...], scales: int, variant: SSIMVariant = GAUSSIAN) -> None:
    """Raise where MS-SSIM of so many scales does not exist.

    Args:
      shape: (y, x) of the images.
      scales: number of scales.
      variant: the window.

    Raises:
      ValueError: the images are too small; scales outside 1 to 5; a window in 3D.
    """
    check_sizes(1, scales=scales)
    if scales > len(WEIGHTS):
        raise UserError(f"MS-SSIM has {len(WEIGHTS)} scales at most, not {scales}")
    if variant.ndim != 2:
        raise UserError("MS-SSIM is of images (y, x): give a window with ndim=2")
    if min(shape) < least_size(scales, variant):
        fit = most_scales(shape, variant)
        cure = f"; they have {fit}" if fit else ""
        raise UserError(
            f"MS-SSIM of {scales} scales needs images of at least {least_size(scales, variant)} pixels along y and x, but these "
            f"are {shape[0]} x {shape[1]}{cure}"
        )


def _halved(x):
    """Means of 2 x 2 pixels; an odd size's last row or column counts twice."""
    height, width = x.shape[-2:]
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, height % 2), (0, width % 2)], "edge")
    x = x.reshape(*x.shape[:-2], x.shape[-2] // 2, 2, x.shape[-1] // 2, 2)
    return jnp.mean(x, (-3, -1))

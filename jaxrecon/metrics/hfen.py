"""High-frequency error norm (HFEN): the error of edges and fine detail, seen through a Laplacian of Gaussian."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ..checks import UserError, check_axes, check_same_shape
from ..complex_ops import unit_scale
from ..host import native
from ..typing import AnyArray


def log_kernel(size: int = 15, sigma: float = 1.5) -> np.ndarray:
    """Rotationally symmetric Laplacian of Gaussian of zero sum (float64, on the host).

    h = exp(-r^2 / (2 sigma^2)), h /= sum h, k = h (r^2 - 2 sigma^2) / sigma^4, k -= mean k.

    Args:
      size: length of each side in pixels, odd; 15 in the paper.
      sigma: standard deviation in pixels; 1.5 in the paper.

    Returns:
      (size, size).

    Raises:
      ValueError: an even size.

    Source: Ravishankar and Bresler, IEEE TMI 30 (2011) 1028; the kernel of MATLAB's `fspecial('log')`.
    """
    h, r2 = _gaussian(size, sigma)
    h /= h.sum()
    k = h * (r2 - 2 * sigma**2) / sigma**4
    return k - k.mean()


def hfen(
    reference: Float[AnyArray, "y x"], prediction: Float[AnyArray, "y x"], *, size: int = 15, sigma: float = 1.5
) -> Float[Array, ""]:
    """High-frequency error norm: ||LoG(prediction) - LoG(reference)|| / ||LoG(reference)||, zero padding.

    Args:
      reference: one real image (y, x).
      prediction: the same shape.
      size: length of the kernel's side in pixels, odd.
      sigma: standard deviation of the kernel in pixels.

    Returns:
      A scalar; NaN where the filtered reference is zero.

    Raises:
      ValueError: shapes differ or are not (y, x).

    Source: Ravishankar and Bresler, IEEE TMI 30 (2011) 1028.

    Example:
      >>> image = jnp.eye(20)
      >>> round(float(hfen(image, 0.9 * image)), 3)  # an error of scale is one of edges too
      0.1
    """
    check_axes("reference", reference, ("y", "x"))
    check_same_shape("prediction", prediction, "reference", reference)
    kernel = log_kernel(size, sigma)
    reference = native(reference)
    unit = unit_scale(reference)
    norm = jnp.linalg.norm(_correlate(reference / unit, kernel))
    error = jnp.linalg.norm(_correlate((prediction - reference) / unit, kernel))
    return jnp.where(norm > 0, error / jnp.where(norm > 0, norm, 1), jnp.nan)


def hfen_direct(
    reference: Float[AnyArray, "*slice y x"],
    prediction: Float[AnyArray, "*slice y x"],
    *,
    order: Literal[1, 2],
    normalize: bool = False,
    size: int = 15,
    sigma: float = 2.5,
) -> Float[Array, ""]:
    """HFEN as the DIRECT toolbox computes it: for comparison with numbers made there, not for reporting.

    mean |LoG'(prediction) - LoG'(reference)|^order, divided by mean |reference|^order when `normalize` is set, with
    LoG' the unscaled kernel h (r^2 - 2 sigma^2) over minus its own sum.

    Args:
      reference: (..., y, x), real.
      prediction: the same shape.
      order: 1 for the mean absolute, 2 for the mean squared difference.
      normalize: divide by the same mean of the unfiltered reference.
      size: length of the kernel's side in pixels, odd.
      sigma: standard deviation of the kernel in pixels.

    Raises:
      ValueError: shapes differ.

    Source: DIRECT, functionals/hfen.py. Differs from the paper in sigma, in the kernel (its sum, an effect of
    cutting it off, is not removed but divided by), in means for norms, and in its normalisation.
    """
    check_same_shape("prediction", prediction, "reference", reference)
    h, r2 = _gaussian(size, sigma)
    kernel = h * (r2 - 2 * sigma**2)
    kernel = -kernel / kernel.sum()
    stack = (reference - prediction).reshape(-1, *reference.shape[-2:])
    error = jnp.mean(jnp.abs(_correlate(stack, kernel)) ** order)
    return error / jnp.mean(jnp.abs(reference) ** order) if normalize else error


def _gaussian(size, sigma):
    """exp(-r^2 / (2 sigma^2)) and r^2 on the square grid of the kernel."""
    if size < 1 or size % 2 == 0:
        raise UserError(f"the kernel of HFEN must have an odd size, but size is {size}")
    offsets = np.arange(size) - size // 2
    r2 = (offsets[:, None] ** 2 + offsets[None, :] ** 2).astype(np.float64)
    return np.exp(-r2 / (2 * sigma**2)), r2


def _correlate(image, kernel):
    """Correlate (y, x) or (slice, y, x) with a square kernel, zero padding, same size."""
    stack = image.reshape(-1, 1, *image.shape[-2:])
    filters = jnp.asarray(kernel, stack.dtype)[None, None]
    return lax.conv_general_dilated(stack, filters, (1, 1), "SAME", precision=lax.Precision.HIGHEST).reshape(
        image.shape
    )

"""Structural similarity (SSIM): one formula, the windows of fastMRI and of Wang et al. (Gaussian), and a 3D one.

Source: Wang et al., IEEE TIP 13 (2004) 600; fastMRI's evaluate.py and scikit-image for the uniform window.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ..checks import UserError, check_at_least, check_same_shape
from ..complex_ops import unit_scale
from ..host import native
from ..typing import AnyArray, Scalar


@dataclasses.dataclass(frozen=True)
class SSIMVariant:
    """Window and constants of one definition of SSIM.

    Attributes:
      size: length of the window along each filtered axis, odd.
      sigma: standard deviation in pixels of a Gaussian window; None is a uniform window.
      sample_covariance: local (co)variances times n / (n - 1), n = size^ndim, as scikit-image does by default.
      ndim: number of last axes that the window covers.
      weight_sum: sum of the window's weights; other than 1 only where a reference code rounds them.
      k1: constant of the luminance term, C1 = (k1 data_range)^2.
      k2: constant of the contrast term, C2 = (k2 data_range)^2.

    Raises:
      ValueError: the window is even or shorter than 3.
    """

    size: int = 7
    sigma: float | None = None
    sample_covariance: bool = True
    ndim: int = 2
    weight_sum: float = 1.0
    k1: float = 0.01
    k2: float = 0.03

    def __post_init__(self):
        """Check the window."""
        if self.size < 3 or self.size % 2 == 0:
            raise UserError(f"an SSIM window must be odd and at least 3, but size is {self.size}")

    @property
    def border(self) -> int:
        """Number of pixels at each border where the window does not fit: they are left out."""
        return self.size // 2


UNIFORM = SSIMVariant()
"""7 x 7 uniform window, sample covariance: fastMRI's evaluation, scikit-image's default."""
FASTMRI_LOSS = SSIMVariant(weight_sum=49 * float(np.float32(1) / np.float32(49)))
"""UNIFORM with 1 / 49 rounded to single precision, as fastMRI's SSIM loss has it in every precision: 1e-7 apart."""
GAUSSIAN = SSIMVariant(size=11, sigma=1.5, sample_covariance=False)
"""11 x 11 Gaussian window (sigma 1.5, cut at 3.5 sigma), population covariance: Wang et al. 2004, GLEAM."""
UNIFORM_3D = SSIMVariant(ndim=3)
"""7 x 7 x 7 uniform window over (z, y, x)."""


def ssim_map(
    reference: Float[AnyArray, "*shape"],
    prediction: Float[AnyArray, "*shape"],
    *,
    data_range: Scalar,
    variant: SSIMVariant = UNIFORM,
) -> Float[Array, "..."]:
    """Local structural similarity where the whole window fits into the image.

    S = (2 u_g u_p + C1) (2 v_gp + C2) / ((u_g^2 + u_p^2 + C1) (v_g + v_p + C2)),
    u the local means, v the local (co)variances, C1 = (k1 data_range)^2, C2 = (k2 data_range)^2.

    Args:
      reference: (..., y, x), or (..., z, y, x) for a 3D variant; real, magnitudes as a rule.
      prediction: the same shape.
      data_range: one scalar, in the unit of the images; never guessed. vmap for one per slice.
      variant: UNIFORM, GAUSSIAN, UNIFORM_3D or your own.

    Returns:
      (..., y - size + 1, x - size + 1); symmetric in the images, smooth, gradient finite also in air.

    Raises:
      ValueError: shapes differ, an image is complex, or smaller than the window.

    Source: Wang et al., IEEE TIP 13 (2004) 600, eq. 13.
    """
    luminance, contrast = similarity_factors(reference, prediction, data_range=data_range, variant=variant)
    return luminance * contrast


def similarity_factors(
    reference: Float[AnyArray, "*shape"],
    prediction: Float[AnyArray, "*shape"],
    *,
    data_range: Scalar,
    variant: SSIMVariant = UNIFORM,
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """The two factors of `ssim_map`: luminance, (2 u_g u_p + C1) / (u_g^2 + u_p^2 + C1), and contrast with structure.

    Args:
      reference: as in `ssim_map`, and so are the others.
      prediction: the same shape.
      data_range: one scalar.
      variant: window and constants.

    Returns:
      Two maps (..., y - size + 1, x - size + 1).

    Raises:
      ValueError: as `ssim_map`.

    Source: Wang et al., IEEE TIP 13 (2004) 600, eq. 6 and 13.
    """
    check_at_least("reference", reference, ("z", "y", "x")[-variant.ndim :])
    check_same_shape("prediction", prediction, "reference", reference)
    if jnp.iscomplexobj(reference) or jnp.iscomplexobj(prediction):
        raise UserError("SSIM is defined for real images, but these are complex: give magnitudes")
    if min(reference.shape[-variant.ndim :]) < variant.size:
        raise UserError(
            f"images of shape {tuple(reference.shape)} are smaller than the SSIM window of {variant.size} pixels"
        )
    # the value does not change with the unit; raw scanner units (1e-5) would leave no digits in the squares
    data_range = jnp.asarray(data_range, jnp.result_type(native(reference), native(prediction)))
    g, p = native(reference) / data_range, native(prediction) / data_range
    # nor do the squares of images far brighter than their range fit in single precision: 1 but for those
    unit = jnp.maximum(unit_scale(jnp.maximum(jnp.abs(g), jnp.abs(p))), 1)
    g, p = g / unit, p / unit
    u_g, u_p = _local_mean(g, variant), _local_mean(p, variant)
    # With d = p - g, h = (g + p) / 2 the factors are 1 - u_d^2 / (u_g^2 + u_p^2 + C1) and 1 - v_d / (v_g + v_p + C2):
    # rounding errors of v_d are as small as d, where v_g + v_p - 2 v_gp loses its digits in flat bright areas.
    v_d = _local_variance(p - g, variant)
    v_h = _local_variance((g + p) / 2, variant)
    tiny = jnp.finfo(g.dtype).tiny  # where the constants vanish in that unit: 0 / 0 in air
    c1, c2 = (jnp.maximum(k**2 / unit / unit, tiny) for k in (variant.k1, variant.k2))
    u_d = u_p - u_g
    return 1 - u_d**2 / (u_g**2 + u_p**2 + c1), 1 - v_d / (2 * v_h + v_d / 2 + c2)


def ssim(
    reference: Float[AnyArray, "*shape"],
    prediction: Float[AnyArray, "*shape"],
    *,
    data_range: Scalar,
    variant: SSIMVariant = UNIFORM,
) -> Float[Array, ""]:
    """Mean structural similarity: the mean of `ssim_map`, over leading axes too.

    With a stack (slice, y, x) and one data_range (fastMRI: the maximum of the reference volume) this is the mean over
    slices that fastMRI reports; 1 - ssim is its loss.

    Args:
      reference: (..., y, x), or (..., z, y, x) for a 3D variant; real, magnitudes as a rule.
      prediction: the same shape.
      data_range: one scalar, in the unit of the images; never guessed.
      variant: UNIFORM, GAUSSIAN, UNIFORM_3D or your own.

    Returns:
      A scalar of at most 1.

    Raises:
      ValueError: as `ssim_map`.

    Example:
      >>> image = jnp.arange(64.0).reshape(8, 8)
      >>> jax.jit(ssim)(image, image, data_range=63.0)
      Array(1., dtype=float32)
    """
    return jnp.mean(ssim_map(reference, prediction, data_range=data_range, variant=variant))


def _local_mean(x, variant):
    """Weighted sum over the window (its mean where the weights sum to 1), 'valid' part only."""
    return variant.weight_sum * _window_average(x, variant)


def _local_variance(x, variant):
    """Local variance: n / (n - 1) (sum w x^2 - (sum w x)^2) over the window."""
    n = variant.size**variant.ndim
    factor = n / (n - 1) if variant.sample_covariance else 1.0
    center = jnp.mean(x)
    shifted = x - center  # smaller numbers, smaller rounding errors; the variance does not change
    average = _window_average(shifted, variant)
    variance = _window_average(shifted**2, variant) - average**2
    if variant.weight_sum != 1:
        # sum w x^2 - (sum w x)^2 = W (variance + (1 - W) average^2) for weights of sum W
        variance = variant.weight_sum * (variance + (1 - variant.weight_sum) * (average + center) ** 2)
    return factor * variance


def _window_average(x, variant):
    """Average over the window with weights of sum 1, one axis after the other."""
    if variant.sigma is not None:
        offsets = np.arange(variant.size) - variant.border
        weights = np.exp(-(offsets**2) / (2 * variant.sigma**2))
        weights /= weights.sum()
    for axis in range(x.ndim - variant.ndim, x.ndim):
        if variant.sigma is None:
            # on a CPU ten times as fast as reduce_window over all axes at once, slices or a one-channel convolution
            window = tuple(variant.size if a == axis else 1 for a in range(x.ndim))
            zero = np.zeros((), x.dtype)
            x = lax.reduce_window(x, zero, lax.add, window, (1,) * x.ndim, "VALID")
        else:
            n = x.shape[axis] - variant.size + 1
            x = sum(float(w) * lax.slice_in_dim(x, k, k + n, axis=axis) for k, w in enumerate(weights))
    return x / variant.size**variant.ndim if variant.sigma is None else x

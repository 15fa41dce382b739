"""Pointwise measures of error: MSE, RMSE, NMSE, nRMSE and PSNR of one image or one whole volume.

Each function reduces all axes of its two arguments: give it a slice for the value of a slice, a volume for that of a
volume (different numbers: see `jaxrecon.metrics.variants`), and vmap it over what stays. Complex arguments are compared
as complex numbers; take magnitudes first where a paper's numbers are of magnitude images.

Source: the definitions of fastMRI's evaluate.py and of scikit-image; `variants` names the choices of each work.
"""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from ..checks import UserError, check_same_shape
from ..complex_ops import abs2, unit_scale
from ..host import native
from ..typing import AnyArray, Scalar


def mse(reference: Inexact[AnyArray, "*shape"], prediction: Inexact[AnyArray, "*shape"]) -> Float[Array, ""]:
    """Mean squared error: mean |reference - prediction|^2.

    Args:
      reference: any shape, real or complex.
      prediction: the same shape.

    Raises:
      ValueError: the shapes differ.
    """
    return jnp.mean(abs2(_difference(reference, prediction)))


def rmse(reference: Inexact[AnyArray, "*shape"], prediction: Inexact[AnyArray, "*shape"]) -> Float[Array, ""]:
    """Root of the mean squared error: sqrt(mse(reference, prediction)).

    Args:
      reference: any shape, real or complex.
      prediction: the same shape.

    Raises:
      ValueError: the shapes differ.
    """
    return _root_mean_square(_difference(reference, prediction))


def nmse(reference: Inexact[AnyArray, "*shape"], prediction: Inexact[AnyArray, "*shape"]) -> Float[Array, ""]:
    """Normalised squared error: ||reference - prediction||^2 / ||reference||^2 (squared, no root).

    Args:
      reference: any shape, real or complex; fastMRI gives the whole volume (slice, y, x) at once.
      prediction: the same shape.

    Returns:
      A scalar; NaN where the reference is zero everywhere, also when the prediction is.

    Raises:
      ValueError: the shapes differ.

    Source: fastMRI, evaluate.py.

    Example:
      >>> nmse(jnp.array([3.0, 4.0]), jnp.array([3.0, 3.0])).round(3)
      Array(0.04, dtype=float32)
    """
    reference = native(reference)
    unit = unit_scale(reference)
    error = jnp.mean(abs2(_difference(reference, prediction) / unit))
    return _nan_where_zero(error, jnp.mean(abs2(reference / unit)))


def nrmse(
    reference: Inexact[AnyArray, "*shape"],
    prediction: Inexact[AnyArray, "*shape"],
    *,
    normalization: Literal["euclidean", "range", "mean"] = "euclidean",
) -> Float[Array, ""]:
    """Normalised root mean squared error: rmse(reference, prediction) / scale of the reference.

    Args:
      reference: any shape, real or complex.
      prediction: the same shape.
      normalization: the scale. "euclidean": sqrt(mean |reference|^2), so that the value is sqrt(nmse), as GLEAM reports
        per slice; "range": maximum minus minimum, "mean": the mean, both of a real reference.

    Returns:
      A scalar; NaN where the scale is zero.

    Raises:
      ValueError: the shapes differ, an unknown normalization, or a complex reference with one that needs a real one.
    """
    reference = native(reference)
    error = rmse(reference, prediction)
    if normalization == "euclidean":
        return _nan_where_zero(error, _root_mean_square(reference))
    if jnp.iscomplexobj(reference):
        raise UserError(f"normalization '{normalization}' needs a real reference, but it is complex: give magnitudes")
    if normalization == "range":
        return _nan_where_zero(error, jnp.max(reference) - jnp.min(reference))
    if normalization == "mean":
        return _nan_where_zero(error, jnp.mean(reference))
    raise UserError(f"normalization '{normalization}' is not one of 'euclidean', 'range', 'mean'")


def psnr(
    reference: Inexact[AnyArray, "*shape"],
    prediction: Inexact[AnyArray, "*shape"],
    *,
    data_range: Scalar,
) -> Float[Array, ""]:
    """Peak signal-to-noise ratio in dB: 10 log10(data_range^2 / mse(reference, prediction)).

    Args:
      reference: any shape, real or complex.
      prediction: the same shape.
      data_range: the peak, never guessed: fastMRI takes the maximum of the reference volume (or the file's attribute
        `max`), the benchmark of Ramzi maximum minus minimum, GLEAM the maximum of each slice.

    Returns:
      A scalar; infinity where both arguments are equal.

    Raises:
      ValueError: the shapes differ.

    Example:
      >>> psnr(jnp.ones(4), jnp.full(4, 0.9), data_range=1.0).round(2)
      Array(20., dtype=float32)
    """
    difference = _difference(reference, prediction)
    unit = unit_scale(difference)  # the squares of raw scanner units may vanish or overflow in single precision
    data_range = jnp.asarray(data_range, unit.dtype) / unit
    return 20 * jnp.log10(data_range) - 10 * jnp.log10(jnp.mean(abs2(difference / unit)))


def _difference(reference, prediction):
    check_same_shape("prediction", prediction, "reference", reference)
    return reference - prediction


def _root_mean_square(x):
    unit = unit_scale(x)
    return unit * jnp.sqrt(jnp.mean(abs2(x / unit)))


def _nan_where_zero(numerator, denominator):
    """The quotient, NaN (also for 0 / 0 and a / 0) where the denominator is zero."""
    return jnp.where(denominator > 0, numerator / jnp.where(denominator > 0, denominator, 1), jnp.nan)

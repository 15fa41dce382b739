"""Losses of the source works: (reconstruction, target) -> scalar, the mean over examples where there is a batch.

The target is a `jaxrecon.Target`, or its image alone, an array, where the loss needs no more of it.
Reconstruction and target are first cropped to the smaller of the two along each image axis
(`jaxrecon.metrics.crop_to_target`). A loss with options becomes a Loss by functools.partial: `partial(ssim,
rounding="ceil")`.
"""

import dataclasses
import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from .checks import DataWarning, UserError
from .complex_ops import abs2, magnitude
from .metrics import crop_to_target, ms_ssim
from .metrics import ssim as ssim_of_images
from .metrics.crop import Rounding
from .metrics.multiscale import WEIGHTS, least_size, most_scales
from .metrics.ssim import FASTMRI_LOSS, SSIMVariant
from .problem import Target

Reconstruction = Inexact[Array, "*batch y x"]
Image = Inexact[Array, "*batch target_y target_x"]
Scalar = Float[Array, ""]


def complex_l1(reconstruction: Reconstruction, target: Target | Image, *, rounding: Rounding = "floor") -> Scalar:
    """Mean complex magnitude of the difference: mean |x - t|, with gradient 0 where both are equal.

    Args:
      reconstruction: (..., y, x), complex (or real, then as `mse` and `l1` of real images).
      target: a Target, or its image (..., y, x), complex if the reconstruction is.
      rounding: start of the crop, see `crop_to_target`.

    Raises:
      ValueError: one is complex and the other is not: a magnitude is no complex image.

    Source: GLEAM's code; the magnitude of the complex number, not |re| + |im|.

    Example:
      >>> complex_l1(jnp.full((2, 2), 3 + 4j), jnp.zeros((2, 2), complex)).item()
      5.0
    """
    x, t = _cropped(reconstruction, target, rounding)
    return jnp.mean(magnitude(_difference(x, t)))


def l1(reconstruction: Reconstruction, target: Target | Image, *, rounding: Rounding = "floor") -> Scalar:
    """Mean absolute difference of magnitudes: mean ||x| - |t||.

    Args:
      reconstruction: (..., y, x), complex or magnitude.
      target: a Target, or its image (..., y, x), complex or magnitude.
      rounding: start of the crop, see `crop_to_target`.

    Source: fastMRI's U-Net (in its normalised units), the benchmark of Ramzi et al.
    """
    x, t = _cropped(reconstruction, target, rounding)
    return jnp.mean(jnp.abs(_real(x) - _real(t)))


def mse(reconstruction: Reconstruction, target: Target | Image, *, rounding: Rounding = "floor") -> Scalar:
    """Mean squared difference: mean |x - t|^2; for complex images over pixels, twice the mean over two real channels.

    Args:
      reconstruction: (..., y, x).
      target: a Target, or its image (..., y, x), complex if the reconstruction is.
      rounding: start of the crop, see `crop_to_target`.

    Raises:
      ValueError: one is complex and the other is not.

    Source: MoDL's code has the mean over pixels and channels of the sum over the batch: batch size / 2 times this.
    """
    x, t = _cropped(reconstruction, target, rounding)
    return jnp.mean(abs2(_difference(x, t)))


def nmse(reconstruction: Reconstruction, target: Target | Image, *, rounding: Rounding = "floor") -> Scalar:
    """Squared error relative to the target, mean over the batch: ||x - t||^2 / ||t||^2 of each example.

    Args:
      reconstruction: (..., y, x); all axes but those of target.data_range, if given, belong to one example (without a
        data_range the last two).
      target: a Target, or its image (..., y, x), complex if the reconstruction is; an all-zero image counts with its
        squared error.
      rounding: start of the crop, see `crop_to_target`.

    Raises:
      ValueError: one is complex and the other is not.
    """
    x, t = _cropped(reconstruction, target, rounding)
    data_range = _data_range(target)
    n_batch = x.ndim - 2 if data_range is None else jnp.ndim(data_range)
    axes = tuple(range(n_batch, x.ndim))
    energy = jnp.sum(abs2(t), axes)
    return jnp.mean(jnp.sum(abs2(_difference(x, t)), axes) / jnp.where(energy > 0, energy, 1))


def ssim(
    reconstruction: Reconstruction,
    target: Target | Image,
    *,
    variant: SSIMVariant = FASTMRI_LOSS,
    rounding: Rounding = "floor",
) -> Scalar:
    """1 - SSIM of magnitudes, the window only where it fits; images are scaled by the data range first.

    Args:
      reconstruction: (..., y, x), complex or magnitude.
      target: a Target with image (..., y, x) and data_range, one per example: the volume's maximum, or for Deep J-Sense
        the slice's.
      variant: window and constants; fastMRI's 7 x 7 uniform one, as published.
      rounding: start of the crop; Deep J-Sense "ceil".

    Raises:
      ValueError: the target has no data_range.

    Source: E2E-VarNet, PromptMR+, Deep J-Sense (its paper's -SSIM has the same gradient).
    """
    x, t = _cropped(reconstruction, target, rounding)
    data_range = _data_range(target)
    if data_range is None:
        raise UserError("the SSIM loss needs target.data_range, one number per example, e.g. the maximum of the volume")

    def similarity(t, x, peak):
        return ssim_of_images(t, x, data_range=peak, variant=variant)

    for _ in range(jnp.ndim(data_range)):
        similarity = jax.vmap(similarity)
    return 1 - jnp.mean(similarity(_real(t), _real(x), data_range))


def l1_ssim(
    reconstruction: Reconstruction,
    target: Target | Image,
    *,
    weight: float = 0.5,
    complex_difference: bool = False,
    rounding: Rounding = "floor",
) -> Scalar:
    """L1 plus weighted SSIM loss: l1(x, t) + w (1 - SSIM(|x|, |t|)).

    Args:
      reconstruction: (..., y, x), complex or magnitude.
      target: a Target with image (..., y, x) and data_range.
      weight: w.
      complex_difference: L1 of the complex difference (`complex_l1`), not of magnitudes.
      rounding: start of the crop, see `crop_to_target`.

    Source: ReconODE; its "L1 + 0.5 SSIM" must be read as a loss that falls with similarity.
    """
    difference = complex_l1 if complex_difference else l1
    return difference(reconstruction, target, rounding=rounding) + weight * ssim(
        reconstruction, target, rounding=rounding
    )


def l1_ms_ssim(
    reconstruction: Reconstruction,
    target: Target | Image,
    *,
    alpha: float = 0.98,
    rounding: Rounding = "floor",
) -> Scalar:
    """L1 and multiscale SSIM: (1 - a) l1(x, t) + a (1 - MS-SSIM(|x|, |t|)), of each example with the range max |t|.

    The first term is in the unit of the data: the published weights are for magnitudes times 1e6 of fastMRI's.

    Args:
      reconstruction: (..., y, x), complex or magnitude.
      target: a Target, or its image (..., y, x), complex or magnitude.
      alpha: a; 0.98 in the challenge, 0.9999 is MS-SSIM all but alone.
      rounding: start of the crop, see `crop_to_target`.

    Raises:
      ValueError: images of which no scale exists: below 11 pixels. Where only some of the five do, below 161 pixels, there
        is one warning, and MS-SSIM is that of those, with their weights made to sum to 1.

    Source: XPDNet (Ramzi et al. 2021), NC-PDNet, whose range is the maximum of the target batch, of one example there.
    """
    x, t = (_real(image) for image in _cropped(reconstruction, target, rounding))
    scales = most_scales(t.shape[-2:])
    if 0 < scales < len(WEIGHTS):
        warnings.warn(
            f"MS-SSIM of images of {t.shape[-2]} x {t.shape[-1]} has {scales} of its {len(WEIGHTS)} scales, with weights made to "
            f"sum to 1: all of them need {least_size(len(WEIGHTS))} pixels",
            DataWarning,
            stacklevel=2,
        )

    def similarity(t, x):
        peak = jnp.max(t)
        return ms_ssim(t, x, data_range=jnp.where(peak > 0, peak, 1), scales=max(scales, 1))

    for _ in range(t.ndim - 2):
        similarity = jax.vmap(similarity)
    return (1 - alpha) * jnp.mean(jnp.abs(x - t)) + alpha * (1 - jnp.mean(similarity(t, x)))


@dataclasses.dataclass(frozen=True)
class NamedLoss:
    """A loss as an experiment names it.

    Attributes:
      function: the loss.
      needs_range: it looks at target.data_range.
    """

    function: Callable[..., Scalar]
    needs_range: bool = False


LOSSES = {
    "complex_l1": NamedLoss(complex_l1),
    "l1": NamedLoss(l1),
    "mse": NamedLoss(mse),
    "nmse": NamedLoss(nmse),
    "ssim": NamedLoss(ssim, needs_range=True),
    "l1_ssim": NamedLoss(l1_ssim, needs_range=True),
    "l1_ms_ssim": NamedLoss(l1_ms_ssim),
}
"""Name -> loss."""


def _cropped(reconstruction, target, rounding):
    """Both, cropped to the smaller of the two along y and x: targets of some FLAIR volumes are wider than the image."""
    image = target.image if isinstance(target, Target) else target
    if reconstruction.shape[:-2] != image.shape[:-2]:
        raise UserError(
            f"the reconstruction has leading axes {reconstruction.shape[:-2]}, the target {image.shape[:-2]}: "
            "is the model batched as the data are?"
        )
    shape = tuple(min(a, b) for a, b in zip(reconstruction.shape[-2:], image.shape[-2:], strict=True))
    return crop_to_target(reconstruction, shape, rounding=rounding), crop_to_target(image, shape, rounding=rounding)


def _data_range(target):
    return target.data_range if isinstance(target, Target) else None


def _difference(x, t):
    if jnp.iscomplexobj(x) != jnp.iscomplexobj(t):
        raise UserError(
            f"the reconstruction is {x.dtype}, the target {t.dtype}: compare magnitudes by `l1` or `ssim`, or give "
            "both complex"
        )
    return x - t


def _real(x):
    return magnitude(x) if jnp.iscomplexobj(x) else x

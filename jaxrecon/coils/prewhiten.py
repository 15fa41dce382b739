"""Noise prewhitening: a matrix over the coils after which their noise is uncorrelated and of one variance.

Source: Pruessmann et al. 2001; conventions as in ismrmrd-python-tools and BART.
"""

from typing import Literal

import jax.numpy as jnp
import jax.scipy.linalg
import numpy as np
from jaxtyping import Array, Complex

from ..checks import UserError, check_at_least
from ..host import native
from ..typing import AnyArray


def noise_covariance(noise: Complex[AnyArray, "coil *more sample"]) -> Complex[Array, "coil coil"]:
    """Psi = N N^H / (M - 1) of M noise samples per coil, whose mean is taken to be zero.

    Args:
      noise: (coil, sample) or more sample axes, measured without excitation.

    Returns:
      (coil, coil), Hermitian. BART's covariance file reads back in C order as its transpose.

    Raises:
      ValueError: not more samples than coils: the covariance would be singular.
    """
    check_at_least("noise", noise, ("coil", "sample"))
    n_coils, n_samples = noise.shape[0], int(np.prod(noise.shape[1:]))
    if n_samples <= n_coils:
        raise UserError(
            f"noise (coil, sample) has {n_samples} samples for {n_coils} coils; wanted more samples than coils: "
            "are its axes in another order?"
        )
    noise = jnp.reshape(native(noise), (n_coils, n_samples))
    return jnp.matmul(noise, noise.conj().T, precision="highest") / (n_samples - 1)


def whitening_matrix(
    noise: Complex[AnyArray, "coil *more sample"],
    *,
    form: Literal["ismrmrd", "bart"] = "ismrmrd",
    scale_factor: float = 1.0,
) -> Complex[Array, "coil coil"]:
    """W = g L^-1 with the Cholesky factor Psi = L L^H of the noise covariance.

    form "ismrmrd": g = sqrt(2 scale_factor): real and imaginary part of the whitened noise have unit variance each.
    form "bart": g = sqrt(scale_factor): the complex noise has unit variance.

    Args:
      noise: (coil, sample) or more sample axes, measured without excitation.
      form: "ismrmrd" or "bart", see above.
      scale_factor: acquisition dwell time / noise dwell time * receiver noise bandwidth ratio (0.79 typically on
        Siemens systems); 1 if the noise was sampled as the data are.

    Returns:
      (coil, coil), lower triangular; apply with `whiten`.

    Raises:
      ValueError: an unknown form, or not more samples than coils.

    Source: ismrmrd-python-tools, `calculate_prewhitening`; BART, `whiten`.
    """
    if form not in ("ismrmrd", "bart"):
        raise UserError(f"form is {form!r}; wanted: 'ismrmrd' or 'bart'")
    covariance = noise_covariance(noise)
    gain = jnp.sqrt(jnp.asarray((2 if form == "ismrmrd" else 1) * scale_factor, covariance.real.dtype))
    identity = jnp.eye(covariance.shape[0], dtype=covariance.dtype)
    return gain * jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(covariance), identity, lower=True)


def whiten(
    kspace: Complex[AnyArray, "coil *more last"], matrix: Complex[AnyArray, "coil coil"]
) -> Complex[Array, "coil *more last"]:
    """W y over the coil axis, which is the first one: k-space, noise and maps alike.

    Args:
      kspace: (coil, ...), e.g. (coil, y, x).
      matrix: (coil, coil) of `whitening_matrix`.

    Returns:
      (coil, ...), as kspace.

    Raises:
      ValueError: the numbers of coils differ.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> noise = jnp.asarray([[1.0], [3.0]] * rng.standard_normal((2, 9999)) + 0j)
      >>> whitened = whiten(noise, whitening_matrix(noise, form="bart"))
      >>> np.allclose(np.cov(whitened), np.eye(2), atol=1e-3)
      True
    """
    check_at_least("kspace", kspace, ("coil",))
    if matrix.shape != (kspace.shape[0],) * 2:
        raise UserError(
            f"matrix (coil, coil) has shape {tuple(matrix.shape)}, kspace has {kspace.shape[0]} coils: "
            "was the noise measured with the same coils?"
        )
    return jnp.tensordot(native(matrix), native(kspace), 1, precision="highest")

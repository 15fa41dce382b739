"""Proximal maps and projections: thresholds, balls, low rank."""

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..complex_ops import abs2, magnitude, rss
from ..typing import Scalar


def soft_threshold(x: Inexact[Array, "*axes"], threshold: Scalar) -> Inexact[Array, "*axes"]:
    """Prox of t ||x||_1: x max(1 - t / |x|, 0); complex values shrink in magnitude and keep their phase.

    Example:
      >>> soft_threshold(jnp.array([3.0, 0.5, -4.0]), 1.0).tolist()
      [2.0, 0.0, -3.0]
    """
    size = magnitude(x)
    return x * (jnp.maximum(size - threshold, 0) / jnp.where(size > 0, size, 1))


def group_soft_threshold(x: Inexact[Array, "*axes"], threshold: Scalar, *, axis: int = 0) -> Inexact[Array, "*axes"]:
    """Prox of t sum ||x||_2 with the 2-norm along `axis`: for isotropic total variation and joint sparsity."""
    size = jnp.expand_dims(rss(x, axis), axis)
    return x * (jnp.maximum(size - threshold, 0) / jnp.where(size > 0, size, 1))


def hard_threshold(x: Inexact[Array, "*axes"], threshold: Scalar) -> Inexact[Array, "*axes"]:
    """x where |x| > t, else 0: prox of t^2 / 2 ||x||_0."""
    return jnp.where(abs2(x) > threshold**2, x, 0)


def project_magnitude(x: Inexact[Array, "*axes"], radius: Scalar) -> Inexact[Array, "*axes"]:
    """Projection of each element on |x| <= radius: prox of the conjugate of radius ||x||_1."""
    return _project(x, magnitude(x), radius)


def project_group(x: Inexact[Array, "*axes"], radius: Scalar, *, axis: int = 0) -> Inexact[Array, "*axes"]:
    """Projection of the vectors along `axis` on 2-norm <= radius: prox of the conjugate of isotropic total variation."""
    return _project(x, jnp.expand_dims(rss(x, axis), axis), radius)


def project_l2(x: Inexact[Array, "*axes"], radius: Scalar) -> Inexact[Array, "*axes"]:
    """Projection on the ball ||x||_2 <= radius."""
    return _project(x, jnp.sqrt(jnp.sum(abs2(x))), radius)


def project_l1(x: Inexact[Array, "*axes"], radius: Scalar) -> Inexact[Array, "*axes"]:
    """Projection on the ball ||x||_1 <= radius, by the threshold that meets it.

    Source: Duchi et al. 2008, figure 1, applied to the magnitudes.
    """
    sizes = jnp.sort(magnitude(x).ravel())[::-1]
    excess = jnp.cumsum(sizes) - radius
    counts = jnp.arange(1, sizes.size + 1, dtype=sizes.dtype)
    last = jnp.sum(sizes * counts > excess) - 1
    threshold = jnp.maximum(excess[last] / counts[last], 0)
    return soft_threshold(x, threshold)


def singular_value_threshold(x: Inexact[Array, "*batch m n"], threshold: Scalar) -> Inexact[Array, "*batch m n"]:
    """Prox of t ||X||_* (nuclear norm): the singular values of the last two axes shrink by t."""
    u, s, vh = jnp.linalg.svd(x, full_matrices=False)
    # X minus what is cut off, not U S V^H rebuilt: rounding then scales with the threshold, not with X
    return x - (u * jnp.minimum(s, threshold).astype(u.dtype)[..., None, :]) @ vh


def _project(x, size, radius):
    """x where its size is within the radius, which may be 0, else of that size."""
    outside = size > radius
    return x * jnp.where(outside, radius / jnp.where(outside, size, 1), 1)

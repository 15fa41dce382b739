"""Complex arrays as real channels, and magnitudes whose gradient is finite where the magnitude is zero."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Inexact

from .typing import AnyArray


def to_channels(x: Complex[AnyArray, "*axes"]) -> Float[Array, "*axes 2"]:
    """Complex (...) to real (..., 2): real and imaginary part as the last axis."""
    return jnp.stack([x.real, x.imag], -1)


def from_channels(x: Float[AnyArray, "*axes 2"]) -> Complex[AnyArray, "*axes"]:
    """Real (..., 2) to complex (...): the inverse of `to_channels`."""
    return x[..., 0] + 1j * x[..., 1]


def pack_channels(x: Complex[AnyArray, "*axes c"]) -> Float[Array, "*axes two_c"]:
    """Complex channels (..., c) to real ones (..., 2 c): all real parts first, then all imaginary parts.

    Example:
      >>> pack_channels(jnp.array([1 + 2j, 3 + 4j])).tolist()
      [1.0, 3.0, 2.0, 4.0]
    """
    return jnp.concatenate([x.real, x.imag], -1)


def unpack_channels(x: Float[AnyArray, "*axes two_c"]) -> Complex[AnyArray, "*axes c"]:
    """Real channels (..., 2 c) to complex ones (..., c): the inverse of `pack_channels`."""
    real, imag = jnp.split(x, 2, -1)
    return jax.lax.complex(real, imag)


def magnitude(x: Inexact[AnyArray, "*axes"]) -> Float[Array, "*axes"]:
    """|x|, with gradient 0 (not NaN) where x is 0."""
    return _safe_sqrt(abs2(x))


def abs2(x: Inexact[AnyArray, "*axes"]) -> Float[AnyArray, "*axes"]:
    """|x|^2 without a square root, hence smooth."""
    return jnp.real(x) ** 2 + jnp.imag(x) ** 2 if jnp.iscomplexobj(x) else x**2


def rss(x: Inexact[AnyArray, "..."], axis: int = -3) -> Float[Array, "..."]:
    """Root of the sum of squares over the coil axis, with gradient 0 (not NaN) where it is 0.

    Args:
      x: coil images (..., coil, y, x), real or complex.
      axis: the coil axis.

    Returns:
      (..., y, x), real.

    Example:
      >>> rss(jnp.array([3.0, 4j]).reshape(2, 1, 1)).item()
      5.0
    """
    return _safe_sqrt(jnp.sum(abs2(x), axis))


def unit_scale(x: Inexact[AnyArray, "..."]) -> Float[Array, ""]:
    """The power of two at or below the largest part of x: divided by it, squares neither overflow nor vanish.

    The division is exact: results that grow with their input are the same digits in any unit. Its gradient is 0.

    Args:
      x: any shape, real or complex.

    Returns:
      A scalar; 1 where x is 0 everywhere or not finite.

    Example:
      >>> unit_scale(jnp.array([3e12, 5e12j])).item() == 2.0**42
      True
    """
    largest = jnp.max(jnp.maximum(jnp.abs(x.real), jnp.abs(x.imag)) if jnp.iscomplexobj(x) else jnp.abs(x))
    _, exponent = jnp.frexp(largest)
    usable = (largest > 0) & jnp.isfinite(largest)
    return jax.lax.stop_gradient(jnp.where(usable, jnp.ldexp(jnp.ones_like(largest), exponent - 1), 1))


def _safe_sqrt(x):
    zero = x == 0  # not "x > 0": NaN must stay NaN
    # the inner where keeps the derivative of sqrt away from 0, where it is infinite
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, x)))

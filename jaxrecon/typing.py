"""The array types of the library, as they stand in signatures; axes are named in the order of the house: set, coil, z, y, x.

Axes of one name have one size within a signature; `*name` stands for any number of axes, `...` for axes that are not compared.
The tests check every signature at every call; users' calls are not checked.
"""

from typing import Any, TypeAlias, TypeVar

import jax
import jaxtyping
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Real

AnyArray: TypeAlias = jax.Array | np.ndarray
"""An array of JAX or of NumPy, what functions of jax.numpy take; `Array` alone is one of JAX."""
ArrayKind = TypeVar("ArrayKind", jax.Array, np.ndarray)
"""An array of JAX or of NumPy, of the same kind throughout a signature."""
Scalar: TypeAlias = Real[AnyArray, ""] | np.floating | np.integer | float
"""A real number, traced or not."""
Image: TypeAlias = Complex[AnyArray, "*leading y x"]
"""Complex image (..., y, x); frames, map sets or z lead. All images of a signature have one shape."""
Magnitude: TypeAlias = Float[AnyArray, "*leading y x"]
"""Real image (..., y, x)."""
KSpace: TypeAlias = Complex[AnyArray, "*batch coil y x"]
"""Centred k-space (..., coil, y, x): DC at index n // 2 of each axis; y is the readout. In volumes z is the third last axis."""
CoilImages: TypeAlias = Complex[AnyArray, "*batch coil y x"]
"""The image of each coil, (..., coil, y, x): axes as those of k-space."""
Maps: TypeAlias = Complex[AnyArray, "*set coil y x"]
"""Coil sensitivity maps (coil, y, x), or (set, coil, y, x)."""
Mask: TypeAlias = Bool[AnyArray, "..."] | Real[AnyArray, "..."]
"""Sampling pattern, 1 = measured; broadcasts against k-space, axes of size 1 are constant."""
Trajectory: TypeAlias = Float[AnyArray, "sample ndim"]
"""Non-Cartesian sample positions in radians per pixel, within [-pi, pi], columns ordered as the image axes."""
Key: TypeAlias = jaxtyping.Key[Array, ""]
"""A typed random key (jax.random.key)."""
Params: TypeAlias = Any
"""A PyTree of parameters."""

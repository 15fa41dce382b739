"""The array types of the library, as they stand in signatures; axes are named in the order of the house: set, coil, z, y, x."""

from typing import Any, TypeAlias

import jax
from jaxtyping import Array, Bool, Complex, Float, Inexact

Image: TypeAlias = Complex[Array, "*batch y x"]
"""Complex image (..., y, x); frames or map sets lead."""
Magnitude: TypeAlias = Float[Array, "*batch y x"]
"""Real image (..., y, x)."""
KSpace: TypeAlias = Complex[Array, "*batch coil y x"]
"""Centred k-space (..., coil, y, x): DC at index n // 2 of each axis; y is the readout."""
Maps: TypeAlias = Complex[Array, "*set coil y x"]
"""Coil sensitivity maps (coil, y, x), or (set, coil, y, x)."""
Mask: TypeAlias = Bool[Array, "..."] | Inexact[Array, "..."]
"""Sampling pattern, 1 = measured; broadcasts against k-space, axes of size 1 are constant."""
Trajectory: TypeAlias = Float[Array, "sample ndim"]
"""Non-Cartesian sample positions in radians per pixel, within [-pi, pi], columns ordered as the image axes."""
Key: TypeAlias = jax.Array
"""A typed random key (jax.random.key)."""
Params: TypeAlias = Any
"""A PyTree of parameters."""

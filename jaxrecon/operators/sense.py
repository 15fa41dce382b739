"""The multi-coil forward model: coil maps times an encoding, y_c = E sum_e S_ec x_e."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Complex, Inexact, Shaped

from .. import struct
from ..checks import UserError, check_at_least, check_same_coils
from ..typing import AnyArray, CoilImages, Image, Maps
from .base import LinearOperator
from .cpu import coil_parts


class Encoding(LinearOperator):
    """What a scanner measures of coil images: the LinearOperator E from (..., coil, *space) to (..., coil, *samples).

    To add one: derive from it, with `forward`, `adjoint` and the fast `normal`, and a record of it for data and commands
    (encodings.py). All else, from `Sense` to training, takes it as it is.

    Attributes:
      ndim: number of axes of an image, 2 or 3.
    """

    ndim: int

    @property
    def splits_by_coil(self) -> bool:
        """Whether the normal operator may be applied to some of the coils alone, and gains from it on a CPU."""
        return False

    def coil_images(self, y: Inexact[AnyArray, "..."]) -> Inexact[AnyArray, "..."]:
        """The first picture that samples (..., coil, *samples) give, (..., coil, *space): E^H y, where nothing better is known."""
        return self.adjoint(y)

    def low_resolution(self, y: Inexact[AnyArray, "..."], size: tuple[int, ...]) -> Inexact[AnyArray, "..."]:
        """Coil images (..., coil, *size) of the central `size` of k-space, in the units of the full ones.

        Where samples (..., coil, *samples) have no central part, as here, the first picture at its full size.
        """
        return self.coil_images(y)


@struct.dataclass
class Sense(LinearOperator):
    """y_c = E sum_e S_ec x_e: coil maps, then an encoding of each coil's image.

    Source: Pruessmann et al. 1999; several map sets e (soft-SENSE): Uecker et al. 2014.

    Attributes:
      maps: (..., coil, y, x), or with `sets` (..., set, coil, y, x); leading axes are those of the image, as of neighbouring
        slices with maps of their own. None: the operator acts on coil images (..., coil, y, x) themselves, and a model that
        estimates maps fills them in by `op.replace(maps=...)`.
      encoding: an `Encoding`, the same for all coils.
      sets: whether maps have a set axis; None: if they have one axis more than (coil, y, x).
    """

    maps: Maps | None
    encoding: Any
    sets: bool | None = struct.static(default=False)

    @property
    def ndim(self) -> int:
        """Number of axes of an image, 2 or 3."""
        return self.encoding.ndim

    @property
    def n_sets(self) -> int | None:
        """Number of map sets, or None where the image has no set axis."""
        if self.maps is None:
            return None
        sets = self.maps.ndim == self.ndim + 2 if self.sets is None else self.sets
        return self.maps.shape[-self.ndim - 2] if sets else None

    def forward(self, x: Image) -> Complex[AnyArray, "..."]:
        """Image (..., y, x), with map sets (..., set, y, x), to samples (..., coil, *samples)."""
        return self.encoding.forward(self.expand(x))

    def adjoint(self, y: Complex[AnyArray, "..."]) -> Image:
        """Samples (..., coil, *samples) to image (..., y, x), with map sets (..., set, y, x): for k-space the zero-filled image."""
        coil_images = self.encoding.adjoint(y)
        if self.maps is not None:
            check_same_coils(self.maps, coil_images, axis=-self.ndim - 1)
        return self.combine(coil_images)

    def normal(self, x: Image) -> Image:
        """S^H (E^H E) S x, of the shape of x, with the fast normal operator of E; on a CPU in parts of the coils."""
        parts = [self]
        if self.maps is not None and self.encoding.splits_by_coil:
            parts = [Sense(maps, self.encoding, self.sets) for maps in coil_parts(self.maps, -self.ndim - 1)]
        first, *others = (part.combine(self.encoding.normal(part.expand(x))) for part in parts)
        return sum(others, first)

    def expand(self, x: Image) -> CoilImages | Image:
        """Coil images sum_e S_ec x_e, (..., coil, y, x), of an image (..., [set,] y, x); without maps x itself.

        Raises:
          ValueError: the image has another number of map sets.
        """
        if self.maps is None:
            return x
        if self.n_sets is None:
            check_at_least("image", x, ("z", "y", "x")[-self.ndim :])
            coil_axis = (..., None, *[slice(None)] * self.ndim)
            return with_ndim(self.maps, x.ndim + 1) * x[coil_axis]
        check_at_least("image", x, ("set", "z", "y", "x")[-self.ndim - 1 :])
        if x.shape[-self.ndim - 1] != self.n_sets:
            raise UserError(f"maps have {self.n_sets} sets, but the image's shape (..., set, y, x) is {x.shape}")
        x = jnp.expand_dims(x, -self.ndim - 1)
        return jnp.sum(with_ndim(self.maps, x.ndim) * x, -self.ndim - 2)

    def combine(self, coil_images: CoilImages | Image) -> Image:
        """S^H: sum_c conj(S_ec) u_c, (..., [set,] y, x), of coil images (..., coil, y, x); without maps u itself."""
        if self.maps is None:
            return coil_images
        if self.n_sets is not None:
            coil_images = jnp.expand_dims(coil_images, -self.ndim - 2)
        maps = with_ndim(self.maps, coil_images.ndim)
        return jnp.sum(jnp.conj(maps) * coil_images, -self.ndim - 1)


def with_ndim(a: Shaped[AnyArray, "..."], ndim: int) -> Shaped[AnyArray, "..."]:
    """An array with leading axes of size 1 up to `ndim` axes."""
    return a.reshape((1,) * (ndim - a.ndim) + a.shape)

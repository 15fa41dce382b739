"""Linear convolution in k-space with short kernels, seen as a function of the image and as one of the kernels (J-Sense).

The coil k-space is k_c = s_c * m, the valid part of a linear convolution of an image kernel m with a map kernel s_c. It is
evaluated by transforms on the grid on which m lives, which is so large that what wraps around falls outside of the data:

  s_c * m = sqrt(P Q) Crop F(S_c x),   x = F^-1 m,   S_c = F^-1 Pad s_c      (F: centred and unitary on the grid P x Q)

Both operators leave out the factor sqrt(P Q), so that maps are of order one, and agree: with the image x the one maps s to what
the other, with the maps of s, maps x to.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from .. import struct
from ..fourier import crop_or_pad, fftc, ifftc
from ..typing import KSpace, Mask
from .base import LinearOperator
from .cartesian import CartesianFFT
from .convolution_by_columns import image_normal, map_gram
from .cpu import faster_by_columns
from .kspace_kernels import (
    GridCoilImages,
    GridImage,
    Kernels,
    kernels_to_maps,
    maps_to_kernels,
    matmul,
    pad_mask,
    to_grid,
)
from .sense import Sense


@struct.dataclass
class ImageConvolution(LinearOperator):
    """y_c = M Crop F sum_e S_ec x_e: coil k-space as a function of the image on the grid, map kernels fixed.

    Source: Deep J-Sense, eq. 1 and 3a.

    Attributes:
      kernels: (coil, ky, kx) or (set, coil, ky, kx); None: filled in later.
      mask: 1 = measured; broadcasts against data (y, x); None: all measured.
      shape: (y, x) of the data.
      grid: (P, Q), `linear_grid` or larger.
    """

    kernels: Any
    mask: Mask | None
    shape: tuple[int, int] = struct.static()
    grid: tuple[int, int] = struct.static()

    def forward(self, x: GridImage) -> KSpace:
        """Image (..., [set,] P, Q) to k-space (..., coil, y, x)."""
        return crop_or_pad(self._sense.forward(x), self.shape)

    def adjoint(self, y: KSpace) -> GridImage:
        """K-space (..., coil, y, x) to image (..., [set,] P, Q)."""
        return self._sense.adjoint(crop_or_pad(y, self.grid))

    def normal(self, x: GridImage) -> GridImage:
        """The normal operator of SENSE on the grid, (..., [set,] P, Q), with the mask that ends where the data end."""
        return self._sense.normal(x)

    def combine(self, coil_images: GridCoilImages) -> GridImage:
        """S^H: A^H y, (..., [set,] P, Q), from the coil images (..., coil, P, Q) of `to_grid`."""
        return self._sense.combine(coil_images)

    def prepared_normal(self, *, by_transforms: bool = False) -> Callable[[GridImage], GridImage]:
        """`normal` for many applications to an image ([set,] P, Q): the maps once, or without coils where that is faster."""
        n_coils, ky, kx = self.kernels.shape[-3:]
        n_sets = self.kernels.shape[0] if self.kernels.ndim == 4 else 1
        short = _columns_suffice(self.mask, self.shape, self.grid) and not by_transforms
        if short and faster_by_columns(n_sets, n_coils, self.shape, self.grid, (ky, kx)):
            return image_normal(self.kernels, self.mask, self.shape, self.grid)
        return self._sense.normal

    @property
    def _sense(self):
        return _sense(self.kernels, pad_mask(self.mask, self.shape, self.grid, self.kernels.real.dtype), self.grid)


@struct.dataclass
class MapConvolution(LinearOperator):
    """y_c = M Crop F sum_e x_e F^-1 Pad s_ec: coil k-space as a function of the map kernels, the image fixed.

    Source: Deep J-Sense, eq. 1 and 3b.

    Attributes:
      image: on the grid, (P, Q) or (set, P, Q); None: filled in later.
      mask: as in `ImageConvolution`.
      shape: (y, x) of the data.
      kernel: (ky, kx).
    """

    image: Any
    mask: Mask | None
    shape: tuple[int, int] = struct.static()
    kernel: tuple[int, int] = struct.static()

    def forward(self, x: Kernels) -> KSpace:
        """Kernels ([set,] coil, ky, kx) to k-space (coil, y, x)."""
        return ImageConvolution(x, self.mask, self.shape, self.image.shape[-2:]).forward(self.image)

    def adjoint(self, y: KSpace) -> Kernels:
        """K-space (coil, y, x) to kernels ([set,] coil, ky, kx)."""
        return self.combine(to_grid(y, self.mask, self.image.shape[-2:]))

    def normal(self, x: Kernels) -> Kernels:
        """A^H A of kernels ([set,] coil, ky, kx) by transforms, without the crop: it is part of the mask on the grid."""
        grid = self.image.shape[-2:]
        mask = pad_mask(self.mask, self.shape, grid, x.real.dtype)[None]
        coil_images = _sense(x, None, grid).expand(self.image)
        return self.combine(ifftc(mask**2 * fftc(coil_images)))

    def combine(self, coil_images: GridCoilImages) -> Kernels:
        """A^H y = Crop F (conj(x) u), kernels ([set,] coil, ky, kx), from the coil images u (coil, P, Q) of `to_grid`."""
        image = jnp.expand_dims(self.image, -3)
        coil_images = coil_images.reshape((1,) * (image.ndim - 3) + coil_images.shape)
        return maps_to_kernels(jnp.conj(image) * coil_images, self.kernel)

    def prepared_normal(self, *, by_transforms: bool = False) -> Callable[[Kernels], Kernels]:
        """`normal` for many applications: where the mask has columns only by a matrix that all coils share."""
        if by_transforms or not _columns_suffice(self.mask, self.shape, self.image.shape[-2:]):
            return self.normal
        gram = map_gram(self.image, self.mask, self.shape, self.kernel)

        def normal(kernels):
            per_coil = jnp.moveaxis(kernels, -3, 0)  # (coil, [set,] ky, kx)
            out = matmul(per_coil.reshape(per_coil.shape[0], -1), gram.T)
            return jnp.moveaxis(out.reshape(per_coil.shape), 0, -3)

        return normal


def _sense(kernels, mask, grid):
    """The operator on the grid whose maps have these kernels ([set,] coil, ky, kx)."""
    return Sense(kernels_to_maps(kernels, grid), CartesianFFT(mask), sets=kernels.ndim == 4)


def _columns_suffice(mask, shape, grid):
    """Whether the mask is one of columns (and kernels have rows)."""
    return grid[0] > shape[0] and (mask is None or mask.ndim < 2 or mask.shape[-2] == 1)

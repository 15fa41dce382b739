"""Linear convolution in k-space with short kernels, seen as a function of the image and as one of the kernels (J-Sense).

The coil k-space is k_c = s_c * m, the valid part of a linear convolution of an image kernel m with a map kernel s_c. It is
evaluated by transforms on the grid on which m lives, which is so large that what wraps around falls outside of the data:

  s_c * m = sqrt(P Q) Crop F(S_c x),   x = F^-1 m,   S_c = F^-1 Pad s_c      (F: centred and unitary on the grid P x Q)

Both operators leave out the factor sqrt(P Q), so that maps are of order one, and agree: with the image x the one maps s to what
the other, with the maps of s, maps x to.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax
from jaxtyping import Array, Complex

from ..fourier import crop_or_pad, fftc, ifftc
from ..typing import Image, KSpace, Mask
from .base import LinearOperator
from .cartesian import CartesianSense

Kernels = Complex[Array, "*batch ky kx"]


def linear_grid(shape: tuple[int, int], kernel: tuple[int, int]) -> tuple[int, int]:
    """The smallest grid (P, Q) of an image kernel for data (y, x): n + k - 1, one more where n is odd and k even.

    On it nothing that wraps around reaches the data, and the centre size // 2 is the same point in data, kernel and grid.

    Args:
      shape: (y, x) of the data.
      kernel: (ky, kx) of the map kernels.
    """
    height, width = (n + k - 1 + (n % 2) * (1 - k % 2) for n, k in zip(shape, kernel, strict=True))
    return height, width


def kernels_to_maps(kernels: Kernels, grid: Sequence[int]) -> Complex[Array, "*batch P Q"]:
    """F^-1 Pad s: k-space kernels (..., ky, kx), DC at size // 2, to maps (..., *grid), by two small DFT matrices."""
    rows, columns = _dft(kernels, grid)
    return _matmul(_matmul(rows, kernels), columns.T)


def maps_to_kernels(maps: Complex[Array, "*batch P Q"], kernel: Sequence[int]) -> Kernels:
    """Crop F S, the adjoint of `kernels_to_maps`: (..., P, Q) to (..., *kernel)."""
    example = jax.ShapeDtypeStruct(kernel, maps.dtype)
    rows, columns = _dft(example, maps.shape[-2:])
    return _matmul(rows.conj().T, _matmul(maps, columns.conj()))


def pad_mask(mask: Mask | None, shape: Sequence[int], grid: Sequence[int], dtype=jnp.float32) -> Mask:
    """A mask of data (y, x) as one of the grid: 0 outside of the data; None: all of the data is measured.

    Raises:
      ValueError: the mask has coils or frames.
    """
    mask = jnp.ones((1, 1), dtype) if mask is None else jnp.asarray(mask)
    while mask.ndim > 2 and mask.shape[0] == 1:
        mask = mask[0]
    if mask.ndim > 2:
        raise ValueError(f"the mask must be (x,), (1, x), (y, 1) or (y, x), the same for all coils, not {mask.shape}")
    mask = mask.reshape((1,) * (2 - mask.ndim) + mask.shape)
    return crop_or_pad(jnp.broadcast_to(mask, shape), grid)


@struct.dataclass
class ImageConvolution(LinearOperator):
    """y_c = M Crop F sum_e S_ec x_e: coil k-space as a function of the image on the grid, maps fixed.

    Source: Deep J-Sense, eq. 1 and 3a.

    Attributes:
      maps: F^-1 Pad s on the grid, (coil, P, Q) or (set, coil, P, Q): see `kernels_to_maps`; None: filled in later.
      mask: 1 = measured; broadcasts against data (y, x); None: all measured.
      shape: (y, x) of the data.
    """

    maps: Any
    mask: Mask | None
    shape: tuple[int, int] = struct.field(pytree_node=False)

    def forward(self, x: Image) -> KSpace:
        """Image (..., [set,] P, Q) to k-space (..., coil, y, x)."""
        return crop_or_pad(self._sense.forward(x), self.shape)

    def adjoint(self, y: KSpace) -> Image:
        """K-space (..., coil, y, x) to image (..., [set,] P, Q)."""
        return self._sense.adjoint(crop_or_pad(y, self.maps.shape[-2:]))

    def normal(self, x: Image) -> Image:
        """The normal operator of SENSE on the grid, with the mask that ends where the data end."""
        return self._sense.normal(x)

    def combine(self, coil_images: Image) -> Image:
        """S^H: A^H y from the coil images of `to_grid`."""
        return self._sense.combine(coil_images)

    @property
    def _sense(self):
        dtype = self.maps.real.dtype
        return CartesianSense(self.maps, pad_mask(self.mask, self.shape, self.maps.shape[-2:], dtype))


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
    shape: tuple[int, int] = struct.field(pytree_node=False)
    kernel: tuple[int, int] = struct.field(pytree_node=False)

    def forward(self, x: Kernels) -> KSpace:
        """Kernels ([set,] coil, ky, kx) to k-space (coil, y, x)."""
        maps = kernels_to_maps(x, self.image.shape[-2:])
        return ImageConvolution(maps, self.mask, self.shape).forward(self.image)

    def adjoint(self, y: KSpace) -> Kernels:
        """K-space (coil, y, x) to kernels ([set,] coil, ky, kx)."""
        return self.combine(to_grid(y, self.mask, self.image.shape[-2:]))

    def normal(self, x: Kernels) -> Kernels:
        """By transforms, without the crop: it is part of the mask on the grid."""
        grid = self.image.shape[-2:]
        mask = pad_mask(self.mask, self.shape, grid, x.real.dtype)[None]
        coil_images = CartesianSense(kernels_to_maps(x, grid)).expand(self.image)
        return self.combine(ifftc(mask**2 * fftc(coil_images)))

    def combine(self, coil_images: Image) -> Kernels:
        """Crop F of conj(x) times the coil images (coil, P, Q) of `to_grid`: A^H y."""
        image = jnp.expand_dims(self.image, -3)
        return maps_to_kernels(
            jnp.conj(image) * coil_images.reshape((1,) * (image.ndim - 3) + coil_images.shape), self.kernel
        )

    def prepared_normal(self) -> Callable[[Kernels], Kernels]:
        """`normal` for many applications: where the mask has columns only, by the matrix `gram`."""
        if self.mask is not None and self.mask.ndim > 1 and self.mask.shape[-2] > 1:
            return self.normal
        gram = self.gram()

        def normal(kernels):
            per_coil = jnp.moveaxis(kernels, -3, 0)  # (coil, [set,] ky, kx)
            out = _matmul(per_coil.reshape(per_coil.shape[0], -1), gram.T)
            return jnp.moveaxis(out.reshape(per_coil.shape), 0, -3)

        return normal

    def gram(self) -> Complex[Array, "n n"]:
        """The normal operator as a matrix on one coil's kernels ([set,] ky, kx), raveled: it is the same for all coils.

        With x in k-space along columns only, X_i(y, w) = M(w) x(y, w - i), rows of the kernels enter by phases and the
        full circular correlation is G[(a, i), (b, j)] = sum_y e^{2 pi i y (b - a) / P} sum_w conj(X_i) X_j; the few
        rows of k-space outside of the data are subtracted.

        Returns:
          (n, n), n = [set] ky kx.

        Raises:
          ValueError: the mask changes along y.
        """
        grid, (ky, kx) = self.image.shape[-2:], self.kernel
        mask = pad_mask(self.mask, (1, self.shape[1]), (1, self.shape[1]), self.image.real.dtype)[0]
        image = self.image if self.image.ndim == 3 else self.image[None]
        hybrid = fftc(image, (-1,))
        n_rows, n_sets = grid[0] - self.shape[0] + ky - 1, len(image)

        def columns(x):
            """(set, row, Q) to (row, x, set kx): what the taps of a kernel meet at each position."""
            first = grid[1] // 2 - self.shape[1] // 2 + kx // 2
            taps = [x[..., first - j : first - j + self.shape[1]] for j in range(kx)]
            return mask[None, :, None] * jnp.stack(taps, -1).transpose(1, 2, 0, 3).reshape(x.shape[1], len(mask), -1)

        def product(a):
            """a^H a over the last but one axis."""
            return _matmul(jnp.conj(a).swapaxes(-1, -2), a)

        # y enters by the phases of the lag b - a
        lags = np.arange(1 - ky, ky)
        phases = np.exp(2j * np.pi * np.outer(lags, np.arange(grid[0]) - grid[0] // 2) / grid[0])
        per_row = product(columns(hybrid))
        width = per_row.shape[-1]
        circular = _matmul(jnp.asarray(phases, hybrid.dtype), per_row.reshape(grid[0], -1)).reshape(-1, width, width)
        circular = circular[np.arange(ky)[None] - np.arange(ky)[:, None] + ky - 1]  # (a, b, i, j)
        # rows of k-space that a kernel reaches from a position outside of the data, in circular order
        start = grid[0] // 2 - self.shape[0] // 2 + self.shape[0] + ky // 2 - (ky - 1)
        turns = np.outer(start + np.arange(n_rows) - grid[0] // 2, np.arange(grid[0]) - grid[0] // 2) / grid[0]
        to_rows = jnp.asarray(np.exp(-2j * np.pi * turns) / np.sqrt(grid[0]), hybrid.dtype)
        rows = columns(_matmul(to_rows, hybrid)).swapaxes(0, 1).reshape(len(mask), -1)
        pairs = product(rows).reshape(n_rows, width, n_rows, width)
        outside = sum(pairs[q : q + ky, :, q : q + ky] for q in range(n_rows - ky + 1))
        gram = circular.transpose(0, 2, 1, 3) - outside[::-1, :, ::-1]
        gram = gram.reshape(ky, n_sets, kx, ky, n_sets, kx).transpose(1, 0, 2, 4, 3, 5)
        return gram.reshape(n_sets * ky * kx, -1) / (grid[0] * grid[1])


def to_grid(kspace: KSpace, mask: Mask | None, grid: Sequence[int]) -> Image:
    """F^-1 Pad M y: coil images on the grid (coil, P, Q), from which both operators' `combine` makes A^H y."""
    mask = pad_mask(mask, kspace.shape[-2:], kspace.shape[-2:], kspace.real.dtype)
    return ifftc(crop_or_pad(mask[None] * kspace, grid))


def _dft(kernels, grid):
    """Inverse unitary DFT matrices (P, ky) and (Q, kx) from a few k-space samples to the grid."""
    matrices = []
    for n, k in zip(grid, kernels.shape[-2:], strict=True):
        if k > n:
            raise ValueError(f"map kernels of {kernels.shape[-2:]} do not fit a grid of {tuple(grid)}")
        turns = np.outer(np.arange(n) - n // 2, np.arange(k) - k // 2) / n
        matrices.append(jnp.asarray(np.exp(2j * np.pi * turns) / np.sqrt(n), kernels.dtype))
    return matrices


def _matmul(a, b):
    ndim = max(a.ndim, b.ndim)
    a, b = (m.reshape((1,) * (ndim - m.ndim) + m.shape) for m in (a, b))
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)

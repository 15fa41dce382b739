"""Short k-space kernels, as those of coil maps, on the grid of an image: sizes, transforms and masks."""

from collections.abc import Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Complex, Inexact

from ..checks import UserError, check_broadcasts
from ..fourier import crop_or_pad, ifftc
from ..typing import AnyArray, KSpace, Mask

Kernels: TypeAlias = Complex[AnyArray, "*set coil ky kx"]
"""Map kernels ([set,] coil, ky, kx)."""
GridImage: TypeAlias = Complex[AnyArray, "*leading P Q"]
"""Image on the grid, (..., [set,] P, Q)."""
GridCoilImages: TypeAlias = Complex[AnyArray, "*batch coil P Q"]
"""The image of each coil on the grid, (..., coil, P, Q)."""


def linear_grid(shape: tuple[int, int], kernel: tuple[int, int]) -> tuple[int, int]:
    """The smallest grid (P, Q) of an image kernel for data (y, x): n + k - 1, one more where n is odd and k even.

    On it nothing that wraps around reaches the data, and the centre size // 2 is the same point in data, kernel and grid.

    Args:
      shape: (y, x) of the data.
      kernel: (ky, kx) of the map kernels.

    Example:
      >>> linear_grid((320, 255), (15, 9))
      (334, 263)
    """
    height, width = (n + k - 1 + (n % 2) * (1 - k % 2) for n, k in zip(shape, kernel, strict=True))
    return height, width


def kernels_to_maps(kernels: Kernels, grid: Sequence[int]) -> Complex[Array, "*set coil P Q"]:
    """F^-1 Pad s: k-space kernels to maps, by two small DFT matrices.

    Args:
      kernels: (..., ky, kx), DC at size // 2.
      grid: (P, Q).

    Returns:
      Maps (..., P, Q).
    """
    rows, columns = dft_matrices(kernels, grid)
    return matmul(matmul(rows, kernels), columns.T)


def maps_to_kernels(maps: Complex[AnyArray, "*set coil P Q"], kernel: Sequence[int]) -> Kernels:
    """Crop F S, the adjoint of `kernels_to_maps`.

    Args:
      maps: (..., P, Q).
      kernel: (ky, kx), the size to crop to.

    Returns:
      Kernels (..., ky, kx).
    """
    example = jax.ShapeDtypeStruct(kernel, maps.dtype)
    rows, columns = dft_matrices(example, maps.shape[-2:])
    return matmul(rows.conj().T, matmul(maps, columns.conj()))


def pad_mask(mask: Mask | None, shape: Sequence[int], grid: Sequence[int], dtype=jnp.float32) -> Mask:
    """A mask of the data as one of the grid: 0 outside of the data.

    Args:
      mask: (x,), (1, x), (y, 1) or (y, x), with leading axes of size 1 if any; None: all of the data is measured.
      shape: (y, x) of the data.
      grid: (P, Q).
      dtype: the result's dtype where the mask is None.

    Returns:
      (P, Q).

    Raises:
      ValueError: the mask has coils or frames, or another size than the data.
    """
    mask = jnp.ones((1, 1), dtype) if mask is None else jnp.asarray(mask)
    while mask.ndim > 2 and mask.shape[0] == 1:
        mask = mask[0]
    if mask.ndim > 2:
        raise UserError(f"the mask must be (x,), (1, x), (y, 1) or (y, x), the same for all coils, not {mask.shape}")
    check_broadcasts("the mask", mask.shape, "kspace (y, x)", shape)
    mask = mask.reshape((1,) * (2 - mask.ndim) + mask.shape)
    return crop_or_pad(jnp.broadcast_to(mask, shape), grid)


def to_grid(kspace: KSpace, mask: Mask | None, grid: Sequence[int]) -> GridCoilImages:
    """F^-1 Pad M y: coil images on the grid, from which both operators' `combine` makes A^H y.

    Args:
      kspace: (coil, y, x).
      mask: (x,), (1, x), (y, 1) or (y, x), 1 = measured; None: all of the data is measured.
      grid: (P, Q).

    Returns:
      (coil, P, Q).
    """
    mask = pad_mask(mask, kspace.shape[-2:], kspace.shape[-2:], kspace.real.dtype)
    return ifftc(crop_or_pad(mask[None] * kspace, grid))


def dft_matrices(kernels, grid: Sequence[int]) -> list[Complex[Array, "n k"]]:
    """Inverse unitary DFT matrices (P, ky) and (Q, kx) from a few k-space samples to the grid."""
    matrices = []
    for n, k in zip(grid, kernels.shape[-2:], strict=True):
        if k > n:
            raise UserError(f"map kernels of {kernels.shape[-2:]} do not fit a grid of {tuple(grid)}")
        turns = np.outer(np.arange(n) - n // 2, np.arange(k) - k // 2) / n
        matrices.append(jnp.asarray(np.exp(2j * np.pi * turns) / np.sqrt(n), kernels.dtype))
    return matrices


def matmul(a: Inexact[AnyArray, "..."], b: Inexact[AnyArray, "..."]) -> Inexact[Array, "..."]:
    """A b in full precision; the one with fewer axes is the same for all of the other's leading ones."""
    ndim = max(a.ndim, b.ndim)
    a, b = (m.reshape((1,) * (ndim - m.ndim) + m.shape) for m in (a, b))
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)

"""Both operators of the k-space convolution in forms without coil images, where whole columns of k-space are measured.

The image is taken as h(y, u), y in the image domain and u in k-space along x (hybrid), a kernel as s_c(y, i) with its taps i
along x. Where all rows of the grid P x Q are measured, a coil's k-space is K_c(y, w) = sum_i s_c(y, i) h(y, w - i), each y for
itself, and its columns w are weighed by the mask M(w). So the normal operator on the image couples few columns,

  (B h)(y, u) = sum_d B_d(y, u) h(y, u + d),   B_d(y, u) = sum_i M(u + i)^2 sum_c conj(s_c(y, i)) s_c(y, i - d),

and the one on the kernels is a matrix that all coils share. But the data have fewer rows than the grid. With R the transform of h
to the rows that a kernel reaches from outside of the data, and K the pairs of taps that meet there, summed over coils, what is
too much is subtracted: A^H A h = B h - R^H M K M R h. Used by convolution.py.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex

from ..fourier import fftc, ifftc
from ..typing import Mask
from .kspace_kernels import GridImage, Kernels, dft_matrices, matmul, pad_mask


class Sizes(NamedTuple):
    """The sizes of a convolution, static: (y, x) of the data, (P, Q) of the grid, (ky, kx) of the kernels."""

    data: tuple[int, ...]
    grid: tuple[int, ...]
    kernel: tuple[int, ...]

    @property
    def first_column(self) -> int:
        """The column of the grid where tap 0 of a kernel meets the first column of the data."""
        return self.grid[1] // 2 - self.data[1] // 2 + self.kernel[1] // 2

    @property
    def n_rows(self) -> int:
        """Rows of k-space that a kernel reaches from those outside of the data."""
        return self.grid[0] - self.data[0] + self.kernel[0] - 1


def map_gram(
    image: GridImage, mask: Mask | None, shape: tuple[int, int], kernel: tuple[int, int]
) -> Complex[Array, "n n"]:
    """The normal operator on map kernels as a matrix on one coil's ([set,] ky, kx), raveled: the same for all coils.

    With X_i(y, w) = M(w) x(y, w - i), rows of the kernels enter by phases and the full circular correlation is
    G[(a, i), (b, j)] = sum_y e^{2 pi i y (b - a) / P} sum_w conj(X_i) X_j.

    Args:
      image: on the grid, (P, Q) or (set, P, Q).
      mask: (x,) or (1, x), or None.
      shape: (y, x) of the data.
      kernel: (ky, kx).

    Returns:
      (n, n), n = [set] ky kx.
    """
    grid, (ky, kx) = image.shape[-2:], kernel
    sizes, mask = Sizes(shape, grid, kernel), _column_mask(mask, shape, image.real.dtype)
    image = image if image.ndim == 3 else image[None]
    hybrid, n_sets, n_rows = fftc(image, (-1,)), len(image), sizes.n_rows
    columns = functools.partial(_columns, sizes, mask)

    def product(a):
        """a^H a over the last but one axis."""
        return matmul(jnp.conj(a).swapaxes(-1, -2), a)

    lags = np.outer(np.arange(1 - ky, ky), np.arange(grid[0]) - grid[0] // 2) / grid[0]
    per_row = product(columns(hybrid).transpose(2, 3, 1, 0).reshape(grid[0], shape[1], -1))
    width = per_row.shape[-1]
    circular = matmul(jnp.asarray(np.exp(2j * np.pi * lags), hybrid.dtype), per_row.reshape(grid[0], -1))
    circular = circular.reshape(-1, width, width)[np.arange(ky)[None] - np.arange(ky)[:, None] + ky - 1]  # (a, b, i, j)
    rows = columns(matmul(_to_rows(sizes, hybrid.dtype), hybrid))
    rows = rows.transpose(3, 2, 1, 0).reshape(shape[1], -1)
    pairs = product(rows).reshape(n_rows, width, n_rows, width)
    outside = sum(pairs[q : q + ky, :, q : q + ky] for q in range(n_rows - ky + 1))
    gram = circular.transpose(0, 2, 1, 3) - outside[::-1, :, ::-1]
    gram = gram.reshape(ky, n_sets, kx, ky, n_sets, kx).transpose(1, 0, 2, 4, 3, 5)
    return gram.reshape(n_sets * ky * kx, -1) / (grid[0] * grid[1])


def image_normal(
    kernels: Kernels, mask: Mask | None, shape: tuple[int, int], grid: tuple[int, int]
) -> Callable[[GridImage], GridImage]:
    """The normal operator on the image ([set,] P, Q), all coils together; its gradient keeps only x of each application.

    Args:
      kernels: ([set,] coil, ky, kx).
      mask: (x,) or (1, x), or None.
      shape: (y, x) of the data.
      grid: (P, Q).
    """
    sizes, mask = Sizes(shape, grid, kernels.shape[-2:]), _column_mask(mask, shape, kernels.real.dtype)
    kernels = kernels if kernels.ndim == 4 else kernels[None]
    diagonals, pairs = _diagonals(sizes, mask, kernels), _pairs_outside(sizes, kernels)

    def normal(x):
        hybrid = fftc(x.reshape(-1, *grid), (-1,))
        return ifftc(_normal_by_diagonals(sizes, diagonals, pairs, mask, hybrid), (-1,)).reshape(x.shape)

    return normal


def _column_mask(mask, shape, dtype):
    return pad_mask(mask, (1, shape[1]), (1, shape[1]), dtype)[0]


def _diagonals(sizes, mask, kernels):
    """B_d for d = 0 .. kx - 1, (kx, set, set, P, Q), of kernels (set, coil, ky, kx); those below are their mirror images."""
    _, n_columns = sizes.data
    height, width = sizes.grid
    kx = sizes.kernel[1]
    along_y = matmul(dft_matrices(kernels, sizes.grid)[0], kernels).transpose(2, 0, 3, 1)  # (P, set, kx, coil)
    flat = along_y.reshape(height, -1, along_y.shape[-1])
    pairs = matmul(jnp.conj(flat), flat.swapaxes(-1, -2)).reshape(*along_y.shape[:3], *along_y.shape[1:3])
    column = np.arange(width)[None] - sizes.first_column + np.arange(kx)[:, None]  # where tap i puts column u
    inside = (column >= 0) & (column < n_columns)
    weights = jnp.where(inside, mask[np.clip(column, 0, n_columns - 1)] ** 2, 0) / width
    diagonals = []
    for d in range(kx):
        taps = jnp.stack([pairs[:, :, i, :, i - d] for i in range(d, kx)], -1)  # (P, set, set, i)
        diagonals.append(matmul(taps.transpose(1, 2, 0, 3), weights[d:].astype(pairs.dtype)))
    return jnp.stack(diagonals)


def _pairs_outside(sizes, kernels):
    """K: pairs of taps that meet in the rows outside of the data, a matrix on the (kx set row) of `_outside`."""
    (n_rows, _), (height, width), (ky, _) = sizes
    taps = kernels[..., ::-1, :].transpose(3, 0, 2, 1)  # (kx, set, ky, coil)
    flat = taps.reshape(-1, taps.shape[-1])
    pairs = matmul(jnp.conj(flat), flat.T).reshape(-1, ky, flat.shape[0] // ky, ky) / (height * width)
    last = height - n_rows - 1
    moved = [jnp.pad(pairs, [(0, 0), (q, last - q)] * 2) for q in range(last + 1)]
    n = pairs.shape[0] * (ky + last)
    return sum(moved[1:], moved[0]).reshape(n, n)


def _columns(sizes, mask, x):
    """(..., Q) to M (kx, ..., x): what the taps of a kernel meet at each position."""
    starts = [sizes.first_column - j for j in range(sizes.kernel[1])]
    return mask.reshape((1,) * x.ndim + (-1,)) * jnp.stack([x[..., s : s + sizes.data[1]] for s in starts])


def _to_rows(sizes, dtype):
    """R: the DFT (row, P) to the rows of k-space that a kernel reaches from outside of the data, in circular order."""
    n_rows, n, ky = sizes.data[0], sizes.grid[0], sizes.kernel[0]
    start = n // 2 - n_rows // 2 + n_rows + ky // 2 - (ky - 1)
    turns = np.outer(start + np.arange(sizes.n_rows) - n // 2, np.arange(n) - n // 2) / n
    return jnp.asarray(np.exp(-2j * np.pi * turns) / np.sqrt(n), dtype)


def _outside(sizes, mask, hybrid):
    """M R h: what the taps of a kernel meet in the rows outside of the data, (kx set row, x), of h (set, P, Q)."""
    columns = _columns(sizes, mask, matmul(_to_rows(sizes, hybrid.dtype), hybrid))
    return columns.reshape(-1, columns.shape[-1])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _normal_by_diagonals(sizes, diagonals, pairs, mask, hybrid):
    """B h - R^H M K M R h, Hermitian: its gradient is written out, so that nothing but h is kept of each application."""
    n_columns, width, kx = sizes.data[1], sizes.grid[1], sizes.kernel[1]
    out = jnp.sum(diagonals[0] * hybrid[None], 1)
    for d in range(1, kx):  # a diagonal above and its mirror image below
        above = jnp.sum(diagonals[d, ..., :-d] * hybrid[None, ..., d:], 1)
        below = jnp.sum(jnp.conj(diagonals[d, ..., :-d]) * hybrid[:, None, ..., :-d], 0)
        out = out + jnp.pad(above, [(0, 0), (0, 0), (0, d)]) + jnp.pad(below, [(0, 0), (0, 0), (d, 0)])
    spread = matmul(pairs, _outside(sizes, mask, hybrid)).reshape(kx, len(hybrid), -1, n_columns)
    spread = spread * mask[None, None, None]
    rows, first = jnp.zeros((*spread.shape[1:3], width), out.dtype), sizes.first_column
    for j in range(kx):
        rows = rows.at[..., first - j : first - j + n_columns].add(spread[j])
    return out - matmul(_to_rows(sizes, out.dtype).conj().T, rows)


def _normal_forward(sizes, diagonals, pairs, mask, hybrid):
    return _normal_by_diagonals(sizes, diagonals, pairs, mask, hybrid), (diagonals, pairs, mask, hybrid)


def _normal_backward(sizes, residuals, cotangent):
    diagonals, pairs, mask, x = residuals
    g = jnp.conj(cotangent)
    g_diagonals = []
    for d in range(sizes.kernel[1]):
        above = jnp.conj(g)[:, None, ..., : x.shape[-1] - d] * x[None, ..., d:]
        below = jnp.conj(x)[None, ..., : x.shape[-1] - d] * g[:, None, ..., d:]
        both = above if d == 0 else above + below.swapaxes(0, 1)
        g_diagonals.append(jnp.pad(both, [(0, 0)] * 3 + [(0, d)]))
    everywhere = jnp.ones_like(mask)
    of_g, of_x = (_outside(sizes, everywhere, a) for a in (g, x))
    g_pairs = -matmul(jnp.conj(mask[None] * of_g), (mask[None] * of_x).T)
    both = jnp.conj(of_g) * matmul(pairs, mask[None] * of_x) + of_x * jnp.conj(matmul(pairs, mask[None] * of_g))
    g_mask = -jnp.sum(both.real, 0)
    g_x = jnp.conj(_normal_by_diagonals(sizes, diagonals, pairs, mask, g))
    return jnp.stack(g_diagonals), g_pairs, g_mask, g_x


_normal_by_diagonals.defvjp(_normal_forward, _normal_backward)

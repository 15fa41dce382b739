"""Both operators of the k-space convolution in forms without coil images, where whole columns of k-space are measured.

With y in the image domain and x in k-space (hybrid), a line mask weighs columns, and a kernel's taps along x reach a few of
them. What the data's end along y changes concerns few rows of k-space and is subtracted. Used by convolution.py.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex

from ..fourier import fftc, ifftc
from ..typing import Mask
from .kspace_kernels import GridImage, Kernels, dft_matrices, matmul, pad_mask


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
    static, mask = (shape, grid, kernel), _column_mask(mask, shape, image.real.dtype)
    image = image if image.ndim == 3 else image[None]
    hybrid, n_sets, n_rows = fftc(image, (-1,)), len(image), grid[0] - shape[0] + ky - 1
    columns = functools.partial(_columns, static, mask)

    def product(a):
        """a^H a over the last but one axis."""
        return matmul(jnp.conj(a).swapaxes(-1, -2), a)

    lags = np.outer(np.arange(1 - ky, ky), np.arange(grid[0]) - grid[0] // 2) / grid[0]
    per_row = product(columns(hybrid).transpose(2, 3, 1, 0).reshape(grid[0], shape[1], -1))
    width = per_row.shape[-1]
    circular = matmul(jnp.asarray(np.exp(2j * np.pi * lags), hybrid.dtype), per_row.reshape(grid[0], -1))
    circular = circular.reshape(-1, width, width)[np.arange(ky)[None] - np.arange(ky)[:, None] + ky - 1]  # (a, b, i, j)
    rows = columns(matmul(_to_rows(static, hybrid.dtype), hybrid))
    rows = rows.transpose(3, 2, 1, 0).reshape(shape[1], -1)
    pairs = product(rows).reshape(n_rows, width, n_rows, width)
    outside = sum(pairs[q : q + ky, :, q : q + ky] for q in range(n_rows - ky + 1))
    gram = circular.transpose(0, 2, 1, 3) - outside[::-1, :, ::-1]
    gram = gram.reshape(ky, n_sets, kx, ky, n_sets, kx).transpose(1, 0, 2, 4, 3, 5)
    return gram.reshape(n_sets * ky * kx, -1) / (grid[0] * grid[1])


def image_normal(
    kernels: Kernels, mask: Mask | None, shape: tuple[int, int], grid: tuple[int, int]
) -> Callable[[GridImage], GridImage]:
    """The normal operator on the image ([set,] P, Q), all coils together; of each application its gradient keeps x alone.

    The kernels at a column together are a matrix with 2 kx - 1 diagonals for each y:
    B_d(y, u) = sum_i M(u + i)^2 sum_c conj(s_c(y, i)) s_c(y, i - d).

    Args:
      kernels: ([set,] coil, ky, kx).
      mask: (x,) or (1, x), or None.
      shape: (y, x) of the data.
      grid: (P, Q).
    """
    static, mask = (shape, grid, kernels.shape[-2:]), _column_mask(mask, shape, kernels.real.dtype)
    kernels = kernels if kernels.ndim == 4 else kernels[None]
    diagonals, outside = _diagonals(static, mask, kernels), _outside(static, kernels)

    def normal(x):
        hybrid = fftc(x.reshape(-1, *grid), (-1,))
        return ifftc(_normal_by_diagonals(static, diagonals, outside, mask, hybrid), (-1,)).reshape(x.shape)

    return normal


def pays(n_sets: int, n_coils: int, shape: Sequence[int], grid: Sequence[int], kernel: Sequence[int]) -> bool:
    """Whether `image_normal` is faster than transforms of all coils: on a CPU both took as long for 8 coils of 160 x 128."""
    taps_outside = n_sets * kernel[1] * (grid[0] - shape[0] + kernel[0] - 1)
    return 40 * n_coils * grid[0] * grid[1] > n_sets * shape[1] * taps_outside**2


def _column_mask(mask, shape, dtype):
    return pad_mask(mask, (1, shape[1]), (1, shape[1]), dtype)[0]


def _diagonals(static, mask, kernels):
    """B_d for d = 0 .. kx - 1, (kx, set, set, P, Q), of kernels (set, coil, ky, kx)."""
    shape, grid, (_, kx) = static
    along_y = matmul(dft_matrices(kernels, grid)[0], kernels).transpose(2, 0, 3, 1)  # (P, set, kx, coil)
    flat = along_y.reshape(grid[0], -1, along_y.shape[-1])
    pairs = matmul(jnp.conj(flat), flat.swapaxes(-1, -2)).reshape(*along_y.shape[:3], *along_y.shape[1:3])
    column = np.arange(grid[1])[None] - _first(*static) + np.arange(kx)[:, None]  # where tap i puts column u
    inside = (column >= 0) & (column < shape[1])
    weights = jnp.where(inside, mask[np.clip(column, 0, shape[1] - 1)] ** 2, 0) / grid[1]
    diagonals = []
    for d in range(kx):
        taps = jnp.stack([pairs[:, :, i, :, i - d] for i in range(d, kx)], -1)  # (P, set, set, i)
        diagonals.append(matmul(taps.transpose(1, 2, 0, 3), weights[d:].astype(pairs.dtype)))
    return jnp.stack(diagonals)


def _outside(static, kernels):
    """Pairs of taps (kx set row) that meet in the rows outside of the data, as a matrix; see `_reached`."""
    shape, grid, (ky, _) = static
    taps = kernels[..., ::-1, :].transpose(3, 0, 2, 1)  # (kx, set, ky, coil)
    flat = taps.reshape(-1, taps.shape[-1])
    pairs = matmul(jnp.conj(flat), flat.T).reshape(-1, ky, flat.shape[0] // ky, ky) / (grid[0] * grid[1])
    last = grid[0] - shape[0] - 1
    moved = [jnp.pad(pairs, [(0, 0), (q, last - q)] * 2) for q in range(last + 1)]
    n = pairs.shape[0] * (ky + last)
    return sum(moved[1:], moved[0]).reshape(n, n)


def _first(shape, grid, kernel):
    """The column of the grid where tap 0 of a kernel meets the first column of the data."""
    return grid[1] // 2 - shape[1] // 2 + kernel[1] // 2


def _columns(static, mask, x):
    """(..., Q) to M (kx, ..., x): what the taps of a kernel meet at each position."""
    shape, _, kernel = static
    starts = [_first(*static) - j for j in range(kernel[1])]
    return mask.reshape((1,) * x.ndim + (-1,)) * jnp.stack([x[..., s : s + shape[1]] for s in starts])


def _to_rows(static, dtype):
    """DFT (row, P) to the rows of k-space that a kernel reaches from those outside of the data, in circular order."""
    shape, (n, _), (ky, _) = static
    start = n // 2 - shape[0] // 2 + shape[0] + ky // 2 - (ky - 1)
    turns = np.outer(start + np.arange(n - shape[0] + ky - 1) - n // 2, np.arange(n) - n // 2) / n
    return jnp.asarray(np.exp(-2j * np.pi * turns) / np.sqrt(n), dtype)


def _reached(static, mask, hybrid):
    """Hybrid image (set, P, Q) at what the rows outside of the data meet, (kx set row, x)."""
    columns = _columns(static, mask, matmul(_to_rows(static, hybrid.dtype), hybrid))
    return columns.reshape(-1, columns.shape[-1])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _normal_by_diagonals(static, diagonals, outside, mask, hybrid):
    """B x - R^H K R x, Hermitian: its gradient is written out, so that nothing but x is kept of each application."""
    shape, grid, kernel = static
    out = jnp.sum(diagonals[0] * hybrid[None], 1)
    for d in range(1, kernel[1]):  # a diagonal above and its mirror image below
        above = jnp.sum(diagonals[d, ..., :-d] * hybrid[None, ..., d:], 1)
        below = jnp.sum(jnp.conj(diagonals[d, ..., :-d]) * hybrid[:, None, ..., :-d], 0)
        out = out + jnp.pad(above, [(0, 0), (0, 0), (0, d)]) + jnp.pad(below, [(0, 0), (0, 0), (d, 0)])
    spread = matmul(outside, _reached(static, mask, hybrid)).reshape(kernel[1], len(hybrid), -1, shape[1])
    spread = spread * mask[None, None, None]
    rows, first = jnp.zeros((*spread.shape[1:3], grid[1]), out.dtype), _first(*static)
    for j in range(kernel[1]):
        rows = rows.at[..., first - j : first - j + shape[1]].add(spread[j])
    return out - matmul(_to_rows(static, out.dtype).conj().T, rows)


def _normal_forward(static, diagonals, outside, mask, hybrid):
    return _normal_by_diagonals(static, diagonals, outside, mask, hybrid), (diagonals, outside, mask, hybrid)


def _normal_backward(static, residuals, cotangent):
    diagonals, outside, mask, x = residuals
    g = jnp.conj(cotangent)
    g_diagonals = []
    for d in range(static[2][1]):
        above = jnp.conj(g)[:, None, ..., : x.shape[-1] - d] * x[None, ..., d:]
        below = jnp.conj(x)[None, ..., : x.shape[-1] - d] * g[:, None, ..., d:]
        both = above if d == 0 else above + below.swapaxes(0, 1)
        g_diagonals.append(jnp.pad(both, [(0, 0)] * 3 + [(0, d)]))
    everywhere = jnp.ones_like(mask)
    of_g, of_x = (_reached(static, everywhere, a) for a in (g, x))
    g_outside = -matmul(jnp.conj(mask[None] * of_g), (mask[None] * of_x).T)
    both = jnp.conj(of_g) * matmul(outside, mask[None] * of_x) + of_x * jnp.conj(matmul(outside, mask[None] * of_g))
    g_mask = -jnp.sum(both.real, 0)
    g_x = jnp.conj(_normal_by_diagonals(static, diagonals, outside, mask, g))
    return jnp.stack(g_diagonals), g_outside, g_mask, g_x


_normal_by_diagonals.defvjp(_normal_forward, _normal_backward)

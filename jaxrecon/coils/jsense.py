"""JSENSE: coil maps and image together, as short k-space kernels fitted to the calibration region."""

import functools
from typing import NamedTuple, TypedDict, Unpack

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from ..checks import check_at_least, check_calibration
from ..classical.cg import cg
from ..complex_ops import rss
from ..fourier import crop_or_pad, ifftc
from ..host import native
from ..typing import AnyArray


class JsenseResult(NamedTuple):
    """What JSENSE finds, and the data it was fitted to.

    Source: Ying and Sheng 2007 (JSENSE).
    """

    maps: Complex[Array, "coil *z y x"]
    """(coil, y, x), divided by their RSS if so asked."""
    map_kernels: Complex[Array, "coil *kz ky kx"]
    """(coil, kernel_width, kernel_width), k-space, DC at index kernel_width // 2."""
    image_kernel: Complex[Array, "*gz gy gx"]
    """(calib_size + kernel_width - 1,) * 2, k-space."""
    calib: Complex[Array, "coil *cz cy cx"]
    """The calibration region, of norm 1."""
    weights: Float[Array, "*cz cy cx"]
    """1 where a position is sampled, else 0."""


class JsenseOptions(TypedDict, total=False):
    """The options of `jsense`, as `jsense_kernels` explains them."""

    kernel_width: int
    calib_size: int
    lam: float
    n_outer: int
    n_cg: int
    normalize: bool


def jsense(kspace: Complex[AnyArray, "coil *z y x"], **options: Unpack[JsenseOptions]) -> Complex[Array, "coil *z y x"]:
    """Coil sensitivity maps by joint estimation of the maps and the image.

    min over (m, r) of 1/2 ||W (m_c * r - y_c)||^2 + lam/2 (||m||^2 + ||r||^2), see `jsense_kernels`.

    Args:
      kspace: (coil, y, x) or (coil, z, y, x), centered; only its center is read, which may be undersampled.
      **options: those of `jsense_kernels`, which also gives the kernels: kernel_width, calib_size, lam, n_outer ...

    Returns:
      (coil, y, x), complex as kspace.

    Raises:
      ValueError: sizes that do not fit each other; no sample in the calibration region, or NaN (checked on concrete
        arrays only, not under `jit`).

    Source: Ying and Sheng 2007 (JSENSE), with the truncated kernels of sigpy's `JsenseRecon`.

    Example:
      >>> jsense(jnp.ones((4, 32, 30), complex), calib_size=12, kernel_width=4).shape
      (4, 32, 30)
    """
    return jsense_kernels(kspace, **options).maps


def jsense_kernels(
    kspace: Complex[AnyArray, "coil *z y x"],
    *,
    kernel_width: int = 16,
    calib_size: int = 24,
    lam: float = 0,
    n_outer: int = 10,
    n_cg: int = 10,
    normalize: bool = True,
) -> JsenseResult:
    """JSENSE with everything it finds: maps, their k-space kernels, the image's kernel, the data fitted.

    m_c * r is the valid part of the linear convolution. From m = 0 and r a centered delta each alternation solves
    (A_r^H W A_r + lam) m = A_r^H W y, then (A_m^H W A_m + lam) r = A_m^H W y, each by n_cg conjugate gradient
    iterations from the previous solution, all coils in one inner product.

    Args:
      kspace: (coil, y, x) or (coil, z, y, x), centered.
      kernel_width: width of the maps in k-space, in samples (sigpy's default; GLEAM names 8).
      calib_size: width of the calibration region in samples.
      lam: Tikhonov weight, for calibration data of norm 1.
      n_outer: alternations.
      n_cg: conjugate gradient iterations for each of maps and image in an alternation; the truncation regularizes.
      normalize: divide the maps by their RSS. They are defined everywhere, but mean nothing where there is no signal.

    Returns:
      JsenseResult.

    Raises:
      ValueError: as `jsense`.

    Source: Ying and Sheng 2007 (JSENSE), with the truncated kernels of sigpy's `JsenseRecon`.
    """
    check_at_least("kspace", kspace, ("coil", "y", "x"))
    kspace = native(kspace)
    check_calibration(kspace, calib_size, kernel_width, complete=False)
    fitted = _fit(kspace, lam, kernel_width=kernel_width, calib_size=calib_size, n_outer=n_outer, n_cg=n_cg)
    return JsenseResult(_maps(fitted[0], shape=kspace.shape[1:], normalize=normalize), *fitted)


@functools.partial(jax.jit, static_argnames=("shape", "normalize"))
def _maps(map_kernels, *, shape, normalize):
    maps = ifftc(crop_or_pad(map_kernels, shape), tuple(range(1, map_kernels.ndim)))
    if not normalize:
        return maps
    length = rss(maps, 0)[None]
    return maps / jnp.where(length > 0, length, 1)


@functools.partial(jax.jit, static_argnames=("kernel_width", "calib_size", "n_outer", "n_cg"))
def _fit(kspace, lam, *, kernel_width, calib_size, n_outer, n_cg):
    """All of a JsenseResult but the maps."""
    n_coils, *shape = kspace.shape
    space = tuple(range(1, 1 + len(shape)))
    calib = crop_or_pad(kspace, (calib_size,) * len(shape))
    weights = (jnp.abs(calib) > 0).any(0).astype(calib.real.dtype)
    calib = calib / jnp.linalg.norm(calib.ravel())
    grid = (calib_size + kernel_width - 1,) * len(shape)
    # cyclic convolution on `grid` wraps around only in front of the valid part, which starts here
    valid = (slice(None),) + (slice(kernel_width - 1, None),) * len(shape)
    kernel = (slice(None),) + (slice(kernel_width),) * len(shape)
    front = [(0, 0)] + [(kernel_width - 1, 0)] * len(shape)

    def to_grid(x):
        return jnp.fft.fftn(x, s=grid, axes=space)

    def from_grid(x):
        return jnp.fft.ifftn(x, axes=space)

    def weighted(y):  # V^H W V y on the grid: the valid part, weighted, back in its place
        return to_grid(jnp.pad(weights[None] * from_grid(y)[valid], front))

    data = to_grid(jnp.pad(weights[None] * calib, front))

    def alternate(_, kernels):
        maps, image = kernels
        r = to_grid(image[None])
        maps = cg(
            lambda m: from_grid(r.conj() * weighted(r * to_grid(m)))[kernel] + lam * m,
            from_grid(r.conj() * data)[kernel],
            x0=maps,
            n_iter=n_cg,
        )
        s = to_grid(maps)
        image = cg(
            lambda q: from_grid((s.conj() * weighted(s * to_grid(q[None]))).sum(0, keepdims=True))[0] + lam * q,
            from_grid((s.conj() * data).sum(0, keepdims=True))[0],
            x0=image,
            n_iter=n_cg,
        )
        return maps, image

    maps = jnp.zeros((n_coils, *(kernel_width,) * len(shape)), calib.dtype)
    image = crop_or_pad(jnp.ones((1,) * len(shape), calib.dtype), grid)
    map_kernels, image_kernel = jax.lax.fori_loop(0, n_outer, alternate, (maps, image))
    return map_kernels, image_kernel, calib, weights

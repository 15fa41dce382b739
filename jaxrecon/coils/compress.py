"""Coil compression: fewer virtual coils that keep nearly all energy, one matrix for all or one per readout position.

Source: Buehrer et al. 2007 and Huang et al. 2008 (one matrix), Zhang et al. 2013 (one per readout position).
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex

from ..checks import UserError, check_at_least, check_calibration
from ..fourier import crop_or_pad, fftc, ifftc
from ..host import native
from ..typing import AnyArray


def svd_compression(
    kspace: Complex[AnyArray, "coil *z y x"], *, n_virtual: int, calib_size: int = 24
) -> Complex[Array, "virtual coil"]:
    """The compression matrix U^H: u_v the first left singular vectors of the calibration data (coil, samples).

    Args:
      kspace: (coil, y, x) or (coil, z, y, x), centered.
      n_virtual: number of virtual coils.
      calib_size: width of the calibration region in samples (it may be incomplete).

    Returns:
      (virtual, coil), orthonormal rows in the order of their energy, each up to a phase; apply with `compress`.

    Raises:
      ValueError: more virtual coils than coils; no sample in the calibration region (concrete arrays only).

    Source: Buehrer et al. 2007, Huang et al. 2008. BART's `cc -S` stores the conjugate of this matrix.

    Example:
      >>> kspace = jnp.asarray(np.random.default_rng(0).standard_normal((4, 16, 15)) + 0j)
      >>> matrix = svd_compression(kspace, n_virtual=2, calib_size=8)
      >>> compress(kspace, matrix).shape
      (2, 16, 15)
    """
    _check(kspace, n_virtual, calib_size)
    calib = crop_or_pad(native(kspace), (calib_size,) * (kspace.ndim - 1))
    return _leading(calib.reshape(kspace.shape[0], -1), n_virtual)


def gcc_compression(
    kspace: Complex[AnyArray, "coil *z y x"],
    *,
    n_virtual: int,
    calib_size: int = 24,
    readout_axis: int = -2,
    window: int = 5,
) -> Complex[Array, "virtual coil readout"]:
    """Geometric coil compression: one matrix per readout position, aligned so that virtual coils vary smoothly.

    Per position x of the hybrid space (inverse FFT along the readout) A_x = U^H, U the left singular vectors of the
    calibration data at x - window // 2 .. x + window // 2; then, from the first to the last x,
    A_x <- P A_x with P = U V^H the polar factor of A_{x-1} A_x^H = U S V^H.

    Args:
      kspace: (coil, y, x) or (coil, z, y, x), centered.
      n_virtual: number of virtual coils; the alignment is among these.
      calib_size: width of the calibration region in samples.
      readout_axis: the readout among the axes of kspace, the y axis unless said.
      window: number of positions whose data are taken together, odd; fewer at the ends.

    Returns:
      (virtual, coil, readout), orthonormal rows at each position; apply with `compress` and the same readout_axis.

    Raises:
      ValueError: as `svd_compression`; a readout axis that is the coil axis or none.

    Source: Zhang et al. 2013.
    """
    _check(kspace, n_virtual, calib_size)
    if window < 1 or window % 2 == 0:
        raise UserError(f"window is {window}: wanted an odd number of readout positions")
    return _gcc(
        native(kspace),
        n_virtual=n_virtual,
        calib_size=calib_size,
        readout_axis=_checked_axis(readout_axis, kspace.ndim),
        window=window,
    )


@functools.partial(jax.jit, static_argnames=("n_virtual", "calib_size", "readout_axis", "window"))
def _gcc(kspace, *, n_virtual, calib_size, readout_axis, window):
    calib = crop_or_pad(kspace, (calib_size,) * (kspace.ndim - 1))
    calib = jnp.moveaxis(calib, readout_axis, -1).reshape(kspace.shape[0], -1, calib_size)
    n_readout = kspace.shape[readout_axis]
    hybrid = ifftc(crop_or_pad(calib, (n_readout,)), (-1,))  # (coil, sample, readout)
    half = window // 2
    padded = jnp.pad(hybrid, ((0, 0), (0, 0), (half, half)))
    near = jnp.concatenate([padded[..., i : i + n_readout] for i in range(window)], 1)
    matrices = jax.vmap(lambda data: _leading(data, n_virtual))(jnp.moveaxis(near, -1, 0))

    def align(previous, matrix):
        u, _, vh = jnp.linalg.svd(jnp.matmul(previous, matrix.conj().T, precision="highest"))
        matrix = jnp.matmul(jnp.matmul(u, vh, precision="highest"), matrix, precision="highest")
        return matrix, matrix

    _, matrices = jax.lax.scan(align, matrices[0], matrices)
    return jnp.moveaxis(matrices, 0, -1)


def compress(
    kspace: Complex[AnyArray, "coil *z y x"],
    matrix: Complex[AnyArray, "virtual coil *readout"],
    *,
    readout_axis: int = -2,
) -> Complex[Array, "virtual *z y x"]:
    """Virtual coils y'_v = sum_c A_vc y_c, with one matrix, or with one per readout position in hybrid space.

    Args:
      kspace: (coil, y, x) or (coil, z, y, x), centered.
      matrix: (virtual, coil) of `svd_compression`, or (virtual, coil, readout) of `gcc_compression`.
      readout_axis: the readout among the axes of kspace; used by the second form only.

    Returns:
      (virtual, y, x), centered k-space. Maps are compressed the same way, by the first form.

    Raises:
      ValueError: coils or readout positions of matrix and kspace differ.
    """
    check_at_least("kspace", kspace, ("coil", "y", "x"))
    if matrix.shape[1] != kspace.shape[0]:
        raise UserError(
            f"matrix (virtual, coil) is for {matrix.shape[1]} coils, kspace has {kspace.shape[0]}: "
            "was it made from other data?"
        )
    kspace, matrix = native(kspace), native(matrix)
    if matrix.ndim == 2:
        return jnp.tensordot(matrix, kspace, 1, precision="highest")
    axis = _checked_axis(readout_axis, kspace.ndim)
    if matrix.shape[2] != kspace.shape[axis]:
        raise UserError(
            f"matrix is for {matrix.shape[2]} readout positions, kspace has {kspace.shape[axis]}: "
            f"is the readout another axis than {readout_axis}?"
        )
    hybrid = jnp.moveaxis(ifftc(kspace, (axis,)), axis, -1)
    hybrid = jnp.einsum("vcr,c...r->v...r", matrix, hybrid, precision="highest")
    return fftc(jnp.moveaxis(hybrid, -1, axis), (axis,))


def _leading(data, n_virtual):
    """U^H, the conjugate of the first left singular vectors of data (coil, sample) as rows."""
    return jnp.linalg.svd(data, full_matrices=False)[0][:, :n_virtual].conj().T


def _check(kspace, n_virtual, calib_size):
    check_at_least("kspace", kspace, ("coil", "y", "x"))
    if not 1 <= n_virtual <= kspace.shape[0]:
        raise UserError(f"n_virtual is {n_virtual}, but kspace has {kspace.shape[0]} coils: wanted 1 to that many")
    check_calibration(kspace, calib_size, complete=False)


def _checked_axis(readout_axis, ndim):
    if readout_axis % ndim == 0 or not -ndim <= readout_axis < ndim:
        raise UserError(
            f"readout_axis is {readout_axis}: wanted a spatial axis of kspace, which has {ndim} axes, coil first"
        )
    return readout_axis % ndim

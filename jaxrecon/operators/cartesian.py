"""The Cartesian encoding E = M F: centred unitary FFT and sampling mask, in 2D, 3D and of frames."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Complex

from .. import struct
from ..fourier import crop_or_pad, fftc, ifftc
from ..typing import CoilImages, Image, KSpace, Maps, Mask
from .sense import Encoding, Sense, with_ndim


@struct.dataclass
class CartesianFFT(Encoding):
    """y = M F u: coil images (..., coil, y, x) to k-space of the same shape, 0 where not measured.

    Attributes:
      mask: 1 = measured; broadcasts against k-space (..., coil, y, x): (y, x), (1, x), (x,), frames (frame, 1, y, x); None: all
        measured. Along axes of size 1 the normal operator needs no FFT: a line mask costs 1D transforms only.
      ndim: 2, or 3 for (coil, z, y, x).
    """

    mask: Mask | None = None
    ndim: int = struct.static(default=2)

    @property
    def splits_by_coil(self) -> bool:
        """True where there is an FFT to share out, and coils have no masks of their own."""
        return self.mask is not None and (self.mask.ndim <= self.ndim or self.mask.shape[-self.ndim - 1] == 1)

    def forward(self, x: CoilImages) -> KSpace:
        """M F u: coil images (..., coil, y, x) to k-space (..., coil, y, x)."""
        return self._sample(fftc(x, self._axes))

    def adjoint(self, y: KSpace) -> CoilImages:
        """F^-1 M y: k-space (..., coil, y, x) to coil images (..., coil, y, x)."""
        return ifftc(self._sample(y), self._axes)

    def normal(self, x: Image) -> Image:
        """F^-1 M^2 F u, of the shape of u: without shifts, signs or scaling, which cancel once the mask is shifted."""
        if self.mask is None:
            return x
        mask = with_ndim(self.mask, x.ndim).astype(x.real.dtype)
        axes = [a for a in self._axes if mask.shape[a] > 1]
        if not axes:
            return x * mask**2
        return jnp.fft.ifftn(jnp.fft.fftn(x, axes=axes) * jnp.fft.ifftshift(mask**2, axes), axes=axes)

    def coil_images(self, y: KSpace) -> CoilImages:
        """F^-1 y: k-space (..., coil, y, x) to coil images (..., coil, y, x)."""
        return ifftc(y, self._axes)

    def low_resolution(self, y: KSpace, size: tuple[int, ...]) -> Complex[Array, "... low_y low_x"]:
        """F^-1 of the central `size` of k-space (..., coil, y, x), of that size (..., coil, *size), in the units of full images."""
        smaller = math.prod(n / m for n, m in zip(y.shape[-len(size) :], size, strict=True))
        return ifftc(crop_or_pad(y, size), range(-len(size), 0)) / math.sqrt(smaller)  # unitary transforms of two sizes

    @property
    def _axes(self):
        return tuple(range(-self.ndim, 0))

    def _sample(self, kspace):
        if self.mask is None:
            return kspace
        return kspace * with_ndim(self.mask, kspace.ndim).astype(kspace.real.dtype)


def CartesianSense(maps: Maps | None, mask: Mask | None = None, ndim: int = 2) -> Sense:
    """The Cartesian multi-coil model y_c = M F sum_e S_ec x_e: `Sense` with `CartesianFFT`.

    Args:
      maps: (coil, y, x), or (set, coil, y, x), or None for a model that estimates them.
      mask: as in `CartesianFFT`: 1 = measured, (y, x), (1, x), (x,) or (frame, 1, y, x); None: all measured.
      ndim: 2, or 3 for maps (coil, z, y, x).

    Example:
      >>> op = jr.operators.CartesianSense(jnp.ones((3, 6, 5), complex), mask=jnp.array([1.0, 0, 1, 0, 1]))
      >>> kspace = op @ jnp.ones((6, 5), complex)
      >>> kspace.shape, jax.eval_shape(op.H.forward, kspace).shape
      ((3, 6, 5), (6, 5))
    """
    return Sense(maps, CartesianFFT(mask, ndim), sets=None)

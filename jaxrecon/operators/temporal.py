"""The Fourier transform along time, which makes periodic motion sparse."""

from .. import struct
from ..fourier import fftc, ifftc
from ..typing import Image
from .base import LinearOperator


@struct.dataclass
class TemporalFFT(LinearOperator):
    """Centred unitary FFT along the frame axis of (..., frame, y, x); its normal operator is the identity.

    Attributes:
      axis: the frame axis.
    """

    axis: int = struct.static(default=-3)

    def forward(self, x: Image) -> Image:
        """Frames (..., frame, y, x) to temporal frequencies, same shape."""
        return fftc(x, (self.axis,))

    def adjoint(self, y: Image) -> Image:
        """Temporal frequencies (..., frame, y, x) to frames, same shape."""
        return ifftc(y, (self.axis,))

    def normal(self, x: Image) -> Image:
        """The identity, of the shape of x: the transform is unitary."""
        return x

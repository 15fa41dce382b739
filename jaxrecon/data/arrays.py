"""Arrays in memory as a scan."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Complex, Inexact

from ..checks import UserError
from .scan import Header, Scan, Slice, sampled


class ArrayScan(Scan):
    """K-space in memory as a scan, for all that takes one.

    Args:
      kspace: (coil, y, x), or (slice, coil, y, x); complex, centred, y is the readout, 0 where not measured.
      mask: 1 = measured, broadcasts against (y, x), or (slice, y, x); None: seen from the zeros.
      maps: (coil, y, x), or (slice, coil, y, x) for k-space with slices.
      target: (y, x), or (slice, y, x).
      n_frames: time frames: slice i is position i % (slices / n_frames) of frame i // (slices / n_frames).

    Raises:
      ValueError: k-space that is not complex, or has other axes; frames that do not divide the slices.
    """

    def __init__(
        self,
        kspace: Complex[np.ndarray, "*slice coil y x"],
        *,
        mask: Bool[np.ndarray, "..."] | Inexact[np.ndarray, "..."] | None = None,
        maps: Complex[np.ndarray, "*slice coil y x"] | None = None,
        target: Inexact[np.ndarray, "*slice h w"] | None = None,
        n_frames: int = 1,
    ):
        kspace = np.asarray(kspace)
        if kspace.dtype.kind != "c" or kspace.ndim not in (3, 4) or 0 in kspace.shape:
            raise UserError(
                f"k-space must be complex with axes (coil, y, x) or (slice, coil, y, x), but it is {kspace.dtype} of shape "
                f"{kspace.shape}"
            )
        self.path = Path("k-space in memory")
        self._kspace = kspace if kspace.ndim == 4 else kspace[None]
        n_slices, n_coils, *shape = self._kspace.shape
        if n_slices % n_frames:
            raise UserError(f"{n_frames} frames do not divide {n_slices} slices")
        self._mask, self._maps, self._target = (None if a is None else np.asarray(a) for a in (mask, maps, target))
        self.header = Header(
            format="array",
            n_slices=n_slices,
            n_coils=n_coils,
            shape=tuple(shape),
            file_shape=kspace.shape,
            file_axes=("slice", "coil", "y", "x")[4 - kspace.ndim :],
            slice_axes=("coil", "y", "x"),
            n_frames=n_frames,
            has_mask=mask is not None,
            has_target=target is not None,
            has_maps=maps is not None,
        )

    def _read(self, index: int) -> Slice:
        kspace = np.asarray(self._kspace[index], np.complex64)
        mask = sampled(kspace) if self._mask is None else self._of_slice(self._mask != 0, index, 2)
        maps = None if self._maps is None else self._of_slice(self._maps.astype(np.complex64), index, 3)
        target = None if self._target is None else self._of_slice(self._target, index, 2)
        return Slice(kspace=kspace, mask=mask, maps=maps, target=target)

    def _of_slice(self, array, index, ndim):
        return array[index] if array.ndim > ndim and len(array) == len(self) else array

"""Arrays in memory as a scan."""

import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Complex, Inexact

from ..checks import UserError, checked_mask
from ..host import native
from .axes import layout_of
from .scan import Header, Scan, Slice, sampled


class ArrayScan(Scan):
    """K-space in memory as a scan, for all that takes one.

    Args:
      kspace: (coil, y, x), or (slice, coil, y, x), or as `axes` say; complex, centred, 0 where not measured; y is the readout,
        in 3D scans x.
      axes: the names of its axes in their order, of `axes.AXES`, as "coil,z,y,x"; None: guessed, with a warning where that
        may well be wrong.
      mask: measured where it is not 0, broadcasts against the (y, x) of slices, or (slice, y, x); None: seen from the zeros.
      maps: (coil, y, x), or (slice, coil, y, x) for k-space with slices.
      target: (y, x), or (slice, y, x).
      n_frames: time frames: slice i is position i % (slices / n_frames) of frame i // (slices / n_frames); None: those that
        the axes have, else 1.

    Raises:
      ValueError: k-space that is not complex, or has other axes; frames that do not divide the slices.
    """

    def __init__(
        self,
        kspace: Complex[np.ndarray, "*axes y x"],
        *,
        axes: str | Sequence[str] | None = None,
        mask: Bool[np.ndarray, "..."] | Inexact[np.ndarray, "..."] | None = None,
        maps: Complex[np.ndarray, "*slice coil y x"] | None = None,
        target: Inexact[np.ndarray, "*slice h w"] | None = None,
        n_frames: int | None = None,
    ):
        kspace = np.asarray(kspace)
        if kspace.dtype.kind != "c" or (axes is None and kspace.ndim not in (3, 4)) or 0 in kspace.shape:
            raise UserError(
                f"k-space must be complex with axes (coil, y, x) or (slice, coil, y, x), or with axes that are named, but "
                f"it is {kspace.dtype} of shape {kspace.shape}"
            )
        self.path = Path("k-space in memory")
        sure = maps is not None or (target is not None and np.ndim(target) == 3)
        self._layout = layout_of(kspace.shape, axes, has_kspace=True, name=str(self.path), sure=sure)
        self._key = ("array", secrets.token_hex(8))
        self._kspace = kspace
        n_slices = self._layout.n_slices
        if n_frames is not None and n_slices % n_frames:
            raise UserError(f"{n_frames} frames do not divide {n_slices} slices")
        self._mask, self._maps, self._target = (
            None if a is None else native(np.asarray(a)) for a in (mask, maps, target)
        )
        self.header = Header(
            format="array",
            file_shape=kspace.shape,
            file_axes=self._layout.axes,
            has_mask=mask is not None,
            has_target=target is not None,
            has_maps=maps is not None,
            **(self._layout.header | ({} if n_frames is None else {"n_frames": n_frames})),
        )

    def _problem(self, index: int) -> np.ndarray:
        return np.asarray(self._layout.problem(self._kspace, index), np.complex64)

    def _read(self, index: int) -> Slice:
        kspace = self._layout.read_slice(index, self._problem, self._key)
        mask = sampled(kspace) if self._mask is None else self._of_slice(checked_mask("mask", self._mask), index, 2)
        maps = None if self._maps is None else self._of_slice(self._maps.astype(np.complex64), index, 3)
        target = None if self._target is None else self._of_slice(self._target, index, 2)
        return Slice(kspace=kspace, mask=mask, maps=maps, target=target)

    def _read_volume(self, index: int) -> np.ndarray:
        return self._problem(index) if self._layout.is_3d else super()._read_volume(index)

    def _of_slice(self, array, index, ndim):
        return array[index] if array.ndim > ndim and len(array) == len(self) else array

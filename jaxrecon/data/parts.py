"""What is reconstructed one after the other of a scan: slices, windows of neighbours, or whole time series."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Inexact

from .geometry import crop_to_recon_size, image_header
from .scan import Header, Scan, Slice
from .series import n_positions, series


class Parts:
    """The slices of a scan, each with its neighbours for a network with a window, or time series for a network of frames.

    `parts[i]` is a Slice: k-space (coil, y, x), (adjacent, coil, y, x), or (frame, coil, y, x).

    Args:
      scan: the scan.
      in_time: whole time series in place of slices.
      window: number of neighbouring slices; None: no neighbours.
    """

    def __init__(self, scan: Scan, *, in_time: bool = False, window: int | None = None):
        self.scan, self.in_time, self.window = scan, in_time, window

    @property
    def n_frames(self) -> int:
        """Frames in each part."""
        return self.scan.header.n_frames if self.in_time else 1

    def __len__(self) -> int:
        return n_positions(self.scan) if self.in_time else len(self.scan)

    def __getitem__(self, index: int) -> Slice:
        if self.window is not None:
            return self.scan.adjacent(index, self.window)
        return series(self.scan, index) if self.in_time else self.scan[index]

    def own(self, images: Inexact[np.ndarray, "*adjacent y x"]) -> Inexact[np.ndarray, "*frame y x"]:
        """The image ([frame,] y, x) of the slice itself from those of its window (adjacent, y, x)."""
        return images if self.window is None else images[self.window // 2]

    def in_order(self, images: Sequence[Inexact[np.ndarray, "*frame y x"]]) -> Inexact[np.ndarray, "slice y x"]:
        """Images ([frame,] y, x) of the parts as one array, (slice, y, x) in the order of the scan."""
        stacked = np.stack(images)
        return stacked.swapaxes(0, 1).reshape(-1, *stacked.shape[-2:]) if self.in_time else stacked

    def image_header(self, shape: tuple[int, ...], which: Sequence[int], *, interpolate: bool = False) -> Header:
        """The header of the images of some parts, `in_order`: their size and slices, and where their voxels lie.

        Args:
          shape: (y, x) of the images.
          which: numbers of the parts.
          interpolate: whether they were interpolated to the matrix of the reconstruction.
        """
        header, n = self.scan.header, len(self)
        slices = [frame * n + i for frame in range(self.n_frames) for i in which]
        whole = self.in_time or slices == list(range(n))
        before = crop_to_recon_size(np.broadcast_to(0, header.shape), header).shape if interpolate else shape
        scale = before[0] / shape[0], before[1] / shape[1]
        return image_header(header, shape, slices, n_frames=header.n_frames if whole else 1, scale=scale)

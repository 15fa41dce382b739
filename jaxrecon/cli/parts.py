"""What `jaxrecon recon` takes one after the other of a scan: slices, windows of neighbours, or whole time series."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..data import Scan, Slice


class Parts:
    """What is reconstructed one after the other: the slices of a scan, or its time series for a network of frames.

    For a network with a window each slice comes with the k-space of its neighbours, (adjacent, coil, y, x).
    """

    def __init__(self, scan: "Scan", *, in_time: bool, window: int | None = None):
        self.scan, self.in_time, self.window = scan, in_time, window

    @property
    def n_frames(self) -> int:
        """Frames in each part."""
        return self.scan.header.n_frames if self.in_time else 1

    def __len__(self) -> int:
        return len(self.scan) // self.n_frames

    def __getitem__(self, index: int) -> "Slice":
        from ..data import series

        if self.window is not None:
            return self.scan.adjacent(index, self.window)
        return series(self.scan, index) if self.in_time else self.scan[index]

    def of_window(self, images: np.ndarray) -> np.ndarray:
        """The image of the slice itself from those of its window."""
        return images if self.window is None else images[self.window // 2]

    def in_order(self, images: list[np.ndarray]) -> np.ndarray:
        """Images ([frame,] y, x) of the parts as one array, (slice, y, x) in the order of the scan."""
        stacked = np.stack(images)
        return stacked.swapaxes(0, 1).reshape(-1, *stacked.shape[-2:]) if self.in_time else stacked

    def first_frame(self, image: np.ndarray) -> np.ndarray:
        """(y, x) of an image ([frame,] y, x)."""
        return image[0] if self.in_time else image


def plane(mask: np.ndarray, frame: int = 0) -> np.ndarray:
    """The mask (y, x) of one frame, from a mask (y, x) or (frame, 1, y, x)."""
    return mask if mask.ndim == 2 else mask[frame, 0]

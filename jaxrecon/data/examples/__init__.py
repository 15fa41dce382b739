"""Measured data that are part of the package, each with its licence beside it."""

from pathlib import Path

from ...checks import check_known
from ..npz import NumpyScan

EXAMPLES = {
    "brain": "a fully sampled axial slice of a head: 16 coils, 2D FLASH at 2.89 T, 128 x 128, 2 mm x 2 mm x 3 mm, TE 12.4 ms",
}
"""Name -> what was measured."""


def example(name: str = "brain") -> NumpyScan:
    """A measured scan of the package, opened; `path` is its file.

    "brain": k-space (16, 128, 128) = (coil, readout, phase encode), complex64, in the scanner's units (at most 4.3e-4), not
    prewhitened, DC at (63, 63), without a mask, since it is fully sampled; the forehead points to the first columns.

    Args:
      name: one of EXAMPLES.

    Raises:
      ValueError: there is no such example.

    Source: github pulseq/MR-Physics-with-Pulseq, MIT, (c) 2024 pulseq; the licence lies beside the file.

    Example:
      >>> scan = jr.data.example("brain")
      >>> scan[0].kspace.shape, scan[0].mask is None
      ((16, 128, 128), True)
    """
    check_known("example", name, EXAMPLES)
    return NumpyScan(Path(__file__).with_name(f"{name}.npz"))

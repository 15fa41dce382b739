"""Coil maps that are kept in files of their own."""

from pathlib import Path

import numpy as np
from jaxtyping import Complex, Inexact

from ..checks import DataError
from ..files import check_file, reading
from .bart import DIMENSIONS, plane, read_cfl
from .scan import Scan


def read_maps(path: str | Path, scan: Scan, index: int) -> Complex[np.ndarray, "*set coil y x"]:
    """The maps of one slice from a file: (coil, y, x) or (set, coil, y, x).

    A .npy holds them so, or with a leading slice axis; an .npz the same under `maps`; a .cfl BART's dimensions.

    Args:
      path: the file.
      scan: the scan whose sizes they must have.
      index: the slice.

    Raises:
      DataError: damaged, or of other sizes than the scan.
    """
    file = Path(path)
    if file.suffix in (".cfl", ".hdr") or not file.suffix:
        maps = _bart_maps(file, index)
    else:
        with reading(check_file(file), "maps", expected="an array of complex numbers"):
            if file.suffix == ".npz":
                with np.load(file, allow_pickle=False) as archive:
                    maps = archive["maps"]
            else:
                maps = np.load(file, mmap_mode="r", allow_pickle=False)
    return maps_of_slice(maps, scan, index, file=file)


def maps_of_slice(
    maps: Inexact[np.ndarray, "..."], scan: Scan, index: int, *, file: Path | None = None
) -> Complex[np.ndarray, "*set coil y x"]:
    """The maps of one slice, checked against its scan.

    Args:
      maps: (coil, y, x), (set, coil, y, x), or either with a leading slice axis.
      scan: the scan whose sizes they must have.
      index: the slice.
      file: the file that they come from, for messages.

    Raises:
      DataError: of other sizes than the scan, or not finite.
    """
    if maps.ndim > 3 and maps.shape[0] == len(scan) > 1:
        maps = maps[index]
    header = scan.header
    wanted = (header.n_coils, *header.shape)
    if maps.dtype.kind != "c" or maps.shape[-3:] != wanted or maps.ndim not in (3, 4):
        raise DataError(
            f"the maps do not fit the scan {scan.path.name}",
            file=file,
            dataset="maps",
            expected=f"complex (coil, y, x) = {wanted}, or map sets of them",
            found=f"{maps.dtype} of shape {maps.shape}",
            cure="Were the coils of one of them compressed?" if maps.shape[-2:] == wanted[-2:] else None,
        )
    maps = np.array(maps, np.complex64)
    if not np.isfinite(maps).all():
        raise DataError("the maps hold NaN or infinity", file=file, dataset="maps", expected="finite values")
    return maps


def _bart_maps(path: Path, index: int) -> np.ndarray:
    """(coil, y, x) or (set, coil, y, x), the axes as `BartScan` orders those of k-space."""
    array = read_cfl(path)
    axes = tuple(DIMENSIONS[d] for d in plane(array.shape[::-1]))
    n_sets, n_coils, *sizes = array.shape[-5:]
    if array.size != n_sets * n_coils * np.prod(sizes):
        raise DataError(
            "maps have other axes", file=path, expected="readout, phase 1, phase 2, coil, maps", found=array.shape[::-1]
        )
    names = ["phase_2", "phase_1", "readout"]
    place = next(i for i, name in enumerate(names) if name not in axes)
    maps = array.reshape(array.shape[-5:]).take(index % sizes[place], axis=2 + place)
    if axes == ("readout", "phase_1"):
        maps = maps.swapaxes(-1, -2)
    return maps[0] if n_sets == 1 else maps

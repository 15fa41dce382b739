"""Open a file of any known format, recognised by its content."""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import h5py

from ..checks import DataError, UserError
from ..files import check_file, reading
from .bart import BartScan, cfl_paths
from .calgary import CalgaryScan
from .cmrxrecon import CMRxReconScan
from .fastmri import IMAGES, FastMRIScan
from .hdf5 import close, members, opened
from .ismrmrd import IsmrmrdScan
from .mridata import GleamScan
from .nifti import NiftiScan
from .npz import NumpyScan
from .scan import Scan

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
KNOWN = "HDF5 (fastMRI, Calgary-Campinas, CMRxRecon, ISMRMRD), MATLAB, BART .cfl + .hdr, NIfTI, .npz or .npy"
OTHERS = {
    b"\x89PNG": "a PNG image", b"\xff\xd8\xff": "a JPEG image", b"%PDF": "a PDF", b"GIF8": "a GIF image",
    b"<": "HTML or XML text (a login page instead of the download?)", b"{": "JSON text",
}  # fmt: skip


def open(path: str | Path, *, mask: str | Path | None = None, axes: str | Sequence[str] | None = None) -> Scan:
    """Open a file of raw data or images; the format is seen from the content, not from the suffix.

    Args:
      path: the file; for a BART pair either file, or the name without suffix.
      mask: the file with the sampling mask, for CMRxRecon, which stores it apart.
      axes: names of the axes of a .npy or .npz, which holds none, as "coil,z,y,x": of frame, set, slice, coil, z, y, x.

    Returns:
      A lazy `Scan`: `len(scan)`, `scan[i]`, `scan.header`. Formats with further options are opened by their own class.

    Raises:
      DataError: the file is missing, unknown, truncated or wrong; the message names file, dataset, expected and found.
      ValueError: a mask or axes for a format that has its own.

    While a scan is open in this process, its HDF5 file cannot be opened for writing: `close` it first.

    Example:
      >>> import tempfile
      >>> import numpy as np
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     np.save(f"{folder}/scan.npy", np.ones((3, 8, 6), "complex64"))
      ...     with open(f"{folder}/scan.npy") as scan:
      ...         scan.header.format, len(scan), scan[len(scan) // 2].kspace.shape  # (coil, y, x)
      ('npy', 1, (3, 8, 6))
    """
    try:
        reader = recognise(path)
        if mask is not None:
            if reader is not CMRxReconScan:
                raise UserError(f"mask= is for CMRxRecon files, which store it apart; {path} is none")
            return CMRxReconScan(path, mask=mask)
        if axes is not None:
            if reader is not NumpyScan:
                raise UserError(f"axes are for .npy and .npz, which do not name their own; {path} is none")
            return NumpyScan(path, axes=axes)
        return reader(path)  # type: ignore[call-arg]
    except BaseException:
        close(Path(path))  # a file that was refused is not kept open
        raise


def recognise(path: str | Path) -> type[Scan]:
    """The reader's class for a file, from its first bytes and, in HDF5, from the names of its datasets.

    Raises:
      DataError: no known format.
    """
    header, data = cfl_paths(path)
    if not Path(path).exists() and header.exists() and data.exists():
        return BartScan
    path = check_file(path)
    # data without their header have no content to be known by
    if path.suffix == ".cfl":
        return BartScan
    with reading(path), path.open("rb") as file:
        start = file.read(2056)
    # an HDF5 file may begin with a block of another program, of 512 bytes or a power of two more (MATLAB)
    if any(start[n : n + 8] == HDF5_SIGNATURE for n in (0, 512, 1024, 2048)):
        return _recognise_hdf5(path)
    if start.startswith(b"\x93NUMPY") or start.startswith(b"PK\x03\x04"):
        return NumpyScan
    if start[124:128] in (b"\x00\x01IM", b"\x01\x00MI"):
        return CMRxReconScan
    if _is_nifti(_unzipped(start) if start.startswith(b"\x1f\x8b") else start):
        return NiftiScan
    if start.lstrip().lower().startswith(b"# dimensions"):
        return BartScan
    other = next((text for magic, text in OTHERS.items() if start.startswith(magic)), f"first bytes {start[:8]!r}")
    raise DataError("the format is not known", file=path, expected=KNOWN, found=other)


def _recognise_hdf5(path: Path) -> type[Scan]:
    with opened(path) as file, reading(path, expected="an HDF5 file"):
        items = members(file, path)
        dtypes = {name: item.dtype for name, item in items.items() if isinstance(item, h5py.Dataset)}
        raw = any(isinstance(g, h5py.Group) and {"xml", "data"} <= set(g) for g in items.values())
        kspace = items.get("kspace")
        elsewhere = "kspace" in items and kspace is None
        n_axes = len(kspace.shape or ()) if isinstance(kspace, h5py.Dataset) else 0
        is_matlab = file.userblock_size > 0 or any(dtype.names == ("real", "imag") for dtype in dtypes.values())
    if raw:
        return IsmrmrdScan
    if is_matlab:
        return CMRxReconScan
    if n_axes and {"maps", "target"} <= set(items) and n_axes == 4:
        return GleamScan
    if n_axes == 4 and dtypes["kspace"].kind == "f":
        return CalgaryScan
    if n_axes or elsewhere or any(n in items for n in IMAGES):
        return FastMRIScan
    raise DataError(
        "no dataset is known",
        file=path,
        dataset="kspace",
        expected="'kspace' (fastMRI, Calgary-Campinas), 'dataset/data' (ISMRMRD), a MATLAB variable, 'reconstruction'",
        found=sorted(items),
    )


def _unzipped(start: bytes) -> bytes:
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(start, 1024)
    except zlib.error:
        return b""


def _is_nifti(start: bytes) -> bool:
    """NIfTI-1 or -2 as a single file, of either byte order."""
    if len(start) < 348:
        return False
    sizes = {struct.unpack(order + "i", start[:4])[0] for order in "<>"}
    return (348 in sizes and start[344:348] == b"n+1\0") or (540 in sizes and start[4:8] == b"n+2\0")

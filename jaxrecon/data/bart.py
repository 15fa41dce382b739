"""BART's pairs of .cfl and .hdr files."""

import math
from pathlib import Path

import numpy as np
from jaxtyping import Complex

from ..checks import DataError, check_bytes
from ..files import check_file, reading
from ..host import ifftc
from .scan import Header, Scan, Slice, all_counters, latest_volume, sampled, volume_key

DIMENSIONS = (
    "readout", "phase_1", "phase_2", "coil", "maps", "te", "coeff", "coeff_2",
    "iter", "cshift", "time", "time_2", "level", "slice", "average", "batch",
)  # fmt: skip
"""Names of BART's 16 dimensions, the fastest first."""
MAX_HEADER_BYTES = 2**20


def cfl_paths(path: str | Path) -> tuple[Path, Path]:
    """(.hdr, .cfl) of a pair, given either file or, as BART does, the name without suffix."""
    path = Path(path)
    base = str(path.with_suffix("")) if path.suffix in (".cfl", ".hdr") else str(path)
    return Path(base + ".hdr"), Path(base + ".cfl")


def read_cfl(path: str | Path) -> Complex[np.ndarray, "..."]:
    """Map a BART pair into memory: a read-only array of complex64 in C order, that is the 16 dimensions reversed.

    For k-space read by `jaxrecon.data.open`; this is for all else that BART writes (maps, images, trajectories).

    Args:
      path: the .cfl, the .hdr, or the name without suffix.

    Returns:
      (batch, average, slice, ..., coil, phase_2, phase_1, readout): shape[::-1] is the list of dimensions in the
      header.

    Raises:
      DataError: one of the two files is missing, or the header is damaged or disagrees with the size of the data.
    """
    header, data = cfl_paths(path)
    dims = _read_dims(check_file(header))
    check_bytes(dims, 8, file=header, dataset="# Dimensions")
    found, expected = check_file(data).stat().st_size, 8 * math.prod(dims)
    if found != expected:
        raise DataError(
            f"the header {header.name} disagrees with the size of the data",
            file=data,
            dataset="# Dimensions",
            expected=f"{expected} bytes for {dims}",
            found=f"{found} bytes",
        )
    with reading(data):
        return np.memmap(data, "<c8", "r", shape=dims[::-1])


def _read_dims(header: Path) -> tuple[int, ...]:
    with reading(header), header.open("rb") as file:
        lines = file.read(MAX_HEADER_BYTES).decode("utf-8", "replace").splitlines()
    place = next((i for i, line in enumerate(lines) if line.strip().lower() == "# dimensions"), None)
    words = lines[place + 1].split() if place is not None and place + 1 < len(lines) else []
    right = all(w.isascii() and w.isdigit() and len(w) < 19 and int(w) > 0 for w in words)
    if not (right and 0 < len(words) <= len(DIMENSIONS)):
        raise DataError(
            "it is no BART header",
            file=header,
            dataset="# Dimensions",
            expected=f"1 to {len(DIMENSIONS)} positive sizes below the line '# Dimensions'",
            found=" ".join(words)[:80] or "none",
        )
    dims = [int(w) for w in words]
    return (*dims, *[1] * (len(DIMENSIONS) - len(dims)))


def plane(dims: tuple[int, ...]) -> tuple[int, int]:
    """Which of BART's dimensions are y and x of its slices: with a readout of 1, and of volumes, phase 2 and phase 1."""
    if dims[2] == 1:
        return 0, 1
    return (0, 2) if dims[0] > 1 and dims[1] == 1 else (2, 1)


class BartScan(Scan):
    """K-space of a BART pair; a problem for each index of the dimensions beyond coil, slices the fastest, then time.

    Slices are (coil, readout, phase_1); where one of the first three dimensions is 1, (coil, y, x) are the other two: a
    transverse plane (1, 180, 230, 8) gives (coil, phase_2, phase_1) = (8, 230, 180). With all three, the readout is
    transformed, and each of its positions is a problem (coil, phase_2, phase_1). There is no mask in the file: it is
    seen from the zeros.

    Raises:
      DataError: damaged, or several map sets: what has those is no k-space.
    """

    def __init__(self, path: str | Path):
        self.path = check_file(cfl_paths(path)[1])
        dims = read_cfl(self.path).shape[::-1]
        if dims[4] > 1:
            raise DataError(
                f"dimension 4 holds {dims[4]} map sets: these are coil maps, or images made with them, not k-space",
                file=cfl_paths(path)[0],
                dataset="# Dimensions",
                expected="1 there",
                found=" ".join(map(str, dims)),
                cure="Maps are given beside their k-space: jaxrecon recon kspace.cfl --maps maps.cfl",
            )
        self._is_3d = min(dims[:3]) > 1
        self._yx = plane(dims)
        # slices are the fastest, then the last dimensions the slowest
        self._looped = [d for d in (15, 14, 12, 11, 10, 9, 8, 7, 6, 5, 4, 13) if dims[d] > 1]
        self._counts = [dims[d] for d in self._looped]
        n_problems, names = math.prod(self._counts), [DIMENSIONS[d] for d in self._looped]
        self.header = Header(
            format="BART",
            n_slices=n_problems * (dims[0] if self._is_3d else 1),
            n_coils=dims[3],
            shape=(dims[self._yx[0]], dims[self._yx[1]]),
            file_shape=dims,
            file_axes=DIMENSIONS,
            slice_axes=("coil", *(DIMENSIONS[d] for d in self._yx)),
            encoded_matrix=(dims[0], dims[1], dims[2]),
            counters=all_counters(
                {**dict(zip(names, self._counts, strict=True)), **({"readout": dims[0]} if self._is_3d else {})}
            ),
            n_frames=1 if self._is_3d else n_problems // dims[13],
            has_volume=self._is_3d,
        )

    def _problem(self, index):
        """(coil, phase_2, phase_1, readout), still in the file, and its memory map in that order."""
        where = dict(zip(self._looped, np.unravel_index(index, self._counts), strict=True)) if self._looped else {}
        data = read_cfl(self.path)
        return data[tuple(where.get(d, 0) for d in range(15, 3, -1))]

    def _read(self, index: int) -> Slice:
        if self._is_3d:
            problem, position = divmod(index, self.header.file_shape[0])
            volume = latest_volume(volume_key(self.path, problem), lambda: ifftc(self._problem(problem), -1))
            kspace = np.ascontiguousarray(volume[..., position])
            # a position holds a sample of (ky, kz) or not, whatever the readout
            return Slice(kspace=kspace, mask=sampled(kspace))
        plane = self._problem(index)  # axes: coil, then dimensions 2, 1, 0
        left = next(d for d in (0, 1, 2) if d not in self._yx)
        plane = np.take(plane, 0, axis=3 - left)
        if self._yx[0] < self._yx[1]:
            plane = plane.swapaxes(-1, -2)
        kspace = np.array(plane, np.complex64, order="C")
        return Slice(kspace=kspace, mask=sampled(kspace))

    def _read_volume(self, index: int) -> np.ndarray:
        if not self._is_3d:
            return super()._read_volume(index)
        n_problems = math.prod(self._counts)
        if not 0 <= index < n_problems:
            raise IndexError(f"volume {index} of {self.path}, which has {n_problems}")
        return np.array(self._problem(index), np.complex64)

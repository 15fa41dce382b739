"""CMRxRecon cardiac data: MATLAB files of version 7.3 (HDF5, axes reversed) and 5, with masks in files of their own."""

import re
import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Bool

from ..checks import DataError, check_bytes, checked_mask
from ..files import SMALL_BYTES, check_expansion, check_file, reading
from .hdf5 import dataset, entry, is_complex, members, opened, to_complex
from .scan import Header, Scan, Slice, latest_volume, sampled, volume_key

KNOWN_BAD_2024 = frozenset({"P077_aorta_sag", "P105_tagging", "P065_aorta_sag", "P117_aorta_tra"})
"""Files of 2024, as subject and protocol, that PromptMR+ leaves out as damaged: for `index.select(exclude=...)`.

`jaxrecon train` leaves them out; 2023 has no such protocols. PromptMR+ trims others, whose frames or slices at the end are
without signal: P087_tagging (last 3 frames and last slice), P105_aorta_tra (last 12 frames), P109_cine_sax (last 3 frames),
P100_cine_sax (last 4 frames, and slice 1). Here slices without signal, of any file, are left out of training when they are
met (`pipeline.batches`); as neighbours of others they stay, with those others' mask.
"""

COMPRESSED = 15
"""Type of the compressed elements of MATLAB files of version 5."""
LARGEST_RATE = 1032
"""zlib packs no more than so many bytes into one."""


class CMRxReconScan(Scan):
    """K-space (time, slice, coil, ky, kx), as h5py shows it, read as slices (coil, kx, ky).

    Slice i is position i % n of frame i // n. The variable is the only one of the file that is complex: `kspace_full`,
    `kspace_sub04`, `kspace`, `kus` ... Those named `single` have no coil axis, those with one axis less no time axis
    (blackblood). The readout is kx; undersampling is along ky, so that the mask (ky, kx), constant along kx, becomes
    (1, ky).

    Args:
      path: the .mat file.
      mask: the file with the mask, (ky, kx) or (time, ky, kx). None: undersampled k-space looks for `<name>_mask.mat`
        beside it (without `_sub04` and the like), and else takes the mask from the zeros.

    Raises:
      DataError: the file is damaged, holds no or several complex variables, or the mask does not fit.

    Source: CMRxRecon challenges of 2023 and 2024; order of samples as in PromptMR+.
    """

    def __init__(self, path: str | Path, *, mask: str | Path | None = None):
        self.path = check_file(path)
        variables = _variables(self.path)
        complex_ones = [name for name, (_, is_kspace) in variables.items() if is_kspace]
        if len(complex_ones) != 1:
            is_mask = not complex_ones and any("mask" in name for name in variables)
            raise DataError(
                "there is not one complex variable",
                file=self.path,
                dataset="kspace_full",
                expected="one complex variable: kspace_full, kspace_sub04, kspace, kus ...",
                found=sorted(complex_ones or variables),
                cure="This is a mask: open the k-space, with mask=this file." if is_mask else None,
            )
        self._name = complex_ones[0]
        shape = variables[self._name][0]
        has_coils = "single" not in self._name
        axes = ("time", "slice", "coil", "ky", "kx") if has_coils else ("time", "slice", "ky", "kx")
        # MATLAB drops trailing axes of size 1, which are the first ones here
        self._axes = axes[max(len(axes) - len(shape), 0) :]
        if len(shape) > len(axes) or len(self._axes) < len(axes) - 2 or 0 in shape:
            raise DataError(
                "the shape is wrong",
                file=self.path,
                dataset=self._name,
                expected=f"({', '.join(axes)}), h5py's order",
                found=shape,
            )
        sizes = dict(zip(self._axes, shape, strict=True))
        self._n_z = sizes.get("slice", 1)
        n_frames = sizes.get("time", 1)
        if mask is None and "full" not in self._name:
            beside = self.path.with_name(re.sub(r"_sub\d+$", "", self.path.stem) + "_mask.mat")
            mask = beside if beside.is_file() else None
        self._mask = None if mask is None else read_mask(mask)
        if self._mask is not None:
            wanted = (n_frames, sizes["ky"], sizes["kx"])
            if self._mask.shape[-2:] != wanted[1:] or self._mask.shape[:-2] not in ((), wanted[:1]):
                raise DataError(
                    f"the mask does not fit the k-space of {self.path.name}",
                    file=Path(str(mask)),
                    dataset="mask",
                    expected=f"(ky, kx) = {wanted[1:]}, or with {n_frames} frames before",
                    found=self._mask.shape,
                )
        self.header = Header(
            format="CMRxRecon",
            n_slices=n_frames * self._n_z,
            n_coils=sizes.get("coil", 1),
            shape=(sizes["kx"], sizes["ky"]),
            file_shape=shape,
            file_axes=self._axes,
            slice_axes=("coil", "kx", "ky"),
            encoded_matrix=(sizes["kx"], sizes["ky"], 1),
            recon_matrix=(sizes["kx"], sizes["ky"], 1),
            acquisition=re.sub(r"_sub\d+$", "", self.path.stem),
            acceleration=float(match[1]) if (match := re.search(r"_sub(\d+)$", self._name)) else None,
            n_frames=n_frames,
            has_mask=self._mask is not None,
            attributes={"variable": self._name},
        )

    def _read(self, index: int) -> Slice:
        position = dict(zip(("time", "slice"), divmod(index, self._n_z), strict=True))
        where = tuple(position[a] for a in self._axes if a in position)
        kspace = _read_variable(self.path, self._name, where)
        kspace = kspace.swapaxes(-1, -2)
        kspace = np.ascontiguousarray(kspace if "coil" in self._axes else kspace[None])
        if self._mask is None:
            return Slice(kspace=kspace, mask=sampled(kspace))
        mask = (self._mask if self._mask.ndim == 2 else self._mask[position["time"]]).T
        return Slice(kspace=kspace, mask=np.array(mask[:1] if (mask == mask[:1]).all() else mask))


def read_mask(path: str | Path) -> Bool[np.ndarray, "*time ky kx"]:
    """The only variable of a mask file, (ky, kx) or (time, ky, kx), True = measured."""
    path = check_file(path)
    variables = _variables(path)
    names = [n for n, (shape, is_kspace) in variables.items() if not is_kspace and len(shape) in (2, 3)]
    if len(names) != 1:
        raise DataError(
            "there is not one mask", file=path, dataset="mask", expected="one real variable", found=sorted(variables)
        )
    return checked_mask("the mask", _read_variable(path, names[0], ()), file=path)


def read_radial_bank(path: str | Path, shape: tuple[int, int]) -> dict[int, Bool[np.ndarray, "frame y x"]]:
    """The masks of k-t radial sampling for one matrix, from the entries acc{R}_{x}x{y} of a bank.

    Args:
      path: .npz, HDF5, or a MATLAB file; entries (frame, x, y) of 0 and 1 as NumPy and h5py show them.
      shape: (y, x) = (kx, ky), y being the readout.

    Returns:
      R -> masks (frame, y, x), True = measured.

    Raises:
      DataError: damaged, no entry for this matrix, or one that is no mask of it.

    Source: PromptMR+, the masks of CMRxRecon 2024, see `jaxrecon.sampling.cmrxrecon2024_pool`.
    """
    path, (y, x) = check_file(path), shape
    if path.suffix == ".npz":
        with reading(path, expected="a NumPy file"), np.load(path, allow_pickle=False) as archive:
            names = archive.files
            arrays = {name: archive[name] for name in names if _rate(name, x, y)}
    else:
        names = list(_variables(path))
        arrays = {name: _read_variable(path, name, ()) for name in names if _rate(name, x, y)}
    if not arrays:
        raise DataError(
            "there is no radial mask of this matrix",
            file=path,
            expected=f"acc4_{x}x{y} and the like",
            found=sorted(names),
        )
    for name, array in arrays.items():
        if (
            array.ndim != 3
            or array.shape[1:] != (x, y)
            or array.dtype.kind not in "fiub"
            or not np.isin(array, (0, 1)).all()
        ):
            raise DataError(
                "this is no radial mask",
                file=path,
                dataset=name,
                expected=f"0 and 1 of axes (frame, {x}, {y})",
                found=f"{array.dtype} of shape {array.shape}",
            )
    return {int(_rate(name, x, y)): array.swapaxes(1, 2) != 0 for name, array in arrays.items()}


def _rate(name: str, x: int, y: int) -> str:
    """R of an entry's name; nothing where it is of another matrix."""
    found = re.fullmatch(rf"acc([1-9]\d*)_{x}x{y}", name)
    return found[1] if found else ""


def _variables(path: Path) -> dict[str, tuple[tuple[int, ...], bool]]:
    """Name -> (shape in h5py's order, whether it is complex) of numeric variables."""
    found = {}
    if h5py.is_hdf5(path):
        with opened(path) as file:
            for name, item in members(file, path).items():
                if isinstance(item, h5py.Dataset) and (is_complex(item.dtype) or item.dtype.kind in "fiub"):
                    stored = dataset(file, name, path)
                    found[name] = tuple(int(n) for n in stored.shape), is_complex(stored.dtype)
        return found
    import scipy.io

    with reading(path, expected="a MATLAB file of version 5", also=(scipy.io.matlab.MatReadError,)):
        listed = scipy.io.whosmat(path)
    for name, shape, kind in listed:
        if kind not in ("struct", "cell", "char", "object", "opaque", "function", "unknown"):
            check_bytes(shape, 8, file=path, dataset=name)
            check_expansion(8 * int(np.prod(shape, dtype=object)), path.stat().st_size, file=path, dataset=name)
            # version 5 does not list which variables are complex: k-space has the more axes
            found[name] = tuple(int(n) for n in shape[::-1]), "mask" not in name and len(shape) > 2
    return found


def _read_variable(path: Path, name: str, where: tuple[int, ...]) -> np.ndarray:
    """A variable, or its entry `where` of the first axes, in h5py's order; complex ones as complex64."""
    if h5py.is_hdf5(path):
        with opened(path) as file:
            stored = dataset(file, name, path)
            with reading(path, name, expected=f"entry {where}"):
                data = entry(stored, where, path)
    else:
        data = latest_volume(volume_key(path, name), lambda: _load_version_5(path, name))[where]
    return to_complex(data) if is_complex(data.dtype) else data


def _load_version_5(path: Path, name: str) -> np.ndarray:
    import scipy.io

    errors = (scipy.io.matlab.MatReadError,)
    with reading(path, name, expected="a variable of a MATLAB file of version 5", also=errors):
        _check_unpacked(path, name)
        return scipy.io.loadmat(path, variable_names=[name])[name].T


def _check_unpacked(path: Path, name: str) -> None:
    """Refuse elements that unpack beyond belief: SciPy would unpack what their bytes state, not what their shape needs."""
    with path.open("rb") as file:
        order = "<" if file.read(128)[126:] == b"IM" else ">"
        while len(tag := file.read(8)) == 8:
            kind, size = struct.unpack(order + "2I", tag)
            if kind != COMPRESSED or size * LARGEST_RATE <= SMALL_BYTES:
                file.seek(size, 1)
                continue
            unpacker, unpacked, left = zlib.decompressobj(), 0, file.read(size)
            while left and not unpacker.eof:
                unpacked += len(unpacker.decompress(left, 2**20))
                left = unpacker.unconsumed_tail
                check_expansion(unpacked, size, file=path, dataset=name)

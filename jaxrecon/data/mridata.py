"""Volumes of mridata.org as GLEAM prepares them: HDF5 with k-space, maps and target, the readout transformed."""

from pathlib import Path

import numpy as np

from ..checks import DataError
from ..files import check_file, reading
from .hdf5 import dataset, entry, is_complex, opened, to_complex
from .scan import Header, Scan, Slice, all_counters, check_shape, sampled


class GleamScan(Scan):
    """A volume with `kspace` (x, ky, kz, coil), `maps` (x, ky, kz, coil, set) and `target` (x, ky, kz, set), complex64.

    Each index of the first axis is a 2D problem: k-space (coil, ky, kz), target (ky, kz), and maps (coil, ky, kz), or
    (set, coil, ky, kz) where there are several sets; the target is that of the first set.

    Raises:
      DataError: the file is damaged, or its datasets are not of this form.

    Source: GLEAM, section 4.1 (19 knees, names sorted, then split 14 / 2 / 3: `index.split`).
    """

    def __init__(self, path: str | Path):
        self.path = check_file(path)
        with opened(self.path) as file:
            stored = {name: dataset(file, name, self.path) for name in ("kspace", "maps", "target")}
            shapes = {name: tuple(int(n) for n in d.shape) for name, d in stored.items()}
            wrong = [(name, d.dtype) for name, d in stored.items() if not is_complex(d.dtype)]
        for name, dtype in wrong:
            raise DataError("the type is wrong", file=self.path, dataset=name, expected="complex", found=dtype)
        axes = ("x", "ky", "kz", "coil")
        check_shape("kspace", shapes["kspace"], axes, file=self.path)
        sizes = dict(zip(axes, shapes["kspace"], strict=True))
        check_shape("maps", shapes["maps"], (*axes, "set"), file=self.path, sizes=sizes)
        check_shape("target", shapes["target"], (*axes[:3], "set"), file=self.path, sizes=sizes)
        self.header = Header(
            format="GLEAM HDF5",
            n_slices=sizes["x"],
            n_coils=sizes["coil"],
            shape=(sizes["ky"], sizes["kz"]),
            file_shape=shapes["kspace"],
            file_axes=axes,
            slice_axes=("coil", "ky", "kz"),
            counters=all_counters({"readout": sizes["x"]}),
            encoded_matrix=(sizes["x"], sizes["ky"], sizes["kz"]),
            has_target=True,
            has_maps=True,
        )

    def _read(self, index: int) -> Slice:
        with opened(self.path) as file:
            parts = {}
            for name in ("kspace", "maps", "target"):
                stored = dataset(file, name, self.path)
                with reading(self.path, name, expected=f"slice {index}"):
                    parts[name] = to_complex(entry(stored, (index,), self.path))
        kspace = np.ascontiguousarray(np.moveaxis(parts["kspace"], -1, 0))
        maps = np.ascontiguousarray(np.moveaxis(parts["maps"], (-1, -2), (0, 1)))
        target = np.ascontiguousarray(parts["target"][..., 0])
        return Slice(kspace=kspace, mask=sampled(kspace), maps=maps[0] if len(maps) == 1 else maps, target=target)

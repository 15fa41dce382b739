"""Calgary-Campinas (CC359) multi-channel brain volumes, with the conversion of their Fourier convention."""

import math
from pathlib import Path

import numpy as np
from jaxtyping import Complex, Float

from ..checks import DataError
from ..files import check_file, reading
from .hdf5 import dataset, entry, opened
from .scan import Header, Scan, Slice, all_counters, check_shape, sampled

SAMPLED_KZ = 0.85
"""Part of the kz columns that carries data: partial Fourier of the acquisition."""


class CalgaryScan(Scan):
    """A volume `kspace` (x, ky, kz, 2 coil), float, real and imaginary parts interleaved, the readout transformed.

    Each index of the first axis is a 2D problem with k-space (coil, ky, kz). It is converted to the centred transform
    (see `centre`), and the columns from ceil(0.85 n) on, which may hold residue of an interpolation, are set to 0.
    Undersampled files have no mask: it is seen from the zeros.

    Raises:
      DataError: the file is damaged, or its k-space is not of this form.

    Source: Calgary-Campinas-359 multi-channel reconstruction challenge; conversion as in PromptMR+'s preparation.
    """

    def __init__(self, path: str | Path):
        self.path = check_file(path)
        with opened(self.path) as file:
            stored = dataset(file, "kspace", self.path)
            shape, dtype = tuple(int(n) for n in stored.shape), stored.dtype
        axes = ("x", "ky", "kz", "coil")
        check_shape("kspace", shape, (*axes[:3], "2 coil"), file=self.path)
        if shape[3] % 2 or dtype.kind != "f":
            raise DataError(
                "real and imaginary parts do not interleave",
                file=self.path,
                dataset="kspace",
                expected="float, an even number on the last axis",
                found=f"{dtype}, shape {shape}",
            )
        self._n_sampled = math.ceil(SAMPLED_KZ * shape[2])
        attributes = {"evaluated_slices": (50, shape[0] - 50)} if shape[0] > 100 else {}
        self.header = Header(
            format="Calgary-Campinas",
            n_slices=shape[0],
            n_coils=shape[3] // 2,
            shape=shape[1:3],
            file_shape=shape,
            file_axes=axes,
            slice_axes=("coil", "ky", "kz"),
            counters=all_counters({"readout": shape[0]}),
            encoded_matrix=(shape[0], shape[1], shape[2]),
            recon_matrix=(shape[0], shape[1], shape[2]),
            padding=(0, self._n_sampled),
            attributes=attributes,
        )

    def stored(self, index: int) -> Complex[np.ndarray, "coil ky kz"]:
        """Slice `index`, (coil, ky, kz), as it lies in the file: its object is centred under the plain `ifft2`."""
        with opened(self.path) as file:
            data = dataset(file, "kspace", self.path)
            with reading(self.path, "kspace", expected=f"slice {index}"):
                return interleaved_to_complex(entry(data, (index,), self.path))

    def _read(self, index: int) -> Slice:
        kspace = centre(self.stored(index))
        kspace[..., self._n_sampled :] = 0
        return Slice(kspace=kspace, mask=sampled(kspace, padding=(0, self._n_sampled)))


def interleaved_to_complex(data: Float[np.ndarray, "ky kz twice"]) -> Complex[np.ndarray, "coil ky kz"]:
    """(ky, kz, 2 coil) with real parts at 0::2 and imaginary parts at 1::2 to complex64 (coil, ky, kz)."""
    out = np.empty((data.shape[-1] // 2, *data.shape[:-1]), np.complex64)
    out.real = np.moveaxis(data[..., 0::2], -1, 0)
    out.imag = np.moveaxis(data[..., 1::2], -1, 0)
    return out


def centre(kspace: Complex[np.ndarray, "coil ky kz"]) -> Complex[np.ndarray, "coil ky kz"]:
    """Convert k-space whose object is centred under plain `ifft2` to the centred transform: k' = F_c F^-1 ifftshift(k).

    The two differ by half a field of view, a phase ramp in k-space: k'[j] = k[j] exp(2 pi i f (n // 2) / n) with
    f = j - n // 2, which for even n is (-1)^f. The magnitude of the image is unchanged, its checkerboard phase is gone.

    Returns:
      (coil, ky, kz), an array of its own.
    """
    for axis in (-2, -1):
        n = kspace.shape[axis]
        f = np.arange(n) - n // 2
        ramp = np.where(f % 2, -1, 1) if n % 2 == 0 else np.exp(2j * np.pi * f * (n // 2) / n)
        kspace = kspace * ramp.astype(np.complex64).reshape((n, 1) if axis == -2 else (1, n))
    return kspace

"""An encoding that the package does not know: a dense Fourier transform at random points of k-space, with data of its own."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrecon import host, struct
from jaxrecon.operators import Encoding, EncodingRecord

N_SAMPLES = 150


@struct.dataclass
class DenseDFT(Encoding):
    """y_s = sum_yx rows(s, y) columns(s, x) u(y, x): coil images (..., coil, y, x) to samples (..., coil, sample)."""

    rows: jax.Array
    columns: jax.Array
    ndim: int = struct.static(default=2)

    def forward(self, x):
        return jnp.einsum("sy,sx,...yx->...s", self.rows, self.columns, x)

    def adjoint(self, y):
        return jnp.einsum("sy,sx,...s->...yx", self.rows.conj(), self.columns.conj(), y)

    def normal(self, x):
        return self.adjoint(self.forward(x))


def phases(positions, n):
    """exp(-2 pi i k r) / sqrt(n) for positions k in samples of k-space and pixels r from the middle, (sample, n)."""
    return np.exp(-2j * np.pi * np.outer(positions, np.arange(n) - n // 2) / n).astype(np.complex64) / np.float32(
        n**0.5
    )


def sample(part, mask, rng):
    """The data of a slice at N_SAMPLES random points."""
    assert mask.all(), "the points are drawn here: a mask has no say"
    rows, columns = (phases(rng.uniform(-n / 2, n / 2, N_SAMPLES), n) for n in part.kspace.shape[-2:])
    images = host.coil_images(part.kspace)
    kspace = np.einsum("sy,sx,...yx->...s", rows, columns, images).astype(np.complex64)
    return {"kspace": kspace, "rows": rows, "columns": columns}


def gridded(example):
    images = np.einsum("sy,sx,...s->...yx", example["rows"].conj(), example["columns"].conj(), example["kspace"])
    return host.fftc(host.fftc(images, -2), -1)


def abstract(kspace, mask):
    *lead, y, x = kspace
    shapes = {"kspace": (*lead, N_SAMPLES), "rows": (N_SAMPLES, y), "columns": (N_SAMPLES, x)}
    return {name: jax.ShapeDtypeStruct(shape, np.complex64) for name, shape in shapes.items()}


def build(arrays):
    return DenseDFT(arrays["rows"], arrays["columns"])


DENSE_DFT = EncodingRecord("dense-dft", ("rows", "columns"), build, sample, gridded, abstract)

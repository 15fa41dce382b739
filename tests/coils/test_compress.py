import numpy as np
import pytest
from support.coil_data import simulate
from support.type_check import as_user

from jaxrecon.coils import compress, gcc_compression, svd_compression


@pytest.fixture(scope="module")
def data():
    return simulate(6, (33, 40), noise=0.01)


def energy(x):
    return float(np.sum(np.abs(x) ** 2))


def test_svd_rows_are_the_leading_directions(data):
    kspace = data[0]
    matrix = np.asarray(svd_compression(kspace, n_virtual=3, calib_size=16))
    np.testing.assert_allclose(matrix @ matrix.conj().T, np.eye(3), atol=1e-5)
    calib = kspace[:, 16 - 8 : 16 + 8, 20 - 8 : 20 + 8].reshape(6, -1)
    singular = np.linalg.svd(calib, compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(matrix @ calib, axis=1), singular[:3], rtol=1e-4)


def test_all_virtual_coils_keep_everything(data):
    kspace = data[0]
    full = compress(kspace, svd_compression(kspace, n_virtual=6))
    np.testing.assert_allclose(np.linalg.norm(full, axis=0), np.linalg.norm(kspace, axis=0), rtol=1e-4, atol=1e-5)
    gcc = gcc_compression(kspace, n_virtual=6, readout_axis=-1)
    assert abs(energy(compress(kspace, gcc, readout_axis=-1)) / energy(kspace) - 1) < 1e-4


@pytest.mark.parametrize("axis", [-2, -1])
def test_gcc_keeps_more_than_svd_and_is_aligned(axis):
    # maps that turn along the readout: two coils at each position, all six over the whole of it
    shape = (33, 40)
    n = shape[axis]
    rng = np.random.default_rng(0)
    position = np.linspace(0, np.pi, n)
    profile = np.stack([np.exp(-(((position - c) / 0.5) ** 2)) for c in np.linspace(0, np.pi, 6)])
    image = 1 + 0.5 * rng.standard_normal(shape)
    images = (profile[:, :, None] if axis == -2 else profile[:, None, :]) * image
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(images, (1, 2)), norm="ortho"), (1, 2)).astype(np.complex64)
    gcc = gcc_compression(kspace, n_virtual=2, calib_size=24, readout_axis=axis)
    assert gcc.shape == (2, 6, n)
    kept = [
        energy(compress(kspace, gcc, readout_axis=axis)) / energy(kspace),
        energy(compress(kspace, svd_compression(kspace, n_virtual=2))) / energy(kspace),
    ]
    assert kept[0] > 0.97 and kept[0] > kept[1] + 0.1
    matrices = np.moveaxis(np.asarray(gcc), -1, 0)
    for matrix in matrices:
        np.testing.assert_allclose(matrix @ matrix.conj().T, np.eye(2), atol=1e-4)
    # aligned: the polar factor of A_{x-1} A_x^H is the identity, that is, the product is Hermitian and positive
    products = matrices[:-1] @ matrices[1:].conj().swapaxes(1, 2)
    np.testing.assert_allclose(products, products.conj().swapaxes(1, 2), atol=1e-4)
    assert np.linalg.eigvalsh(products).min() > -1e-4


def test_compress_works_per_readout_position(data):
    kspace = data[0]
    matrix = np.random.default_rng(0).standard_normal((2, 6, 33)).astype(np.complex64)

    def transform(f, x):
        return np.fft.fftshift(f(np.fft.ifftshift(x, 1), axis=1, norm="ortho"), 1)

    expected = transform(np.fft.fft, np.einsum("vcy,cyx->vyx", matrix, transform(np.fft.ifft, kspace)))
    np.testing.assert_allclose(compress(kspace, matrix), expected, atol=1e-3)
    constant = np.broadcast_to(matrix[..., :1], matrix.shape)
    np.testing.assert_allclose(compress(kspace, constant), compress(kspace, matrix[..., 0]), atol=1e-3)


def test_errors(data):
    kspace = data[0]
    with pytest.raises(ValueError, match="n_virtual is 7, but kspace has 6 coils"):
        svd_compression(kspace, n_virtual=7)
    with as_user(), pytest.raises(ValueError, match="is for 5 coils, kspace has 6"):
        compress(kspace, np.ones((2, 5), np.complex64))
    with pytest.raises(ValueError, match="is for 40 readout positions, kspace has 33"):
        compress(kspace, np.ones((2, 6, 40), np.complex64))
    with pytest.raises(ValueError, match="readout_axis is 0"):
        gcc_compression(kspace, n_virtual=2, readout_axis=0)
    with pytest.raises(ValueError, match="odd"):
        gcc_compression(kspace, n_virtual=2, window=4)
    with pytest.raises(ValueError, match="found 0"):
        svd_compression(np.zeros_like(kspace), n_virtual=2)

import h5py
import numpy as np
import pytest

from jaxrecon import data, fourier
from jaxrecon.checks import DataError
from jaxrecon.data.calgary import centre


def write(path, kspace):
    """(x, coil, ky, kz) complex to the file's (x, ky, kz, 2 coil)."""
    stored = np.empty((*np.moveaxis(kspace, 1, -1).shape[:-1], 2 * kspace.shape[1]), np.float32)
    stored[..., 0::2], stored[..., 1::2] = np.moveaxis(kspace.real, 1, -1), np.moveaxis(kspace.imag, 1, -1)
    with h5py.File(path, "w") as file:
        file["kspace"] = stored
    return path


def complex_array(*shape):
    rng = np.random.default_rng(0)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def test_slices_are_decoded_converted_and_empty_columns_zeroed(tmp_path):
    kspace = complex_array(3, 2, 8, 20)
    scan = data.open(write(tmp_path / "e1.h5", kspace))
    header = scan.header
    assert header.format == "Calgary-Campinas" and len(scan) == 3 and header.n_coils == 2 and header.shape == (8, 20)
    assert header.padding == (0, 17)
    np.testing.assert_array_equal(scan.stored(1), kspace[1])
    assert not scan[1].kspace[..., 17:].any() and scan[1].kspace[..., :17].all()
    assert scan[1].mask is None
    np.testing.assert_allclose(scan[1].kspace[..., :17], centre(kspace[1])[..., :17], rtol=1e-6)


@pytest.mark.parametrize("shape", [(8, 6), (7, 6), (8, 9), (7, 5)])
def test_conversion_is_that_of_the_definition(shape):
    kspace = complex_array(2, *shape)
    image = np.fft.ifft2(np.fft.ifftshift(kspace, (-2, -1)), norm="ortho")
    converted = centre(kspace)
    np.testing.assert_allclose(converted, fourier.fftc(image), atol=1e-5)
    if shape[0] % 2 == 0 and shape[1] % 2 == 0:
        np.testing.assert_allclose(
            np.abs(fourier.ifftc(converted)), np.abs(np.fft.ifft2(kspace, norm="ortho")), atol=1e-5
        )


def test_mask_of_an_undersampled_file_is_seen_from_the_zeros(tmp_path):
    mask = np.random.default_rng(1).random((8, 20)) < 0.4
    mask[:, 17:] = False
    scan = data.open(write(tmp_path / "u.h5", complex_array(2, 3, 8, 20) * mask))
    np.testing.assert_array_equal(scan[0].mask, mask)


def test_odd_number_of_parts_is_refused(tmp_path):
    with h5py.File(tmp_path / "o.h5", "w") as file:
        file["kspace"] = np.ones((2, 4, 4, 3), np.float32)
    with pytest.raises(DataError, match="interleave") as caught:
        data.open(tmp_path / "o.h5")
    assert caught.value.dataset == "kspace" and "even" in caught.value.expected

import numpy as np
import pytest
from support.files import complex_array, write_bart

from jaxrecon import data, fourier
from jaxrecon.checks import DataError
from jaxrecon.data.maps import read_maps


@pytest.mark.parametrize("name", ["brain.cfl", "brain.hdr", "brain"])
def test_transverse_plane(tmp_path, name):
    """Dimensions (1, 6, 7, 3) are the array (3, 7, 6, 1): phase 2 gives the rows."""
    kspace = complex_array(3, 7, 6, 1)
    write_bart(tmp_path / "brain", kspace)
    scan = data.open(tmp_path / name)
    assert scan.header.format == "BART" and len(scan) == 1 and scan.header.n_coils == 3
    assert scan.header.shape == (7, 6) and scan.header.slice_axes == ("coil", "phase_2", "phase_1")
    np.testing.assert_array_equal(scan[0].kspace, kspace[..., 0])
    assert scan[0].kspace.dtype == np.complex64 and scan[0].mask is None and type(scan[0].kspace) is np.ndarray


def test_readout_becomes_the_rows(tmp_path):
    kspace = complex_array(3, 1, 7, 6)
    scan = data.open(write_bart(tmp_path / "a", kspace))
    np.testing.assert_array_equal(scan[0].kspace, kspace[:, 0].swapaxes(-1, -2))
    assert scan.header.slice_axes == ("coil", "readout", "phase_1") and scan.header.file_shape[:4] == (6, 7, 1, 3)
    kspace = complex_array(2, 7, 1, 6)
    scan = data.open(write_bart(tmp_path / "b", kspace))
    np.testing.assert_array_equal(scan[0].kspace, kspace[:, :, 0].swapaxes(-1, -2))


def test_slices_and_frames(tmp_path):
    shape = [1] * 16
    shape[15 - 13], shape[15 - 10], shape[15 - 3], shape[15 - 1], shape[15] = 2, 3, 4, 5, 6
    kspace = complex_array(*shape)
    scan = data.open(write_bart(tmp_path / "a", kspace))
    flat = kspace.reshape(2, 3, 4, 5, 6)  # slice, time, coil, phase_1, readout
    assert len(scan) == 6 and scan.header.n_frames == 3
    for i in range(6):
        np.testing.assert_array_equal(scan[i].kspace, flat[i % 2, i // 2].swapaxes(-1, -2))


def test_map_sets_are_maps_and_no_kspace(tmp_path):
    """Not an image for each set."""
    maps, kspace = complex_array(3, 4, 1, 6, 5), complex_array(4, 1, 6, 5)
    path = write_bart(tmp_path / "maps", maps)
    with pytest.raises(
        DataError, match=r"maps\.hdr.*dimension 4 holds 3 map sets.*expected 1 .*found 5 6 1 4 3.*--maps"
    ):
        data.open(path)
    scan = data.open(write_bart(tmp_path / "kspace", kspace))
    np.testing.assert_array_equal(read_maps(path, scan, 0), maps[:, :, 0].swapaxes(-1, -2))


def test_mask_is_seen_from_the_zeros(tmp_path):
    mask = np.random.default_rng(0).random((7, 6)) < 0.5
    scan = data.open(write_bart(tmp_path / "a", (complex_array(3, 7, 6) * mask)[..., None]))
    np.testing.assert_array_equal(scan[0].mask, mask)


def test_3d(tmp_path):
    kspace = complex_array(2, 4, 5, 6)  # coil, phase_2, phase_1, readout
    scan = data.open(write_bart(tmp_path / "a", kspace))
    assert len(scan) == 6 and scan.header.has_volume
    np.testing.assert_array_equal(scan.volume(), kspace)
    hybrid = np.asarray(fourier.ifftc(kspace, (-1,)))
    np.testing.assert_allclose(scan[4].kspace, hybrid[..., 4], atol=1e-6)
    with pytest.raises(IndexError):
        scan.volume(1)


def test_read_cfl_and_write_cfl_round_trip(tmp_path):
    array = complex_array(4, 1, 5, 6)
    path = data.write_cfl(tmp_path / "a.cfl", array)
    np.testing.assert_array_equal(data.read_cfl(path).reshape(array.shape), array)
    assert (tmp_path / "a.hdr").read_text() == "# Dimensions\n6 5 1 4 1 1 1 1 1 1 1 1 1 1 1 1\n"
    with pytest.raises(FileExistsError):
        data.write_cfl(path, 2 * array)
    np.testing.assert_array_equal(data.read_cfl(path).reshape(array.shape), array)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "text",
    ["", "# Dimensions\n", "# Dimensions\n3 -4\n", "# Dimensions\n3 x\n", "# Dimensions\n" + "1 " * 17, "3 4 5\n"],
)
def test_damaged_headers(tmp_path, text):
    write_bart(tmp_path / "a", complex_array(3, 4))
    (tmp_path / "a.hdr").write_text(text or " ")
    with pytest.raises(DataError, match=r"a\.hdr") as caught:
        data.open(tmp_path / "a.cfl")
    assert caught.value.dataset == "# Dimensions" and caught.value.expected

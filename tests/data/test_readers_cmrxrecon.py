import numpy as np
import pytest
import scipy.io
from support.files import complex_array, write_matlab

from jaxrecon import data
from jaxrecon.checks import DataError

KSPACE = complex_array(3, 2, 4, 7, 10)  # time, slice, coil, ky, kx
MASK = (np.arange(7) % 2 == 0)[:, None].repeat(10, 1)


def test_time_and_slice_become_one_index_and_the_readout_comes_first(tmp_path):
    scan = data.open(write_matlab(tmp_path / "cine_sax.mat", kspace_full=KSPACE))
    header = scan.header
    assert header.format == "CMRxRecon" and len(scan) == 6 and header.n_frames == 3 and header.n_coils == 4
    assert header.shape == (10, 7) and header.file_axes == ("time", "slice", "coil", "ky", "kx")
    assert header.slice_axes == ("coil", "kx", "ky") and header.acquisition == "cine_sax"
    for i in range(6):
        np.testing.assert_array_equal(scan[i].kspace, KSPACE[i // 2, i % 2].swapaxes(-1, -2))
    assert scan[0].mask is None and not header.has_mask


def test_neighbours_are_circular_in_time(tmp_path):
    scan = data.open(write_matlab(tmp_path / "c.mat", kspace_full=KSPACE))
    assert scan.neighbours(1, 3) == [5, 1, 3]
    # three frames for a window of five: the first and the last of them are repeated
    assert scan.neighbours(4, 5) == [2, 2, 4, 0, 0]


def test_mask_from_beside_given_or_zeros(tmp_path):
    sub = KSPACE * MASK
    write_matlab(tmp_path / "cine_mask.mat", mask04=MASK.astype(np.float64))
    write_matlab(tmp_path / "cine_sub04.mat", kspace_sub04=sub)
    scan = data.open(tmp_path / "cine_sub04.mat")
    assert scan.header.has_mask and scan.header.acceleration == 4
    np.testing.assert_array_equal(scan[0].mask, MASK[None, :, 0])
    write_matlab(tmp_path / "cine.mat", kspace_full=KSPACE)
    assert data.open(tmp_path / "cine.mat")[0].mask is None  # full k-space is not undersampled by a file beside it
    with_mask = data.open(tmp_path / "cine.mat", mask=tmp_path / "cine_mask.mat")
    np.testing.assert_array_equal(with_mask[0].mask, MASK[None, :, 0])
    write_matlab(tmp_path / "other.mat", kspace_sub04=sub)
    other = data.open(tmp_path / "other.mat")
    np.testing.assert_array_equal(other[0].mask, MASK.T)
    assert not other.header.has_mask


def test_masks_of_kt_sampling_belong_to_their_frame(tmp_path):
    masks = np.random.default_rng(0).random((3, 7, 10)) < 0.5
    path = write_matlab(tmp_path / "a.mat", kspace=KSPACE)
    scan = data.open(path, mask=write_matlab(tmp_path / "m.mat", mask=masks.astype(np.float32)))
    np.testing.assert_array_equal(scan[5].mask, masks[2].T)


@pytest.mark.parametrize(
    ("name", "array", "n", "coils"),
    [
        ("kspace_single_full", KSPACE[:, :, 0], 6, 1),
        ("kspace_full", KSPACE[0], 2, 4),  # blackblood: no time
        ("kspace_single_full", KSPACE[0, :, 0], 2, 1),
        ("kus", KSPACE[0, 0], 1, 4),
    ],
)
def test_missing_axes(tmp_path, name, array, n, coils):
    scan = data.open(write_matlab(tmp_path / "x.mat", **{name: array}))
    assert len(scan) == n and scan.header.n_coils == coils
    expected = array.reshape(n, coils, 7, 10)[-1].swapaxes(-1, -2)
    np.testing.assert_array_equal(scan[-1].kspace, expected)


def test_version_5_is_not_reversed(tmp_path):
    path = tmp_path / "v5.mat"
    scipy.io.savemat(path, {"kspace_full": KSPACE.T})
    scan = data.open(path)
    assert len(scan) == 6
    np.testing.assert_array_equal(scan[3].kspace, KSPACE[1, 1].swapaxes(-1, -2))
    scipy.io.savemat(tmp_path / "m.mat", {"mask04": MASK.T.astype(np.float64)})
    np.testing.assert_array_equal(data.open(path, mask=tmp_path / "m.mat")[0].mask, MASK[None, :, 0])


def test_a_mask_file_is_no_scan_and_must_fit(tmp_path):
    mask = write_matlab(tmp_path / "a_mask.mat", mask04=MASK.astype(np.float64))
    with pytest.raises(DataError, match="mask=") as caught:
        data.open(mask)
    assert caught.value.found == ["mask04"]
    path = write_matlab(tmp_path / "k.mat", kspace_full=KSPACE[..., :8])
    with pytest.raises(DataError, match="does not fit") as caught:
        data.open(path, mask=mask)
    assert str(mask) in str(caught.value) and caught.value.found == (7, 10)


def test_mask_is_for_this_format_only(tmp_path):
    np.save(tmp_path / "k.npy", complex_array(2, 4, 5))
    with pytest.raises(ValueError, match="CMRxRecon"):
        data.open(tmp_path / "k.npy", mask=tmp_path / "m.mat")


def test_radial_bank(tmp_path):
    """Entries of one matrix from each kind of file, (frame, y, x); what is no mask of it is refused."""
    masks = np.random.default_rng(0).random((4, 10, 7)) < 0.3  # frame, x, y
    entries = {"acc4_10x7": masks, "acc12_10x7": ~masks, "acc4_10x8": np.ones((4, 10, 8))}
    np.savez(tmp_path / "bank.npz", **entries)
    write_matlab(tmp_path / "bank.mat", **{name: a.astype(np.float64) for name, a in entries.items()})
    scipy.io.savemat(tmp_path / "bank5.mat", {name: a.T.astype(np.uint8) for name, a in entries.items()})
    for name in ("bank.npz", "bank.mat", "bank5.mat"):
        bank = data.read_radial_bank(tmp_path / name, (7, 10))
        assert sorted(bank) == [4, 12] and bank[4].dtype == bool
        np.testing.assert_array_equal(bank[4], masks.swapaxes(1, 2))
        np.testing.assert_array_equal(bank[12], ~masks.swapaxes(1, 2))
    with pytest.raises(DataError, match="no radial mask of this matrix"):
        data.read_radial_bank(tmp_path / "bank.npz", (10, 7))
    for bad in (masks[0], masks[:, :9], 2 * masks.astype(int), np.array([{}], object)):
        np.savez(tmp_path / "bad.npz", acc4_10x7=bad)
        with pytest.raises(DataError, match=r"acc4_10x7|NumPy file"):
            data.read_radial_bank(tmp_path / "bad.npz", (7, 10))

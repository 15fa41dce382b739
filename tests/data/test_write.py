import h5py
import matplotlib.image
import nibabel
import numpy as np
import pytest
import scipy.io
from support.files import complex_array, header_xml, write_bart, write_fastmri
from support.type_check import as_user

from jaxrecon import data
from jaxrecon.data import write

IMAGES = complex_array(3, 8, 6)  # slice, y, x


@pytest.fixture
def header(tmp_path):
    (tmp_path / "in").mkdir()
    path = write_fastmri(tmp_path / "in" / "a.h5", complex_array(3, 2, 8, 6), xml=header_xml((8, 6, 1), (4, 5, 1)))
    return data.open(path).header


def test_fastmri_submission_is_cropped_magnitude(tmp_path, header):
    path = data.write_reconstruction(tmp_path / "a.h5", IMAGES, header=header, attributes={"step": 7})
    with h5py.File(path) as file:
        assert list(file) == ["reconstruction"] and file["reconstruction"].dtype == np.float32
        np.testing.assert_allclose(file["reconstruction"][:], np.abs(IMAGES)[:, 2:6, 0:5], rtol=1e-6)
        assert file.attrs["step"] == 7
    np.testing.assert_array_equal(data.open(path)[1].image, np.abs(IMAGES)[1, 2:6, 0:5])


def test_slices_come_in_any_form_and_order(tmp_path, header):
    as_dict = {2: IMAGES[2], 0: IMAGES[0], 1: IMAGES[1]}
    for i, images in enumerate((as_dict, list(IMAGES), IMAGES)):
        path = data.write_reconstruction(tmp_path / f"{i}.npy", images, header=header)
        np.testing.assert_array_equal(np.load(path), IMAGES)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({0: IMAGES[0], 2: IMAGES[2]}, r"\[1\]"),
        ([IMAGES[0], None, IMAGES[2]], r"\[1\]"),
        (IMAGES[:2], "2 slices, but the scan has 3"),
        ([], "missing"),
        ({}, "missing"),
        ({0: IMAGES[0], 1: IMAGES[1], 2: IMAGES[2], 3: IMAGES[0]}, r"\[3\]"),
        ([IMAGES[0], IMAGES[1], IMAGES[2, :4]], "differ in shape"),
        (IMAGES[0, 0], "shape"),
        (np.where(np.arange(6) == 3, np.nan, IMAGES), "NaN"),
    ],
)
def test_incomplete_volumes_are_refused(tmp_path, header, images, message):
    with as_user(), pytest.raises(ValueError, match=message):
        data.write_reconstruction(tmp_path / "a.h5", images, header=header)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("suffix", write.SUFFIXES)
def test_existing_files_are_left_alone_unless_asked(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    data.write_reconstruction(path, np.abs(IMAGES))
    before, n_files = path.read_bytes(), len(list(tmp_path.iterdir()))
    with pytest.raises(FileExistsError, match="overwrite"):
        data.write_reconstruction(path, np.abs(IMAGES[::-1]))
    assert path.read_bytes() == before
    data.write_reconstruction(path, np.abs(IMAGES[::-1]), overwrite=True)
    assert path.read_bytes() != before and len(list(tmp_path.iterdir())) == n_files


def test_nothing_is_left_after_a_failure(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(h5py.File, "__exit__", fail)
    with pytest.raises(OSError, match="disk full"):
        data.write_reconstruction(path, IMAGES, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"] and path.read_bytes() == b"old"


def test_pair_is_not_half_written(tmp_path):
    (tmp_path / "a.hdr").write_text("old")
    with pytest.raises(FileExistsError):
        data.write_reconstruction(tmp_path / "a.cfl", IMAGES)
    assert [p.name for p in tmp_path.iterdir()] == ["a.hdr"]


def test_unknown_suffix_and_folder(tmp_path):
    with pytest.raises(ValueError, match=r"\.nii\.gz"):
        data.write_reconstruction(tmp_path / "a.jpg", IMAGES)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        data.write_reconstruction(tmp_path / "no" / "a.npy", IMAGES)


def test_npz_keeps_complex_values(tmp_path):
    path = data.write_reconstruction(tmp_path / "a.npz", IMAGES.astype(np.complex128))
    np.testing.assert_array_equal(np.load(path)["reconstruction"], IMAGES)
    np.testing.assert_array_equal(data.open(path)[2].image, IMAGES[2])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_round_trip_with_its_affine(tmp_path, suffix):
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(np.abs(IMAGES).T.astype(np.float32), affine), tmp_path / "in.nii")
    scan = data.open(tmp_path / "in.nii")
    path = data.write_reconstruction(tmp_path / f"out{suffix}", [s.image for s in scan], header=scan.header)
    again = nibabel.load(path)
    np.testing.assert_allclose(again.affine, affine)
    np.testing.assert_allclose(again.get_fdata(), np.abs(IMAGES).T, rtol=1e-6)
    np.testing.assert_array_equal(data.open(path)[1].image, scan[1].image)


def test_bart_axes_are_those_of_the_scan(tmp_path):
    scan = data.open(write_bart(tmp_path / "in", complex_array(3, 7, 6, 1)))  # (1, 6, 7, 3)
    path = data.write_reconstruction(tmp_path / "out.cfl", IMAGES[:1, :7], header=scan.header)
    assert (tmp_path / "out.hdr").read_text().split("\n")[1].startswith("1 6 7 1 1")
    np.testing.assert_array_equal(data.read_cfl(path).reshape(7, 6), IMAGES[0, :7])
    series = complex_array(2, 3, 5, 4)  # frame, slice, y, x
    path = data.write_reconstruction(tmp_path / "series.cfl", series)
    array = data.read_cfl(path)  # batch, average, slice, level, time_2, time, ...
    assert array.shape[2] == 3 and array.shape[5] == 2 and array.shape[-2:] == (4, 5)
    np.testing.assert_array_equal(array.reshape(3, 2, 4, 5), series.transpose(1, 0, 3, 2))


def test_planes_of_a_volume_whose_readout_is_x(tmp_path):
    """(z, y) of each x, as arrays with named axes have it."""
    counters = data.scan.all_counters({"readout": 3})
    header = data.Header("npy", 3, 1, (8, 6), (), (), ("coil", "z", "y"), counters=counters)
    path = data.write_reconstruction(tmp_path / "a.cfl", IMAGES, header=header)
    np.testing.assert_array_equal(data.read_cfl(path).reshape(8, 6, 3), np.moveaxis(IMAGES, 0, -1))


def test_png_shows_the_slices_side_by_side(tmp_path):
    path = data.write_reconstruction(tmp_path / "a.png", IMAGES)
    picture = matplotlib.image.imread(path)[..., 0]
    expected = np.concatenate(list(np.abs(IMAGES)), 1)
    assert picture.shape == (8, 18)
    np.testing.assert_allclose(picture, expected / expected.max(), atol=0.01)
    data.write_reconstruction(tmp_path / "zero.png", np.zeros((4, 4)))


def test_frames_of_a_series(tmp_path):
    images = np.abs(complex_array(6, 5, 4))
    source = write_fastmri(tmp_path / "in.h5", None, reconstruction=images.reshape(2, 3, 5, 4))
    path = data.write_reconstruction(tmp_path / "out.h5", images, header=data.open(source).header)
    with h5py.File(path) as file:
        assert file["reconstruction"].shape == (2, 3, 5, 4)


@pytest.mark.parametrize(("n_slices", "kept"), [(1, [0]), (2, [0, 1]), (5, [1, 2]), (10, [3, 4])])
def test_leaderboard_crop(tmp_path, n_slices, kept):
    images = complex_array(4, n_slices, 10, 9)
    path = data.write_leaderboard_2023(tmp_path / "cine.mat", images)
    own = scipy.io.loadmat(path)["img4ranking"]
    # round(10 / 3) = 3 rows from 10 // 2 - 3 // 2, round(4.5) = 5 columns from 9 // 2 - 5 // 2
    expected = np.abs(images[:3][:, kept, 4:7, 2:7]).transpose(2, 3, 1, 0)
    np.testing.assert_allclose(own.reshape(expected.shape), expected, rtol=1e-6)
    assert own.dtype == np.float32
    all_frames = data.write_leaderboard_2023(tmp_path / "t1.mat", images, mapping=True)
    assert scipy.io.loadmat(all_frames)["img4ranking"].shape[3] == 4

import numpy as np
import pytest
from support.files import complex_array, header_xml, write_fastmri

from jaxrecon import data
from jaxrecon.checks import DataError
from jaxrecon.data import acquired_mask

LIMITS = {"kspace_encoding_step_1": (6, 4)}


def test_multicoil_volume_has_slices_header_target_and_padding(tmp_path):
    kspace, target = complex_array(3, 2, 16, 11), np.arange(3 * 8 * 7, dtype=np.float32).reshape(3, 8, 7)
    xml = header_xml((16, 11, 1), (8, 7, 1), LIMITS)
    path = write_fastmri(
        tmp_path / "a.h5", kspace, xml=xml, reconstruction_rss=target, acquisition="AXT2", max=2.5, patient_id=b"x"
    )
    with data.open(path) as scan:
        assert len(scan) == 3 and scan.header.format == "fastMRI"
        part = scan[1]
        np.testing.assert_array_equal(part.kspace, kspace[1])
        np.testing.assert_array_equal(part.target, target[1])
        assert part.mask is None and part.index == 1 and part.file == str(path)
        np.testing.assert_array_equal(scan[-1].kspace, kspace[2])
        assert [s.index for s in scan] == [0, 1, 2]
        with pytest.raises(IndexError):
            scan[3]
    header = scan.header
    assert header.encoded_matrix == (16, 11, 1) and header.recon_matrix == (8, 7, 1)
    assert header.padding == (1, 8)  # 11 // 2 - 4, and 1 + 6 + 1
    assert header.n_coils == 2 and header.acquisition == "AXT2" and header.attributes["max"] == 2.5
    assert header.attributes["patient_id"] == "x"
    assert header.file_axes == ("slice", "coil", "readout", "phase") and header.file_shape == (3, 2, 16, 11)
    assert header.slice_axes == ("coil", "readout", "phase") and header.shape == (16, 11)
    assert header.has_target and not header.has_mask and header.has_kspace and not header.has_volume
    with pytest.raises(ValueError, match="no 3D volume"):
        scan.volume()


@pytest.mark.parametrize("dtype", [bool, np.float32])
def test_test_file_has_its_mask_and_acceleration(tmp_path, dtype):
    mask = np.arange(9) % 3 == 0
    path = write_fastmri(tmp_path / "t.h5", complex_array(2, 2, 8, 9), mask=mask.astype(dtype), acceleration=4)
    scan = data.open(path)
    assert scan[0].mask.shape == (1, 9) and scan[0].mask.dtype == bool
    np.testing.assert_array_equal(scan[0].mask[0], mask)
    assert scan.header.acceleration == 4 and scan.header.has_mask and scan[0].target is None


def test_without_a_mask_the_zeros_say_what_was_measured(tmp_path):
    """Of whole columns and of points; columns that the header calls padding are no undersampling."""
    kspace = complex_array(2, 3, 8, 10)
    columns = np.isin(np.arange(10), [0, 4, 5, 6])[None]
    points = np.random.default_rng(1).random((8, 10)) < 0.4
    for name, mask in {"columns": columns, "points": points}.items():
        found = data.open(write_fastmri(tmp_path / f"{name}.h5", kspace * mask))
        np.testing.assert_array_equal(found[1].mask, mask)
        assert not found.header.has_mask and acquired_mask(found[1], found.header)[1] == "seen from the zeros"
    inside = np.isin(np.arange(10), range(2, 9))[None]
    for name, more in (("padded", 1), ("undersampled", columns)):
        path = write_fastmri(tmp_path / f"{name}.h5", kspace * inside * more, padding_left=2, padding_right=9)
        seen = data.open(path)[0].mask
        assert seen is None if name == "padded" else (seen == (inside & columns)).all()


def test_single_coil_gets_a_coil_axis_and_its_own_target(tmp_path):
    kspace, target = complex_array(2, 8, 9), np.ones((2, 4, 4), np.float32)
    path = write_fastmri(tmp_path / "s.h5", kspace, xml=header_xml((8, 9, 1)), reconstruction_esc=target)
    scan = data.open(path)
    np.testing.assert_array_equal(scan[1].kspace, kspace[1][None])
    assert scan.header.n_coils == 1 and scan[0].target.shape == (4, 4)


def test_double_precision_is_read_as_complex64_and_sizes_from_attributes(tmp_path):
    path = write_fastmri(
        tmp_path / "p.h5",
        complex_array(2, 3, 8, 10).astype(np.complex128),
        padding_left=0,
        padding_right=9,
        encoding_size=[8, 10, 1],
        recon_size=[6, 5],
    )
    header = data.open(path).header
    assert data.open(path)[0].kspace.dtype == np.complex64
    assert header.padding == (0, 9) and header.recon_matrix == (6, 5, 1) and header.encoded_matrix == (8, 10, 1)


def test_padding_stays_within_the_columns(tmp_path):
    xml = header_xml((8, 10, 1), None, {"kspace_encoding_step_1": (12, 6)})
    assert data.open(write_fastmri(tmp_path / "w.h5", complex_array(1, 1, 8, 10), xml=xml)).header.padding == (0, 10)


@pytest.mark.parametrize("limit", [(20, 40), (10, 22), (2, 0)])
def test_padding_never_excludes_the_centre(tmp_path, limit):
    """Limits (maximum, centre) by which the middle column was not acquired cannot be right."""
    xml = header_xml((8, 48, 1), None, {"kspace_encoding_step_1": limit})
    header = data.open(write_fastmri(tmp_path / "w.h5", complex_array(1, 1, 8, 48), xml=xml)).header
    assert header.padding is None or header.padding[0] <= 24 < header.padding[1]
    stated = write_fastmri(tmp_path / "s.h5", complex_array(1, 1, 8, 48), padding_left=25, padding_right=48)
    assert data.open(stated).header.padding is None


def test_phase_first_is_refused(tmp_path):
    """The header says 128 samples of the readout, the data have them on the last axis."""
    path = write_fastmri(tmp_path / "p.h5", complex_array(1, 2, 48, 128), xml=header_xml((128, 48, 1)))
    with pytest.raises(DataError, match="phase encode is stored before the readout") as caught:
        data.open(path)
    assert caught.value.found == "shape (1, 2, 48, 128)" and "128 samples" in str(caught.value)


def test_reconstructions_are_images(tmp_path):
    images = np.random.default_rng(0).random((2, 3, 5, 4)).astype(np.float32)
    scan = data.open(write_fastmri(tmp_path / "r.h5", None, reconstruction=images))
    assert len(scan) == 6 and scan.header.n_frames == 2 and scan.header.n_coils == 0 and not scan.header.has_kspace
    np.testing.assert_array_equal(scan[4].image, images[1, 1])
    assert scan[4].kspace is None
    with pytest.raises(ValueError, match="no k-space"):
        scan.adjacent(0, 3)


def test_crop_to_recon_size(tmp_path):
    xml = header_xml((16, 9, 1), (8, 7, 1))
    header = data.open(write_fastmri(tmp_path / "c.h5", complex_array(1, 1, 16, 9), xml=xml)).header
    image = np.arange(16 * 9).reshape(16, 9)
    np.testing.assert_array_equal(data.crop_to_recon_size(image, header), image[4:12, 1:8])
    target = np.zeros((4, 5))
    np.testing.assert_array_equal(data.crop_to_recon_size(image, header, target=target), image[6:10, 2:7])
    narrow = image[:, :5]  # FLAIR: fewer columns than the recon matrix
    np.testing.assert_array_equal(data.crop_to_recon_size(narrow, header), narrow[5:10])


def test_adjacent_slices_are_clamped_at_the_ends(tmp_path):
    kspace = complex_array(4, 2, 6, 5)
    scan = data.open(write_fastmri(tmp_path / "a.h5", kspace))
    assert scan.neighbours(0, 5) == [0, 0, 0, 1, 2] and scan.neighbours(-1, 3) == [2, 3, 3]
    np.testing.assert_array_equal(scan.adjacent(3, 3).kspace, kspace[[2, 3, 3]])
    assert scan.adjacent(3, 3).index == 3
    with pytest.raises(ValueError, match="odd"):
        scan.neighbours(0, 2)


@pytest.mark.parametrize(
    ("extra", "dataset"),
    [
        ({"reconstruction_rss": np.ones((3, 4, 4), np.float32)}, "reconstruction_rss"),
        ({"mask": np.ones(7, bool)}, "mask"),
    ],
)
def test_parts_that_do_not_fit_each_other(tmp_path, extra, dataset):
    path = write_fastmri(tmp_path / "x.h5", complex_array(2, 2, 8, 9), **extra)
    with pytest.raises(DataError) as caught:
        data.open(path)
    error = caught.value
    assert (
        error.dataset == dataset and str(path) in str(error) and error.expected and error.found == extra[dataset].shape
    )

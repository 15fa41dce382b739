import sys

import nibabel
import numpy as np
import pytest

from jaxrecon import data
from jaxrecon.checks import DataError

VALUES = np.arange(4 * 5 * 3, dtype=np.int16).reshape(4, 5, 3)
AFFINE = np.diag([-1.2, 1.1, 3.0, 1.0])


def write(path, values=VALUES, kind=nibabel.Nifti1Image, slope=0.5):
    image = kind(values, AFFINE)
    if values.dtype.kind == "i":
        image.header.set_slope_inter(slope, 2.0)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_slices_are_images_in_the_scale_of_the_file(tmp_path, name, kind):
    path = write(tmp_path / name, kind=kind)
    expected = nibabel.load(path).get_fdata()
    with data.open(path) as scan:
        assert scan.header.format == "NIfTI" and len(scan) == 3 and not scan.header.has_kspace
        assert scan[1].kspace is None and scan[1].image.dtype == np.float32
        np.testing.assert_allclose(scan[2].image, expected[..., 2].T, rtol=1e-6)
        np.testing.assert_allclose(scan.volume(), expected.T, rtol=1e-6)
        assert expected[1, 0, 0] != VALUES[1, 0, 0]  # the scaling is at work
    np.testing.assert_allclose(scan.header.affine, AFFINE)
    assert scan.header.shape == (5, 4) and scan.header.file_shape == (4, 5, 3)


def test_content_counts_not_the_suffix(tmp_path):
    path = write(tmp_path / "a.nii.gz").rename(tmp_path / "image.dat")
    assert data.open(path).header.format == "NIfTI"


def test_series_and_planes(tmp_path):
    series = np.random.default_rng(0).random((4, 5, 3, 2)).astype(np.float32)
    scan = data.open(write(tmp_path / "s.nii", series))
    assert len(scan) == 6 and scan.header.n_frames == 2
    np.testing.assert_array_equal(scan[4].image, series[:, :, 1, 1].T)
    np.testing.assert_array_equal(scan.volume(1), series[..., 1].T)
    plane = data.open(write(tmp_path / "p.nii", series[..., 0, 0]))
    assert len(plane) == 1
    np.testing.assert_array_equal(plane[0].image, series[..., 0, 0].T)


def test_reorient(tmp_path):
    path = write(tmp_path / "a.nii")
    scan = data.NiftiScan(path, reorient=True)
    np.testing.assert_allclose(scan[1].image, data.open(path)[1].image[:, ::-1])
    assert scan.header.affine[0, 0] > 0


def test_truncated(tmp_path):
    for name in ("a.nii", "a.nii.gz"):
        path = write(tmp_path / name, np.random.default_rng(0).random((20, 21, 22)).astype(np.float32))
        path.write_bytes(path.read_bytes()[:-5000])
        with pytest.raises(DataError) as caught:
            list(data.open(path))
        assert str(path) in str(caught.value) and caught.value.dataset == "image" and caught.value.expected


def test_missing_nibabel_says_how_to_install_it(tmp_path, monkeypatch):
    path = write(tmp_path / "a.nii")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxrecon\[io\]'"):
        data.open(path)

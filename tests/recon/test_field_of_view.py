"""What is kept of an image goes by the fields of view that the header states, not by its matrices."""

import dataclasses

import numpy as np
import pytest
from support.files import header_xml, lines_of_columns, write_fastmri, write_ismrmrd
from support.scans import fftc, nrmse, object_and_maps

import jaxrecon as jr
from jaxrecon.cli import main
from jaxrecon.data.geometry import interpolated

IMAGE, MAPS = object_and_maps(shape=(64, 48))
COILS = IMAGE * MAPS
LIMITS = {"kspace_encoding_step_1": (47, 24)}


def wide(rows=128, columns=48):
    """K-space of the object in a larger field of view."""
    y, x = rows // 2 - 32, columns // 2 - 24
    return fftc(np.pad(COILS, [(0, 0), (y, rows - 64 - y), (x, columns - 48 - x)])).astype(np.complex64)


@pytest.fixture
def oversampled(tmp_path):
    """The readout twice as long; the header's reconstruction matrix is interpolated along ky."""
    xml = header_xml((128, 48, 1), (64, 64, 1), LIMITS, fov=(512, 256, 5), recon_fov=(256, 256, 5))
    return write_ismrmrd(tmp_path / "scan.h5", lines_of_columns(wide()), xml)


def test_pixels_of_the_field_of_view_are_kept(oversampled, tmp_path, capsys):
    done = jr.reconstruct(oversampled, method="rss")
    assert done.images.shape == (1, 64, 48) and done.header.shape == (64, 48)
    assert nrmse(done.images[0], IMAGE) < 1e-5
    assert main(["recon", str(oversampled), "--out", str(tmp_path / "r.npy"), "--method", "rss", "--no-figure"]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "r.npy"), done.images)
    words = "to 64 x 48 of 128 x 48 pixels: the field of view of 256 x 256 x 5 mm, of 512 x 256 x 5 mm encoded"
    assert words in capsys.readouterr().out
    assert main(["info", str(oversampled)]) == 0
    text = capsys.readouterr().out
    assert words in text and "5.333 x 4 x 5 mm" in text
    assert jr.reconstruct(oversampled, method="rss", crop=False).images.shape == (1, 128, 48)
    assert jr.evaluate(done.images, oversampled).volume["nmse"] < 1e-10


def test_interpolated_to_the_matrix_of_the_header(oversampled, tmp_path):
    """Zero-filled: the same object on 64 x 64, in the same units."""
    own = jr.reconstruct(oversampled, method="rss", interpolate=True)
    assert own.images.shape == (1, 64, 64) and own.images.dtype == np.float32
    np.testing.assert_allclose(
        own.images[0, :, ::4], jr.reconstruct(oversampled, method="rss").images[0, :, ::3], atol=0.02
    )
    assert main(["recon", str(oversampled), "--out", str(tmp_path / "r.npy"), "--method", "rss", "--interpolate"]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "r.npy"), own.images)
    with pytest.raises(ValueError, match="crop"):
        jr.reconstruct(oversampled, method="rss", crop=False, interpolate=True)
    with pytest.raises(ValueError, match="reconstruction matrix"):
        jr.reconstruct(wide(), method="rss", interpolate=True)


def test_more_lines_than_the_matrix_states(tmp_path):
    """Matrix 56, lines 0 to 63, one field of view: 64 columns."""
    xml = header_xml((64, 56, 1), (64, 56, 1), {"kspace_encoding_step_1": (63, 32)}, fov=(256, 256, 5))
    path = write_ismrmrd(tmp_path / "scan.h5", lines_of_columns(wide(64, 64)), xml)
    image = jr.reconstruct(path, method="rss").images[0]
    assert image.shape == (64, 64) and nrmse(image, np.pad(IMAGE, [(0, 0), (8, 8)])) < 1e-5


def test_without_fields_of_view_the_matrices_stand_for_them(tmp_path):
    xml = header_xml((128, 56, 1), (64, 56, 1), {"kspace_encoding_step_1": (63, 32)})
    path = write_ismrmrd(tmp_path / "scan.h5", lines_of_columns(wide(128, 64)), xml)
    assert jr.reconstruct(path, method="rss").images.shape == (1, 64, 64)


def test_prepared_scans_keep_the_field_of_view(tmp_path):
    """Readout oversampled, and interpolated by the header's matrix: 64 rows are right."""
    (tmp_path / "raw").mkdir()
    xml = header_xml((128, 48, 1), (128, 48, 1), LIMITS, fov=(512, 256, 5), recon_fov=(256, 256, 5))
    write_ismrmrd(tmp_path / "raw" / "scan.h5", lines_of_columns(wide()), xml)
    ready = tmp_path / "ready"
    assert main(["prepare", str(tmp_path / "raw"), "--out", str(ready), "--calib-size", "13", "--kernel", "6"]) == 0
    with jr.data.open(ready / "scan.h5") as scan:
        assert scan.header.shape == (64, 48)


def test_planes_of_a_3d_scan(tmp_path):
    """All three axes oversampled: 6 of 12 positions along the readout, 5 of 10 ky, 4 of 8 kz."""
    lines = [
        {"data": np.ones((2, 12)), "kspace_encode_step_1": y, "kspace_encode_step_2": z}
        for z in range(8)
        for y in range(10)
    ]
    xml = header_xml((12, 10, 8), (24, 20, 16), fov=(240, 200, 160), recon_fov=(120, 100, 80))
    with jr.data.open(write_ismrmrd(tmp_path / "scan.h5", lines, xml)) as scan:
        assert len(scan) == 6 and scan.header.shape == (10, 8) and scan.header.crop == (5, 4)
        assert jr.reconstruct(scan, method="rss").images.shape == (6, 5, 4)


def test_files_laid_out_as_fastmri_keep_its_rule(tmp_path):
    """Their targets are made by it: the reconstruction matrix, whatever the fields of view."""
    xml = header_xml((128, 48, 1), (64, 40, 1), LIMITS, fov=(512, 256, 5), recon_fov=(256, 256, 5))
    path = write_fastmri(tmp_path / "scan.h5", wide()[None], xml=xml)
    done = jr.reconstruct(path, method="rss")
    assert done.images.shape == (1, 64, 40)
    np.testing.assert_allclose(done.images[0], IMAGE[:, 4:44], atol=1e-5)


def test_no_matrix_takes_all_of_the_memory(oversampled):
    with jr.data.open(oversampled) as scan:
        header = dataclasses.replace(scan.header, recon_matrix=(65000, 65000, 1))
    with pytest.raises(ValueError, match=r"at most 8192 a side, found \(65000, 65000, 1\)"):
        interpolated(np.zeros((2, 2), np.float32), header)

"""A part of the readout is not full k-space, for whatever makes a target of it."""

import numpy as np
import pytest
from support.files import complex_array, header_xml, lines_of_columns, write_ismrmrd

import jaxrecon as jr
from jaxrecon import host
from jaxrecon.cli import main
from jaxrecon.data.preparation import rss_target

KSPACE = complex_array(2, 16, 12)  # coil, readout, ky


def in_2d(path, first=4):
    """12 of 16 samples of each line, which is 75 % of k-space."""
    lines = lines_of_columns(KSPACE[:, first:], center_sample=8 - first)
    return write_ismrmrd(path, lines, header_xml((16, 12, 1), fov=(200, 200, 5)))


def in_3d(path, first=4):
    """The same, and four kz: the readout is transformed when slices are read."""
    lines = [
        {**line, "kspace_encode_step_2": z}
        for z in range(4)
        for line in lines_of_columns(KSPACE[:, first:], center_sample=8 - first)
    ]
    return write_ismrmrd(path, lines, header_xml((16, 12, 4), fov=(200, 200, 20)))


@pytest.mark.parametrize("write", [in_2d, in_3d])
def test_is_not_fully_sampled(write, tmp_path, capsys):
    path = write(tmp_path / "echo.h5")
    with pytest.raises(ValueError, match="asymmetric echo"):
        jr.data.prepare_scan(path, tmp_path / "ready.h5")
    assert not (tmp_path / "ready.h5").exists()
    with jr.data.open(path) as scan, pytest.raises(ValueError, match="asymmetric echo"):
        rss_target(scan[0])
    images = np.ones((16, 12, 4) if write is in_3d else (1, 16, 12))
    with pytest.raises(ValueError, match="found undersampled k-space"):
        jr.evaluate(images, path)
    assert main(["info", str(path)]) == 0
    text = capsys.readouterr().out
    assert "asymmetric echo" in text and "fully sampled within" not in text


@pytest.mark.parametrize("write", [in_2d, in_3d])
def test_whole_readouts_are(write, tmp_path):
    with jr.data.open(write(tmp_path / "full.h5", first=0)) as scan:
        part = scan[1 if write is in_3d else 0]
        np.testing.assert_allclose(rss_target(part), host.rss(host.coil_images(part.kspace)))

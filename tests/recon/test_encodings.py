"""ISMRMRD files of several encodings, and calibration lines apart from the images."""

import re

import numpy as np
import pytest
from support.files import flag, header_xml, lines_of_columns, write_ismrmrd
from support.scans import measured, nrmse, object_and_maps

import jaxrecon as jr
from jaxrecon import host
from jaxrecon.checks import DataError, DataWarning
from jaxrecon.cli import main

SHAPE = (48, 40)
KSPACE, _ = measured(shape=SHAPE)
IMAGE, MAPS = object_and_maps(shape=SHAPE)
COARSE = {"encoding_space_ref": 0}
FINE = {"encoding_space_ref": 1}


def xml(*sizes, fov=(240, 200, 5), extra=""):
    """A header of several encodings, each of (readout, ky) samples."""
    texts = [
        header_xml(
            (*size, 1), (*size, 1), {"kspace_encoding_step_1": (size[1] - 1, size[1] // 2)}, fov=fov, extra=extra
        )
        for size in sizes
    ]
    blocks = "".join(re.search("<encoding>.*</encoding>", text)[0] for text in texts)
    return re.sub("<encoding>.*</encoding>", blocks, texts[0])


def center(n=16):
    """The central n x n samples, as of a scan of low resolution."""
    y, x = SHAPE[0] // 2 - n // 2, SHAPE[1] // 2 - n // 2
    return KSPACE[:, y : y + n, x : x + n]


def test_lines_of_another_encoding_than_the_first_are_read(tmp_path):
    path = write_ismrmrd(tmp_path / "a.h5", lines_of_columns(KSPACE, **FINE), xml((8, 8), SHAPE))
    with jr.data.open(path) as scan:
        np.testing.assert_array_equal(scan[0].kspace, KSPACE)
        assert scan.header.encoded_matrix == (48, 40, 1) and scan.header.attributes["encoding"] == 1
    one = write_ismrmrd(tmp_path / "b.h5", lines_of_columns(KSPACE, **FINE), xml(SHAPE))
    with pytest.raises(DataError, match="lacks encoding 1"):
        jr.data.open(one)


def test_images_of_two_encodings_are_told(tmp_path, capsys):
    lines = [*lines_of_columns(center(), **COARSE), *lines_of_columns(KSPACE, **FINE)]
    path = write_ismrmrd(tmp_path / "a.h5", lines, xml((16, 16), SHAPE))
    with pytest.warns(DataWarning, match="encoding 0 is read, 40 lines of encoding 1 are left out"):
        scan = jr.data.open(path)
    np.testing.assert_array_equal(scan[0].kspace, center())
    np.testing.assert_array_equal(jr.data.IsmrmrdScan(path, encoding=1)[0].kspace, KSPACE)


@pytest.mark.parametrize(
    ("sizes", "calibration", "images"),
    [
        (((16, 16), SHAPE), COARSE, FINE),  # an encoding of its own, before the images
        ((SHAPE, (16, 16)), FINE, COARSE),
        ((SHAPE,), COARSE, COARSE),  # the same one, on the grid of the images
    ],
)
def test_separate_calibration_gives_the_maps(sizes, calibration, images, tmp_path, capsys):
    """Every third line without a centre; the calibration lines are of another contrast."""
    other = -0.5j * (center() if len(sizes) > 1 else KSPACE[..., 12:28])
    lines = lines_of_columns(KSPACE, columns=range(2, 40, 3), **images)
    lines += lines_of_columns(other, first=0 if len(sizes) > 1 else -12, flags=flag(20), **calibration)
    path = write_ismrmrd(tmp_path / "a.h5", lines, xml(*sizes))
    with jr.data.open(path) as scan:
        part = scan[0]
        np.testing.assert_array_equal(np.flatnonzero(part.mask[0]), range(2, 40, 3))
        np.testing.assert_allclose(part.calibration[:, 16:32, 12:28], -0.5j * center(), atol=1e-6)
        assert scan.header.has_calibration and scan.header.attributes["n_calibration_lines"] == 16
    done = jr.reconstruct(path, method="cg-sense", lam=1e-3, n_iter=20)
    inside = IMAGE > 0
    assert np.abs((np.conj(done.maps[0]) * MAPS).sum(0))[inside].min() > 0.98
    assert nrmse(done.images[0] * inside, IMAGE) < 0.1
    assert main(["info", str(path)]) == 0
    assert "maps estimated from the separate calibration lines" in capsys.readouterr().out


def test_calibration_that_does_not_fit_is_not_used(tmp_path):
    """Another field of view: its samples lie elsewhere."""
    lines = [*lines_of_columns(center(), flags=flag(20), **COARSE), *lines_of_columns(KSPACE, **FINE)]
    text = xml((16, 16), SHAPE)
    text = text.replace("<x>240</x>", "<x>480</x>", 1)
    with jr.data.open(write_ismrmrd(tmp_path / "a.h5", lines, text)) as scan:
        assert scan[0].calibration is None and not scan.header.has_calibration
        assert scan.header.attributes["n_calibration_lines"] == 16
        np.testing.assert_array_equal(scan[0].kspace, KSPACE)


def test_calibration_of_each_slice(tmp_path):
    """One calibration for all contrasts of a slice."""
    lines = [
        line
        for s in range(2)
        for line in lines_of_columns((s + 1) * KSPACE[..., 12:28], first=-12, flags=flag(20), slice=s)
    ]
    lines += [line for c in range(2) for s in range(2) for line in lines_of_columns(KSPACE, contrast=c, slice=s)]
    with jr.data.open(write_ismrmrd(tmp_path / "a.h5", lines, xml(SHAPE))) as scan:
        for i in range(4):
            np.testing.assert_array_equal(scan[i].calibration[..., 12:28], (i % 2 + 1) * KSPACE[..., 12:28])


def test_calibration_of_a_3d_scan(tmp_path):
    """The center of (ky, kz) before every second line of it; read in any order."""
    volume = host.fftc(np.stack([KSPACE, 2 * KSPACE, 3 * KSPACE, 0 * KSPACE], 1)[..., 12:28], 1).astype(np.complex64)

    def lines(steps_y, steps_z, factor, **fixed):
        return [
            {"data": factor * volume[:, z, :, y], "kspace_encode_step_1": y, "kspace_encode_step_2": z, **fixed}
            for z in steps_z
            for y in steps_y
        ]

    text = header_xml((48, 16, 4), (24, 16, 4), fov=(240, 200, 20), recon_fov=(120, 200, 20))
    path = tmp_path / "a.h5"
    write_ismrmrd(
        path, lines(range(4, 12), range(1, 4), -1j, flags=flag(20)) + lines(range(0, 16, 2), range(4), 1), text
    )
    with jr.data.open(path) as scan:
        assert len(scan) == 24 and scan.header.has_calibration
        hybrid = host.ifftc(volume, 2)[:, :, 12:36]  # (coil, kz, x, ky)
        for i in (3, 20, 4):
            expected = np.zeros((4, 16, 4), complex)
            expected[:, 4:12, 1:] = -1j * hybrid[:, 1:, i, 4:12].swapaxes(-1, -2)
            np.testing.assert_allclose(scan[i].calibration, expected, atol=1e-5)
            np.testing.assert_allclose(scan[i].kspace[:, ::2], hybrid[:, :, i, ::2].swapaxes(-1, -2), atol=1e-5)

"""Where the centre of k-space is: partial Fourier beyond the stated matrix, and centres that the data contradict."""

import numpy as np
import pytest
from support.files import header_xml, lines_of_columns, write_bart, write_fastmri, write_ismrmrd
from support.scans import measured, nrmse, object_and_maps

import jaxrecon as jr
from jaxrecon.checks import DataError, DataWarning
from jaxrecon.cli import main
from jaxrecon.data.center import peak_off_center
from jaxrecon.data.ismrmrd_header import Grid, Limit, encoding_grid

SHAPE = (48, 64)
SAMPLED = [j for j in range(16, 64) if j % 3 == 0 or 22 <= j <= 41]


def partial_fourier(path, center, matrix=48):
    """Lines 16 to 63 of 64, every third, 22 to 41 all of them; the centre is at step 16."""
    kspace, _ = measured(shape=SHAPE)
    xml = header_xml((48, matrix, 1), (48, matrix, 1), {"kspace_encoding_step_1": (47, center)}, fov=(256, 256, 5))
    return write_ismrmrd(path, lines_of_columns(kspace, first=16, columns=SAMPLED), xml)


def test_partial_fourier_beyond_the_stated_matrix(tmp_path):
    """64 columns hold the lines around their centre, so that maps are estimated there."""
    path = partial_fourier(tmp_path / "scan.h5", 16)
    with jr.data.open(path) as scan:
        assert scan.header.shape == SHAPE and scan.header.padding == (16, 64)
        np.testing.assert_array_equal(np.flatnonzero(scan[0].mask.any(0)), SAMPLED)
    image = jr.reconstruct(path).images[0]
    assert image.shape == SHAPE and nrmse(image, object_and_maps(shape=SHAPE)[0]) ** 2 < 0.01
    with jr.data.open(partial_fourier(tmp_path / "stated.h5", 16, matrix=64)) as scan:
        assert scan.header.shape == SHAPE and scan.header.padding == (16, 64)


@pytest.mark.parametrize(
    ("steps", "limit", "size", "grid"),
    [
        ((0, 47), Limit(47, 16), 48, Grid(64, 16)),
        ((0, 47), Limit(47, 32), 48, Grid(64, 0)),
        ((0, 47), Limit(47, 24), 48, Grid(48, 0)),
        ((0, 47), Limit(47, 23), 48, Grid(48, 0)),  # rounded
        ((0, 23), Limit(23, 8), 48, Grid(48, 16)),  # the stated matrix holds it
        ((0, 63), Limit(63, 32), 56, Grid(64, 0)),
        ((0, 47), Limit(47, 0), 48, Grid(48, 0)),  # not filled in
        ((0, 47), Limit(47, 90), 48, Grid(48, 0)),  # no line there
        ((0, 47), Limit(0, 0), 40, Grid(48, 0)),
        ((0, 8), Limit(4, 2), 5, Grid(9, 0)),  # lines beyond the limits
        ((3, 8), None, 0, Grid(9, 0)),
        ((0, 40), Limit(None, 10), 0, Grid(62, 21)),
    ],
)
def test_grid_of_the_lines(steps, limit, size, grid):
    assert encoding_grid(np.array(steps), limit, size) == grid


def test_lines_that_no_matrix_holds(tmp_path):
    lines = [{"data": np.ones((1, 8)), "kspace_encode_step_1": k} for k in (0, 1, 65535)]
    xml = header_xml((8, 16, 1), None, {"kspace_encoding_step_1": (65535, 1)})
    with pytest.raises(DataError, match="no matrix holds"):
        jr.data.open(write_ismrmrd(tmp_path / "scan.h5", lines, xml))


def saved(suffix, kspace, folder):
    """K-space (coil, y, x) as a file of some format."""
    path = folder / f"scan{suffix}"
    if suffix == ".npy":
        np.save(path, kspace)
    elif suffix == ".npz":
        np.savez(path, kspace=kspace)
    elif suffix == ".h5":
        write_fastmri(path, kspace[None])
    else:
        write_bart(folder / "scan", kspace.swapaxes(-1, -2)[:, None])
    return path


def warned(path):
    """The warnings of info, recon and the function, one of each."""
    recon = ["recon", str(path), "--out", f"{path}.npy", "--method", "rss", "--no-figure"]
    messages = []
    for work in (lambda: main(["info", str(path)]), lambda: main(recon), lambda: jr.reconstruct(path, method="rss")):
        with pytest.warns(DataWarning) as caught:
            work()
        assert len(caught) == 1
        messages.append(str(caught[0].message))
    return messages


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".cfl"])
def test_center_in_the_corner(suffix, tmp_path):
    """As plain FFTs have it; centred data of the same object give no warning."""
    kspace, _ = measured(shape=SHAPE)
    texts = warned(saved(suffix, np.fft.ifftshift(kspace, (-2, -1)), tmp_path))
    assert all("at (y, x) = (0, 0), but its centre at (24, 32)" in text and "scan" in text for text in texts)
    (tmp_path / "right").mkdir()
    assert main(["info", str(saved(suffix, kspace, tmp_path / "right"))]) == 0


def test_center_of_the_header_that_the_data_contradict(tmp_path):
    texts = warned(partial_fourier(tmp_path / "scan.h5", 24))
    assert all("at (y, x) = (24, 16), but its centre at (24, 24)" in text for text in texts)


def test_neither_noise_nor_a_shift_of_few_samples_warns():
    kspace, _ = measured(shape=SHAPE)
    assert peak_off_center(np.roll(kspace, (4, -4), (-2, -1))) is None
    assert peak_off_center(np.roll(kspace, 5, -2)) == (29, 32)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((20, 1, *SHAPE)) + 1j * rng.standard_normal((20, 1, *SHAPE))
    assert all(peak_off_center(coil) is None for coil in noise)
    assert peak_off_center(np.zeros((2, *SHAPE), complex)) is None
    # no sample near the centre along x: nothing is known
    assert peak_off_center(kspace * (np.abs(np.arange(64) - 32) > 8)) is None

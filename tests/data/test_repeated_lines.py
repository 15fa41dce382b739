"""ISMRMRD lines with equal counters: repeated measurements are averaged, other images are not."""

import warnings

import numpy as np
import pytest
from support.files import complex_array, header_xml, write_ismrmrd
from support.scans import measured

import jaxrecon as jr
from jaxrecon import data
from jaxrecon.checks import DataError, DataWarning
from jaxrecon.cli import main

KSPACE = measured(noise=0)[0].swapaxes(-1, -2)  # coil, ky, kx
NOISE = 1e-3 * np.abs(KSPACE).max()


def lines_of(kspace, **named):
    return [{"data": kspace[:, k], "kspace_encode_step_1": k, **named} for k in range(kspace.shape[1])]


def written(folder, lines):
    _, n_ky, n_kx = KSPACE.shape
    return write_ismrmrd(folder / "scan.h5", lines, header_xml((n_kx, n_ky, 1)))


def echoes(n=3, **named):
    """Signals that decay and turn, as of fat or by off-resonance."""
    return [line for e in range(n) for line in lines_of(KSPACE * 0.8**e * np.exp(2.1j * e), **named)]


def noisy(seed):
    return KSPACE + NOISE * complex_array(*KSPACE.shape, seed=seed)


def read(path):
    """The k-space (coil, ky, kx) of the first slice, and its mask, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with data.open(path) as scan:
            part = scan[0]
    return part.kspace.swapaxes(-1, -2), part.mask


def test_echoes_without_their_index(tmp_path):
    """Their mean would be 0.07 of the first echo: it is taken alone, and a single warning says so for all slices."""
    lines = [line for s in range(2) for line in echoes(slice=s)]
    mean = np.mean([e["data"] for e in lines if e["kspace_encode_step_1"] == KSPACE.shape[1] // 2], 0)
    assert np.abs(mean).max() < 0.2 * np.abs(KSPACE).max()
    scan = data.open(written(tmp_path, lines))
    with pytest.warns(DataWarning, match=rf"{2 * KSPACE.shape[1]} lines .* differ by up to 1\d\d % .* index") as caught:
        parts = list(scan)
    assert len(caught) == 1 and str(tmp_path / "scan.h5") in str(caught[0].message)
    for part in parts:
        np.testing.assert_array_equal(part.kspace, KSPACE.swapaxes(-1, -2))
        assert part.mask is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("which", [[1], [0, 1]], ids=["repeated", "both"])
def test_what_is_not_finite_is_refused(value, which, tmp_path):
    """Also in a line that would not count, for its difference from the first one."""
    kspace = np.stack([KSPACE, KSPACE])
    kspace[which, 0, 3, 4] = value
    with pytest.raises(DataError, match="slice 0 holds 1 NaN or infinite"):
        read(written(tmp_path, [*lines_of(kspace[0]), *lines_of(kspace[1])]))


def test_echoes_with_their_index(tmp_path):
    with data.open(written(tmp_path, [*lines_of(KSPACE), *lines_of(2 * KSPACE, contrast=1)])) as scan:
        assert len(scan) == 2
    kspace, _ = read(tmp_path / "scan.h5")
    np.testing.assert_array_equal(kspace, KSPACE)


def test_every_command_says_so(tmp_path, capsys):
    path = written(tmp_path, echoes())
    match = f"{2 * KSPACE.shape[1]} lines"
    with pytest.warns(DataWarning, match=match):
        image = jr.reconstruct(path, method="rss").images
    for command in (
        ["info", str(path)],
        ["recon", str(path), "--method", "rss", "--no-figure", "--out", str(tmp_path / "r.npy")],
        ["prepare", str(path), "--calib-size", "13", "--kernel", "6", "--out", str(tmp_path / "ready")],
    ):
        with pytest.warns(DataWarning, match=match):
            assert main(command) == 0
    np.testing.assert_allclose(np.load(tmp_path / "r.npy"), image, rtol=1e-6)
    np.testing.assert_allclose(data.open(tmp_path / "ready" / "scan.h5")[0].kspace, KSPACE.swapaxes(-1, -2))


def test_averages_are_averaged_whatever_they_are(tmp_path):
    kspace, _ = read(written(tmp_path, [*lines_of(KSPACE), *lines_of(-0.5j * KSPACE, average=1)]))
    np.testing.assert_allclose(kspace, (0.5 - 0.25j) * KSPACE, rtol=1e-6)


def test_repetitions_that_differ_by_noise_are_averaged(tmp_path):
    """Also where coils have unequal noise."""
    gain = np.array([1, 1, 1, 5])[:, None, None]
    scans = [KSPACE + gain * (noisy(seed) - KSPACE) for seed in range(4)]
    kspace, _ = read(written(tmp_path, [line for scan in scans for line in lines_of(scan)]))
    np.testing.assert_allclose(kspace, np.mean(scans, 0), atol=1e-6 * np.abs(KSPACE).max())


def test_equal_lines_are_averaged(tmp_path):
    kspace, _ = read(written(tmp_path, [*lines_of(KSPACE), *lines_of(KSPACE * np.float32(1 + 1e-6))]))
    np.testing.assert_allclose(kspace, KSPACE, rtol=1e-5)


def test_a_single_other_line_is_not_noise(tmp_path):
    other = {"data": 1.5 * KSPACE[:, KSPACE.shape[1] // 2], "kspace_encode_step_1": KSPACE.shape[1] // 2}
    scan = data.open(written(tmp_path, [*lines_of(KSPACE), other]))
    with pytest.warns(DataWarning, match=r"1 lines .* up to 50 %"):
        part = scan[0]
    np.testing.assert_array_equal(part.kspace, KSPACE.swapaxes(-1, -2))


@pytest.mark.parametrize("average", [0, 1])
def test_each_sample_by_the_number_of_its_own_measurements(tmp_path, average):
    """A full line, and one of the second half of the readout: the first half was halved."""
    n_kx, half, k = KSPACE.shape[-1], KSPACE.shape[-1] // 2, 5
    short = {"kspace_encode_step_1": k, "center_sample": 0, "average": average}
    full, again = noisy(0), noisy(1)[:, k, half:]
    kspace, mask = read(written(tmp_path, [*lines_of(full), {"data": again, **short}]))
    expected = full.copy()
    expected[:, k, half:] = (full[:, k, half:] + again) / 2
    np.testing.assert_allclose(kspace, expected, rtol=1e-5, atol=1e-6 * NOISE)
    assert mask is None

    lines = [line for line in lines_of(full) if line["kspace_encode_step_1"] != k]
    _, mask = read(written(tmp_path, [*lines, {"data": again, **short}]))
    missing = np.zeros((n_kx, KSPACE.shape[1]), bool)
    missing[:half, k] = True
    np.testing.assert_array_equal(~mask, missing)

"""`jaxrecon simulate`: a file that the readers take for a scan, with its truth and its noise."""

import h5py
import numpy as np
import pytest
from support.scans import SIMULATED, nrmse

from jaxrecon import data, host
from jaxrecon.cli import main

SMALL = ["--shape", *map(str, SIMULATED), "--coils", "4"]


def simulate(out, *options):
    return main(["simulate", *map(str, options), "--out", str(out)])


def test_phantom_is_a_scan(tmp_path, capsys):
    path = tmp_path / "sim.h5"
    assert simulate(path, "phantom", *SMALL, "--slices", "2", "--mask", "equispaced", "-R", "3", "--seed", "4") == 0
    text = capsys.readouterr().out
    assert "SNR       30" in text.replace("SNR      30", "SNR       30") and "4" in text
    with data.open(path) as scan:
        header = scan.header
        assert (header.format, header.n_slices, header.n_coils, header.shape) == ("fastMRI", 2, 4, SIMULATED)
        assert header.has_target and header.has_mask and header.acceleration == 3
        assert header.attributes["seed"] == 4 and header.attributes["snr"] == 30
        part = scan[1]
        np.testing.assert_array_equal(part.kspace == 0, np.broadcast_to(~part.mask, part.kspace.shape))
        assert nrmse(part.target, scan[0].target) > 0.01
    assert (tmp_path / "sim_figure.png").exists()


def test_truth_and_noise(tmp_path):
    for name, snr in (("clean", "inf"), ("noisy", "20")):
        assert simulate(tmp_path / f"{name}.h5", *SMALL, "--slices", "1", "--snr", snr, "--no-figure") == 0
    with h5py.File(tmp_path / "clean.h5") as clean, h5py.File(tmp_path / "noisy.h5") as noisy:
        truth = clean["reconstruction_rss"][0]
        assert nrmse(host.rss(host.coil_images(clean["kspace"][0])), truth) < 1e-5
        np.testing.assert_array_equal(noisy["reconstruction_rss"][0], truth)
        noise = noisy["kspace"][()] - clean["kspace"][()]
        assert np.sqrt((np.abs(noise) ** 2).mean()) == pytest.approx(noisy.attrs["noise_std"][0], rel=0.05)
        assert clean.attrs["max"] == truth.max()
    assert not list(tmp_path.glob("*.png"))


def test_images_of_a_file(tmp_path):
    images = np.random.default_rng(0).random((3, 24, 20)).astype(np.float32) + 1
    images[:, :6] = 0
    np.save(tmp_path / "anatomy.npy", images)
    options = ["--coils", "3", "--snr", "inf", "--slices", "1:3", "--mask", "gaussian-2d", "-R", "2"]
    assert simulate(tmp_path / "sim.h5", tmp_path / "anatomy.npy", *options, "--no-figure") == 0
    with data.open(tmp_path / "sim.h5") as scan:
        np.testing.assert_allclose(scan[0].target, images[1] / images[1:].max(), rtol=1e-5)
        assert scan[1].kspace.shape == (3, 24, 20) and (scan[1].kspace == 0).mean() == pytest.approx(0.5, abs=0.02)
    assert simulate(tmp_path / "small.h5", tmp_path / "anatomy.npy", "--shape", "12", "10", "--no-figure") == 0
    with data.open(tmp_path / "small.h5") as scan:
        assert scan.header.shape == (12, 10)


def test_same_seed_same_file(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert simulate(tmp_path / f"{name}.h5", *SMALL, "--slices", "1", "--seed", seed, "--no-figure") == 0
    a, b, c = (h5py.File(tmp_path / f"{n}.h5")["kspace"][()] for n in "abc")
    np.testing.assert_array_equal(a, b)
    assert nrmse(c, np.abs(a)) > 0.1


def test_refused(tmp_path, capsys):
    out = tmp_path / "sim.h5"
    np.save(tmp_path / "kspace.npy", np.ones((2, 8, 8), np.complex64))
    for options, words in [
        (["--snr", "0"], ["--snr", "positive"]),
        (["--slices", "0"], ["--slices"]),
        ([tmp_path / "kspace.npy"], ["kspace.npy", "expected images", "found k-space"]),
        ([tmp_path / "none.nii"], ["none.nii", "no such file"]),
    ]:
        assert simulate(out, *SMALL, *options) == 2
        error = capsys.readouterr().err
        assert all(word in error for word in words) and error.count("\n") == 1
    assert simulate(tmp_path / "sim.nii", *SMALL) == 2
    assert ".h5" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kspace.npy"]

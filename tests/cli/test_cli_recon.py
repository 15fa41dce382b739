"""`jaxrecon recon`: right images from every format, one compilation per shape, each choice printed."""

from pathlib import Path

import chex
import h5py
import jax
import numpy as np
import pytest
from support.files import complex_array, header_xml, write_bart, write_fastmri, write_ismrmrd
from support.scans import SHAPE, line_mask, measured, nrmse, object_and_maps

from jaxrecon import data
from jaxrecon.cli import main
from jaxrecon.cli.common import chosen_slices
from jaxrecon.recon import slicewise

MINI = Path(__file__).parents[1] / "golden" / "data"
QUICK = ["--method", "cg-sense", "--iterations", "8", "--no-figure"]


def recon(file, out, *options):
    return main(["recon", str(file), "--out", str(out), *options])


def written(path):
    with h5py.File(path) as file:
        return file["reconstruction"][()]


@pytest.fixture
def scan(tmp_path):
    """Three slices of one undersampled object in units of 1e-4, the last one empty, with a target."""
    kspace, image = measured(unit=1e-4)
    mask = line_mask()
    volume = np.stack([kspace, 0.5 * kspace, 0 * kspace]) * mask
    target = np.stack([image, 0.5 * image, 0 * image]).astype(np.float32)
    path = tmp_path / "scan.h5"
    return write_fastmri(path, volume, mask=mask.astype(np.float32), reconstruction_rss=target)


@pytest.mark.parametrize(
    "file",
    sorted(p for p in MINI.glob("mini_*") if p.suffix in (".h5", ".mat", ".cfl") and "mask" not in p.name),
    ids=lambda p: p.name,
)
def test_each_mini_file(file, tmp_path, capsys):
    """The iterative image agrees with the root of the sum of squares: orientation, place, scale, crop."""
    with data.open(file) as scan:
        middle = len(scan) // 2
        few = ["--slices", f"{middle}:{min(middle + 2, len(scan))}"]
    assert recon(file, tmp_path / "cg.h5", *QUICK, "--lam", "0", *few) == 0
    assert recon(file, tmp_path / "rss.h5", "--method", "rss", "--no-figure", *few) == 0
    images, reference = written(tmp_path / "cg.h5"), written(tmp_path / "rss.h5")
    assert images.dtype == np.float32 and images.shape == reference.shape
    undersampled = "sub04" in file.name or "test" in file.name
    assert nrmse(images, reference) < (0.35 if undersampled else 0.1)
    text = capsys.readouterr().out
    assert all(option in text for option in ("--maps", "--method", "--lam", "--iterations"))


@pytest.mark.parametrize("name", ["calgary", "cmrx"])
def test_against_expected_images(name, tmp_path):
    with np.load(MINI / "expected.npz") as expected:
        file, key = {
            "calgary": ("mini_calgary_campinas.h5", "calgary_rss_centred"),
            "cmrx": ("mini_cmrxrecon_cine_sax.mat", "cmrx_rss"),
        }[name]
        reference = expected[key]
    if name == "cmrx":
        reference = reference.swapaxes(-1, -2)  # stored as (t, z, ky, kx)
    assert recon(MINI / file, tmp_path / "rss.h5", "--method", "rss", "--no-figure") == 0
    np.testing.assert_allclose(written(tmp_path / "rss.h5"), reference, rtol=1e-4, atol=1e-5 * reference.max())


def test_undersampled_scan_in_small_units(scan, tmp_path, capsys):
    assert recon(scan, tmp_path / "recon.h5", "--iterations", "60") == 0
    images = written(tmp_path / "recon.h5")
    kspace, image = measured(unit=1e-4)
    zero_filled = np.sqrt((np.abs(np.fft.fftshift(np.fft.ifft2(kspace * line_mask(), norm="ortho"))) ** 2).sum(0))
    assert nrmse(images[0], image) < 0.5 * nrmse(zero_filled, image)
    # the scale of the data follows each slice, and is undone
    np.testing.assert_allclose(images[1], 0.5 * images[0], atol=1e-3 * image.max())
    assert not images[2].any()
    text = capsys.readouterr().out
    assert "slices [2] hold no signal" in text and "variant fastmri" in text and "PSNR" in text
    assert (tmp_path / "recon_figure.png").read_bytes().startswith(b"\x89PNG")
    with h5py.File(tmp_path / "recon.h5") as file:
        assert file.attrs["method"] == "l1-wavelet" and file.attrs["lam"] == 0.003 and file.attrs["source"] == "scan.h5"


def test_one_compilation_for_all_slices(scan, tmp_path, monkeypatch):
    static = ("method", "n_iter", "wavelet", "rule", "calib_size")
    once = chex.assert_max_traces(slicewise._solve.__wrapped__, n=1)
    monkeypatch.setattr(slicewise, "_solve", jax.jit(once, static_argnames=static))
    assert recon(scan, tmp_path / "a.npy", *QUICK) == 0
    # another lam is another number, no other program
    assert recon(scan, tmp_path / "b.npy", *QUICK, "--lam", "0.5") == 0
    chex.clear_trace_counter()
    a, b = (np.load(tmp_path / f"{n}.npy") for n in "ab")
    assert a.dtype == np.complex64 and nrmse(b, np.abs(a)) > 0.01


@pytest.mark.parametrize("method", ["zero-filled", "rss", "tv"])
def test_other_methods(scan, method, tmp_path):
    options = ["--iterations", "100"] if method == "tv" else []
    assert recon(scan, tmp_path / "r.npy", "--method", method, "--slices", "0", "--no-figure", *options) == 0
    image = np.load(tmp_path / "r.npy")
    assert image.shape == (1, *SHAPE)
    assert nrmse(image[0], measured(unit=1e-4)[1]) < (0.2 if method == "tv" else 0.5)


def test_single_coil(tmp_path, capsys):
    kspace, image = measured(1)
    np.save(tmp_path / "one.npy", kspace[0])
    assert recon(tmp_path / "one.npy", tmp_path / "r.npz", *QUICK, "--lam", "0") == 0
    with np.load(tmp_path / "r.npz") as archive:
        assert nrmse(archive["reconstruction"][0], image) < 0.05
    assert "one coil" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".cfl"])
def test_maps_and_mask_of_files(suffix, tmp_path, capsys):
    kspace, image = measured()
    maps = object_and_maps()[1].astype(np.complex64)
    np.savez(tmp_path / "scan.npz", kspace=kspace)
    np.save(tmp_path / "mask.npy", line_mask())
    file = tmp_path / f"maps{suffix}"
    if suffix == ".npy":
        np.save(file, maps)
    elif suffix == ".npz":
        np.savez(file, maps=maps)
    else:
        write_bart(tmp_path / "maps", maps[..., None])  # dimensions 1, x, y, coil: a transverse plane
    options = ["--maps", str(file), "--mask", str(tmp_path / "mask.npy"), "--lam", "1e-4"]
    assert recon(tmp_path / "scan.npz", tmp_path / "r.npy", *QUICK, *options) == 0
    assert nrmse(np.load(tmp_path / "r.npy")[0], image) < 0.12
    text = capsys.readouterr().out
    assert f"R = {33 / line_mask().sum():.2f}" in text and str(file) in text
    # samples were left out: what all of them give is the reference
    assert "reference: all samples, rss" in text


def test_jsense_and_two_sets(scan, tmp_path, capsys):
    image = measured(unit=1e-4)[1]
    assert recon(scan, tmp_path / "j.npy", *QUICK, "--slices", "0", "--maps", "jsense", "--calib-size", "13") == 0
    assert nrmse(np.load(tmp_path / "j.npy")[0], image) < 0.2
    assert recon(scan, tmp_path / "s.npy", *QUICK, "--slices", "0", "--map-sets", "2", "--calib-size", "12") == 0
    soft = np.load(tmp_path / "s.npy")
    assert soft.dtype == np.float32 and nrmse(soft[0], image) < 0.2
    text = capsys.readouterr().out
    assert "jsense" in text and "12 x 12 samples, kernels of 6 x 6, 2 sets" in text


def test_undersample_by_name(tmp_path, capsys):
    kspace, _ = measured()
    np.save(tmp_path / "scan.npy", np.stack([kspace, kspace]))
    options = ["--undersample", "equispaced-fraction", "-R", "2", "--acs", "13", "--calib-size", "13", "--scale", "max"]
    options += ["--axes", "slice,coil,y,x"]
    assert recon(tmp_path / "scan.npy", tmp_path / "r.nii.gz", *QUICK, *options, "--slices", "1:") == 0
    text = capsys.readouterr().out
    assert "undersampled by equispaced-fraction, seed 0" in text and "PSNR" in text and "(max)" in text


def test_crop_and_padding(tmp_path, capsys):
    """Header 40 x 33 -> 32 x 32, columns [2, 30) acquired: the zeros beside them are no measurement."""
    kspace, image = measured()
    limits = {"kspace_encoding_step_1": (27, 14)}
    xml = header_xml((40, 33, 1), (32, 32, 1), limits)
    kspace[..., :2] = kspace[..., 30:] = 0
    write_fastmri(tmp_path / "pad.h5", kspace[None], xml=xml)
    quick = [*QUICK, "--calib-size", "13"]
    assert recon(tmp_path / "pad.h5", tmp_path / "r.h5", *quick) == 0
    assert recon(tmp_path / "pad.h5", tmp_path / "whole.h5", *quick, "--no-crop") == 0
    text = capsys.readouterr().out
    assert (
        "columns outside 2 to 30" in text and "to 32 x 32 of 40 x 33 pixels: the header's reconstruction matrix" in text
    )
    whole = written(tmp_path / "whole.h5")
    assert whole.shape == (1, 40, 33)
    np.testing.assert_array_equal(written(tmp_path / "r.h5"), whole[:, 4:36, :32])
    # columns beyond the acquired ones are extrapolated by the coils: not as if they had been measured as zeros
    rss = np.abs(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, (1, 2)), norm="ortho"), (1, 2)))
    assert nrmse(whole[0], image) < nrmse(np.sqrt((rss**2).sum(0)), image)


def test_non_cartesian_is_not_yet(tmp_path, capsys):
    lines = [
        {"data": complex_array(2, 16, seed=i), "traj": np.zeros((16, 2)), "kspace_encode_step_1": i} for i in range(4)
    ]
    for i, line in enumerate(lines):
        line["traj"] = np.stack([np.linspace(-0.5, 0.5, 16), np.full(16, i / 8)], -1)
    write_ismrmrd(tmp_path / "radial.h5", lines, header_xml((16, 16, 1), (16, 16, 1), trajectory="radial"))
    assert recon(tmp_path / "radial.h5", tmp_path / "r.h5") == 2
    error = capsys.readouterr().err
    assert "radial.h5" in error and "not yet" in error and "Cartesian" in error and error.count("\n") == 1
    assert main(["info", str(tmp_path / "radial.h5")]) == 0
    assert "non-Cartesian" in capsys.readouterr().out


def test_chosen_slices():
    assert chosen_slices(None, 5) == range(5)
    assert chosen_slices("3", 5) == range(3, 4)
    assert chosen_slices("1:3", 5) == range(1, 3) and chosen_slices("3:", 5) == range(3, 5)
    for text in ("5", "3:3", "a", "1:9", "-1", "1:2:3", ""):
        with pytest.raises(ValueError, match="--slices"):
            chosen_slices(text, 5)


def test_frames_are_said_to_be_reconstructed_one_by_one(tmp_path, capsys):
    kspace, _ = measured()
    np.save(tmp_path / "cine.npy", np.stack([kspace] * 3))
    command = ["recon", str(tmp_path / "cine.npy"), "--method", "rss", "--no-figure"]
    assert main([*command, "--axes", "frame,coil,y,x", "--out", str(tmp_path / "r.npy")]) == 0
    assert "3, each reconstructed by itself; a network of frames takes them together" in capsys.readouterr().out
    assert main([*command, "--axes", "slice,coil,y,x", "--out", str(tmp_path / "s.npy")]) == 0
    assert "by itself" not in capsys.readouterr().out

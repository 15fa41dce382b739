"""`jaxrecon evaluate`: the numbers of the library's rules, named, for every kind of file."""

import csv
import json

import numpy as np
import pytest
from support.files import write_fastmri
from support.scans import measured

from jaxrecon.cli import main
from jaxrecon.metrics import evaluate


@pytest.fixture
def pair(tmp_path, rng):
    """A scan of three slices with a target, and a reconstruction that is larger and a little wrong."""
    kspace, image = measured()
    target = np.stack([image, 0.7 * image, 0.4 * image]).astype(np.float32)[:, 4:36, :32]
    noisy = np.stack([image, 0.7 * image, 0.4 * image]) + 0.05 * rng.standard_normal((3, 40, 33))
    recon = noisy.astype(np.float32)
    scan = write_fastmri(tmp_path / "scan.h5", np.stack([kspace] * 3), reconstruction_rss=target, max=2.0)
    return scan, write_fastmri(tmp_path / "recon.h5", None, reconstruction=recon), target, recon


@pytest.mark.parametrize("variant", ["fastmri", "gleam", "promptmr-plus-fastmri"])
def test_numbers_of_the_library(pair, variant, tmp_path, capsys):
    scan, recon, target, image = pair
    out = tmp_path / "scores.json"
    assert main(["evaluate", str(recon), "--target", str(scan), "--variant", variant, "--out", str(out)]) == 0
    data_range = 2.0 if variant == "promptmr-plus-fastmri" else None
    expected = evaluate(target, image, variant=variant, data_range=data_range)
    scores = json.loads(out.read_text())
    assert scores["variant"] == variant and scores["volume"] == pytest.approx(expected.volume)
    assert scores["per_slice"]["psnr"] == pytest.approx(expected.per_slice["psnr"].tolist())
    assert scores["target"] == str(scan)
    text = capsys.readouterr().out
    assert "cropped before they are compared: the reference of 32 x 32, the reconstruction of 40 x 33" in text
    assert scores["given"] == [[32, 32], [40, 33]]
    assert f"variant {variant}" in text and f"{expected.volume['psnr']:.4g}" in text


def test_csv_and_slices(pair, tmp_path):
    scan, _, target, image = pair
    np.savez(tmp_path / "part.npz", reconstruction=image[1:3])
    out = tmp_path / "scores.csv"
    command = ["evaluate", str(tmp_path / "part.npz"), "--target", str(scan), "--out", str(out)]
    assert main([*command, "--slices", "1:3"]) == 0
    rows = list(csv.DictReader(out.read_text().splitlines()))
    expected = evaluate(target[1:3], image[1:3], variant="fastmri")
    assert [row["slice"] for row in rows] == ["volume", "0", "1"] and {row["variant"] for row in rows} == {"fastmri"}
    assert float(rows[0]["ssim"]) == pytest.approx(expected.volume["ssim"])
    assert float(rows[2]["psnr"]) == pytest.approx(expected.per_slice["psnr"][1])


def test_complex_reconstruction_and_full_scan_as_reference(tmp_path, capsys):
    """A complex .npy is an image here; the reference of a scan without target is its root of sum of squares."""
    kspace, image = measured()
    write_fastmri(tmp_path / "full.h5", kspace[None])
    np.save(tmp_path / "recon.npy", (1j * image[None]).astype(np.complex64))
    assert main(["evaluate", str(tmp_path / "recon.npy"), "--target", str(tmp_path / "full.h5")]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "NRMSE" in line)
    assert float(row.split("│")[2]) < 0.01


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--variant", "mine"], ["'mine'", "fastmri", "gleam"]),
        (["--slices", "0:2"], ["expected 2 slices", "found 3", "name the slices"]),
        (["--out", "scores.txt"], ["scores.txt", ".json"]),
    ],
)
def test_refused(pair, options, words, capsys):
    scan, recon, *_ = pair
    assert main(["evaluate", str(recon), "--target", str(scan), *options]) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words) and error.count("\n") == 1


def test_kspace_is_no_reconstruction(pair, tmp_path, capsys):
    scan, recon, *_ = pair
    assert main(["evaluate", str(scan), "--target", str(scan)]) == 2
    assert "expected images, found k-space" in capsys.readouterr().err
    kspace = measured()[0].copy()
    kspace[..., ::3] = 0
    under = write_fastmri(tmp_path / "under.h5", np.stack([kspace] * 3))
    assert main(["evaluate", str(recon), "--target", str(under)]) == 2
    assert "found undersampled k-space" in capsys.readouterr().err


def test_complex_images_as_a_target(tmp_path, capsys):
    """They look like k-space; with zeros in them like an undersampled one: the cure is named."""
    _, image = measured()
    np.save(tmp_path / "images.npy", np.stack([image] * 2).astype(np.complex64))
    np.save(tmp_path / "recon.npy", np.stack([image] * 2).astype(np.float32))
    assert main(["evaluate", str(tmp_path / "recon.npy"), "--target", str(tmp_path / "images.npy")]) == 2
    error = capsys.readouterr().err
    assert "found undersampled k-space; of complex images give the magnitude" in error and "reconstruction" in error

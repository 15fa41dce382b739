"""`jaxrecon info`: what it says is true, for every format."""

from pathlib import Path

import numpy as np
import pytest
from support.files import write_fastmri
from support.scans import SHAPE, line_mask, measured

from jaxrecon.cli import main

MINI = Path(__file__).parents[1] / "golden" / "data"


def info(capsys, *files):
    code = main(["info", *map(str, files)])
    text = capsys.readouterr().out
    rows = {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in text.splitlines() if "  " in line}
    return code, rows, text


@pytest.mark.parametrize(
    "file", sorted(p for p in MINI.glob("mini_*") if not p.name.endswith((".hdr", "expected.npz")))
)
def test_each_format(file, capsys):
    code, rows, text = info(capsys, file)
    assert code == 0 and str(file) in text
    assert rows["format"] and rows["can be used"].startswith("jaxrecon ")


def test_there_are_formats():
    assert len(list(MINI.glob("mini_*"))) >= 6


def test_fastmri(capsys):
    _, rows, text = info(capsys, MINI / "mini_fastmri_multicoil_train.h5")
    assert rows["format"] == "fastMRI" and rows["coils"] == "4" and rows["slices"] == "3"
    assert rows["slice"] == "64 (readout) x 36 (phase)" and rows["recon matrix"] == "32 x 32 x 1"
    assert rows["padding"] == "columns 0 to 3 and 32 to 36 of 36 were never acquired"
    assert rows["pattern"] == "fully sampled within the acquired columns"
    assert rows["acceleration"] == f"{36 / 29:.3f} measured, 1.000 within the acquired columns"
    assert "28 of 36 columns" in rows["calibration"]
    assert "evaluate" in text and "patient" not in text


def test_images_and_mask(capsys):
    _, rows, text = info(capsys, MINI / "mini_t1w.nii.gz")
    assert rows["contents"] == "images" and "simulate" in text
    _, rows, text = info(capsys, MINI / "mini_cmrxrecon_cine_sax_mask.mat")
    assert rows["format"] == "sampling mask" and rows["acceleration"] == "2.286" and "--mask" in text


def test_undersampled(tmp_path, capsys):
    kspace, _ = measured()
    mask = line_mask()
    write_fastmri(tmp_path / "scan.h5", (kspace * mask)[None], mask=mask.astype(np.float32), acceleration=3)
    _, rows, _ = info(capsys, tmp_path / "scan.h5")
    assert rows["acceleration"] == f"{mask.size / mask.sum():.3f} measured; the file says 3"
    assert rows["pattern"] == "columns (x), stated by the file"
    assert "13 of 33 columns" in rows["calibration"] and "square has 13" in rows["calibration"]
    assert "estimated from the center" in rows["methods"]
    mask[SHAPE[1] // 2] = False
    write_fastmri(tmp_path / "gap.h5", (kspace * mask)[None], mask=mask.astype(np.float32))
    _, rows, _ = info(capsys, tmp_path / "gap.h5")
    assert rows["methods"].startswith("rss; by jaxrecon recon --maps FILE")


def test_several_files_and_masks(tmp_path, capsys):
    mask = line_mask()
    np.save(tmp_path / "a.npy", mask)
    np.savez(tmp_path / "b.npz", mask=np.stack([mask, ~mask])[:, None])
    np.save(tmp_path / "c.npy", np.zeros((4, 5), np.float32))
    code, _, text = info(capsys, *(tmp_path / n for n in ("a.npy", "b.npz", "c.npy")))
    assert code == 0
    assert text.count("sampling mask") == 3
    assert f"{mask.size / mask.sum():.3f}" in text and "none in all frames" in text and "no sample is measured" in text


def test_refused(tmp_path, capsys):
    assert main(["info"]) == 2
    assert "name of a file" in capsys.readouterr().err
    np.savez(tmp_path / "other.npz", coord=np.zeros(3))
    assert main(["info", str(tmp_path / "other.npz")]) == 2
    error = capsys.readouterr().err
    assert "expected" in error and "found ['coord']" in error and "other.npz" in error


@pytest.mark.parametrize("kspace", [(4, 40, 33), (40,)], ids=["mask", "kspace"])
def test_a_scan_beside_a_mask_is_refused_as_by_recon(kspace, tmp_path, capsys):
    """A mask that does not fit, or k-space that is none: the mask alone is no answer."""
    np.savez(tmp_path / "scan.npz", kspace=np.ones(kspace, np.complex64), mask=np.ones((40, 32)))
    errors = []
    for command in (["info"], ["recon", "--out", str(tmp_path / "r.npy")]):
        assert main([command[0], str(tmp_path / "scan.npz"), *command[1:]]) == 2
        errors.append(capsys.readouterr().err)
    assert errors[0] == errors[1] and "expected (" in errors[0]


def test_what_can_be_done_has_the_axes_that_were_said(tmp_path, capsys):
    np.save(tmp_path / "turned.npy", np.moveaxis(measured()[0], 0, 1))
    _, rows, _ = info(capsys, tmp_path / "turned.npy", "--axes", "y,coil,x")
    assert rows["coils"] == "4" and "turned.npy --axes y,coil,x --out" in rows["can be used"]

"""`jaxrecon demo`: it ends, better methods score better, and everything that it prints is in its files."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from support import scans
from support.scans import SIMULATED

from jaxrecon.cli import main

TINY = ["--shape", *map(str, SIMULATED), "--coils", "4", "-R", "3", "--test-slices", "1", "--validation-slices", "1"]


@pytest.fixture
def short_grids(monkeypatch):
    from jaxrecon.cli import demo

    for method, grid in {"cg-sense": (0.01, 5.0), "l1-wavelet": (0.003, 3.0)}.items():
        monkeypatch.setitem(demo.GRIDS, method, grid)


def test_classical(tmp_path, capsys, short_grids):
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), *TINY, "--mask", "gaussian-2d", "--no-networks"]) == 0
    text = capsys.readouterr().out
    report = json.loads((out / "results.json").read_text())
    methods = report["methods"]
    assert report["variant"] == "fastmri" and report["config"]["seed"] == 0
    assert methods["cg-sense"]["lam"] == 0.01 and methods["l1-wavelet"]["lam"] == 0.003
    assert methods["cg-sense"]["validation_nmse"]["0.01"] < methods["cg-sense"]["validation_nmse"]["5"]
    assert methods["zero-filled"]["mean"]["nmse"] > 1.5 * methods["cg-sense"]["mean"]["nmse"]
    page = (out / "index.html").read_text()
    for name, method in methods.items():
        assert len(method["slices"]) == 1 and method["seconds_per_slice"] > 0
        assert all(name in shown and f"{method['mean']['psnr']:.2f}" in shown for shown in (text, page))
    # the measured head comes first
    measured = report["measured"]
    assert {r: round(part["measured_acceleration"], 2) for r, part in measured.items()} == {
        "2": 1.68,
        "3": 2.17,
        "4": 2.56,
    }
    for part in measured.values():
        errors = part["error"]
        assert 0.01 < errors["l1-wavelet"] < errors["cg-sense"] < 0.7 * errors["zero-filled"] < 0.2
        assert all(f"{100 * error:.2f} %" in shown for error in errors.values() for shown in (text, page))
    assert text.index("measured head") < text.index("simulated heads")
    assert (out / "brain.png").stat().st_size > 10_000
    assert str(out / "figure.png") in text and (out / "figure.png").stat().st_size > 10_000
    assert not (out / "training.png").exists() and not (out / "runs").exists()
    assert main(["demo", "--out", str(out), *TINY]) == 2
    assert "exists" in capsys.readouterr().err


def test_networks(tmp_path, capsys, short_grids, monkeypatch):
    """Two networks are trained, scored, stopped early and kept; the page holds all that it shows."""
    from jaxrecon.cli.demo import measured

    monkeypatch.setattr(measured, "ACCELERATIONS", (4,))
    out = tmp_path / "demo"
    options = [*TINY, "--mask", "gaussian-2d", "--training-slices", "2", "--updates", "40", "--learning-rate", "0.004"]
    assert main(["demo", "--out", str(out), *options]) == 0
    text = capsys.readouterr().out
    methods = json.loads((out / "results.json").read_text())["methods"]
    networks = {name: method["network"] for name, method in methods.items() if "network" in method}
    whole, greedy = networks["MoDL, end to end"], networks["MoDL, GLEAM"]
    kinds = [one["experiment"]["strategy"]["kind"] for one in (whole, greedy)]
    assert kinds == ["end_to_end", "gleam"]
    assert greedy["temporary_bytes_of_a_training_step"] < whole["temporary_bytes_of_a_training_step"]
    for name, network in networks.items():
        losses, psnr = network["losses"]["loss"], network["psnr_by_step"]
        assert len(losses) == 4 and losses[-1] < 0.9 * losses[0]
        # run to its end, early exit is the network itself
        assert len(psnr) == 4 and psnr[-1] == pytest.approx(methods[name]["mean"]["psnr"], abs=1e-3)
        assert methods[name]["mean"]["psnr"] > methods["zero-filled"]["mean"]["psnr"] + 3
        assert f"{psnr[0]:.2f}" in text and f"{network['parameters']:,}" in text
    assert greedy["rises_from_step_to_step"]

    page = (out / "index.html").read_text()
    tags = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, dict(attributes)))
    parser.feed(page)
    images = [attributes for tag, attributes in tags if tag == "img"]
    assert len(images) == 4 and all(i["src"].startswith("data:image/png;base64,") and i["alt"] for i in images)
    # nothing comes from elsewhere
    assert not {"script", "link", "iframe"} & {tag for tag, _ in tags} and "url(" not in page
    assert not re.search(r"https?://", page)

    # a demo that was stopped is gone on with on its own data only
    (out / "index.html").unlink()
    for name in ("brain.png", "figure.png", "training.png", "early_exit.png", "results.json"):
        (out / name).unlink()
    capsys.readouterr()
    assert main(["demo", "--out", str(out), *options, "--snr", "10"]) == 2
    error = capsys.readouterr().err
    before, now = (f"2 simulated heads from number 2, SNR {snr}" for snr in (30, 10))
    assert error.count("\n") == 1 and f"learned_from.training {before}, now {now}" in error

    np.save(tmp_path / "scan.npy", scans.measured(4, SIMULATED)[0])
    run = ["--checkpoint", str(out / "runs" / "gleam"), "--no-figure"]
    assert main(["recon", str(tmp_path / "scan.npy"), "--out", str(tmp_path / "r.npy"), *run]) == 0


def test_rises():
    from jaxrecon.cli.demo.report import rises

    assert rises([20.0, 22.0, 21.9, 23.0]) and not rises([20.0, 22.0, 21.7, 23.0])


def test_refused(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "d"), "--test-slices", "0"]) == 2
    assert "--test-slices" in capsys.readouterr().err
    assert main(["demo", "--out", str(tmp_path / "d"), "--updates", "0"]) == 2
    assert "--updates" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["demo", "--out", str(tmp_path / "file" / "d")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["file"]

"""`jaxrecon demo`: it ends, better methods score better, and everything that it prints is in its files."""

import json

from jaxrecon.cli import main

TINY = ["--shape", "48", "40", "--coils", "4", "-R", "3", "--test-slices", "1", "--validation-slices", "1"]


def test_demo(tmp_path, capsys, monkeypatch):
    from jaxrecon.cli import demo

    monkeypatch.setattr(demo, "GRIDS", {"zero-filled": (0.0,), "cg-sense": (0.01, 5.0), "l1-wavelet": (0.003, 3.0)})
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), *TINY, "--mask", "gaussian-2d"]) == 0
    text = capsys.readouterr().out
    report = json.loads((out / "results.json").read_text())
    methods = report["methods"]
    assert report["variant"] == "fastmri" and report["config"]["seed"] == 0
    assert methods["cg-sense"]["lam"] == 0.01 and methods["l1-wavelet"]["lam"] == 0.003
    assert methods["cg-sense"]["validation_nmse"]["0.01"] < methods["cg-sense"]["validation_nmse"]["5"]
    assert methods["zero-filled"]["mean"]["nmse"] > 1.5 * methods["cg-sense"]["mean"]["nmse"]
    for name, method in methods.items():
        assert len(method["slices"]) == 1 and method["seconds_per_slice"] > 0
        assert name in text and f"{method['mean']['psnr']:.2f}" in text
    assert str(out / "figure.png") in text and (out / "figure.png").stat().st_size > 10_000
    assert main(["demo", "--out", str(out), *TINY]) == 2
    assert "exists" in capsys.readouterr().err


def test_refused(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "d"), "--test-slices", "0"]) == 2
    assert "--test-slices" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["demo", "--out", str(tmp_path / "file" / "d")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["file"]

"""What a user can do wrong: exit code 2, one line with file, expected and found, no output, old output untouched."""

import h5py
import numpy as np
import pytest
from support.files import write_fastmri
from support.scans import SHAPE, line_mask, measured

from jaxrecon.cli import main

PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)
BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbbbb">'
    + "".join(f'<!ENTITY b{i} "{"&b;" * 10}">' for i in range(9))
    + "]><ismrmrdHeader>&b8;</ismrmrdHeader>"
)


def truncated(path):
    write_fastmri(path / "bad.h5", np.stack([measured()[0]] * 2))
    data = (path / "bad.h5").read_bytes()
    (path / "bad.h5").write_bytes(data[: len(data) // 2])
    return "bad.h5", ["expected", "found"]


def wrong_dataset(path):
    with h5py.File(path / "bad.h5", "w") as file:
        file["kdata"] = np.zeros(3)
    return "bad.h5", ["'kspace'", "expected", "found ['kdata']"]


def renamed_png(path):
    (path / "bad.h5").write_bytes(PNG)
    return "bad.h5", ["expected", "a PNG image"]


def cfl_mismatch(path):
    (path / "bad.hdr").write_text("# Dimensions\n8 8 1 4\n")
    np.zeros(100, np.complex64).tofile(path / "bad.cfl")
    return "bad.cfl", ["expected 2048 bytes", "found 800 bytes"]


def zero_length(path):
    (path / "bad.npy").write_bytes(b"")
    return "bad.npy", ["empty", "found 0 bytes"]


def missing(path):
    return "bad.h5", ["no such file"]


def folder(path):
    (path / "bad").mkdir()
    return "bad", ["folder"]


def not_a_number(path):
    kspace = measured()[0].copy()
    kspace[1, 2, 3] = np.nan
    np.save(path / "bad.npy", kspace)
    return "bad.npy", ["NaN", "(1, 2, 3)", "expected finite values"]


def hostile_xml(path):
    write_fastmri(path / "bad.h5", measured()[0][None], xml=BOMB)
    return "bad.h5", ["ismrmrd_header"]


def enormous_hdr(path):
    (path / "bad.hdr").write_text("# Dimensions\n100000 100000 1 100\n")
    np.zeros(4, np.complex64).tofile(path / "bad.cfl")
    return "bad.hdr", ["not plausible", "(100000, 100000, 1, 100"]


def enormous_npy(path):
    with (path / "bad.npy").open("wb") as file:
        header = {"descr": "<c8", "fortran_order": False, "shape": (8, 125000, 1000000)}
        np.lib.format.write_array_header_1_0(file, header)
    return "bad.npy", ["not plausible", "(8, 125000, 1000000)"]


def enormous_h5(path):
    with h5py.File(path / "bad.h5", "w") as file:
        file.create_dataset("kspace", (10, 8, 125000, 100000), np.complex64, chunks=(1, 1, 100, 100))
    return "bad.h5", ["not plausible", "125000"]


def images_only(path):
    write_fastmri(path / "bad.h5", None, reconstruction=np.ones((1, 8, 8), np.float32))
    return "bad.h5", ["expected k-space", "found images"]


def silence(path):
    np.save(path / "bad.npy", np.zeros((4, 4, 16, 12), np.complex64))
    return "bad.npy", ["expected measured samples", "found none"]


def no_calibration(path):
    mask = line_mask()
    mask[SHAPE[1] // 2 + 1] = False
    np.save(path / "bad.npy", measured()[0] * mask)
    return "bad.npy", ["calibration region", "expected 4 x 4", "found", "Give maps"]


@pytest.mark.parametrize(
    "make",
    [
        truncated, wrong_dataset, renamed_png, cfl_mismatch, zero_length, missing, folder, not_a_number, hostile_xml,
        enormous_hdr, enormous_npy, enormous_h5, images_only, silence, no_calibration,
    ],
    ids=lambda f: f.__name__,
)  # fmt: skip
@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
def test_bad_scan(make, existing, tmp_path, capsys):
    name, words = make(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    if existing:
        (out / "r.h5").write_text("precious")
    command = ["recon", str(tmp_path / name), "--out", str(out / "r.h5")]
    assert main(command + ["--overwrite"] * existing) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and "Traceback" not in captured.err
    assert name.split(".")[0] in captured.err and all(word in captured.err for word in words), captured.err
    assert [p.name for p in out.iterdir()] == ["r.h5"] * existing
    if existing:
        assert (out / "r.h5").read_text() == "precious"


@pytest.fixture
def scan(tmp_path):
    np.save(tmp_path / "scan.npy", measured()[0])
    return tmp_path / "scan.npy"


def save(path, array):
    np.save(path, array)
    return str(path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            lambda p: ["--maps", save(p / "m.npy", np.ones((5, *SHAPE), np.complex64))],
            ["m.npy", "expected", "(5, 40, 33)"],
        ),
        (lambda p: ["--maps", save(p / "m.npy", np.ones((4, *SHAPE)))], ["m.npy", "expected complex", "found float64"]),
        (lambda p: ["--maps", str(p / "none.npy")], ["none.npy", "no such file"]),
        (
            lambda p: ["--mask", save(p / "m.npy", np.ones(30))],
            ["m.npy", "expected (y, x) = (40, 33)", "found (1, 30)"],
        ),
        (lambda p: ["--mask", save(p / "m.npy", np.full(33, np.nan))], ["m.npy", "mask holds 33 NaN"]),
        (lambda p: ["--mask", save(p / "m.npy", np.full(33, "1"))], ["m.npy", "expected real numbers", "found <U1"]),
        (lambda p: ["--mask", save(p / "m.npy", np.zeros(33))], ["expected measured samples", "m.npy"]),
        (lambda p: ["--mask", save(p / "m.npy", np.ones(33)), "--undersample", "random"], ["--mask", "--undersample"]),
        (lambda p: ["--calib-size", "50"], ["expected 50 x 50", "found 33 x 33", "calib_size 33"]),
        (lambda p: ["--maps", "none"], ["--maps none", "espirit"]),
        (lambda p: ["--map-sets", "9"], ["map sets 9", "4 coils"]),
        (lambda p: ["--wavelet", "bior2.2"], ["wavelet bior2.2", "orthogonal"]),
        (lambda p: ["--wavelet", "db20"], ["wavelet db20", "too long", "40 x 33"]),
        (lambda p: ["--lam", "-1"], ["lam", "-1"]),
        (lambda p: ["--iterations", "0"], ["iterations", "0"]),
        (lambda p: ["--slices", "1"], ["--slices 1", "slices of 0 to 0"]),
        (lambda p: ["--slices", "0:0"], ["--slices 0:0 holds no slice", "3:7 is 3 to 6"]),
        (lambda p: ["--slices", "a:b"], ["--slices a:b", "a range as 3:7"]),
        (lambda p: ["--undersample", "poisson", "-R", "500"], ["acceleration"]),
        (lambda p: ["-R", "4", "--acs", "0.1"], ["--acceleration 4 and --acs 0.1", "--undersample"]),
        (
            lambda p: ["--undersample", "random", "--acs", "2", "--maps", "espirit"],
            ["scan.npy, slice 0", "calibration region", "expected 4 x 4"],
        ),
    ],
)
def test_bad_options(options, words, scan, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    assert main(["recon", str(scan), "--out", str(out / "r.npy"), *options(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and all(word in error for word in words), error
    assert not list(out.iterdir())


def test_bad_outputs(scan, tmp_path, capsys):
    """Found before anything is computed."""
    (tmp_path / "r_figure.png").write_text("old figure")
    (tmp_path / "other.hdr").write_text("old header")
    (tmp_path / "try.npy").write_text("old image")
    for out, words in [
        ("r.tiff", ["r.tiff", ".nii.gz"]),
        ("none/r.npy", ["r.npy", "does not exist"]),
        ("scan.npy", ["scan.npy", "the file that is read"]),
        ("other_figure.png", ["other_figure.png", "the figure of other.h5"]),
        ("try.npy", ["try.npy", "exists", "--overwrite"]),
        ("scan.npy/r.npy", ["r.npy", "does not exist"]),
        ("r.npy", ["r_figure.png", "exists"]),
        ("other.cfl", ["other.hdr", "exists"]),
    ]:
        assert main(["recon", str(scan), "--out", str(tmp_path / out)]) == 2
        captured = capsys.readouterr()
        assert all(word in captured.err for word in words), captured.err
        assert captured.err.count("\n") == 1 and not captured.out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.hdr", "r_figure.png", "scan.npy", "try.npy"]
    assert (tmp_path / "r_figure.png").read_text() == "old figure"


def test_failure_while_writing_leaves_nothing(scan, tmp_path, monkeypatch, capsys):
    from jaxrecon.data import write

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "_write_hdf5", full_disk)
    out = tmp_path / "out"
    out.mkdir()
    assert main(["recon", str(scan), "--method", "rss", "--out", str(out / "r.h5")]) == 2
    assert "No space left" in capsys.readouterr().err
    assert not list(out.iterdir())

"""`jaxrecon masks`: each name draws, files and pictures are written, measured values are true."""

import re

import matplotlib.image
import numpy as np
import pytest

from jaxrecon import sampling
from jaxrecon.cli import main
from jaxrecon.sampling.named import center_of, default_acs, draw, names
from jaxrecon.sampling.pattern import pattern as measure

LINES, PLANES, FRAMES = names("lines"), names("plane"), names("frames")


@pytest.mark.parametrize("name", [*LINES, *FRAMES, "gaussian-2d"])
def test_each_name_draws(name):
    mask = draw(name, (20, 60), acceleration=4, frames=5, seed=1)
    assert mask.shape == ((5, 1, 60) if name in FRAMES else (20, 60) if name in PLANES else (1, 60))
    assert mask.dtype == np.float32 and set(np.unique(mask)) == {0, 1}
    assert 2 < mask.size / mask.sum() < 6


def test_equals_the_library():
    from jax.random import key

    expected = sampling.equispaced_fraction_lines(key(3), 60, acceleration=3, center_fraction=8 / 60)
    np.testing.assert_array_equal(draw("equispaced-fraction", (20, 60), acceleration=3, acs=8, seed=3)[0], expected)
    published = sampling.compatible.random_lines(7, 60, acceleration=3, center_fraction=8 / 60)
    np.testing.assert_array_equal(draw("random", (20, 60), acceleration=3, acs=8, seed=7, published=True)[0], published)


@pytest.mark.parametrize("name", ["random", "poisson"])
@pytest.mark.parametrize("acceleration", [2, 8, 20])
def test_default_center_leaves_samples_over(name, acceleration):
    shape = (36, 30)
    acs = default_acs(name, shape, acceleration)
    share = acs**2 / (36 * 30) if name == "poisson" else acs / 30
    assert acs >= 1 and share < 1 / acceleration


@pytest.mark.parametrize("name", [*LINES, *FRAMES, *PLANES])
@pytest.mark.parametrize("acs", [5, 6])
def test_calibration_is_the_center_that_is_drawn(name, acs):
    """All masks of a name have these samples in common, and the random ones no others."""
    shape, acs = (25, 60), 3 if name == "calgary-poisson" else acs
    region = center_of(name, shape, acceleration=4, acs=acs)
    drawn = [draw(name, shape, acceleration=4, acs=acs, seed=seed, frames=6) for seed in range(16)]
    common = np.min(drawn, 0) if name not in FRAMES else np.min(drawn, (0, 1))
    assert region.shape == common.shape and region.any() and (common >= region).all()
    if name in ("outer-equispaced", "cmrxrecon"):  # nothing in them is random
        assert region.sum() == acs
    else:
        assert (common > region).sum() <= 2  # by chance, of planes


def test_calibration_of_the_published_trainings():
    assert center_of("calgary-poisson", (218, 170), acceleration=5, acs=18).sum() == 1009
    assert center_of("random", (384, 384), acceleration=4).sum() == 31


def test_file_picture_and_measurement(tmp_path, capsys):
    out = tmp_path / "mask.npz"
    command = ["masks", "cmrxrecon", "--shape", "12", "30", "-R", "5", "--acs", "4", "--out", str(out)]
    assert main(command) == 0
    text = capsys.readouterr().out
    mask = np.load(out)["mask"]
    assert mask.shape == (1, 30)
    measured = float(re.search(r"([\d.]+) measured, 5 asked for", text)[1])
    assert measured == pytest.approx(mask.size / mask.sum(), abs=1e-3)
    picture = matplotlib.image.imread(tmp_path / "mask.png")
    assert picture.ndim == 3 and picture.max() == 1
    assert main(command) == 2
    assert "exists" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


def test_same_seed_same_mask(tmp_path):
    for name in ("a", "b"):
        command = ["masks", "kt-random", "--shape", "9", "40", "--frames", "3", "--no-figure"]
        assert main([*command, "--out", str(tmp_path / f"{name}.npy")]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["equispaced", "-R", "4.5"], ["integer", "4.5"]),
        (["random", "-R", "0.5"], ["acceleration", "0.5"]),
        (["random", "-R", "nan"], ["acceleration must be at least 1, got nan"]),
        (["poisson", "-R", "inf"], ["acceleration must be at least 1, got inf"]),
        (["random", "--seed", "-1"], ["seed must be 0 or more", "-1"]),
        (["random", "--seed", "-1", "--published"], ["seed must be 0 or more", "-1"]),
        (["random", "--seed", "99999999999999999999"], ["seed must be 0 or more"]),
        (["random", "--acs", "4.5"], ["acs 4.5", "a whole number of columns"]),
        (["gaussian-2d", "--published"], ["gaussian-2d", "no published form"]),
        (["random", "--acs", "70"], ["acs 70", "20 x 60", "0 to 60 wide"]),
    ],
)
def test_refused(options, words, tmp_path, capsys):
    assert main(["masks", *options, "--shape", "20", "60", "--out", str(tmp_path / "m.npy")]) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words) and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_measure():
    mask = np.zeros((9, 12), bool)
    mask[:, 4:9] = True
    found = measure(mask)
    assert found.kind == "columns (x)" and found.center == "5 of 12 columns" and found.square == 5
    assert found.acceleration == pytest.approx(12 / 5)
    assert measure(mask[:1], (9, 12)) == found
    assert measure(mask.T).kind == "rows (y)"
    assert measure(np.ones((4, 5), bool)).center == "everything"
    mask[0, 0] = True
    assert measure(mask).kind == "points (y, x)"

"""The settings of Ramzi's benchmark and of his entries for fastMRI, their data, and the report."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrecon.experiment import load_experiment, make_update
from jaxrecon.host import coil_images
from jaxrecon.models import abstract_params
from jaxrecon.strategies import Blockwise
from jaxrecon.training.optimizers import RamziRAdam

FOLDER = Path(__file__).parents[2] / "experiments" / "ramzi"
ENTRIES = {
    # parameters, updates, mask
    "xpdnet_brain": (155_649_840, 4469 * 100, "equispaced-fraction"),
    "xpdnet_brain_submitted": (155_536_508, 4469 * 100, "equispaced-fraction"),
    "xpdnet_knee": (155_649_840, 973 * 100, "random"),
    "updnet_knee": (12_126_858, 973 * 100, "random"),
}
SCALED = ("unet", "cascade", "pdnet", "kiki")


@pytest.fixture(scope="module")
def settings():
    return runpy.run_path(str(FOLDER / "ramzi_settings.py"))


@pytest.fixture(scope="module")
def paper():
    return runpy.run_path(str(FOLDER / "paper.py"))


def n_parameters(model):
    return sum(leaf.size for leaf in jax.tree.leaves(abstract_params(model)))


def test_every_entry_has_a_test():
    names = {path.stem.replace("_r4", "").replace("_r8", "") for path in FOLDER.glob("*pdnet_*.py")}
    assert names == set(ENTRIES)


@pytest.mark.parametrize("acceleration", (4, 8))
@pytest.mark.parametrize("entry", ENTRIES)
def test_entries(entry, acceleration):
    name = entry.replace("_submitted", "") + f"_r{acceleration}" + ("_submitted" if "submitted" in entry else "")
    full, small = (load_experiment(FOLDER / f"{name}.py", small=small) for small in (False, True))
    center = {4: 0.08, 8: 0.04}[acceleration]
    assert (n_parameters(full.model), full.n_updates, full.data.mask) == ENTRIES[entry]
    assert (full.data.acceleration, full.data.acs, full.model.center, full.data.n_masks) == (
        acceleration,
        center,
        center,
        None,
    )
    assert (full.loss, full.optimizer, full.data.scale) == ("l1_ms_ssim", RamziRAdam(1e-4), "1e-6")
    assert (small.loss, small.data.mask, type(small.model)) == (full.loss, full.data.mask, type(full.model))
    make_update(small, updates_per_epoch=1)


def test_fine_tuning(settings):
    assert sum(settings["CONTRASTS"].values()) == settings["BRAINS"]
    assert settings["fine_tuning_updates"]("AXT2") == 13_390


def test_rows_of_the_benchmark(settings, paper):
    """Counts as published; small ones keep the depth, with a quarter of the features."""
    full, small = (settings["rows"](small=small) for small in (False, True))
    for name in SCALED:
        assert n_parameters(full[name][-1].model) == paper["BENCHMARK"][name]["parameters"]
        wide, narrow = full[name][-1].model, small[name][-1].model
        assert narrow.features == (tuple(f // 4 for f in wide.features) if name == "unet" else wide.features // 4)
        # all that leads to the same updates and data
        assert sum(one.n_updates for one in small[name]) == settings["SMALL_UPDATES"]
        assert {(one.simulated, one.data.mask, one.data.acs, one.variant) for one in small[name]} == {
            (settings["SMALL_DATA"], "random", 0.08, "ramzi")
        }
    assert [full[f"depth_{n}"][0].model.n_steps for n in settings["DEPTHS"]] == list(settings["DEPTHS"])
    assert {sum(one.n_updates for one in row) for row in settings["rows"](small=True, n_updates=80).values()} == {80}
    assert [sum(one.n_updates for one in full[name]) for name in ("pdnet", "kiki")] == [973 * 300, 973 * 200]


def test_stages_of_kiki_net(settings):
    """One network learns in each, the same parameters are there in all."""
    stages = settings["rows"](small=True)["kiki"]
    assert [one.model.last for one in stages] == ["K1", "I1", "K2", "I2"]
    assert [one.strategy for one in stages] == [Blockwise(i, i) for i in (0, 0, 1, 1)]
    assert [(one.loss, *one.freeze) for one in stages[:2]] == [("mse", "steps/image_net"), ("l1", "steps/kspace_net")]
    assert len({str(abstract_params(one.model)) for one in stages}) == 1
    for one in stages:
        make_update(one, updates_per_epoch=1)


@pytest.fixture(scope="module")
def magnitude_data():
    return runpy.run_path(str(FOLDER / "magnitude_data.py"))


def test_magnitude_slices(magnitude_data):
    image = np.random.default_rng(0).random((12, 10)).astype(np.float32)
    part = magnitude_data["of_magnitude"](image, "head", 3)
    assert part.kspace.shape == (1, 12, 10) and part.kspace.dtype == np.complex64
    np.testing.assert_allclose(coil_images(part.kspace)[0], image, atol=1e-6)
    constant = magnitude_data["resized"](np.ones((36, 30), np.float32), (12, 10))
    np.testing.assert_allclose(constant, 1, atol=1e-5)
    # a wide image in a tall shape: as wide as the shape, with empty rows at both ends
    wide = magnitude_data["resized"](np.ones((20, 40), np.float32), (12, 10))
    assert wide.shape == (12, 10) and wide[:2].max() < 0.3 < 0.7 < wide[5:7].min()


def test_volumes_are_divided_by_person(magnitude_data, settings, tmp_path):
    rng = np.random.default_rng(0)
    volumes = {name: rng.random((2, 12, 10)) for name in "abcdef"}
    np.savez(tmp_path / "t1.npz", affine=np.eye(4), **volumes)
    np.savez(tmp_path / "t2.npz", a=volumes["a"])
    heads = settings["SimulatedHeads"](heads=1, slices=1, shape=(12, 10), coils=1)
    found = magnitude_data["magnitude_data"](heads, 0, tmp_path)
    names = lambda part: list(dict.fromkeys(s.file for s in part))
    assert names(found.training) == ["simulated head 0", "t1 a", "t2 a", "t1 b", "t1 c"]
    assert (names(found.validation), names(found.test)) == (["t1 d"], ["t1 e", "t1 f"])
    (tmp_path / "t1.npz").unlink()
    with pytest.raises(SystemExit, match="1 persons: three or more"):
        magnitude_data["magnitude_data"](heads, 0, tmp_path)


def record(row, psnr, n_steps=10, **changes):
    scores = {"psnr": {"mean": psnr}, "ssim": {"mean": 0.5}}
    test = {"slices": 4, "scans": ["a", "b"], "shape": [1, 12, 10], "acceleration": 3.9, "sha256": "same"}
    model = {"kind": "pdnet", "n_steps": n_steps}
    trained = {
        "parameters": 7,
        "n_updates": 100,
        "validation": [[[50, 20.0, 0.02], [100, 21.0, 0.01]]],
        "temporary_bytes": 2**20,
        "seconds_per_update": 0.1,
    }
    about = {
        "row": row,
        "small": True,
        "seed": 0,
        "config": {"model": model, "simulated": {"heads": 5}},
        "test": test,
        "scores": scores,
        "seconds_per_slice": 0.002,
    }
    return about | ({} if row == "zero_filled" else trained) | changes


def report(folder, *records):
    for one in records:
        (folder / f"{one['row']}_seed0.json").write_text(json.dumps(one))
    command = [sys.executable, str(FOLDER / "report.py"), "--results", str(folder)]
    return subprocess.run(command, capture_output=True, text=True)


def test_report_of_made_up_records(tmp_path):
    records = [record("zero_filled", 20.0), record("kiki", 19.0), record("pdnet", 30.0), record("depth_2", 25.0, 2)]
    (tmp_path / "runs" / "pdnet_seed0").mkdir(parents=True)
    np.savez(tmp_path / "runs" / "pdnet_seed0" / "picture.npz", image=np.ones((12, 10)), target=np.eye(12, 10))
    done = report(tmp_path, *records)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "tables.md").read_text()
    for line in (
        "| PDNet | 30.00 | 32.15 (3.45) | 35.58 (2.79) | 0.500 | 0.729 (0.133) | 0.947 (0.015) | 7 | 318,280 | 2.0 | 6.2 |",
        "| KIKI-net above zero-filled | no: -1.00 | +1.77 | +4.19 |",
        "| U-Net above KIKI-net | not run | +0.40 | +0.00 |",
        "| PDNet | -28.6 % | no |",
        "| 2 | 25.00 | 1.00 | 100.00 |",
        "| NeuroSpin (XPDNet) | 1.94 | 2.25 |",
    ):
        assert line in text
    assert {path.name for path in tmp_path.glob("*.png")} == {"validation.png", "depth.png", "images.png"}


def test_report_refuses_rows_that_cannot_be_compared(tmp_path):
    done = report(tmp_path, record("kiki", 19.0), record("pdnet", 30.0, n_updates=200))
    assert done.returncode and "had [100, 200] updates" in done.stderr

"""Several accelerations, centers and masks in one training, and masks of files."""

import dataclasses
import functools
import json
import shutil

import h5py
import jax
import numpy as np
import pytest
from support.experiments import with_data
from support.files import write_bart, write_fastmri

from jaxrecon.checks import DataError, DataWarning, UserError
from jaxrecon.data import read_mask
from jaxrecon.data.pipeline import batches
from jaxrecon.data.preparation import prepare
from jaxrecon.experiment import (
    CATALOG,
    DataConfig,
    Every,
    Experiment,
    SimulatedHeads,
    find_data,
    from_json,
    preparation,
    samplings,
    to_json,
    train,
)
from jaxrecon.experiment.memory import abstract_batch
from jaxrecon.experiment.samplings import draw_mask, warn_of_unused
from jaxrecon.models import UNetConfig
from jaxrecon.recon import load_network
from jaxrecon.sampling.named import center_of, draw
from jaxrecon.training import load_best, load_config

HEADS = SimulatedHeads(heads=3, validation_heads=1, slices=1, shape=(24, 20), coils=2, frames=4)
TWO = DataConfig(mask="random", acceleration=(2.0, 4.0), acs=(6, 3), n_masks=3)
TINY = Experiment(
    UNetConfig(features=2, pools=1),
    loss="l1",
    data=TWO,
    n_updates=4,
    batch_size=2,
    every=Every(2, 2, 1),
    simulated=HEADS,
)


def tiny(name, **data):
    """The smallest form of a built-in network, on simulated data."""
    return dataclasses.replace(
        TINY,
        model=CATALOG[name].tiny,
        loss="complex_l1" if "pgd" in name else "l1",
        data=dataclasses.replace(TWO, **data),
    )


def weights(trained):
    return jax.tree.leaves(trained.params)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Four updates in one go."""
    return train(TINY, data="simulated", out=tmp_path_factory.mktemp("whole"))


def test_accelerations_and_centers_of_equal_number_are_pairs():
    found = samplings(TINY)
    assert {name: (one.data.acceleration, one.data.acs) for name, one in found.items()} == {"r2": (2, 6), "r4": (4, 3)}
    one_center = samplings(with_data(TINY, acs=0.1))
    assert [one.data.acs for one in one_center.values()] == [0.1, 0.1]
    assert list(samplings(with_data(TINY, mask=("random", "magic")))) == [
        "random_r2",
        "random_r4",
        "magic_r2",
        "magic_r4",
    ]
    assert list(samplings(with_data(TINY, acceleration=(4, 4)))) == ["r4_acs6", "r4_acs3"]
    assert list(samplings(CATALOG["varnet"].preset)) == ["r4"] and list(
        samplings(with_data(TINY, mask=None, acceleration=4, acs=None))
    )


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"acs": (6, 3, 2)}, "acs has 3 numbers for 2 accelerations"),
        ({"acceleration": 4.0}, "acs has 2 numbers for 1 accelerations"),
        ({"acceleration": (4, 4), "acs": 3}, "not all different"),
        ({"mask": None}, "accelerations 2, 4 are of masks that are drawn"),
    ],
)
def test_what_is_no_pair_is_refused(changes, match):
    with pytest.raises(UserError, match=match):
        samplings(with_data(TINY, **changes))


def test_refusals_before_training(tmp_path):
    for changes, match in (
        (
            {"mask": ("random", "poisson")},
            "of one kind, lines, a plane or frames, but there are random of lines, poisson of plane",
        ),
        ({"mask": "randm"}, "there is no mask 'randm'; there are random, "),
        ({"mask": str(tmp_path / "none.npy"), "acceleration": 4.0, "acs": None, "n_masks": 64}, "none"),
    ):
        with pytest.raises((UserError, FileNotFoundError), match=match):
            train(with_data(TINY, **changes), data="simulated", out=tmp_path / "run")
    with pytest.raises(UserError, match="samplings r2, r4: each has a preparation of its own"):
        preparation(TINY)
    with pytest.raises(UserError, match="acceleration has no value"):
        DataConfig(acceleration=())
    with pytest.raises(UserError, match="seed must be 0 or more"):
        train(dataclasses.replace(TINY, seed=-1), data="simulated", out=tmp_path / "run")


def test_a_center_below_1_is_a_share_of_the_columns():
    share, width = (draw("random", (16, 50), acceleration=4, acs=acs) for acs in (0.08, 4))
    np.testing.assert_array_equal(share, width)
    assert center_of("random", (16, 50), acceleration=4, acs=0.08).sum() == 4
    for acs in (4.5, -0.1, 51):
        with pytest.raises(UserError, match="acs"):
            draw("random", (16, 50), acceleration=4, acs=acs)


def test_each_example_has_one_of_them_by_its_key():
    """In batches of one shape, with its own center where maps are estimated."""
    experiment = tiny("varnet")
    data = find_data(experiment, "simulated")
    hows = [preparation(one) for one in samplings(experiment).values()]
    make = functools.partial(batches, data.training, hows, batch_size=3, seed=0, n_epochs=8)
    seen = [problem for problem, _ in make()]
    again = [problem for problem, _ in make()]
    assert len({str(jax.tree.map(np.shape, problem)) for problem in seen}) == 1
    masks = np.concatenate([problem.op.encoding.mask[:, 0] for problem in seen])
    np.testing.assert_array_equal(masks, np.concatenate([problem.op.encoding.mask[:, 0] for problem in again]))
    centers = np.concatenate([problem.acs[:, 0].sum(-1) for problem in seen])
    rates = 20 / masks.sum(-1)
    assert set(centers) == {6, 3} and 6 < (centers == 6).sum() < 18
    assert rates[centers == 6].mean() < 2.7 < 3 < rates[centers == 3].mean()
    each = {len(set(problem.acs[:, 0].sum(-1).tolist())) for problem in seen}
    assert 2 in each  # within a batch too


@pytest.mark.parametrize(("name", "mask"), [("pgd", "random"), ("promptmr-plus", "random"), ("pgd-cine", "kt-random")])
def test_windows_and_series_have_several_too(name, mask):
    """Maps for all of them come from the center that all have."""
    experiment = tiny(name, mask=mask, acs=(14, 13), espirit_crop=0.0)
    wide = dataclasses.replace(HEADS, shape=(16, 60))  # maps need a center of 13 columns
    experiment = dataclasses.replace(experiment, batch_size=1, simulated=wide)
    data = find_data(experiment, "simulated")
    hows = [preparation(one) for one in samplings(experiment).values()]
    problems = [problem for problem, _ in batches(data.training, hows, batch_size=1, seed=0, n_epochs=4)]
    assert len({str(jax.tree.map(np.shape, problem)) for problem in problems}) == 1
    sized = dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, shape=(16, 60), n_coils=2))
    abstract, _ = abstract_batch(sized, frames=4)
    of = abstract.op.encoding.mask.shape
    assert of[-2:] == (1, 60) and of == problems[0].op.encoding.mask.shape
    rates = {round(float(np.mean(problem.op.encoding.mask)), 2) for problem in problems}
    assert len(rates) > 1


def test_a_run_goes_on_bit_equal(whole, tmp_path):
    for n in (2, 4):
        last = train(dataclasses.replace(TINY, n_updates=n), data="simulated", out=tmp_path / "run")
    for a, b in zip(weights(last), weights(whole), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [r.get("loss") for r in last.records] == [r.get("loss") for r in whole.records]
    with pytest.raises(UserError, match=r"data\.acceleration \[2\.0, 4\.0\], now 4\.0"):
        train(with_data(TINY, acceleration=4.0, acs=6), data="simulated", out=tmp_path / "run")


def test_scores_of_each_acceleration_and_their_mean(whole):
    best = whole.best
    for metric in ("psnr", "ssim", "nmse"):
        each = [best[f"{metric}_{name}"] for name in ("r2", "r4")]
        assert best[metric] == pytest.approx(np.mean(each)) and each[0] != each[1]


def test_the_best_is_told_without_the_log(whole, tmp_path):
    shutil.copytree(whole.out, tmp_path / "run")
    (tmp_path / "run" / "log.jsonl").unlink()
    best = load_best(tmp_path / "run")
    assert best == whole.best and best["step"] == TINY.n_updates


def test_numbers_stay_numbers_in_json(whole):
    stored = load_config(whole.out)["data"]
    assert stored["acceleration"] == [2.0, 4.0] and stored["acs"] == [6, 3] and stored["mask"] == "random"
    single = json.loads(json.dumps(to_json(with_data(TINY, acceleration=(4.0,), acs=(6,)))))
    assert single["data"]["acceleration"] == 4.0 and single["data"]["acs"] == 6
    for experiment in (TINY, with_data(TINY, acceleration=4.0, acs=6)):
        assert from_json(json.loads(json.dumps(to_json(experiment))), where="run") == experiment
    assert load_network(whole.out).experiment.data == TWO


MASK = np.isin(np.arange(20), [0, 3, 8, 9, 10, 11, 15])
POINTS = np.random.default_rng(0).random((24, 20)) < 0.4


def stored_masks(folder):
    """The same masks in every format that can hold one."""
    np.save(folder / "m.npy", 255 * MASK.astype(np.uint8))
    np.savez(folder / "m.npz", mask=MASK[None])
    write_fastmri(folder / "m.h5", None, mask=MASK.astype(np.float32))
    write_bart(folder / "m", MASK.astype(complex)[:, None])  # (1, x)
    np.save(folder / "p.npy", POINTS)
    write_bart(folder / "p", POINTS.astype(complex)[..., None])  # (1, x, y)
    return folder


def test_masks_of_every_format(tmp_path):
    stored_masks(tmp_path)
    for suffix in (".npy", ".npz", ".h5", ".cfl"):
        found = read_mask(tmp_path / f"m{suffix}")
        assert found.dtype == bool and found.shape[-1] == 20
        np.testing.assert_array_equal(np.broadcast_to(found, (24, 20)), np.broadcast_to(MASK, (24, 20)))
    np.testing.assert_array_equal(read_mask(tmp_path / "p.cfl"), POINTS)
    frames = np.stack([POINTS, ~POINTS])
    write_bart(tmp_path / "f", frames.astype(complex).reshape(2, *[1] * 7, 24, 20, 1))
    np.testing.assert_array_equal(read_mask(tmp_path / "f.cfl"), frames)
    write_bart(tmp_path / "c", np.ones((3, 24, 20, 1), complex))
    with pytest.raises(UserError, match="this is no mask"):
        read_mask(tmp_path / "c.cfl")
    with h5py.File(tmp_path / "huge.h5", "w") as file:  # some KiB of a file
        file.create_dataset("mask", (2**16, 2**16), "u1", chunks=(2**13, 2**13), compression="gzip")[0, 0] = 1
    with pytest.raises(UserError, match="mask"):
        read_mask(tmp_path / "huge.h5")
    with pytest.raises(UserError, match="mask"):
        read_mask(write_fastmri(tmp_path / "none.h5", None, other=MASK))


@pytest.mark.parametrize("name", ["m.npy", "p.npy", "p.cfl"])
def test_a_mask_of_a_file_is_that_of_all_examples(tmp_path, name):
    stored_masks(tmp_path)
    experiment = tiny("varnet", mask=str(tmp_path / name), acceleration=4.0, acs=None)
    data = find_data(experiment, "simulated")
    assert "masks" in data.named
    wanted = POINTS if name[0] == "p" else MASK[None]
    for use in ("training", "validation"):
        example = prepare(data.training[0], preparation(experiment, use=use), np.random.default_rng(0))
        np.testing.assert_array_equal(example["mask"] != 0, wanted)
        assert "acs" not in example  # found in the mask
    sized = dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, shape=(24, 20), n_coils=2))
    assert abstract_batch(sized)[0].op.encoding.mask.shape[1:] == wanted.shape
    with pytest.raises(UserError, match=r"the mask does not fit k-space; expected \(y, x\) = \(24, 24\)"):
        draw_mask(experiment, (2, 24, 24), 0)


def test_masks_of_files_beside_those_of_names(tmp_path):
    """Their names need no file: a run folder is read where it is no more."""
    experiment = with_data(TINY, mask=("random", str(tmp_path / "m.npy")))
    assert list(samplings(experiment)) == ["random_r2", "random_r4", "m"]


def test_numbers_without_effect_are_named(tmp_path):
    """Before any data are read; defaults, also those of the built-in experiments, are nobody's wish."""
    many = with_data(TINY, mask=str(tmp_path / "m.npy"), acceleration=8.0, acs=0.08, n_masks=None)
    match = r"acceleration 8.0 and acs 0.08 and n_masks None: without effect, as the mask is that of .*m\.npy and none is drawn"
    with pytest.warns(DataWarning, match=match), pytest.raises(DataError, match="no such file"):
        train(many, data=str(tmp_path / "none"), out=tmp_path / "run")
    with pytest.warns(DataWarning, match=r"acs 3: without effect, as the masks are those of the scans"):
        warn_of_unused(with_data(many, mask=None, acceleration=4.0, acs=3, n_masks=64))
    for entry in CATALOG.values():
        for mask in (None, "m.npy"):
            warn_of_unused(with_data(entry.preset, mask=mask))
            warn_of_unused(with_data(entry.small_preset, mask=mask))
    warn_of_unused(with_data(many, mask=("random", "m.npy")))


def test_frames_of_a_file(tmp_path):
    frames = np.stack([MASK, np.roll(MASK, 1) | (np.arange(20) == 10), MASK, MASK])[:, None]
    np.save(tmp_path / "kt.npy", frames)
    experiment = tiny("pgd-cine", mask=str(tmp_path / "kt.npy"), acceleration=4.0, acs=None)
    np.testing.assert_array_equal(draw_mask(experiment, (4, 2, 24, 20), 0) != 0, frames[:, None])
    with pytest.raises(UserError, match="or 5 frames"):
        draw_mask(experiment, (5, 2, 24, 20), 0)
    with pytest.raises(UserError, match="for still images"):
        preparation(dataclasses.replace(experiment, model=TINY.model))

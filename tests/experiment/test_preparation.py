"""What an experiment says of slices, masks, ranges and sizes, as training and `recon --checkpoint` follow it."""

import shutil
from pathlib import Path

import h5py
import jax
import numpy as np
import pytest
from support.experiments import with_data
from support.files import write_fastmri
from support.scans import line_mask, measured

from jaxrecon.checks import DataError, DataWarning, UserError
from jaxrecon.data import remove_oversampling
from jaxrecon.data.preparation import prepare
from jaxrecon.data.prepare import prepare_scan
from jaxrecon.experiment import CATALOG, DataConfig, Experiment, find_data, preparation, prepare_training
from jaxrecon.models import VarNetConfig, build
from jaxrecon.problem import Problem
from jaxrecon.recon import Network, evaluate


def test_data_are_known_wherever_they_are(tmp_path):
    """Copied to where the folder for validation sorts first, and file by file the other way round."""
    for name in ("b/train", "c/val", "a/val", "b/copy"):
        (tmp_path / name).mkdir(parents=True)
        write_fastmri(tmp_path / name / "scan.h5", measured(shape=(33, 24), unit=1 + ("val" in name))[0][None])
    experiment = with_data(CATALOG["varnet"].preset, acs=4, acceleration=2.0)
    of = lambda data, validation: find_data(experiment, tmp_path / data, tmp_path / validation).named["files"]
    assert of("b/train", "c/val") == of("b/copy", "a/val") != of("c/val", "b/train")


def test_slices_masks_and_ranges_of_a_paper(tmp_path):
    """Central slices of each file, a mask drawn anew for each, the range of SSIM from the slice."""
    kspace, image = measured(shape=(33, 24))
    data = tmp_path / "data"
    data.mkdir()
    for i in range(2):
        volume = (1 + i) * np.stack([image.astype(np.float32)] * 4)
        path = write_fastmri(
            data / f"file{i}.h5", np.float32(1 + i) * np.stack([kspace] * 4), reconstruction_rss=volume
        )
        with h5py.File(path, "r+") as file:
            file.attrs["max"] = 3 * volume.max()
    preset = CATALOG["varnet"].preset
    experiment = with_data(preset, slices=(1, -1), n_masks=None, data_range="slice", acs=4, acceleration=2.0)
    found = find_data(experiment, str(data), None)
    assert [e.index for e in found.training.entries] == [e.index for e in found.validation.entries] == [1, 2]
    drawn = [preparation(experiment).mask(found.training[0], np.random.default_rng(seed)) for seed in (0, 0, 1, 2, 3)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert len({mask.tobytes() for mask in drawn}) > 2
    part = found.training[0]
    ranges = [preparation(e).data_range(part, part.target) for e in (experiment, preset)]
    assert ranges == pytest.approx([part.target.max(), 3 * part.target.max()])
    for wrong in (
        with_data(experiment, slices=(4, 6)),
        with_data(CATALOG["pgd-cine"].preset, slices=(1, 2)),
    ):
        with pytest.raises(ValueError, match="expected slices from"):
            find_data(wrong, str(data), data)


@pytest.mark.parametrize("points", [False, True])
def test_an_undersampled_file_without_a_mask_is_no_truth(tmp_path, points):
    """Its zeros are not measured: without a target it is refused, as `prepare` refuses it; with one the mask has them too."""
    kspace, image = measured(shape=(33, 24))
    mask = np.random.default_rng(0).random((33, 24)) < 0.4 if points else line_mask(24, n_acs=6)[None]
    mask[:, 10:14] = True
    plain = write_fastmri(tmp_path / "plain.h5", (kspace * mask)[None])
    experiment = with_data(CATALOG["varnet"].preset, acs=4, acceleration=2.0)
    how, draws = preparation(experiment), np.random.default_rng
    with pytest.raises(ValueError, match="expected full k-space to make a target from"):
        prepare(find_data(experiment, plain).training[0], how, draws(0))
    with pytest.raises(ValueError, match="fully sampled"):
        prepare_scan(plain, tmp_path / "prepared.h5")
    with pytest.raises(ValueError, match="found undersampled k-space"):
        evaluate(image[None], plain)
    with_target = write_fastmri(
        tmp_path / "target.h5", (kspace * mask)[None], reconstruction_rss=image[None].astype(np.float32)
    )
    part = find_data(experiment, with_target).training[0]
    example = prepare(part, how, draws(0))
    np.testing.assert_array_equal(example["mask"], mask * how.mask(part, draws(0)))
    np.testing.assert_array_equal(example["mask"] != 0, np.any(example["kspace"] != 0, 0)[: None if points else 1])


def test_a_validation_that_is_trained_on_is_questioned(tmp_path):
    """By content: a copy under another name is the same."""
    experiment = CATALOG["varnet"].preset
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for i in range(2):
            kspace = np.float32(1 + i + 2 * (name == "two")) * measured(shape=(33, 24))[0]
            write_fastmri(tmp_path / name / f"file{i}.h5", kspace[None])
    one, two = tmp_path / "one", tmp_path / "two"
    assert len(find_data(experiment, one, two).validation) == 2
    with pytest.warns(DataWarning, match=r"2 of its 2 files are trained on, too, as .*one/file0\.h5"):
        find_data(experiment, one, one)
    shutil.copy(one / "file1.h5", two / "file9.h5")
    with pytest.warns(DataWarning, match=r"1 of its 3 files .*two/file9\.h5, which is .*one/file1\.h5"):
        find_data(experiment, one, two)


def test_training_without_validation_says_so(tmp_path):
    path = write_fastmri(tmp_path / "one.h5", measured(shape=(33, 24))[0][None])
    with pytest.warns(
        DataWarning, match=r"there is no validation \(1 slice for training, 0 for validation \(1 file and 0 files\)\)"
    ):
        prepare_training(CATALOG["unet"].small_preset, data=path, out=tmp_path / "run")


def test_data_that_are_not_there(tmp_path):
    with pytest.raises(
        DataError, match="simulatd: there is no such file or folder; expected scans, or the word simulated"
    ):
        find_data(CATALOG["unet"].preset, "simulatd")
    with pytest.raises(UserError, match="simulated data bring their own validation"):
        find_data(CATALOG["unet"].preset, "simulated", tmp_path)


def test_readout_is_cropped_to_that_of_the_training(random_complex):
    """A complete readout longer than in the training shrinks to its middle; where rows are missing none is cut off."""
    config = VarNetConfig(n_steps=1, features=2, pools=1, sens_features=2, sens_pools=1)
    model, kspace = build(config), np.asarray(random_complex((2, 24, 12)), np.complex64)
    lines = line_mask(12, n_acs=4)[None]
    params = model.init(jax.random.key(0), Problem.from_numpy(kspace * lines, mask=lines))
    trained = {
        rows: Network(Path("run"), Experiment(config, data=DataConfig(scale="none", shape=(rows, 10))), params, model)
        for rows in (16, 24, 32)
    }
    image, _ = trained[16].reconstruct(kspace * lines, lines, None)
    short, _ = trained[16].reconstruct(remove_oversampling(kspace * lines, 16), lines, None)
    assert image.shape == trained[16].image_shape(kspace.shape, lines) == (16, 12)
    np.testing.assert_allclose(image, short, rtol=1e-5)
    whole, _ = trained[24].reconstruct(kspace * lines, lines, None)
    assert whole.shape == trained[32].image_shape(kspace.shape, lines) == (24, 12)
    plane = np.broadcast_to(lines, (24, 12)).copy()
    plane[3, ::4] = False
    assert trained[16].reconstruct(kspace * plane, plane, None)[0].shape == (24, 12)

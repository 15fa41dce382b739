"""`jaxrecon train` and `recon --checkpoint`: train, stop, go on, use; refusals before any work."""

import dataclasses
import functools
import json
import re
import shutil
from typing import get_args

import h5py
import numpy as np
import pytest
from support.files import write_fastmri, write_matlab
from support.scans import SHAPE, SIMULATED, TRAIN, line_mask, measured, nrmse
from support.type_check import as_user

from jaxrecon.cli import main
from jaxrecon.cli.experiments import ModelName
from jaxrecon.coils import espirit, estimate
from jaxrecon.experiment import DataConfig, Experiment, from_json, load_experiment, to_json
from jaxrecon.experiment.catalog import CATALOG
from jaxrecon.experiment.resume import check_resume
from jaxrecon.models import MoDLConfig, PGDConfig, UNetConfig, VarNetConfig, abstract_params, build
from jaxrecon.recon import load_network
from jaxrecon.sampling import named as masks
from jaxrecon.strategies import Gleam
from jaxrecon.training import Checkpoints, load_config, load_params, read_log
from jaxrecon.training.optimizers import Adam
from jaxrecon.trees import leaves_by_name

SIMULATED_DATA = [
    "--simulated.heads", "2", "--simulated.validation-heads", "1", "--simulated.slices", "1",
    "--simulated.shape", *map(str, SIMULATED), "--simulated.coils", "4",
]  # fmt: skip
TINY = ["--mask", "equispaced", "--acs", "13", "--n-masks", "2", "--every.log", "1"]
TINY_MODEL = ["--model.n-steps", "2", "--model.features", "4"]


def train(out, *options, model="pgd", data="simulated"):
    return main(["train", "--model", model, "--small", "--data", str(data), "--out", str(out), *TINY, *options])


def losses(out):
    return [r["loss"] for r in read_log(out) if r["event"] == "training"]


def saved_weights(out, step):
    like = abstract_params(from_json(load_config(out), where=out).model)
    return load_params(out, like, step=step)


def test_train_and_resume(trained, prepared, tmp_path):
    """Stopped after 2 of 4 steps and gone on with is the run in one go."""
    text, out = trained.text, tmp_path / "twice"
    assert "gleam, 2 modules" in text and "adam, learning rate 0.003" in text and "NMSE" in text
    assert (trained.path / "curves.png").stat().st_size > 1000
    for n in ("2", "4"):
        assert main([*TRAIN, "--data", str(prepared.path), "--out", str(out), "--n-updates", n]) == 0
    assert losses(out) == losses(trained.path) and len(losses(out)) == 4
    nmse = [r["nmse"] for r in read_log(out) if r["event"] == "evaluation"]
    assert len(nmse) == 2 and nmse[1] < nmse[0]


def test_train_from_the_weights_of_a_run(trained, prepared, tmp_path, capsys):
    """The best of them, some frozen; said before it starts, and refused where nothing or another run would be made of it."""
    out, data = tmp_path / "tuned", ["--data", str(prepared.path), "--n-updates", "2"]
    start = ["--weights", str(trained.path)]
    assert main([*TRAIN, *data, *start, "--out", str(out), "--freeze", "steps/net/params/block_0", "*/bias"]) == 0
    text = capsys.readouterr().out
    assert f"start from        {trained.path}" in text and "--freeze" in text and "of the parameters" in text
    before, after = (leaves_by_name(load_network(path).params) for path in (trained.path, out))
    same = {name for name in before if np.array_equal(before[name], after[name])}
    assert same and same == {name for name in before if "/block_0/" in name or name.endswith("/bias")}

    def refused(*words):
        assert main([*TRAIN, *map(str, words)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    error = refused(*data, "--out", tmp_path / "no", "--freeze", "steps/net/block_9")
    assert "no parameter is called steps/net/block_9" in error and "there are steps/net/params/block_0/" in error
    assert "holds a run already" in refused(*data, *start, "--out", trained.path)
    assert "4 updates already, 2 asked" in refused(*data, "--out", trained.path)
    error = refused(*data, *start, "--out", tmp_path / "no", "--model.features", "5")
    assert "its own network has model.features 4, not 5. " in error and error.count("wanted float32") == 3
    assert main(["train", "--model", "pgd", "--out", str(tmp_path / "no")]) == 2
    assert "needs --data" in capsys.readouterr().err
    # what a list is can be told too
    assert "data.shape None, now" in refused(*data[:2], "--n-updates", 4, "--out", trained.path, "--shape", "32", "32")


def test_recon_rebuilds_the_network_by_itself(trained, tmp_path, capsys, monkeypatch):
    """In the units of the data, with maps as in the training."""
    used = []

    def noted(*args, crop, **options):
        used.append(crop)
        return espirit(*args, crop=crop, **options)

    monkeypatch.setattr(estimate, "espirit", noted)
    kspace, image = measured()
    path = write_fastmri(tmp_path / "scan.h5", kspace[None] * line_mask(), reconstruction_rss=image[None])
    network = ["--checkpoint", str(trained.path)]
    assert main(["recon", str(path), *network, "--out", str(tmp_path / "r.npy")]) == 0
    text = capsys.readouterr().out
    assert "pgd, trained" in text and "espirit" in text and "PSNR" in text
    assert (tmp_path / "r_figure.png").exists()
    recon = np.load(tmp_path / "r.npy")
    assert recon.shape == (1, *image.shape) and nrmse(recon[0], image) < 1

    # in other units the image is the same, in these units
    scaled = write_fastmri(tmp_path / "scaled.h5", 1e-5 * kspace[None] * line_mask())
    assert main(["recon", str(scaled), *network, "--out", str(tmp_path / "s.h5"), "--no-figure"]) == 0
    with h5py.File(tmp_path / "s.h5") as file:
        np.testing.assert_allclose(
            file["reconstruction"][()], 1e-5 * np.abs(recon), rtol=1e-3, atol=1e-8 * np.abs(recon).max()
        )
        assert file["reconstruction"].file.attrs.get("checkpoint", str(trained.path)) == str(trained.path)
    assert used and set(used) == {0}  # TRAIN's --espirit-crop
    used.clear()
    command = ["recon", str(path), "--method", "cg-sense", "--iterations", "8", "--no-figure"]
    assert main([*command, "--out", str(tmp_path / "cg.npy")]) == 0
    assert used and set(used) == {0.8}


def test_folder_of_files_and_a_configuration_file(tmp_path, capsys):
    """A subject of the folder is kept for validation; the configuration is a Python file."""
    data = tmp_path / "data"
    data.mkdir()
    for i in range(3):
        kspace, image = measured(unit=1e-4 * (i + 1))
        image = image[None].astype(np.float32)
        write_fastmri(data / f"file{i}.h5", kspace[None], reconstruction_rss=image)
    config = tmp_path / "mine.py"
    config.write_text(
        "from jaxrecon.experiment import DataConfig, Every, Experiment\nfrom jaxrecon.models import VarNetConfig\n"
        "def experiment(small=False):\n"
        "    model = VarNetConfig(n_steps=1 if small else 12, features=2, pools=1, sens_features=2, sens_pools=1)\n"
        "    data = DataConfig(acs=6, n_masks=2)\n"
        "    return Experiment(model, loss='ssim', data=data, n_updates=2, every=Every(log=1), batch_size=2)\n"
    )
    out = tmp_path / "run"
    command = ["train", str(config), "--small", "--data", str(data), "--out", str(out)]
    assert main([*command, "--optimizer.learning-rate", "0.01"]) == 0
    assert "2 slices for training, 1 for validation" in capsys.readouterr().out
    content = load_config(out)
    assert content["model"] == {**content["model"], "kind": "varnet", "n_steps": 1, "pools": 1}
    assert content["optimizer"] == {"kind": "adam", "learning_rate": 0.01} and content["loss"] == "ssim"
    assert [r["event"] for r in read_log(out)] == ["training", "training", "evaluation"]
    # the same folder with another experiment
    assert main([*command, "--optimizer.learning-rate", "0.02", "--loss", "l1"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "optimizer.learning_rate 0.01, now 0.02" in error and "loss ssim, now l1" in error
    assert "n_steps" not in error
    # the same experiment, but a file more, and another folder
    write_fastmri(data / "file3.h5", 2 * kspace[None], reconstruction_rss=2 * image)
    assert main([*command, "--optimizer.learning-rate", "0.01"]) == 2
    error = capsys.readouterr().err
    assert (
        error.count("\n") == 1 and "other data" in error and "learned_from.found 2 slices" in error and "now 3" in error
    )
    (data / "file3.h5").unlink()
    # as many files and bytes, but others
    kept = (data / "file1.h5").read_bytes()
    with h5py.File(data / "file1.h5", "r+") as file:
        file["reconstruction_rss"][()] *= 2
    assert (data / "file1.h5").stat().st_size == len(kept)
    assert main([*command, "--optimizer.learning-rate", "0.01"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "other data: learned_from.files 3 with" in error
    (data / "file1.h5").write_bytes(kept)
    assert main([*command, "--optimizer.learning-rate", "0.01"]) == 0
    # the same files elsewhere are the same data
    data.rename(tmp_path / "moved")
    command[command.index(str(data))] = str(tmp_path / "moved")
    capsys.readouterr()
    assert main([*command, "--optimizer.learning-rate", "0.01"]) == 0
    assert "2 are made already, nothing is left to train" in capsys.readouterr().out
    # a run from before there were fingerprints is not refused for want of one
    for about in out.glob("checkpoints/*/about/metadata"):
        content = json.loads(about.read_text())
        del content["config"]["learned_from"]["files"]
        about.write_text(json.dumps(content))
    stored = load_config(out)
    found = stored["learned_from"] | {"files": "3 with 10 bytes, abc"}
    check_resume(from_json(stored, where=out), out, data=found)
    with pytest.raises(ValueError, match=r"training .*, now elsewhere"):  # it knows no more than the place
        check_resume(from_json(stored, where=out), out, data=found | {"training": "elsewhere"})


def test_frames_train_and_reconstruct(tmp_path, capsys):
    """A network of frames learns from whole time series, simulated or of files, and reconstructs them at once."""
    frames, kspace = 4, measured()[0]
    # (frame, slice, coil, y, x): both slices become brighter in time
    kspace = np.array([[(1 + 0.3 * t) * x for x in (kspace, kspace[::-1])] for t in range(frames)])
    data = tmp_path / "data"
    data.mkdir()
    for i in range(2):
        # CMRxRecon's order of axes: time, slice, coil, ky, kx with kx the readout
        write_matlab(data / f"P{i}.mat", kspace_full=np.complex64(1 + i) * kspace.swapaxes(-1, -2))

    cine = [*TINY_MODEL, "--mask", "kt-uniform", "--strategy", "gleam", "--n-updates", "2"]
    simulated = [*SIMULATED_DATA, "--simulated.frames", str(frames)]
    assert train(tmp_path / "simulated", *cine, *simulated, model="pgd-cine") == 0
    text = capsys.readouterr().out
    assert "1 of 4 frames of 48 x 39, 4 coils" in text and "2 and 1 simulated hearts" in text and "NMSE" in text
    assert train(tmp_path / "files", *cine, "--model.layers", "2", model="modl-cine", data=data) == 0
    assert "2 time series for training, 2 for validation" in capsys.readouterr().out
    assert train(tmp_path / "still", *cine, model="pgd") == 2
    assert "no mask 'kt-uniform' for still images" in capsys.readouterr().err
    still = write_fastmri(tmp_path / "scan.h5", kspace[0])
    assert train(tmp_path / "frames", *cine, model="pgd-cine", data=still) == 2
    assert "scan.h5: expected time frames" in capsys.readouterr().err
    use = ["recon", str(still), "--checkpoint", str(tmp_path / "files"), "--out", str(tmp_path / "still.npy")]
    assert main(use) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "scan.h5: expected time frames" in error and "found still images" in error

    command = ["recon", str(data / "P0.mat"), "--checkpoint", str(tmp_path / "files"), "--undersample", "kt-uniform"]
    command += ["--acs", "8"]
    assert main([*command, "--out", str(tmp_path / "r.npy")]) == 0
    text = capsys.readouterr().out
    assert "4 frames at once" in text and "PSNR" in text
    recon = np.load(tmp_path / "r.npy")
    assert recon.shape == (frames, 2, *SHAPE)
    assert main([*command, "--out", str(tmp_path / "one.npy"), "--slices", "1", "--no-figure"]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "one.npy")[:, 0], recon[:, 1])

    # what the command does is: the mask of each frame, maps from the average over time, the network on all frames
    series = kspace[:, 1]
    mask = masks.draw("kt-uniform", SHAPE, acceleration=4, acs=8, seed=0, frames=frames)[:, None] != 0
    average = (series * mask).sum(0) / np.maximum(mask.sum(0), 1).astype(np.float32)
    assert mask.any(0).all()  # the average over time is complete
    maps = np.asarray(espirit(average, calib_size=24, kernel_size=6))
    image, _ = load_network(tmp_path / "files").reconstruct(series * mask, mask, maps)
    np.testing.assert_allclose(recon[:, 1], image, rtol=1e-3, atol=1e-4 * np.abs(image).max())


def test_modl_trains_with_batch_norm_where_a_strategy_can(prepared, tmp_path, capsys):
    """The best weights are those of the best PSNR, since the variant has no NMSE."""
    options = [*TINY_MODEL, "--model.layers", "2", "--n-updates", "2", "--every.evaluate", "1", "--variant", "modl"]
    modl = functools.partial(train, model="modl", data=prepared.path)
    assert modl(tmp_path / "no", *options, "--strategy", "deep_supervision") == 2
    assert "batch norm" in capsys.readouterr().err
    out = tmp_path / "run"
    assert modl(out, *options, "--strategy", "checkpointed") == 0
    with Checkpoints(out) as checkpoints:
        assert checkpoints.latest == 2
    mean = saved_weights(out, 2)["start"]["batch_stats"]["norm_0"]["mean"]
    assert np.abs(mean).max() > 0  # the moving averages have moved
    psnr = {r["step"]: r["psnr"] for r in read_log(out) if r["event"] == "evaluation"}
    best = max(psnr, key=psnr.get)
    assert len(psnr) == 2 and f"PSNR {psnr[best]:.4g} at step {best}" in capsys.readouterr().out


def test_unet_trains_and_what_is_not_a_number_is_told(prepared, tmp_path, capsys):
    unet = ["--model.features", "1", "--model.pools", "1", "--scale", "none"]
    assert train(tmp_path / "run", *unet, "--n-updates", "1", model="unet", data=prepared.path) == 0
    capsys.readouterr()
    far = ["--n-updates", "4", "--optimizer.learning-rate", "1e30"]
    assert train(tmp_path / "far", *unet, *far, model="unet", data=prepared.path) == 2
    error = capsys.readouterr().err
    assert "not finite" in error and "step" in error and error.count("\n") == 1


def test_refused(tmp_path, capsys):
    def refused(*words, **options):
        assert train(tmp_path / "run", *SIMULATED_DATA, *TINY_MODEL, "--n-updates", "1", *words, **options) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    assert "no data file" in refused(data=tmp_path)
    assert "'sparkling'" in refused("--mask", "sparkling")
    assert "set acs=16" in refused("--acs", "2")
    assert "3 modules do not divide" in refused("--strategy", "gleam", "--strategy.n-modules", "3")
    assert "inverse" in refused("--strategy", "invertible")
    assert "learning rate" in refused("--optimizer.learning-rate", "-1")
    assert "features must be 1 or more, not 0" in refused("--model.features", "0")
    assert "blocks must be 1 or more, not -1" in refused("--model.blocks", "-1")
    assert "ndim must be 2 for images or 3 for frames, not 4" in refused("--model.ndim", "4")
    assert "shape must be 1 or more, not (-4, 4)" in refused("--shape", "-4", "4")
    assert "n_coils must be 1 or more, not 0" in refused("--n-coils", "0")
    assert "acs 40: the center of a mask of 48 x 39 is 0 to 39 wide" in refused("--acs", "40")
    small = ["train", "--model", "pgd", "--small", *SIMULATED_DATA, *TINY, *TINY_MODEL, "--out", str(tmp_path / "run")]
    assert main([*small, "--acs", "40"]) == 2  # simulated by itself
    assert "acs 40: the center of a mask of 48 x 39" in capsys.readouterr().err
    assert "merge shapes by shape and n_coils" in refused("--batch-size", "3")
    write_fastmri(tmp_path / "silent.h5", np.zeros((1, 3, 33, 24), np.complex64))
    assert "silent.h5: expected a signal in it or in another slice" in refused(data=tmp_path / "silent.h5")
    (tmp_path / "silent.h5").unlink()
    assert "'none'" in refused("--variant", "none") and not (tmp_path / "run").exists()
    occupied = tmp_path / "occupied"
    occupied.write_text("in the way")
    assert train(occupied, *SIMULATED_DATA, *TINY_MODEL, "--n-updates", "1") == 2
    assert "run folder" in capsys.readouterr().err
    assert occupied.read_text() == "in the way"
    assert main(["train", "--data", "simulated", "--out", "x"]) == 2
    assert "--model" in capsys.readouterr().err
    (tmp_path / "broken.py").write_text("def experiment(small=False):\n    return 1 / 0\n")
    assert main(["train", str(tmp_path / "broken.py"), "--data", "simulated", "--out", "x"]) == 2
    error = capsys.readouterr().err
    assert "broken.py" in error and "ZeroDivisionError" in error
    (tmp_path / "wrong.py").write_text(
        "from jaxrecon.experiment import Experiment\nfrom jaxrecon.models import PGDConfig\n"
        "from jaxrecon.training.optimizers import Adam\n"
        "def experiment(small=False):\n"
        "    return Experiment(PGDConfig(features='many'), loss='l7', batch_size=1.5, optimizer=Adam(1))\n"
    )
    for command in (["train", "--data", "simulated", "--out", "x"], ["memory"]):
        with as_user():
            assert main([command[0], str(tmp_path / "wrong.py"), *command[1:]]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "wrong.py" in error and "learning_rate" not in error
        assert all(word in error for word in ("model.features is 'many'", "loss is 'l7'", "batch_size is 1.5"))
    assert main(["train", str(tmp_path / "none.py"), "--data", "simulated", "--out", "x"]) == 2
    assert "none.py" in capsys.readouterr().err


def test_checkpoint_refused_by_recon(trained, tmp_path, capsys):
    kspace, _ = measured()
    np.save(tmp_path / "scan.npy", kspace)

    def recon(*words):
        assert main(["recon", str(tmp_path / "scan.npy"), "--out", str(tmp_path / "r.npy"), *words]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    assert "no run folder" in recon("--checkpoint", str(tmp_path / "none"))
    text = recon("--checkpoint", str(trained.path), "--method", "tv", "--iterations", "3")
    assert "method tv, iterations 3: for reconstructions by a method, but a network is given" in text
    assert "map sets" in recon("--checkpoint", str(trained.path), "--map-sets", "2")
    # weights of 4 features, a configuration of 5, and a field that is not known
    shutil.copytree(trained.path, tmp_path / "run")
    about = next((tmp_path / "run").glob("checkpoints/4/about/*"))
    content = json.loads(about.read_text())
    content["config"]["model"]["features"] = 5
    about.write_text(json.dumps(content))
    capsys.readouterr()
    assert "another model" in recon("--checkpoint", str(tmp_path / "run"))
    content["config"]["model"]["sharpness"] = 5
    about.write_text(json.dumps(content))
    assert "unknown field model.sharpness" in recon("--checkpoint", str(tmp_path / "run"))
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "4" / "weights")
    recon("--checkpoint", str(tmp_path / "run"))
    assert not (tmp_path / "r.npy").exists()


@pytest.mark.parametrize("config", [UNetConfig(), VarNetConfig(), MoDLConfig(shared=False), PGDConfig()])
def test_experiments_survive_json(config):
    experiment = Experiment(config, Gleam(2), Adam(1e-4), data=DataConfig(shape=(40, 32), acs=12))
    content = json.loads(json.dumps(to_json(experiment)))
    assert from_json(content, where="run") == experiment
    del content["batch_size"]
    assert from_json(content, where="run") == experiment
    data = {**content["data"], "acs": "wide"}
    wrong = {**content, "data": data, "epochs": 3, "model": {**content["model"], "features": True}}
    with pytest.raises(ValueError, match=r"(?s)model\.features is True.*data\.acs is 'wide'.*unknown field epochs"):
        from_json(wrong, where="run")
    with pytest.raises(ValueError, match="no network 'gan'"):
        from_json({"model": {"kind": "gan"}}, where="run")


def test_presets(tmp_path):
    assert CATALOG.keys() == set(get_args(ModelName))
    for name, entry in CATALOG.items():
        for experiment in (entry.preset, entry.small_preset):
            assert build(experiment.model).n_steps == getattr(experiment.model, "n_steps", 1), name
    (tmp_path / "three.py").write_text("experiment = 3\n")
    with pytest.raises(ValueError, match="returns an Experiment, found 3"):
        load_experiment(tmp_path / "three.py")
    preset = CATALOG["pgd"].preset
    assert dataclasses.replace(preset, seed=1) != preset


def test_several_accelerations(tmp_path, capsys):
    """Said, scored and reported one by one; the configuration file may stand behind their option."""
    config = tmp_path / "mine.py"
    config.write_text(
        "from jaxrecon.experiment import Experiment\nfrom jaxrecon.models import UNetConfig\n"
        "def experiment(small=False):\n    return Experiment(UNetConfig(features=2, pools=1), loss='l1', n_updates=2)\n"
    )
    command = ["train", "--data", "simulated", "--out", str(tmp_path / "run"), *SIMULATED_DATA, *TINY]
    assert main([*command, "--acceleration", "2", "3", str(config)]) == 0
    text = capsys.readouterr().out
    row = r"equispaced, R = 2 and 3 asked for, [\d.]+ and [\d.]+ reached by the first mask of each, 2 different ones of each"
    assert re.search(row, " ".join(text.split()))
    assert "\n  r2: PSNR" in text and "\n  r3: PSNR" in text
    stored = load_config(tmp_path / "run")["data"]
    assert stored["acceleration"] == [2.0, 3.0] and stored["acs"] == 13
    evaluation = read_log(tmp_path / "run")[-1]
    assert evaluation["psnr"] == pytest.approx((evaluation["psnr_r2"] + evaluation["psnr_r3"]) / 2)

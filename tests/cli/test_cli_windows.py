"""Networks of neighbouring slices on the command line: train on windows, convert there and back, reconstruct slice by slice."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from cli_files import line_mask, measured
from data.data_files import write_fastmri, write_matlab

from jaxrecon import training
from jaxrecon.cli import main
from jaxrecon.cli.memory import Options, abstract_batch
from jaxrecon.cli.simulated_data import simulated_slices
from jaxrecon.models import PromptMRPlusConfig, run
from jaxrecon.problem import Problem
from jaxrecon.training import carry_bytes, load_config
from jaxrecon.training.experiment_json import from_json, to_json
from jaxrecon.training.networks import abstract_params, build
from jaxrecon.training.presets import SMALL
from jaxrecon.weights import PROMPTMR_PLUS, from_published, read_npz, to_published, write_npz

TINY = PromptMRPlusConfig(
    n_steps=2,
    n_adjacent=3,
    features=4,
    level_features=(5,),
    prompt_features=(4,),
    sens_features=4,
    sens_level_features=(4,),
    sens_prompt_features=(4,),
    prompt_lengths=(2,),
    prompt_sizes=(3,),
    enc_cabs=(1,),
    dec_cabs=(0,),
    skip_cabs=(0,),
    bottleneck_cabs=0,
    n_history=1,
)
CONFIGURATION = f"""
import dataclasses
from jaxrecon.models import PromptMRPlusConfig
from jaxrecon.training.presets import SMALL
def experiment(small=False):
    model = {TINY!r}
    heads = dataclasses.replace(
        SMALL["promptmr-plus"].simulated, heads=2, validation_heads=1, slices=1, shape=(24, 20), coils=2
    )
    return dataclasses.replace(SMALL["promptmr-plus"], model=model, simulated=heads, n_masks=2, mask="equispaced", acs=4, n_updates=2)
"""


def test_train_and_reconstruct(tmp_path, capsys):
    (tmp_path / "tiny.py").write_text(CONFIGURATION)
    out = tmp_path / "run"
    assert (
        main(["train", str(tmp_path / "tiny.py"), "--data", "simulated", "--out", str(out), "--evaluate-every", "2"])
        == 0
    )
    assert "NMSE" in capsys.readouterr().out
    assert from_json(load_config(out), where=out).model == TINY
    kspace = np.stack([measured(n_coils=2)[0] * (1 + 0.1 * i) for i in range(3)]) * line_mask()
    path = write_fastmri(tmp_path / "scan.h5", kspace, mask=line_mask().astype(np.float32))
    assert main(["recon", str(path), "--checkpoint", str(out), "--out", str(tmp_path / "r.npy"), "--no-crop"]) == 0
    assert np.load(tmp_path / "r.npy").shape == kspace[:, 0].shape
    assert (tmp_path / "r_figure.png").exists()


def test_convert_there_and_back(tmp_path):
    """The slices of a scan come as windows, clamped at its ends; weights come back bit for bit."""
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda a: 0.1 * rng.standard_normal(a.shape).astype(a.dtype), abstract_params(TINY))
    state = to_published(params, PROMPTMR_PLUS, TINY)
    write_npz(tmp_path / "weights.npz", state)
    out = tmp_path / "converted"
    assert main(["convert", str(tmp_path / "weights.npz"), "--model", "promptmr-plus", "--out", str(out)]) == 0
    assert main(["convert", str(out), "--out", str(tmp_path / "back.npz")]) == 0
    back = read_npz(tmp_path / "back.npz")
    assert list(back) == list(state)
    for name, array in state.items():
        np.testing.assert_array_equal(back[name], array, err_msg=name)

    mask = line_mask()
    kspace = np.stack([measured(n_coils=2)[0], 2 * measured(n_coils=2)[0][::-1]]) * mask
    path = write_fastmri(tmp_path / "scan.h5", kspace, mask=mask.astype(np.float32))
    command = [
        "recon",
        str(path),
        "--checkpoint",
        str(out),
        "--out",
        str(tmp_path / "r.npy"),
        "--no-figure",
        "--no-crop",
    ]
    assert main(command) == 0
    params, config = from_published(state, PROMPTMR_PLUS)
    reconstruct = jax.jit(functools.partial(run, build(config)))
    for i, window in enumerate(([0, 0, 1], [0, 1, 1])):
        expected = reconstruct(params, Problem.from_numpy(kspace[window], mask=mask[None]))
        np.testing.assert_allclose(np.load(tmp_path / "r.npy")[i], expected, rtol=2e-4, atol=1e-5)


def test_what_memory_counts():
    """The batch is one of windows; the history is a part of the carry: n_history features at half the padded size."""
    experiment = dataclasses.replace(SMALL["promptmr-plus"], model=TINY, batch_size=2)
    problem, target = abstract_batch(Options(size=(17, 16), coils=4, experiment=experiment))
    assert problem.kspace.shape == (2, 3, 4, 17, 16) and target.image.shape == (2, 17, 16)
    parts = carry_bytes(build(TINY), problem)
    image = 2 * 3 * 17 * 16 * 8
    assert parts == {"image": image, "latent": image, "history": 2 * TINY.n_history * 9 * 8 * 5 * 4}


def test_configuration_survives_json():
    for name in ("promptmr", "promptmr-plus"):
        experiment = dataclasses.replace(SMALL[name], seed=3)
        assert from_json(to_json(experiment), where="run") == experiment


def test_windows_of_frames():
    """Simulated hearts give windows of neighbouring frames; time is periodic, single slices are the windows' middles."""
    hearts = dataclasses.replace(
        SMALL["promptmr-plus"].simulated, heads=2, slices=2, hearts=True, frames=5, shape=(24, 20), coils=2
    )
    experiment = dataclasses.replace(SMALL["promptmr-plus"], model=TINY, simulated=hearts)
    whole = dataclasses.replace(experiment, model=SMALL["pgd-cine"].model)
    still = dataclasses.replace(experiment, model=SMALL["varnet"].model)
    windows, beats, frames = (simulated_slices(e, range(2)) for e in (experiment, whole, still))
    assert [(w.file, w.index) for w in windows] == [(beats[i].file, frame) for i in (0, 1) for frame in (0, 2)]
    for w, frame in zip(windows, frames, strict=True):
        beat = next(b for b in beats if b.file == w.file)
        np.testing.assert_array_equal(w.kspace, beat.kspace[[(w.index - 1) % 5, w.index, w.index + 1]])
        np.testing.assert_array_equal(w.kspace[1], frame.kspace)
        np.testing.assert_array_equal(w.target, beat.target[w.index])
    assert not np.array_equal(windows[0].kspace[0], windows[0].kspace[1])
    few = dataclasses.replace(experiment, simulated=dataclasses.replace(hearts, frames=1))
    with pytest.raises(ValueError, match="2 slices or more, found 1 frames"):
        simulated_slices(few, range(1))


def test_masks_of_frames_go_with_their_window(tmp_path):
    """--mask with a mask for each frame: the network sees each neighbour with its own, and gives what it gives by hand."""
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda a: 0.1 * rng.standard_normal(a.shape).astype(a.dtype), abstract_params(TINY))
    write_npz(tmp_path / "weights.npz", to_published(params, PROMPTMR_PLUS, TINY))
    out, n_frames, n_slices, (y, x) = tmp_path / "run", 4, 2, (24, 20)
    assert main(["convert", str(tmp_path / "weights.npz"), "--model", "promptmr-plus", "--out", str(out)]) == 0
    frames = [
        [(1 + 0.3 * t + s) * measured(n_coils=2, shape=(y, x))[0] for s in range(n_slices)] for t in range(n_frames)
    ]
    kspace = np.array(frames, np.complex64)
    masks = np.stack([line_mask(x, n_acs=6) | (np.arange(x) % n_frames == t) for t in range(n_frames)])[:, None]
    np.save(tmp_path / "masks.npy", masks.repeat(y, 1).astype(np.uint8))
    path = write_matlab(tmp_path / "cine_sax.mat", kspace_full=kspace.swapaxes(-1, -2))
    command = [
        "recon",
        str(path),
        "--checkpoint",
        str(out),
        "--out",
        str(tmp_path / "r.npy"),
        "--no-figure",
        "--no-crop",
    ]
    assert main([*command, "--mask", str(tmp_path / "masks.npy"), "--slices", "1:7"]) == 0
    params, config = from_published(read_npz(tmp_path / "weights.npz"), PROMPTMR_PLUS)
    reconstruct = jax.jit(functools.partial(run, build(config)))
    images = np.load(tmp_path / "r.npy")
    for i, image in zip(range(1, 7), images, strict=True):
        t, s = divmod(i, n_slices)
        window = [(t - 1) % n_frames, t, (t + 1) % n_frames]
        mask = masks[window][:, None].repeat(y, -2)  # (adjacent, 1, y, x)
        expected = reconstruct(params, Problem.from_numpy(kspace[window, s] * mask, mask=mask))
        np.testing.assert_allclose(image, expected, rtol=2e-4, atol=1e-5)


def test_modules_of_one_step_are_warned_of(tmp_path, capsys, monkeypatch):
    """Train and memory tell that the latent would not learn; without --n-modules the modules have two steps."""

    class Stopped(Exception):
        """Before a training step is compiled."""

    def stop(*_, **__):
        raise Stopped

    monkeypatch.setattr(training, "fit", stop)
    monkeypatch.setattr(training, "memory_report", stop)
    (tmp_path / "tiny.py").write_text(CONFIGURATION)
    commands = [
        ["train", str(tmp_path / "tiny.py"), "--data", "simulated", "--out", str(tmp_path / "run")],
        ["memory", str(tmp_path / "tiny.py"), "--size", "24", "20", "--coils", "2"],
    ]
    for command in commands:
        for modules, options in ((2, ["--n-modules", "2"]), (1, [])):
            with pytest.raises(Stopped):
                main([*command, "--strategy", "gleam", *options])
            text = capsys.readouterr().out
            assert f"gleam, {modules} modules" in text
            assert ("warning: --n-modules 2 of 2 steps: the latent" in text) == (modules == 2)
            assert "1 of 3 neighbouring slices of 24 x 20, 2 coils" in text

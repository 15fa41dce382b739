"""Networks of neighbouring slices on the command line: train on windows, convert there and back, reconstruct slice by slice."""

import dataclasses
import functools
import sys

import jax
import numpy as np
import optax
import pytest
from support.experiments import with_data
from support.files import write_fastmri, write_matlab
from support.scans import SIMULATED, line_mask, measured
from support.type_check import as_user

import jaxrecon
from jaxrecon.cli import main
from jaxrecon.data import Slice, acquired_mask
from jaxrecon.data.pipeline import to_problem
from jaxrecon.data.preparation import prepare, rss_target
from jaxrecon.experiment import find_data, preparation, simulated_slices
from jaxrecon.experiment.as_json import from_json, to_json
from jaxrecon.experiment.catalog import CATALOG
from jaxrecon.experiment.memory import abstract_batch, every_strategy
from jaxrecon.models import PromptMRPlusConfig, PromptSizes, VarNetConfig, abstract_params, build, run
from jaxrecon.problem import Problem
from jaxrecon.recon.network import _run
from jaxrecon.sampling import acs_disc, adjacent_frames
from jaxrecon.sampling import named as masks
from jaxrecon.sampling.acs import acs_columns
from jaxrecon.training import carry_bytes, load_config, read_log
from jaxrecon.weights import PROMPTMR_PLUS, from_published, read_npz, to_published, write_npz

TINY = PromptMRPlusConfig(
    n_steps=2,
    n_adjacent=3,
    n_history=1,
    sizes=PromptSizes(
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
    ),
)
SIZE = (24, 20)
"""Of all scans that are reconstructed: one program for each kind of mask."""
CONFIGURATION = f"""
import dataclasses
from jaxrecon.experiment.catalog import CATALOG
from jaxrecon.models import PromptMRPlusConfig, PromptSizes
def experiment(small=False):
    preset = CATALOG["promptmr-plus"].small_preset
    model = {TINY!r}
    heads = dataclasses.replace(
        preset.simulated, heads=2, validation_heads=1, slices=1, shape={SIMULATED}, coils=4
    )
    data = dataclasses.replace(preset.data, n_masks=2, mask="equispaced", acs=4, scale="none")
    return dataclasses.replace(preset, model=model, simulated=heads, data=data, n_updates=2, loss="ssim", batch_size=2)
"""


def test_train_and_reconstruct(tmp_path, capsys):
    (tmp_path / "tiny.py").write_text(CONFIGURATION)
    out = tmp_path / "run"
    command = ["train", str(tmp_path / "tiny.py"), "--data", "simulated", "--out", str(out)]
    assert main([*command, "--every.evaluate", "2"]) == 0
    assert "NMSE" in capsys.readouterr().out
    assert from_json(load_config(out), where=out).model == TINY
    mask = line_mask(SIZE[1], n_acs=6)
    kspace = np.stack([measured(2, SIZE)[0] * (1 + 0.1 * i) for i in range(3)]) * mask
    path = write_fastmri(tmp_path / "scan.h5", kspace, mask=mask.astype(np.float32))
    assert main(["recon", str(path), "--checkpoint", str(out), "--out", str(tmp_path / "r.npy"), "--no-crop"]) == 0
    assert np.load(tmp_path / "r.npy").shape == kspace[:, 0].shape
    assert (tmp_path / "r_figure.png").exists()


def test_frames_without_signal(tmp_path, capsys):
    """An empty frame is left out and leaves its neighbours' mask alone, also if a whole position is empty; losses are finite."""
    (tmp_path / "tiny.py").write_text(CONFIGURATION)
    full = measured(4, SIMULATED)[0].swapaxes(-1, -2)
    kspace = np.array([[(1 + f + s) * full for s in range(2)] for f in range(3)])  # (frame, slice, coil, ky, kx)
    kspace[1, 0] = kspace[:, 1] = 0
    for brightness, patient in enumerate(("P001", "P002"), 1):
        (tmp_path / "data" / patient).mkdir(parents=True)
        write_matlab(tmp_path / "data" / patient / "cine_sax.mat", kspace_full=brightness * kspace)
    (tmp_path / "data" / "P077").mkdir()
    write_matlab(tmp_path / "data" / "P077" / "aorta_sag.mat", kspace_full=kspace)  # known to be damaged
    with jaxrecon.data.open(tmp_path / "data" / "P001" / "cine_sax.mat") as scan:
        assert scan.adjacent(0, 3).mask is None and scan.adjacent(4, 3).mask is None
    out = tmp_path / "run"
    command = ["train", str(tmp_path / "tiny.py"), "--data", str(tmp_path / "data"), "--out", str(out)]
    assert main([*command, "--target", "auto", "--every.log", "1"]) == 0
    text = capsys.readouterr().out
    assert "6 slices for training, 6 for validation" in text and "left out of training: 4" in text
    records = read_log(out)
    assert all(np.isfinite(r["loss"]) for r in records if r["event"] == "training")
    assert all(np.isfinite(r["nmse"]) for r in records if r["event"] == "evaluation")


def test_the_range_of_ssim_is_that_of_the_volume(tmp_path):
    """Of a file that does not state it, it is found once; slices in memory and other losses have the slice's own."""
    kspace = np.stack([(1 + f) * measured(2, (24, 20))[0].swapaxes(-1, -2) for f in range(3)])[:, None]
    path = write_matlab(tmp_path / "cine_sax.mat", kspace_full=kspace)
    preset = dataclasses.replace(CATALOG["promptmr-plus"].small_preset, model=TINY, loss="ssim")
    experiment = with_data(preset, scale="none", mask=None)

    def data_range(part, **settings):
        how = preparation(dataclasses.replace(experiment, **settings))
        return float(prepare(part, how, np.random.default_rng(0))["data_range"])

    source = jaxrecon.data.Source(jaxrecon.data.index_files(path), adjacent=3)
    own = [rss_target(jaxrecon.data.open(path)[frame]).max() for frame in range(3)]
    for frame in range(3):
        part = source[frame]
        assert data_range(part) == pytest.approx(own[2], rel=1e-5)
        assert data_range(part, loss="l1") == pytest.approx(own[frame], rel=1e-5)
        assert data_range(dataclasses.replace(part, file="heart")) == pytest.approx(own[frame], rel=1e-5)


def test_an_empty_neighbour_leaves_the_mask_alone():
    """Windows without a stated mask: it is seen from the zeros of the slices that have a signal."""
    lines = line_mask(20, n_acs=5)
    kspace = np.stack([0 * measured(2, (24, 20))[0], *[measured(2, (24, 20))[0] * lines] * 2])
    header = dataclasses.make_dataclass("Header", ["has_mask", "padding"])(False, None)
    with as_user():
        mask, source = acquired_mask(Slice(kspace=kspace), header)
    assert source == "seen from the zeros"
    np.testing.assert_array_equal(np.broadcast_to(mask, (24, 20)), np.broadcast_to(lines, (24, 20)))


def recon_command(scan, checkpoint, out):
    return ["recon", str(scan), "--checkpoint", str(checkpoint), "--out", str(out), "--no-figure", "--no-crop"]


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

    mask = line_mask(SIZE[1], n_acs=6)
    kspace = np.stack([measured(2, SIZE)[0], 2 * measured(2, SIZE)[0][::-1]]) * mask
    path = write_fastmri(tmp_path / "scan.h5", kspace, mask=mask.astype(np.float32))
    command = recon_command(path, out, tmp_path / "r.npy")
    assert main(command) == 0
    params, config = from_published(state, PROMPTMR_PLUS)
    reconstruct = functools.partial(_run, model=build(config), every_step=False)
    for i, window in enumerate(([0, 0, 1], [0, 1, 1])):
        expected = reconstruct(params, Problem.from_numpy(kspace[window], mask=mask[None]))
        np.testing.assert_allclose(np.load(tmp_path / "r.npy")[i], expected, rtol=2e-4, atol=1e-5)


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Run folder of random weights with Calgary's rule, and the weights."""
    folder = tmp_path_factory.mktemp("converted")
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda a: 0.1 * rng.standard_normal(a.shape).astype(a.dtype), abstract_params(TINY))
    write_npz(folder / "weights.npz", to_published(params, PROMPTMR_PLUS, TINY))
    command = ["convert", str(folder / "weights.npz"), "--model", "promptmr-plus", "--out", str(folder / "run")]
    assert main([*command, "--mask", "calgary-poisson"]) == 2
    assert main([*command, "--mask", "calgary-poisson", "--acs", "4"]) == 0
    return folder / "run", params


def recon(tmp_path, run_folder, mask, *options):
    """(the command's exit code, its image of the first slice) of full k-space (slice, coil, y, x) and a mask."""
    np.save(tmp_path / "mask.npy", mask)
    out = tmp_path / "r.npy"
    command = ["recon", str(tmp_path / "scan.h5"), "--checkpoint", str(run_folder), "--out", str(out), "--overwrite"]
    code = main([*command, "--no-figure", "--no-crop", "--slices", "0", *options])
    return code, np.load(out)[0] if code == 0 else None


def test_region_that_recon_gives(tmp_path, converted, capsys):
    """Planes: the disc of the training; --undersample: what it drew; a mask without a center is refused."""
    run_folder, params = converted
    kspace = np.stack([measured(2, SIZE)[0], 2 * measured(2, SIZE)[0][::-1]])
    write_fastmri(tmp_path / "scan.h5", kspace)
    shape = SIZE
    disc = acs_disc(shape, 4)
    points = (np.random.default_rng(1).random(shape) < 0.4) | acs_disc(shape, 5)
    reconstruct = functools.partial(_run, model=build(TINY), every_step=False)

    def expected(mask, acs):
        return reconstruct(params, Problem.from_numpy(kspace[[0, 0, 1]] * mask, mask=mask, acs=acs))

    code, image = recon(tmp_path, run_folder, points, "--mask", str(tmp_path / "mask.npy"))
    assert code == 0
    np.testing.assert_allclose(image, expected(points, disc), rtol=2e-4, atol=1e-5)
    drawn = masks.draw("random", shape, acceleration=3, acs=5)
    code, image = recon(tmp_path, run_folder, points, "--undersample", "random", "-R", "3", "--acs", "5")
    assert code == 0
    columns = acs_columns(shape[1], 5)[None]
    np.testing.assert_allclose(image, expected(drawn, columns), rtol=2e-4, atol=1e-5)
    assert not np.allclose(image, expected(drawn, acs_columns(shape[1], 3)[None]), rtol=2e-4, atol=1e-5)
    lines = np.arange(shape[1])[None] % 3 == (shape[1] // 2 + 1) % 3
    for hollow in (points & ~acs_disc(shape, 6), lines):
        code, _ = recon(tmp_path, run_folder, hollow, "--mask", str(tmp_path / "mask.npy"))
        message = " ".join(capsys.readouterr().err.split())
        assert code == 2 and "no fully sampled center to estimate maps from" in message and "slice 0" in message


@pytest.mark.parametrize("model", [TINY, VarNetConfig()])
@pytest.mark.parametrize("mask", ["random", "fixed-count", "calgary-poisson", "gaussian-2d"])
def test_region_that_training_gives(model, mask, random_complex):
    experiment = with_data(dataclasses.replace(CATALOG["varnet"].small_preset, model=model), mask=mask, acs=3)
    frames = () if model != TINY else (3,)
    part = Slice(kspace=np.asarray(random_complex((*frames, 2, 24, 20))), file="memory")
    example = prepare(part, preparation(experiment), np.random.default_rng(0))
    region = masks.center_of(mask, (24, 20), acceleration=4, acs=3)
    np.testing.assert_array_equal(example["acs"], region)
    assert (example["mask"] >= region).all()
    np.testing.assert_array_equal(to_problem(example)[0].acs, region)
    hollow = dataclasses.replace(part, mask=~np.broadcast_to(region, (24, 20)), target=np.ones((24, 20), np.float32))
    with pytest.raises(ValueError, match="slice 0 of memory: there is no fully sampled center to estimate maps from"):
        prepare(hollow, preparation(experiment), np.random.default_rng(0))
    with pytest.raises(ValueError, match="no fully sampled center"):
        prepare(hollow, preparation(with_data(experiment, mask=None)), np.random.default_rng(0))


def test_what_memory_counts():
    """The batch is one of windows; the history is a part of the carry: n_history features at half the padded size."""
    experiment = dataclasses.replace(CATALOG["promptmr-plus"].small_preset, model=TINY, batch_size=2)
    problem, target = abstract_batch(with_data(experiment, shape=(17, 16), n_coils=4))
    assert problem.kspace.shape == (2, 3, 4, 17, 16) and target.image.shape == (2, 17, 16)
    parts = carry_bytes(build(TINY), problem)
    image = 2 * 3 * 17 * 16 * 8
    assert parts == {"image": image, "latent": image, "history": 2 * TINY.n_history * 9 * 8 * 5 * 4}


def test_configuration_survives_json():
    for name in ("promptmr", "promptmr-plus"):
        experiment = dataclasses.replace(CATALOG[name].small_preset, seed=3)
        assert from_json(to_json(experiment), where="run") == experiment


def test_masks_of_windows_of_frames(tmp_path, random_complex):
    """A window has the masks of its frames, of a mask of the whole series, which is one for all slices of a volume."""
    kspace = np.asarray(random_complex((5, 2, 2, 20, 24)))  # (time, slice, coil, ky, kx)
    scans = [
        Slice(kspace=kspace[t, z].swapaxes(-1, -2), index=2 * t + z, frame=t, n_frames=5)
        for t in range(5)
        for z in range(2)
    ]
    write_matlab(tmp_path / "cine.mat", kspace_full=kspace)
    model = dataclasses.replace(TINY, n_adjacent=3)
    preset = dataclasses.replace(CATALOG["promptmr-plus"].small_preset, model=model)
    experiment = with_data(preset, mask="kt-uniform", acs=4, target="rss", n_masks=3)
    how = preparation(experiment, use="validation")
    found = find_data(experiment, str(tmp_path), None).training
    assert [(part.frame, part.n_frames, part.index) for part in found] == [(p.frame, 5, p.index) for p in scans]
    random = preparation(with_data(experiment, mask="kt-random"))
    whole = masks.draw("kt-uniform", (24, 20), acceleration=4, acs=4, frames=5)[:, None]
    seen = {}
    for part in found:
        example = prepare(part, how, np.random.default_rng(0))
        np.testing.assert_array_equal(example["mask"], whole[adjacent_frames(part.frame, 5, 3)])
        np.testing.assert_array_equal(example["acs"], acs_columns(20, 4)[None])
        drawn = prepare(part, random, np.random.default_rng(0))["mask"]
        for frame, mask in zip(adjacent_frames(part.frame, 5, 3), drawn, strict=True):
            np.testing.assert_array_equal(seen.setdefault(int(frame), mask), mask)
    assert len({mask.tobytes() for mask in seen.values()}) == 5
    problem, _ = to_problem(example)
    image = jax.eval_shape(functools.partial(run, build(model)), abstract_params(model), problem)
    assert image.shape == (24, 20)


def test_still_images_have_no_masks_of_frames(tmp_path):
    experiment = with_data(dataclasses.replace(CATALOG["promptmr-plus"].small_preset, model=TINY), mask="kt-uniform")
    with pytest.raises(ValueError, match=r"mask kt-uniform, found simulated heads: set simulated\.hearts"):
        find_data(experiment, "simulated", None)
    write_fastmri(tmp_path / "scan.h5", measured(n_coils=2)[0][None])
    with pytest.raises(ValueError, match=r"scan\.h5: expected time frames for the mask kt-uniform, found still images"):
        find_data(experiment, str(tmp_path), None)
    with pytest.raises(ValueError, match="no mask 'kt-uniform' for still images"):
        preparation(with_data(CATALOG["varnet"].small_preset, mask="kt-uniform"))
    problem, _ = abstract_batch(with_data(experiment, shape=(17, 16), n_coils=4))
    assert problem.op.encoding.mask.shape == (1, 3, 1, 1, 16)


def test_windows_of_frames():
    """Simulated hearts give windows of neighbouring frames; time is periodic, single slices are the windows' middles."""
    hearts = dataclasses.replace(
        CATALOG["promptmr-plus"].small_preset.simulated,
        heads=2,
        slices=2,
        hearts=True,
        frames=4,
        shape=SIMULATED,
        coils=4,
    )
    experiment = dataclasses.replace(CATALOG["promptmr-plus"].small_preset, model=TINY, simulated=hearts)
    whole = dataclasses.replace(experiment, model=CATALOG["pgd-cine"].small_preset.model)
    still = dataclasses.replace(experiment, model=CATALOG["varnet"].small_preset.model)
    windows, beats, frames = (simulated_slices(e, range(2)) for e in (experiment, whole, still))
    assert all(w.n_frames == 4 for w in (*windows, *frames))
    assert [(w.file, w.frame) for w in windows] == [(beats[i].file, frame) for i in (0, 1) for frame in (0, 2)]
    assert [w.index for w in windows] == [0, 1, 0, 1]  # without gaps, or no volume could be scored
    for w, frame in zip(windows, frames, strict=True):
        beat = next(b for b in beats if b.file == w.file)
        np.testing.assert_array_equal(w.kspace, beat.kspace[[(w.frame - 1) % 4, w.frame, w.frame + 1]])
        np.testing.assert_array_equal(w.kspace[1], frame.kspace)
        np.testing.assert_array_equal(w.target, beat.target[w.frame])
    assert not np.array_equal(windows[0].kspace[0], windows[0].kspace[1])
    few = dataclasses.replace(experiment, simulated=dataclasses.replace(hearts, frames=1))
    with pytest.raises(ValueError, match="2 slices or more, found 1 frames"):
        simulated_slices(few, range(1))


def test_masks_of_frames_go_with_their_window(tmp_path):
    """--mask with a mask for each frame: the network sees each neighbour with its own, and gives what it gives by hand."""
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda a: 0.1 * rng.standard_normal(a.shape).astype(a.dtype), abstract_params(TINY))
    write_npz(tmp_path / "weights.npz", to_published(params, PROMPTMR_PLUS, TINY))
    out, n_frames, n_slices, (y, x) = tmp_path / "run", 4, 2, SIZE
    assert main(["convert", str(tmp_path / "weights.npz"), "--model", "promptmr-plus", "--out", str(out)]) == 0
    frames = [
        [(1 + 0.3 * t + s) * measured(n_coils=2, shape=(y, x))[0] for s in range(n_slices)] for t in range(n_frames)
    ]
    kspace = np.array(frames, np.complex64)
    masks = np.stack([line_mask(x, n_acs=6) | (np.arange(x) % n_frames == t) for t in range(n_frames)])[:, None]
    np.save(tmp_path / "masks.npy", masks.repeat(y, 1).astype(np.uint8))
    path = write_matlab(tmp_path / "cine_sax.mat", kspace_full=kspace.swapaxes(-1, -2))
    command = recon_command(path, out, tmp_path / "r.npy")
    assert main([*command, "--mask", str(tmp_path / "masks.npy"), "--slices", "1:7"]) == 0
    params, config = from_published(read_npz(tmp_path / "weights.npz"), PROMPTMR_PLUS)
    reconstruct = functools.partial(_run, model=build(config), every_step=False)
    images = np.load(tmp_path / "r.npy")
    for i, image in zip(range(1, 7), images, strict=True):
        t, s = divmod(i, n_slices)
        window = [(t - 1) % n_frames, t, (t + 1) % n_frames]
        mask = masks[window][:, None].repeat(y, -2)  # (adjacent, 1, y, x)
        expected = reconstruct(params, Problem.from_numpy(kspace[window, s] * mask, mask=mask))
        np.testing.assert_allclose(image, expected, rtol=2e-4, atol=1e-5)


def test_modules_of_one_step_are_warned_of(tmp_path, capsys, monkeypatch):
    """Train and memory tell that the latent would not learn; without --strategy.n-modules the modules have two steps."""

    class Stopped(Exception):
        """Before a training step is compiled."""

    def stop(*_, **__):
        raise Stopped

    # by the modules' names: the package has functions of these names
    monkeypatch.setattr(sys.modules["jaxrecon.experiment.runs"], "fit", stop)
    monkeypatch.setattr(sys.modules["jaxrecon.experiment.memory"], "memory_report", stop)
    (tmp_path / "tiny.py").write_text(CONFIGURATION)
    commands = [
        ["train", str(tmp_path / "tiny.py"), "--data", "simulated", "--out", str(tmp_path / "run")],
        ["memory", str(tmp_path / "tiny.py"), "--shape", "48", "39", "--n-coils", "4"],
    ]
    for command in commands:
        for modules, options in ((2, ["--strategy.n-modules", "2"]), (1, [])):
            with pytest.raises(Stopped):
                main([*command, "--strategy", "gleam", *options])
            text = capsys.readouterr().out
            assert f"gleam, {modules} modules" in text
            assert ("warning: 2 modules of 2 steps: " in text and "the latent of promptmr-plus" in text) == (
                modules == 2
            )
            assert "2 of 3 neighbouring slices of 48 x 39, 4 coils" in text
    experiment = dataclasses.replace(CATALOG["promptmr-plus"].small_preset, model=TINY)
    compared = every_strategy(experiment, build(TINY), optax.identity())
    assert [name for name in compared if "gleam" in name] == ["gleam, 1 modules"]

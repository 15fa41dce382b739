"""`jaxrecon convert`: published weights to a run folder that recon reads, and back, bit for bit; refusals."""

import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from support.files import write_fastmri
from support.scans import line_mask, measured
from support.torch_files import Global, storage, stream, tensor

from jaxrecon.checks import DataWarning
from jaxrecon.cli import main
from jaxrecon.models import (
    DeepJSenseConfig,
    MoDLConfig,
    MoDLDeepJSenseConfig,
    PromptMRConfig,
    PromptSizes,
    UNetConfig,
    VarNetConfig,
    abstract_params,
    build,
)
from jaxrecon.problem import Problem
from jaxrecon.recon.network import _run
from jaxrecon.training import load_config
from jaxrecon.weights import (
    DEEP_JSENSE,
    E2E_VARNET,
    FASTMRI_UNET,
    MODL,
    MODL_DEEP_JSENSE,
    PROMPTMR,
    from_published,
    read_npz,
    to_published,
    write_npz,
)

CASES = {
    "fastmri-unet": (FASTMRI_UNET, UNetConfig(features=4, pools=1)),
    "e2e-varnet": (E2E_VARNET, VarNetConfig(n_steps=2, features=2, pools=1, sens_features=2, sens_pools=2)),
    "modl": (MODL, MoDLConfig(features=4, layers=2, norm="frozen")),
    "deep-jsense": (DEEP_JSENSE, DeepJSenseConfig(features=4, blocks=2, convention="reference")),
    "modl-deep-jsense": (MODL_DEEP_JSENSE, MoDLDeepJSenseConfig(features=4, blocks=2)),
}


def published(name, path):
    """A file of random published weights."""
    kind, config = CASES[name]
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda a: np.abs(rng.standard_normal(a.shape)).astype(a.dtype) * 0.1, abstract_params(config))
    state = to_published(params, kind, config)
    # Deep J-Sense's two weights are published in double precision
    state |= {n: rng.uniform(0.01, 0.1, a.shape) for n, a in state.items() if n.endswith("l2lam")}
    write_npz(path, state)
    return state


@pytest.mark.parametrize("name", CASES)
def test_there_and_back(name, tmp_path, capsys):
    state = published(name, tmp_path / "weights.npz")
    out = tmp_path / "runs" / "converted"
    few = ["--n-steps", "2"] if CASES[name][0].untold else []
    assert main(["convert", str(tmp_path / "weights.npz"), "--model", name, "--out", str(out), *few]) == 0
    text = capsys.readouterr().out
    n_trained = sum(a.size for a in state.values())
    assert f"{n_trained:,}" in text and "features" in text
    if few:
        assert load_config(out)["model"]["n_steps"] == 2
    assert main(["convert", str(out), "--out", str(tmp_path / "back.npz")]) == 0
    back = read_npz(tmp_path / "back.npz")
    assert list(back) == list(state)
    for key, array in state.items():
        assert back[key].dtype == array.dtype
        np.testing.assert_array_equal(back[key], array, err_msg=key)

    # recon applies what from_published gives
    kspace, _ = measured()
    kspace = kspace * line_mask()
    write_fastmri(tmp_path / "scan.h5", kspace[None], mask=line_mask().astype(np.float32))
    command = ["recon", str(tmp_path / "scan.h5"), "--checkpoint", str(out), "--out", str(tmp_path / "r.npy")]
    assert main([*command, "--no-figure", "--no-crop"]) == 0
    if not few:  # the others see scaled data, MoDL estimated maps too
        kind, config = CASES[name]
        params, _ = from_published(state, kind, config=config)
        problem = Problem.from_numpy(kspace, mask=line_mask()[None])
        expected = _run(params, problem, model=build(config), every_step=False)
        np.testing.assert_allclose(np.load(tmp_path / "r.npy")[0], expected, rtol=2e-4, atol=1e-5)


def test_an_export_keeps_what_the_published_format_cannot_state(tmp_path, capsys):
    published("deep-jsense", tmp_path / "weights.npz")
    command = ["convert", str(tmp_path / "weights.npz"), "--model", "deep-jsense", "--out", str(tmp_path / "run")]
    told = {"n_steps": 2, "map_iters": 3, "image_iters": 4, "kernel": [9, 7], "convention": "consistent"}
    for name, value in told.items():
        values = value if isinstance(value, list) else [value]
        command += [f"--{name.replace('_', '-')}", *map(str, values)]
    assert main(command) == 0
    first = load_config(tmp_path / "run")
    assert {name: first["model"][name] for name in told} == told
    capsys.readouterr()

    assert main(["convert", str(tmp_path / "run"), "--out", str(tmp_path / "back.npz")]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "other programs" in line]
    assert len(lines) == 1 and "kernel (9, 7)" in lines[0] and "convention consistent" in lines[0]
    assert list(np.load(tmp_path / "back.npz")) == list(read_npz(tmp_path / "weights.npz"))
    assert main(["convert", str(tmp_path / "back.npz"), "--out", str(tmp_path / "again")]) == 0
    assert load_config(tmp_path / "again") == first
    other = ["convert", str(tmp_path / "back.npz"), "--out", str(tmp_path / "other"), "--map-iters", "5"]
    assert main(other) == 0
    assert load_config(tmp_path / "other")["model"] == first["model"] | {"map_iters": 5}
    capsys.readouterr()
    assert main(["convert", str(tmp_path / "back.npz"), "--model", "modl", "--out", str(tmp_path / "no")]) == 2
    assert "weights of deep-jsense" in capsys.readouterr().err
    write_npz(tmp_path / "cut.npz", {"a": np.zeros(1)}, comment="jaxrecon experiment: {")
    assert main(["convert", str(tmp_path / "cut.npz"), "--out", str(tmp_path / "no")]) == 2
    assert "is damaged" in capsys.readouterr().err


def test_the_published_state_dict_of_deep_jsense_comes_back_unchanged(tmp_path, rng):
    """All 447,490 numbers; both weights of the priors in double precision, as published."""
    tensors = json.loads((Path(__file__).parents[1] / "golden/deep_jsense/state_dict_full.json").read_text())["tensors"]
    kind = lambda name: np.float64 if name.endswith("lam") else np.float32
    state = {name: rng.standard_normal(shape).astype(kind(name)) for name, shape in tensors.items()}
    write_npz(tmp_path / "weights.npz", state)
    assert main(["convert", str(tmp_path / "weights.npz"), "--model", "deep-jsense", "--out", str(tmp_path / "r")]) == 0
    assert main(["convert", str(tmp_path / "r"), "--out", str(tmp_path / "back.npz")]) == 0
    back = read_npz(tmp_path / "back.npz")
    assert back.keys() == state.keys() and sum(a.size for a in back.values()) == 447_490
    for name, array in state.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_refused(tmp_path, capsys):
    def refused(*words):
        assert main(["convert", *map(str, words)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    weights = tmp_path / "weights.npz"
    published("e2e-varnet", weights)
    assert "weights need a model: one of" in refused(weights, "--out", tmp_path / "run")
    error = refused(weights, "--model", "fastmri-unet", "--out", tmp_path / "run")
    assert "not the weights of fastMRI's U-Net" in error and "sens_net" in error
    assert "n_steps: the weights of e2e-varnet tell it" in refused(
        weights, "--model", "e2e-varnet", "--n-steps", "3", "--out", tmp_path / "run"
    )
    assert "kernel: the weights of e2e-varnet tell it" in refused(
        weights, "--model", "e2e-varnet", "--kernel", "5", "3", "--out", tmp_path / "run"
    )
    assert "no run folder" in refused(weights, "--model", "e2e-varnet", "--out", tmp_path / "b.npz")
    (tmp_path / "text.pt").write_text("no weights")
    assert "no weights" in refused(tmp_path / "text.pt", "--model", "modl", "--out", tmp_path / "run")
    (tmp_path / "file").write_text("in the way")
    assert "folder" in refused(weights, "--model", "e2e-varnet", "--out", tmp_path / "file" / "run")
    assert not (tmp_path / "run").exists()

    assert main(["convert", str(weights), "--model", "e2e-varnet", "--out", str(tmp_path / "run")]) == 0
    assert "holds a run already" in refused(weights, "--model", "e2e-varnet", "--out", tmp_path / "run")
    assert "suffix" in refused(tmp_path / "run", "--out", tmp_path / "other")
    assert "exists" in refused(tmp_path / "run", "--out", weights)
    assert "modl" in refused(tmp_path / "run", "--model", "modl", "--out", tmp_path / "b.npz")


def test_what_is_converted_is_trained_on_from_another_folder(tmp_path, capsys):
    """Under whatever prefix the names were; the folder itself holds no run."""
    state = published("modl", tmp_path / "plain.npz")
    write_npz(tmp_path / "weights.npz", {f"_orig_mod.{name}": array for name, array in state.items()})
    run = str(tmp_path / "run")
    assert main(["convert", str(tmp_path / "weights.npz"), "--model", "modl", "--out", run, "--n-steps", "2"]) == 0
    scan = write_fastmri(tmp_path / "scan.h5", measured()[0][None])
    train = [
        "train",
        "--model",
        "modl",
        "--small",
        "--data",
        str(scan),
        "--model.n-steps",
        "2",
        "--model.features",
        "4",
    ]
    train += ["--model.layers", "2", "--acs", "13", "--mask", "equispaced", "--n-updates", "1"]
    capsys.readouterr()
    assert main([*train, "--out", run]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"start from them as weights (--weights {run})" in error
    with pytest.warns(DataWarning, match="there is no validation"):
        assert main([*train, "--out", str(tmp_path / "own"), "--weights", run, "--freeze", "start", "steps/net"]) == 0
    assert "model.norm frozen, not batch" in capsys.readouterr().out
    # but for the weight of the data, all is as published
    assert main(["convert", str(tmp_path / "own"), "--out", str(tmp_path / "back.npz")]) == 0
    back = read_npz(tmp_path / "back.npz")
    assert [name for name in state if not np.array_equal(back[name], state[name])] == ["Wts/lam1"]
    write_npz(tmp_path / "bad.npz", state | {"Wts/lam1": np.float32(np.nan)})
    assert main(["convert", str(tmp_path / "bad.npz"), "--model", "modl", "--out", str(tmp_path / "no")]) == 2
    assert "not finite (1): Wts/lam1" in capsys.readouterr().err and not (tmp_path / "no").exists()


def test_the_recipe_of_fine_tuning_does_what_it_says(tmp_path, monkeypatch):
    """experiments/README.md, its commands and its file, with a small random state dict in place of the published one."""
    text = (Path(__file__).parents[2] / "experiments" / "README.md").read_text(encoding="utf-8")
    recipe = text.split("## Fine-tune published weights")[1].split("\n## ")[0]
    commands, code = re.findall(r"```(?:python)?\n(.*?)```", recipe, re.DOTALL)[:2]
    sizes = {"n_steps=12": "n_steps=2", "features=18": "features=2", "sens_features=8": "sens_features=2"}
    sizes |= {"sens_pools=4": "sens_pools=2", "pools=4": "pools=1", "n_updates=5000": "n_updates=1"}
    for published_size, small in sizes.items():
        assert published_size in code
        code = code.replace(published_size, small, 1)
    monkeypatch.chdir(tmp_path)
    Path("my_experiment.py").write_text(code)
    state = published("e2e-varnet", "weights.npz")
    lightning(Path("knee_leaderboard_state_dict.pt"), state)
    (tmp_path / "own").mkdir()
    for i in range(2):
        write_fastmri(tmp_path / "own" / f"file{i}.h5", (1 + i) * measured(shape=(40, 80))[0][None])
    write_fastmri("scan.h5", measured()[0][None])
    for line in commands.replace("/data/own", "own").splitlines():
        words = line.split("#")[0].split()
        assert words[0] == "jaxrecon" and main(words[1:]) == 0, line
    assert main(["convert", "runs/own", "--out", "back.npz"]) == 0
    back = read_npz("back.npz")
    moved = {name for name in state if not np.array_equal(back[name], state[name])}
    assert moved == {name for name in state if name.startswith("cascades.")} - {"cascades.0.dc_weight"}
    assert Path("recon.h5").exists()


def lightning(path, state, **settings):
    """A checkpoint as Lightning writes it, with its settings."""
    tensors, storages = {}, {}
    for i, (name, a) in enumerate(state.items()):
        strides = tuple(n // a.itemsize for n in np.ascontiguousarray(a).strides)
        tensors[f"promptmr.{name}"] = tensor(storage(a.size, key=str(i)), a.shape, strides)
        storages[str(i)] = (a.size, a.tobytes())
    path.write_bytes(stream({"state_dict": tensors, **settings}, storages))
    return path


@pytest.mark.parametrize(
    ("stated", "fits", "other"),
    [("promptmr_v2", "promptmr-plus", "promptmr"), ("promptmr", "promptmr", "promptmr-plus")],
)
def test_a_checkpoint_is_held_to_its_model_version(tmp_path, capsys, stated, fits, other):
    """The image-domain network without its additions and the k-space one have equal names and shapes."""
    levels = {
        name: (4,) for name in ("level_features", "prompt_features", "sens_level_features", "sens_prompt_features")
    }
    blocks = {"prompt_lengths": (1,), "prompt_sizes": (2,), "enc_cabs": (1,), "dec_cabs": (0,), "skip_cabs": (0,)}
    sizes = PromptSizes(features=4, sens_features=4, bottleneck_cabs=0, **levels, **blocks)
    config = PromptMRConfig(n_steps=1, n_adjacent=3, sizes=sizes)
    params = jax.tree.map(lambda a: np.ones(a.shape, a.dtype), abstract_params(config))
    state = to_published(params, PROMPTMR, config)
    odd = {"model_version": stated, "lr": 1e-4, "n_enc_cab": [2, 3], "other": Global("os.getcwd", ())}
    path = lightning(tmp_path / "a.ckpt", state, hyper_parameters=odd)

    def convert(path, model):
        code = main(["convert", str(path), "--model", model, "--out", str(tmp_path / f"{path.stem}_{model}")])
        return (code, *capsys.readouterr())

    code, _, error = convert(path, other)
    assert code == 2 and error.count("\n") == 1
    assert str(path) in error and f"model_version {stated}" in error and f"they are those of model {fits}" in error
    code, text, _ = convert(path, fits)
    assert code == 0 and "model_version" not in text
    # nothing stated: either may be meant
    silent = lightning(tmp_path / "b.ckpt", state, hyper_parameters={"lr": 1e-4})
    for model in (fits, other):
        code, text, _ = convert(silent, model)
        lines = [line for line in text.splitlines() if "model_version" in line]
        assert code == 0 and len(lines) == 1 and "states no model_version" in lines[0] and model in lines[0]
    future = lightning(tmp_path / "c.ckpt", state, hyper_parameters={"model_version": "promptmr_v3"})
    code, _, error = convert(future, fits)
    assert code == 2 and "promptmr_v3" in error and "known are" in error

"""The configuration files of PromptMR+'s rows: the published settings, and what `--small` keeps of them."""

import dataclasses
import itertools
import json
import runpy
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrecon.experiment import load_experiment, make_update
from jaxrecon.models import (
    PROMPTMR_PLUS_BASELINE,
    PROMPTMR_PLUS_BASELINE_KNEE,
    PROMPTMR_PLUS_KNEE,
    PromptMRPlusConfig,
    VarNetConfig,
    abstract_params,
)
from jaxrecon.training.optimizers import OPTIMIZERS

FOLDER = Path(__file__).parents[2] / "experiments" / "promptmr_plus"
DATA = {
    # measurements, as the public code trains on them: updates, optimizer, mask, center
    "knee": (45 * 17_371, "promptmr", "random", None),
    "calgary": (20 * 6_016, "promptmr_calgary", "calgary-poisson", 18),
    "cmrxrecon": (12 * 21_548, "promptmr_cmrxrecon", "cmrxrecon", 24),
}
BENCHMARKS = ("knee_r4", "knee_r8", "calgary_r5", "calgary_r10", "cmrxrecon_r10")
NETWORKS = {
    # those whose numbers of parameters the tests of the models have
    "knee_promptmr_plus": PROMPTMR_PLUS_KNEE,
    "knee_promptmr": PROMPTMR_PLUS_BASELINE_KNEE,
    "knee_varnet": VarNetConfig(),
    "calgary_promptmr_plus": PromptMRPlusConfig(),
    "calgary_promptmr": PROMPTMR_PLUS_BASELINE,
    "cmrxrecon_promptmr_plus": PromptMRPlusConfig(),
    "cmrxrecon_promptmr": PROMPTMR_PLUS_BASELINE,
}


def n_parameters(experiment):
    return sum(leaf.size for leaf in jax.tree.leaves(abstract_params(experiment.model)))


@pytest.mark.parametrize("benchmark", BENCHMARKS)
@pytest.mark.parametrize("method", ("promptmr", "promptmr_plus"))
def test_benchmark(benchmark, method):
    full, small = (load_experiment(FOLDER / f"{benchmark}_{method}.py", small=small) for small in (False, True))
    data, acceleration = benchmark.split("_r")
    n_updates, optimizer, *of_mask = DATA[data]
    assert (full.n_updates, full.optimizer) == (n_updates, OPTIMIZERS[optimizer])
    assert [full.data.mask, full.data.acs] == of_mask and full.data.acceleration == int(acceleration)
    assert full.model == NETWORKS[f"{data}_{method}"]
    assert (full.loss, full.data.scale, full.batch_size, full.seed, full.model.n_steps) == ("ssim", "none", 2, 42, 12)
    assert full.data.n_masks is None and full.n_updates % full.every.evaluate == 0
    assert (small.data.mask, small.loss, small.data.scale) == (full.data.mask, full.loss, full.data.scale)
    assert type(small.model) is type(full.model)


def test_networks_of_the_published_sizes():
    """A flag of the network on knees adds no parameter; the E2E-VarNet is the published one."""
    assert load_experiment(FOLDER / "knee_r4_varnet.py").model == NETWORKS["knee_varnet"]
    same = dataclasses.replace(PROMPTMR_PLUS_KNEE, one_map_at_a_time=PromptMRPlusConfig.one_map_at_a_time)
    assert same == PromptMRPlusConfig()


def test_each_ablation_has_one_field_more():
    rows = ["ablation_baseline", "ablation_history", "ablation_adaptive_input", "knee_r4_promptmr_plus"]
    for small in (False, True):
        models = [load_experiment(FOLDER / f"{row}.py", small=small).model for row in rows]
        changed = [
            [f.name for f in dataclasses.fields(a) if getattr(a, f.name) != getattr(b, f.name)]
            for a, b in itertools.pairwise(models)
        ]
        assert changed == [["n_history"], ["n_buffers"], ["adjacent_maps"]]
        if not small:
            assert models[0] == dataclasses.replace(PROMPTMR_PLUS_BASELINE, one_map_at_a_time=True)
            assert models[-1] == PROMPTMR_PLUS_KNEE


def test_varnet_at_equal_parameters():
    rows = ("knee_r4_promptmr_plus", "varnet_equal_parameters")
    for small in (False, True):
        ours, other = (load_experiment(FOLDER / f"{row}.py", small=small) for row in rows)
        assert abs(n_parameters(ours) / n_parameters(other) - 1) < 0.02
        assert ours.data == other.data and type(ours.optimizer) is type(other.optimizer)
        same = ("loss", "n_updates", "batch_size", "simulated", "seed")
        assert [getattr(ours, name) for name in same] == [getattr(other, name) for name in same]
        make_update(other, updates_per_epoch=1)


def test_equal_memory_is_of_the_small_size():
    with pytest.raises(ValueError, match="give --small"):
        load_experiment(FOLDER / "varnet_equal_memory.py")
    assert load_experiment(FOLDER / "varnet_equal_memory.py", small=True).model.n_steps == 3


@pytest.fixture
def script(monkeypatch):
    """script(name) -> what a file of the folder defines; script(name, option, ...) runs it as a program."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def run(name, *options):
        monkeypatch.setattr(sys, "argv", [name, *map(str, options)])
        return runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__" if options else name)

    yield run
    for name in ("paper", "reports"):  # other folders have files of these names
        sys.modules.pop(name, None)


def test_adaptive_step_and_momentum_are_faster_than_gradient_descent(script, x64):
    result = script("convex")["compare"](shape=(24, 20), coils=2, n_iter=30)
    excess = result["excess"]
    assert all(len(values) == 31 and values[0] == excess["momentum"][0] for values in excess.values())
    assert excess["gradient descent"][-1] > excess["adaptive step"][-1] > excess["momentum"][-1] > 0
    assert result["steps"].shape == (24, 20)


def test_correlation_of_maps_counts_neither_phase_nor_scale(script):
    y, x = np.meshgrid(np.linspace(-1, 1, 32), np.linspace(-1, 1, 28), indexing="ij")
    coils = np.stack([np.exp(-((y - a) ** 2) + 1j * a * x) for a in (-0.8, 0.8)])
    image = coils * np.exp(-3 * (y**2 + x**2))
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image, (-2, -1)), norm="ortho"), (-2, -1))
    slices = np.stack([kspace, 2j * kspace, kspace[::-1]]).astype(np.complex64)
    found = script("maps_correlation")["correlations"](slices)
    assert found["distance"] == [1, 2]
    two = script("maps_correlation")["correlations"](slices[:2])
    assert two["mean"][0] > 0.999 and two["tenth"][0] > 0.999 and two["image"][0] > 0.999
    assert found["mean"][1] < 0.99  # coils in another order are other maps


def made_up(folder, row, seed, ssim, *, data="a"):
    """A result of run.py."""
    score = lambda value: {name: {"mean": value} for name in ("ssim", "psnr", "nmse")}
    result = {
        "row": row,
        "seed": seed,
        "small": True,
        "config": {"simulated": {"heads": 3}, "n_updates": 7},
        "test": {"shape": [3, 2, 24, 20], "scans": ["s"], "slices": 2, "acceleration": 4.0, "sha256": data},
        "scores": score(ssim),
        "scores_zero_filled": score(0.5),
        "parameters": 1234,
        "temporary_bytes": 2**21,
        "seconds_per_iteration": 0.25,
    }
    (folder / f"{row}_seed{seed}.json").write_text(json.dumps(result))


def test_report(script, tmp_path, rng):
    for seed, ssim in ((0, 0.90), (1, 0.92)):
        made_up(tmp_path, "knee_r4_promptmr_plus", seed, ssim)
    made_up(tmp_path, "ablation_baseline", 0, 0.85)
    picture = tmp_path / "runs" / "ablation_baseline_seed0" / "picture.npz"
    picture.parent.mkdir(parents=True)
    np.savez(picture, **{name: rng.random((24, 20)) for name in ("image", "zero_filled", "target")})
    script("report", "--results", tmp_path)
    lines = (tmp_path / "tables.md").read_text().splitlines()
    row = lambda label: next(line for line in lines if label in line and line.startswith("|")).split(" | ")
    ours, plain = row("= PromptMR+"), row("plain unrolled")
    assert ours[1:3] == ["2", "0.9100 +- 0.0141"] and ours[6:] == ["1,234", "2.0", "0.25 |"]
    assert plain[1:3] == ["1", "0.8500"] and plain[5] == "+0.0500"
    assert row("zero-filled")[2] == "0.5000 +- 0.0000" and row("+ history")[2] == "not run"
    assert row("fastMRI knee, R = 4 | PromptMR+")[3:] == ["4.0", "0.91 +- 0.01 / 0.9100 +- 0.0141", "39.92 / 0.9276 |"]
    assert "3 simulated heads" in "".join(lines) and (tmp_path / "picture.png").exists()

    made_up(tmp_path, "ablation_history", 0, 0.87, data="b")
    with pytest.raises(SystemExit, match=r"seed 0: .* were not tested on the same data"):
        script("report", "--results", tmp_path)

"""The configuration files of PromptMR+'s rows: the published settings, and what `--small` keeps of them."""

import dataclasses
import itertools
from pathlib import Path

import jax
import pytest

from jaxrecon.models import PROMPTMR_PLUS_BASELINE, PROMPTMR_PLUS_KNEE
from jaxrecon.training.experiment import load_experiment, make_update
from jaxrecon.training.networks import abstract_params

FOLDER = Path(__file__).parents[2] / "experiments" / "promptmr_plus"
BENCHMARKS = {
    # benchmark: updates, optimizer, mask, R, center
    "knee_r4": (45 * 17_371, "promptmr", "random", 4, None),
    "knee_r8": (45 * 17_371, "promptmr", "random", 8, None),
    "calgary_r5": (20 * 6_016, "promptmr_calgary", "calgary-poisson", 5, 18),
    "calgary_r10": (20 * 6_016, "promptmr_calgary", "calgary-poisson", 10, 18),
    "cmrxrecon_r10": (12 * 21_548, "promptmr_cmrxrecon", "cmrxrecon", 10, 24),
}
PARAMETERS = {
    "knee_r4_promptmr_plus": 92_859_005,
    "calgary_r5_promptmr": 81_528_317,
    "knee_r4_promptmr": 79_643_645,
    "knee_r4_varnet": 29_936_966,
}


def n_parameters(experiment):
    return sum(leaf.size for leaf in jax.tree.leaves(abstract_params(experiment.model)))


@pytest.mark.parametrize("benchmark", BENCHMARKS)
@pytest.mark.parametrize("method", ("promptmr", "promptmr_plus"))
def test_benchmark(benchmark, method):
    full, small = (load_experiment(FOLDER / f"{benchmark}_{method}.py", small=small) for small in (False, True))
    found = (full.n_updates, full.optimizer, full.mask, full.acceleration, full.acs)
    assert found == BENCHMARKS[benchmark]
    assert (full.loss, full.scale, full.batch_size, full.seed, full.model.n_steps) == ("ssim", "none", 2, 42, 12)
    assert full.n_masks is None and full.n_updates % full.evaluate_every == 0
    assert (small.mask, small.loss, small.scale) == (full.mask, full.loss, full.scale)
    assert type(small.model) is type(full.model)


@pytest.mark.parametrize("row", PARAMETERS)
def test_parameters(row):
    assert n_parameters(load_experiment(FOLDER / f"{row}.py")) == PARAMETERS[row]


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
        same = ("mask", "acceleration", "acs", "loss", "optimizer", "n_updates", "batch_size", "simulated", "seed")
        assert [getattr(ours, name) for name in same] == [getattr(other, name) for name in same]
        make_update(other, steps_per_epoch=1)


def test_equal_memory_is_of_the_small_size():
    with pytest.raises(ValueError, match="give --small"):
        load_experiment(FOLDER / "varnet_equal_memory.py")
    assert load_experiment(FOLDER / "varnet_equal_memory.py", small=True).model.n_steps == 3

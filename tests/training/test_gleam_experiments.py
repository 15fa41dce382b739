"""The configuration files of GLEAM's tables: the paper's settings, and what `--small` keeps of them."""

import dataclasses
import sys
from pathlib import Path

import jax
import pytest

from jaxrecon.experiment import load_experiment, make_update
from jaxrecon.models import abstract_params
from jaxrecon.strategies import Checkpointed, EndToEnd, Gleam, Invertible
from jaxrecon.training.optimizers import AdamCosine, GleamAdam

FOLDER = Path(__file__).parents[2] / "experiments" / "gleam"
SETTINGS = {
    # row: strategy, parameters, iterations, batch, mask, R, mu
    "table1_pgd_r12_end_to_end": (EndToEnd(), 2_191_216, 50_000, 4, "poisson", 12, None),
    "table1_pgd_r12_gleam": (Gleam(), 2_191_216, 50_000, 4, "poisson", 12, None),
    "table1_pgd_r16_end_to_end": (EndToEnd(), 2_191_216, 50_000, 4, "poisson", 16, None),
    "table1_pgd_r16_gleam": (Gleam(), 2_191_216, 50_000, 4, "poisson", 16, None),
    "table2_modl_r4_end_to_end": (EndToEnd(), 1_078_560, 50_000, 4, "poisson", 4, 4.0),
    "table2_modl_r4_checkpointed": (Checkpointed(), 1_078_560, 50_000, 4, "poisson", 4, 4.0),
    "table2_modl_r4_mel": (Invertible(), 1_078_560, 50_000, 4, "poisson", 4, 4.0),
    "table2_modl_r4_gleam": (Gleam(), 1_078_560, 50_000, 4, "poisson", 4, 4.0),
    "table2_modl_r16_end_to_end": (EndToEnd(), 1_078_560, 50_000, 4, "poisson", 16, 0.05),
    "table2_modl_r16_checkpointed": (Checkpointed(), 1_078_560, 50_000, 4, "poisson", 16, 0.05),
    "table2_modl_r16_mel": (Invertible(), 1_078_560, 50_000, 4, "poisson", 16, 0.05),
    "table2_modl_r16_gleam": (Gleam(), 1_078_560, 50_000, 4, "poisson", 16, 0.05),
    "table3_pgd_r8_end_to_end": (EndToEnd(), 2_191_216, 80_000, 2, "random", 8, None),
    "table3_pgd_r8_gleam_n24_m3": (Gleam(3), 6_573_648, 80_000, 2, "random", 8, None),
    "table4_pgd_cine_end_to_end": (EndToEnd(), 832_208, 25_000, 1, "kt-variable-density", 10, None),
    "table4_pgd_cine_gleam_n12_m3": (Gleam(3), 2_496_624, 25_000, 1, "kt-variable-density", 10, None),
    "table5_modl_cine_end_to_end": (EndToEnd(), 831_600, 25_000, 1, "kt-variable-density", 10, 0.05),
    "table5_modl_cine_checkpointed": (Checkpointed(), 831_600, 25_000, 1, "kt-variable-density", 10, 0.05),
    "table5_modl_cine_mel": (Invertible(), 831_600, 25_000, 1, "kt-variable-density", 10, 0.05),
    "table5_modl_cine_gleam": (Gleam(), 831_600, 25_000, 1, "kt-variable-density", 10, 0.05),
}


def test_every_row_has_its_file():
    assert {path.stem for path in FOLDER.glob("table*.py")} == set(SETTINGS)


@pytest.mark.parametrize("row", SETTINGS)
def test_settings_of_a_row(row):
    """The full setting is the paper's; the small one has the same network, strategy and loss, and can be trained."""
    path = list(sys.path)
    full, small = (load_experiment(FOLDER / f"{row}.py", small=small) for small in (False, True))
    assert sys.path == path
    strategy, parameters, iterations, batch, mask, acceleration, mu = SETTINGS[row]
    assert full.strategy == strategy
    assert sum(leaf.size for leaf in jax.tree.leaves(abstract_params(full.model))) == parameters
    assert (full.n_updates, full.batch_size) == (iterations, batch)
    assert (full.data.mask, full.data.acceleration, getattr(full.model, "lam", None)) == (mask, acceleration, mu)
    assert (full.loss, full.optimizer, full.data.scale) == ("complex_l1", GleamAdam(1e-4, 1e-4), "top_magnitude")
    if mu is not None:
        assert (full.model.cg_iters, full.model.warm_start, full.model.learn_lam) == (10, True, False)
    same = lambda e: (e.strategy, e.loss, e.data.mask, e.data.scale, e.variant)
    assert same(small) == same(full)
    settled = not row.startswith(("table1", "table2"))
    assert small.optimizer == (AdamCosine(2e-3) if settled else GleamAdam(1e-3))
    reduced = {"features": small.model.features} | ({} if mu is None else {"cg_iters": small.model.cg_iters})
    assert small.model == dataclasses.replace(full.model, **reduced)
    make_update(small, updates_per_epoch=1)

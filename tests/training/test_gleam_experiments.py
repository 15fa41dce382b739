"""The configuration files of GLEAM's tables: the paper's settings, and what `--small` keeps of them."""

import dataclasses
import sys
from pathlib import Path

import jax
import pytest

from jaxrecon.models import abstract_params
from jaxrecon.training.experiment import load_experiment, make_update

FOLDER = Path(__file__).parents[2] / "experiments" / "gleam"
SETTINGS = {
    # row: strategy, modules, parameters, iterations, batch, mask, R, mu
    "table1_pgd_r12_end_to_end": ("end_to_end", None, 2_191_216, 50_000, 4, "poisson", 12, None),
    "table1_pgd_r12_gleam": ("gleam", None, 2_191_216, 50_000, 4, "poisson", 12, None),
    "table1_pgd_r16_end_to_end": ("end_to_end", None, 2_191_216, 50_000, 4, "poisson", 16, None),
    "table1_pgd_r16_gleam": ("gleam", None, 2_191_216, 50_000, 4, "poisson", 16, None),
    "table2_modl_r4_end_to_end": ("end_to_end", None, 1_078_560, 50_000, 4, "poisson", 4, 4.0),
    "table2_modl_r4_checkpointed": ("checkpointed", None, 1_078_560, 50_000, 4, "poisson", 4, 4.0),
    "table2_modl_r4_mel": ("invertible", None, 1_078_560, 50_000, 4, "poisson", 4, 4.0),
    "table2_modl_r4_gleam": ("gleam", None, 1_078_560, 50_000, 4, "poisson", 4, 4.0),
    "table2_modl_r16_end_to_end": ("end_to_end", None, 1_078_560, 50_000, 4, "poisson", 16, 0.05),
    "table2_modl_r16_checkpointed": ("checkpointed", None, 1_078_560, 50_000, 4, "poisson", 16, 0.05),
    "table2_modl_r16_mel": ("invertible", None, 1_078_560, 50_000, 4, "poisson", 16, 0.05),
    "table2_modl_r16_gleam": ("gleam", None, 1_078_560, 50_000, 4, "poisson", 16, 0.05),
    "table3_pgd_r8_end_to_end": ("end_to_end", None, 2_191_216, 80_000, 2, "random", 8, None),
    "table3_pgd_r8_gleam_n24_m3": ("gleam", 3, 6_573_648, 80_000, 2, "random", 8, None),
    "table4_pgd_cine_end_to_end": ("end_to_end", None, 832_208, 25_000, 1, "kt-variable-density", 10, None),
    "table4_pgd_cine_gleam_n12_m3": ("gleam", 3, 2_496_624, 25_000, 1, "kt-variable-density", 10, None),
    "table5_modl_cine_end_to_end": ("end_to_end", None, 831_600, 25_000, 1, "kt-variable-density", 10, 0.05),
    "table5_modl_cine_checkpointed": ("checkpointed", None, 831_600, 25_000, 1, "kt-variable-density", 10, 0.05),
    "table5_modl_cine_mel": ("invertible", None, 831_600, 25_000, 1, "kt-variable-density", 10, 0.05),
    "table5_modl_cine_gleam": ("gleam", None, 831_600, 25_000, 1, "kt-variable-density", 10, 0.05),
}


def test_every_row_has_its_file():
    assert {path.stem for path in FOLDER.glob("table*.py")} == set(SETTINGS)


@pytest.mark.parametrize("row", SETTINGS)
def test_settings_of_a_row(row):
    """The full setting is the paper's; the small one has the same network, strategy and loss, and can be trained."""
    path = list(sys.path)
    full, small = (load_experiment(FOLDER / f"{row}.py", small=small) for small in (False, True))
    assert sys.path == path
    strategy, modules, parameters, iterations, batch, mask, acceleration, mu = SETTINGS[row]
    assert (full.strategy, full.n_modules) == (strategy, modules)
    assert sum(leaf.size for leaf in jax.tree.leaves(abstract_params(full.model))) == parameters
    assert (full.n_updates, full.batch_size) == (iterations, batch)
    assert (full.mask, full.acceleration, getattr(full.model, "lam", None)) == (mask, acceleration, mu)
    assert (full.loss, full.optimizer, full.scale) == ("complex_l1", "gleam", "top_magnitude")
    assert full.learning_rate is None  # the recipe's 1e-4
    if mu is not None:
        assert (full.model.cg_iters, full.model.warm_start, full.model.learn_lam) == (10, True, False)
    same = ("strategy", "n_modules", "loss", "mask", "scale", "variant")
    assert [getattr(small, name) for name in same] == [getattr(full, name) for name in same]
    settled = not row.startswith(("table1", "table2"))
    assert small.optimizer == ("adam_cosine" if settled else "gleam")
    reduced = {"features": small.model.features} | ({} if mu is None else {"cg_iters": small.model.cg_iters})
    assert small.model == dataclasses.replace(full.model, **reduced)
    make_update(small, steps_per_epoch=1)

"""The configuration files of GLEAM's tables: the paper's settings, and what `--small` keeps of them."""

import dataclasses
import runpy
import sys
from pathlib import Path

import pytest

from jaxrecon.experiment import load_experiment, make_update
from jaxrecon.models import (
    MODL_2D_GLEAM,
    MODL_3D_GLEAM,
    PGD_2D_FASTMRI_GLEAM,
    PGD_3D_CINE,
    PGD_3D_CINE_GLEAM,
    PGDConfig,
)
from jaxrecon.strategies import Checkpointed, EndToEnd, Gleam, Invertible
from jaxrecon.training.optimizers import AdamCosine, GleamAdam

FOLDER = Path(__file__).parents[2] / "experiments" / "gleam"
STRATEGIES = {"end_to_end": EndToEnd(), "checkpointed": Checkpointed(), "mel": Invertible(), "gleam": Gleam()}
TABLES = {
    # table, as the paper has it: iterations, batch, mask, R where no row's name has it, networks of the paper's sizes
    "table1": (50_000, 4, "poisson", None, {None: PGDConfig()}),
    "table2": (50_000, 4, "poisson", None, {None: MODL_2D_GLEAM}),
    "table3": (80_000, 2, "random", None, {None: PGDConfig(), 3: PGD_2D_FASTMRI_GLEAM}),
    "table4": (25_000, 1, "kt-variable-density", 10, {None: PGD_3D_CINE, 3: PGD_3D_CINE_GLEAM}),
    "table5": (25_000, 1, "kt-variable-density", 10, {None: MODL_3D_GLEAM}),
}
"""The networks, by the number of modules, are those whose numbers of parameters the tests of the models have."""
MU = {4: 4.0, 16: 0.05, 10: 0.05}
ROWS = sorted(path.stem for path in FOLDER.glob("table*.py"))


def test_every_row_of_the_paper_has_its_file():
    rows = runpy.run_path(str(FOLDER / "paper.py"))["ROWS"]
    assert set(ROWS) == {name for name in rows if "_cs_" not in name}


@pytest.mark.parametrize("row", ROWS)
def test_settings_of_a_row(row):
    """The full setting is the paper's; the small one has the same network, strategy and loss, and can be trained."""
    path = list(sys.path)
    full, small = (load_experiment(FOLDER / f"{row}.py", small=small) for small in (False, True))
    assert sys.path == path
    words = row.split("_")
    iterations, batch, mask, acceleration, networks = TABLES[words[0]]
    modules = int(words[-1][1:]) if words[-1][0] == "m" and words[-1] != "mel" else None
    acceleration = acceleration or int(words[2][1:])
    (strategy,) = [own for name, own in STRATEGIES.items() if f"_{name}" in row]
    assert full.strategy == (strategy if modules is None else Gleam(modules))
    network = networks[modules]
    modl = words[1] == "modl"
    assert full.model == (dataclasses.replace(network, lam=MU[acceleration]) if modl else network)
    assert (full.n_updates, full.batch_size) == (iterations, batch)
    assert (full.data.mask, full.data.acceleration) == (mask, acceleration)
    assert (full.loss, full.optimizer, full.data.scale) == ("complex_l1", GleamAdam(1e-4, 1e-4), "top_magnitude")
    if modl:
        assert (full.model.cg_iters, full.model.warm_start, full.model.learn_lam) == (10, True, False)
    same = lambda e: (e.strategy, e.loss, e.data.mask, e.data.scale, e.variant)
    assert same(small) == same(full)
    settled = not row.startswith(("table1", "table2"))
    assert small.optimizer == (AdamCosine(2e-3) if settled else GleamAdam(1e-3))
    reduced = {"features": small.model.features} | ({"cg_iters": small.model.cg_iters} if modl else {})
    assert small.model == dataclasses.replace(full.model, **reduced)
    make_update(small, updates_per_epoch=1)

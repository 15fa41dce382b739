"""The settings of the Deep J-Sense experiment: the paper's, and what `--small` keeps of them."""

import runpy
from pathlib import Path

import jax
import pytest

from jaxrecon.experiment import load_experiment, make_update
from jaxrecon.models import abstract_params, build

FOLDER = Path(__file__).parents[2] / "experiments" / "deep_jsense"
PARAMETERS = {"deep_jsense": 447_490, "varnet": 1_744_404, "modl": 223_745}


def needs_maps(config):
    return build(config).wants.maps == "given"


def n_parameters(experiment):
    return sum(leaf.size for leaf in jax.tree.leaves(abstract_params(experiment.model)))


@pytest.mark.parametrize("method", PARAMETERS)
def test_table_1(method):
    full, small = (load_experiment(FOLDER / f"table1_{method}.py", small=small) for small in (False, True))
    assert n_parameters(full) == PARAMETERS[method]
    assert (full.n_updates, full.batch_size, full.data.acceleration, full.data.acs) == (4865 * 30, 1, 4.0, None)
    assert (full.data.slices, full.data.n_masks, full.data.data_range) == ((13, 18), None, "slice")
    same = lambda e: (e.data.mask, e.data.acceleration, e.loss, e.data.scale, e.variant, e.batch_size)
    assert same(small) == same(full)
    # what the reference of a fastMRI file is
    assert (full.data.target, small.data.target) == ("auto", "rss")
    assert type(small.model) is type(full.model) and needs_maps(small.model) == (method == "modl")
    make_update(small, updates_per_epoch=1)


def test_the_rows_of_the_figures():
    settings = runpy.run_path(str(FOLDER / "deep_jsense_settings.py"))
    full, small = (settings["rows"](small=small) for small in (False, True))
    for name in (f"table1_{method}" for method in PARAMETERS):
        assert (full[name], small[name]) == tuple(
            load_experiment(FOLDER / f"{name}.py", small=s) for s in (False, True)
        )
    found = {name: full[name].data.acs for name in full if name.startswith("fig4")}
    assert found == {f"fig4_{m}_acs{n}": n for m in ("deep_jsense", "varnet") for n in (1, 6, 12, 26, 56)}
    models = [full[name].model for name in full if "supplement" in name]
    assert {(m.n_steps, m.map_iters, m.image_iters) for m in models} == {(3, 12, 12), (4, 9, 9), (9, 4, 4)}
    # within small runs no row is trained twice, ESPIRiT finds its maps, and the networks' sizes relate as in the paper
    assert len({(e.model, e.data.acs or 6) for e in small.values()}) == len(small)
    assert all(e.data.acs is None or e.data.acs >= 4 for e in small.values() if needs_maps(e.model))
    sizes = {method: n_parameters(small[f"table1_{method}"]) / n for method, n in PARAMETERS.items()}
    assert sizes == pytest.approx(dict.fromkeys(sizes, sizes["deep_jsense"]), rel=0.05)

"""The catalogue: what is made from it has all of its entries; two of one name and unknown names are refused."""

import dataclasses
import json

import jax
import pytest

from jaxrecon.cli import main
from jaxrecon.experiment.as_json import from_json, to_json
from jaxrecon.experiment.catalog import CATALOG, catalog, entry_of
from jaxrecon.models import abstract_params, build


def configurations(entry):
    return entry.preset.model, entry.small, entry.tiny


@pytest.mark.parametrize("name", CATALOG)
def test_an_entry_is_whole(name):
    """One kind of configuration in three sizes; its experiments come back from JSON under the name of the kind's first entry."""
    own = CATALOG[name]
    assert own.name == name and len({type(config) for config in configurations(own)}) == 1
    sizes = [sum(leaf.size for leaf in jax.tree.leaves(abstract_params(config))) for config in configurations(own)]
    assert sizes[0] > sizes[1] > sizes[2] and sizes[2] < 20_000
    assert build(own.preset.model).wants.maps == build(own.tiny).wants.maps
    for experiment in (own.preset, own.small_preset):
        content = json.loads(json.dumps(to_json(experiment)))
        assert from_json(content, where="run") == experiment
        assert content["model"]["kind"] == entry_of(experiment.model).name


def test_published_weights_are_called_by_one_name_each():
    published = [own.published for own in CATALOG.values() if own.published is not None]
    assert len({kind.option for kind in published}) == len(published) and all(kind.option for kind in published)
    for own in CATALOG.values():
        if own.published is not None:
            fields = {field.name for field in dataclasses.fields(own.preset.model)}
            assert own.published.untold.keys() <= fields
            rules = own.published.rules(own.published.infer({}))
            assert rules and type(own.published.infer({})) is type(own.preset.model)


def test_two_entries_of_one_name_are_refused():
    pgd = CATALOG["pgd"]
    with pytest.raises(ValueError, match="two entries of the catalogue are called pgd"):
        catalog(pgd, CATALOG["unet"], dataclasses.replace(pgd, small=pgd.tiny))


def test_an_unknown_name_lists_the_known(tmp_path, capsys):
    with pytest.raises(ValueError, match="there is no network 'gan'; there are unet, varnet, modl, "):
        CATALOG["gan"]
    for words in (["train", "--data", "simulated", "--out", str(tmp_path / "run")], ["memory"]):
        assert main([*words, "--model", "gan"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and all(name in error for name in CATALOG)

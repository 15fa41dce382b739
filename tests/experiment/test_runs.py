"""From Python: what `train` is given, and its result as the network of a reconstruction."""

import threading

import numpy as np
import pytest
from support.type_check import as_user

import jaxrecon as jr
from jaxrecon.checks import UserError
from jaxrecon.models import UNetConfig
from jaxrecon.training import fit

HEADS = jr.experiment.SimulatedHeads(heads=2, validation_heads=1, slices=1, shape=(24, 20), coils=2)
TINY = jr.Experiment(UNetConfig(features=2, pools=1), loss="l1", n_updates=1, simulated=HEADS)


def test_what_train_returned_is_a_network(tmp_path):
    trained = jr.train(TINY, data="simulated", out=tmp_path / "run", stop=threading.Event().is_set)
    assert jr.load_network(trained).path == trained.out
    kspace = np.ones((2, 24, 20), "complex64")
    found, named = (jr.reconstruct(kspace, network=network) for network in (trained, trained.out))
    np.testing.assert_array_equal(found.images, named.images)
    assert found.settings.network.experiment == TINY


@pytest.mark.parametrize(
    ("given", "cure"),
    [("pgd", r"'pgd'.*CATALOG\['pgd'\]"), ("x", r"'x'.*CATALOG\['varnet'\]"), (None, "None: expected")],
)
def test_a_word_is_no_experiment(given, cure, tmp_path):
    with as_user(), pytest.raises(UserError, match=cure + ".*preset"):
        jr.train(given, data="simulated", out=tmp_path / "run")


def test_stop_is_a_function(tmp_path):
    """Said before any data are read."""
    for stop in (True, threading.Event()):
        with as_user(), pytest.raises(UserError, match=r"stop is .*: expected a function"):
            jr.train(TINY, data=tmp_path / "none", out=tmp_path / "run", stop=stop)
    with pytest.raises(UserError, match="stop is True"):
        fit(None, None, iter([]), out=tmp_path / "run", n_updates=1, stop=True)

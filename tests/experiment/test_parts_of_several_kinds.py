"""A configuration that holds one of several dataclasses, such as a denoiser, comes back from JSON with the right one."""

import dataclasses
import json

import pytest
import tyro

from jaxrecon import nn
from jaxrecon.experiment import Experiment, from_json, to_json
from jaxrecon.experiment.as_json import KINDS


@dataclasses.dataclass(frozen=True)
class Own:
    """A user's own denoiser, with the fields of one of the library's."""

    features: int = 4
    layers: int = 2
    residual: bool = True
    multiple = 1

    def build(self, out_features, *, dtype=None):
        return nn.CNN(self.features, self.layers, out_features=out_features, dtype=dtype)


@dataclasses.dataclass(frozen=True)
class Network:
    denoiser: nn.AnyDenoiser = nn.MWCNN_MEDIUM

    def build(self):
        raise NotImplementedError


ALL = [
    nn.DNCNN_SMALL,
    nn.MWCNN_SMALL,
    nn.BenchmarkUNetConfig((4, 8), activation="prelu", attention="all"),
    nn.DIDN_BIG,
    nn.FOCNET_SMALL,
]


@pytest.mark.parametrize("denoiser", [*ALL, Own()], ids=lambda d: type(d).__name__)
def test_the_kind_is_kept(denoiser):
    """Also where the file of the user now holds another one."""
    experiment = Experiment(Network(denoiser))
    content = json.loads(json.dumps(to_json(experiment)))
    own = experiment if isinstance(denoiser, Own) else Experiment(Network())
    assert from_json(content, where="run", own=own) == experiment
    assert isinstance(denoiser, nn.Denoiser) and hash(experiment.model)


def test_what_fits_no_kind_is_told(monkeypatch):
    monkeypatch.setitem(KINDS["model"], "network", Network)
    content = to_json(Experiment(Network()))
    for changed, message in (
        ({"features": [8], "depth": 2}, r"model\.denoiser is .*, wanted .*MWCNNConfig"),
        (3, r"model\.denoiser is 3, wanted .*MWCNNConfig"),
        ({"features": "many", "scales": 3}, r"model\.denoiser\.features is 'many'"),
    ):
        content["model"]["denoiser"] = changed
        with pytest.raises(ValueError, match=message):
            from_json(content, where="run")


def test_options_are_those_of_the_kind_at_hand():
    args = ["--denoiser.features", "8", "16", "--denoiser.convs", "1", "1"]
    read = tyro.cli(Network, args=args, default=Network(nn.MWCNN_SMALL), config=(tyro.conf.AvoidSubcommands,))
    assert read.denoiser == nn.MWCNNConfig((8, 16), (1, 1))

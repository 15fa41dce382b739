"""Experiments as earlier versions wrote them: their JSON is read, their Python gets one error that has the new words."""

import dataclasses
import json

import pytest
from support.type_check import as_user

from jaxrecon.cli import main
from jaxrecon.experiment import CATALOG, DataConfig, Every, Experiment, from_json, load_experiment, to_json
from jaxrecon.experiment.old_forms import NOW, OldForm, renewed
from jaxrecon.models import PGDConfig
from jaxrecon.strategies import STRATEGIES, Checkpointed, EndToEnd, Gleam, GleamShared, Invertible, PGleam
from jaxrecon.training.optimizers import OPTIMIZERS, Adam

FLAT = {
    "model": {"kind": "pgd", "n_steps": 4},
    "strategy": "end_to_end",
    "n_modules": None,
    "every": 1,
    "n_checkpoints": None,
    "loss": "ssim",
    "optimizer": "adam",
    "learning_rate": None,
    "ema_decay": 0.9,
    "n_updates": 7,
    "batch_size": 2,
    "mask": "poisson",
    "acceleration": 6.0,
    "acs": 12,
    "n_masks": None,
    "slices": [1, -1],
    "target": "rss",
    "scale": "none",
    "data_range": "slice",
    "shape": [40, 32],
    "n_coils": 4,
    "espirit_crop": 0.0,
    "variant": "gleam",
    "evaluate_every": 3,
    "checkpoint_every": 4,
    "log_every": 5,
    "seed": 6,
    "simulated": {"heads": 3, "shape": [24, 20]},
    "data": {"training": "/data", "files": "3 with 10 bytes, abc"},
}
"""What a run of commit 338a9c6 holds."""


def test_every_field_finds_its_place():
    experiment = from_json(FLAT, where="run")
    assert experiment == Experiment(
        PGDConfig(n_steps=4),
        loss="ssim",
        ema_decay=0.9,
        n_updates=7,
        batch_size=2,
        data=DataConfig("poisson", 6.0, 12, None, (1, -1), "rss", "none", "slice", (40, 32), 4, 0.0),
        variant="gleam",
        every=Every(3, 4, 5),
        seed=6,
        simulated=dataclasses.replace(Experiment(PGDConfig()).simulated, heads=3, shape=(24, 20)),
    )
    assert renewed(FLAT)["learned_from"] == FLAT["data"]
    # what is new stays as it is, also with its record
    now = json.loads(json.dumps(to_json(experiment, learned_from={"training": "/data"})))
    assert renewed(now) == now and from_json(now, where="run") == experiment
    # no field of an earlier version is forgotten: what has no new place has its old one
    there = {name for name in FLAT if name not in NOW} - {"every", "data"}
    later = {"freeze"}  # parameters could not be frozen
    assert there == {field.name for field in dataclasses.fields(Experiment)} - {"data", "every"} - later


def test_runs_that_counted_one_in_the_plural_go_on():
    before = {"learned_from": {"found": "1 slices for training, 1 for validation (11 files and 1 files)", "files": "x"}}
    now = {"found": "1 slice for training, 1 for validation (11 files and 1 file)", "files": "x"}
    assert renewed(before)["learned_from"] == now == renewed({"learned_from": now})["learned_from"]


def test_runs_that_do_not_say_their_crop_had_another_default():
    """Theirs was sigpy's; all others keep what they say."""
    flat = {name: value for name, value in FLAT.items() if name != "espirit_crop"}
    now = to_json(Experiment(PGDConfig()))
    silent = {**now, "data": {name: value for name, value in now["data"].items() if name != "espirit_crop"}}
    bare = {"model": {"kind": "pgd"}}
    assert [from_json(c, where="run").data.espirit_crop for c in (flat, silent, bare)] == [0.95] * 3
    assert [from_json(c, where="run").data.espirit_crop for c in (FLAT, now)] == [0.0, 0.8]


@pytest.mark.parametrize("name", STRATEGIES)
def test_strategies_keep_their_own_fields(name):
    flat = {**FLAT, "strategy": name, "n_modules": 2, "every": 3, "n_checkpoints": 1}
    own = {
        "end_to_end": EndToEnd(),
        "checkpointed": Checkpointed(3),
        "invertible": Invertible(1),
        "gleam": Gleam(2),
        "gleam_shared": GleamShared(2),
        "p_gleam": PGleam(2),
    }
    assert from_json(flat, where="run").strategy == own.get(name, STRATEGIES[name]())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_keep_their_published_numbers_or_the_given_rate(name):
    assert from_json({**FLAT, "optimizer": name}, where="run").optimizer == OPTIMIZERS[name]
    given = from_json({**FLAT, "optimizer": name, "learning_rate": 0.5}, where="run").optimizer
    assert given == dataclasses.replace(OPTIMIZERS[name], learning_rate=0.5)


def test_what_does_not_fit_is_told_by_its_place_of_today():
    for wrong, message in (
        ({"acs": "wide", "log_every": "never"}, r"(?s)data\.acs is 'wide'.*every\.log is 'never'"),
        ({"strategy": "gleam", "n_modules": "two"}, r"strategy\.n_modules is 'two'"),
        ({"strategy": "magic"}, "there is no strategy 'magic'; there are end_to_end, "),
        ({"optimizer": "magic"}, "there is no optimizer 'magic'; there are adam, "),
    ):
        with pytest.raises(ValueError, match=message):
            from_json({**FLAT, **wrong}, where="run")


OLD_FILES = {
    "n_modules": "Experiment(PGDConfig(), strategy='gleam', n_modules=2)",
    "mask": "dataclasses.replace(Experiment(PGDConfig()), mask='poisson')",
    "strategy='gleam'": "Experiment(PGDConfig(), strategy='gleam')",
    "optimizer='adam'": "Experiment(PGDConfig(), optimizer='adam')",
    "every=2": "Experiment(PGDConfig(), every=2)",
    "from jaxrecon.training import Experiment": "0\nfrom jaxrecon.training import Experiment",
    "import jaxrecon.training.experiment": "0\nfrom jaxrecon.training.experiment import SimulatedHeads",
    "import jaxrecon.training.presets": "0\nfrom jaxrecon.training.presets import PRESETS",
}


@as_user()
@pytest.mark.parametrize("found", OLD_FILES)
def test_a_file_in_the_old_form_gets_one_error_with_the_new_words(found, tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(
        "import dataclasses\nfrom jaxrecon.experiment import Experiment\nfrom jaxrecon.models import PGDConfig\n"
        f"def experiment(small=False):\n    return {OLD_FILES[found]}\n"
    )
    with pytest.raises(ValueError, match=r"mine\.py: found .* in the form of an earlier version"):
        load_experiment(path)
    assert main(["memory", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"found {found} in the form" in error and "stops with" not in error
    assert all(
        word in error
        for word in ("strategy=Gleam(n_modules=2)", "DataConfig(", "Every(", "GleamAdam", "jaxrecon.experiment")
    )
    if found in NOW:
        assert f"{found} is {NOW[found]} now" in error


def test_a_file_that_is_wrong_otherwise_is_told_so(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from jaxrecon.experiment import Experiment\nfrom jaxrecon.models import PGDConfig\n"
        "def experiment(small=False):\n    return Experiment(PGDConfig(), epochs=3)\n"
    )
    with pytest.raises(ValueError, match=r"stops with TypeError: .* unexpected keyword argument 'epochs'"):
        load_experiment(path)
    for stop in ("from jaxrecon.training import fitt", "import jaxrecon.training.fitt", "import nothing_of_this_name"):
        path.write_text(stop)
        with pytest.raises(ValueError, match=r"stops with (ImportError|ModuleNotFoundError)"):
            load_experiment(path)
    with as_user(), pytest.raises(OldForm, match="strategies are EndToEnd, "):
        dataclasses.replace(CATALOG["pgd"].preset, strategy="gleam")


@dataclasses.dataclass(frozen=True)
class OwnStrategy:
    """A strategy of a user's own."""

    depth: int = 1

    def build(self, model, loss, tx, *, ema_decay=None, mesh=None):
        return EndToEnd().build(model, loss, tx, ema_decay=ema_decay, mesh=mesh)

    def label(self, model):
        return f"mine, {self.depth} deep"


def test_configurations_of_ones_own_are_read_with_their_file():
    """A run never causes code to run: without the experiment of the file one error says so."""
    experiment = Experiment(PGDConfig(), OwnStrategy(3), Adam(1e-4))
    content = json.loads(json.dumps(to_json(experiment)))
    assert content["strategy"] == {"kind": "own:OwnStrategy", "depth": 3}
    own = dataclasses.replace(experiment, strategy=OwnStrategy(1))
    assert from_json(content, where="run", own=own) == experiment
    with pytest.raises(ValueError, match="its strategy is OwnStrategy, of a file of its user's own"):
        from_json(content, where="run")
    with pytest.raises(ValueError, match="what is given is the file of a EndToEnd"):
        from_json(content, where="run", own=Experiment(PGDConfig()))

"""A network of a user's own file goes through every command; a run folder alone never causes code to run."""

import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from support.files import write_fastmri
from support.scans import line_mask, measured
from support.type_check import as_user

from jaxrecon import load_network
from jaxrecon.cli import main
from jaxrecon.experiment import from_json, load_experiment, to_json
from jaxrecon.experiment.as_json import check_types
from jaxrecon.models import abstract_params
from jaxrecon.training import load_config, read_log

OWN = '''
from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Callable, Literal

import jax
import jax.numpy as jnp

from jaxrecon.complex_ops import magnitude
from jaxrecon.experiment import DataConfig, Every, Experiment, SimulatedHeads
from jaxrecon.models import Unrolled, Wants, unrolled

with Path(__file__).with_name("executed").open("a") as log:
    log.write("x")

Mood = Literal["calm", "eager"]


@dataclasses.dataclass(frozen=True)
class Stride:
    """A part.

    Attributes:
      length: of a stride.
    """

    length: float = 0.5


@dataclasses.dataclass(frozen=True)
class Ladder:
    """Gradient descent with a network of two weights.

    Attributes:
      rungs: steps.
      mood: any.
      stride: a part of its own.
      palette: a list cannot be hashed.
      squash: a function cannot be in JSON.
    """

    rungs: int = 3
    mood: Mood = "calm"
    stride: Stride = Stride()
    palette: list[int] = dataclasses.field(default_factory=lambda: [1, 2])
    squash: Callable[[jax.Array], jax.Array] = jnp.tanh

    def build(self) -> Unrolled:
        """The network."""

        def start(_, problem):
            image = problem.op.adjoint(problem.kspace)
            return image, (problem.op, image)

        def step(theta, x, context, i):
            op, zero_filled = context
            return x - theta["t"] * (op.normal(x) - zero_filled) + theta["a"] * self.squash(x.real)

        return unrolled(
            n_steps=self.rungs,
            shared=False,
            init_step=lambda key, x, context: {"t": jnp.asarray(self.stride.length), "a": jnp.zeros(())},
            start=start,
            step=step,
            finish=lambda x, _: magnitude(x),
            wants=Wants(maps="given", image="magnitude", uses_index=False),
        )


def experiment(small=False):
    """With small one rung less."""
    return Experiment(
        Ladder(rungs=2 if small else 3),
        loss="l1",
        data=DataConfig(mask="equispaced", acs=8, n_masks=2),
        n_updates=2,
        every=Every(evaluate=2, checkpoint=2, log=1),
        simulated=SimulatedHeads(heads=2, validation_heads=1, slices=1, shape=(33, 24), coils=3),
    )
'''


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "ladder.py"
    path.write_text(OWN)
    return path


def refused(capsys, *words):
    capsys.readouterr()
    assert main([*map(str, words)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_every_command(own, tmp_path, capsys):
    run, executed = tmp_path / "run", tmp_path / "executed"
    train = ["train", str(own), "--data", "simulated", "--out", str(run)]
    assert main([*train, "--model.rungs", "4", "--model.stride.length", "0.25"]) == 0
    text = capsys.readouterr().out
    assert "Ladder: rungs 4, stride.length 0.25" in text and "8 parameters" in text
    stored = load_config(run)["model"]
    assert stored == {
        "kind": "own:Ladder",
        "rungs": 4,
        "mood": "calm",
        "stride": {"length": 0.25},
        "palette": [1, 2],
        "squash": "tanh",
    }
    # gone on with, and refused with other sizes
    assert main([*train, "--model.rungs", "4", "--model.stride.length", "0.25", "--n-updates", "3"]) == 0
    assert [r["step"] for r in read_log(run) if r["event"] == "training"] == [1, 2, 3]
    assert "model.rungs 4, now 3" in refused(capsys, *train, "--model.stride.length", "0.25")

    assert main(["memory", str(own), "--small", "--shape", "24", "20", "--n-coils", "2"]) == 0
    text = capsys.readouterr().out
    assert "Ladder: rungs 2" in text and "gleam, 2 modules" in text and "cannot be: invertible needs" in text

    kspace, _ = measured(shape=(33, 24))
    mask = line_mask(24).astype(np.float32)
    scan = write_fastmri(tmp_path / "scan.h5", (kspace * mask)[None], mask=mask)
    recon = ["recon", str(scan), "--checkpoint", str(run), "--out", str(tmp_path / "r.npy"), "--no-figure", "--no-crop"]
    before = executed.read_text()
    assert "its network is Ladder, of a file of its user's own" in (error := refused(capsys, *recon))
    assert "--experiment my_experiment.py" in error
    assert "Ladder" in refused(capsys, "convert", run, "--out", tmp_path / "weights.npz")
    assert executed.read_text() == before, "a run folder alone causes no code to run"
    assert main([*recon, "--experiment", str(own)]) == 0
    assert len(executed.read_text()) == len(before) + 1
    image = np.load(tmp_path / "r.npy")
    network = load_network(run, experiment=load_experiment(own))
    assert network.name == "Ladder" and network.model.n_steps == 4
    assert image.shape == (1, 33, 24) and image.dtype == np.float32 and image.any()


def test_the_file_of_the_tutorial_is_one():
    path = Path(__file__).parents[2] / "experiments" / "tutorials" / "momentum.py"
    for small in (False, True):
        experiment = load_experiment(path, small=small)
        check_types(experiment, where=path)
        shapes = jax.tree.map(lambda a: a.shape, abstract_params(experiment.model)["steps"])
        assert shapes == {"K": (6, 3, 3, 2, 16), "W": (6, 3, 3, 16, 2), "b": (6,), "t": (6,)}
        assert from_json(to_json(experiment), where="run", own=experiment) == experiment


def test_what_is_not_that_network(own, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", str(own), "--data", "simulated", "--out", str(run), "--n-updates", "1"]) == 0
    kspace, _ = measured(shape=(33, 24))
    scan = write_fastmri(tmp_path / "scan.h5", kspace[None])
    recon = ["recon", scan, "--out", tmp_path / "r.npy"]
    assert "give both" in refused(capsys, *recon, "--experiment", own)
    recon += ["--checkpoint", run, "--experiment"]
    assert "no configuration file" in refused(capsys, *recon, tmp_path / "missing.py")
    other = tmp_path / "other.py"
    for changed, reason in (
        (OWN.replace("Ladder", "Stairs"), "network is Ladder, .* what is given is the file of a Stairs"),
        (OWN.replace("jnp.tanh", "jnp.sin"), "model.squash is 'tanh', and .* in the file"),
        (
            OWN.replace("rungs: int = 3", "rungs: Mood = 'calm'").replace(
                "Ladder(rungs=2 if small else 3)", "Ladder()"
            ),
            "model.rungs is 3",
        ),
        (OWN.replace("palette", "colours"), "unknown field model.palette"),
        ("nothing = 0\n", "expected a function experiment"),
        ("import jaxrecon.nowhere\n", "stops with ModuleNotFoundError"),
    ):
        other.write_text(changed)
        error = refused(capsys, *recon, other)
        assert re.search(reason, error), error
    # what the run holds may be damaged or foreign
    about = next((run / "checkpoints").glob("*/about/metadata"))
    content = json.loads(about.read_text())
    content["config"]["model"]["kind"] = "own:os.system"
    about.write_text(json.dumps(content))
    assert "its network is os.system" in refused(capsys, *recon, own)


def test_a_configuration_that_builds_nothing(own, tmp_path, capsys):
    for changed, reason in (
        (OWN.replace("        return unrolled(", "        unrolled("), "must return an Unrolled"),
        (OWN.replace("def build(", "def make("), "a method build"),
        (OWN.replace("n_steps=self.rungs", "n_steps=-self.rungs"), "n_steps must be 1 or more"),
        (OWN.replace("rungs=2 if small else 3", "rungs=2.5"), "model.rungs is 2.5"),
    ):
        own.write_text(changed)
        with as_user():
            assert reason in refused(capsys, "memory", own)
    own.write_text(OWN.replace("self.squash(x.real)", "self.squash(x.real) * i"))
    assert "says that its step does not use i" in refused(capsys, "memory", own, "--shape", "16", "12")

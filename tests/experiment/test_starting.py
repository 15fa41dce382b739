"""Training that starts from other weights than random ones, and goes on: published weights, runs, files; what is refused."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from support.toy_run import slices
from support.type_check import as_user

from jaxrecon.checks import DataError, UserError
from jaxrecon.experiment import DataConfig, Every, Experiment, TrainingData, import_weights, prepare_training, train
from jaxrecon.experiment.resume import check_resume
from jaxrecon.experiment.starting import starting_weights
from jaxrecon.models import KIKIConfig, UNetConfig, VarNetConfig, abstract_params
from jaxrecon.strategies import Checkpointed, Gleam
from jaxrecon.training import load_config, load_params
from jaxrecon.training.optimizers import AdamCosine, GleamAdam
from jaxrecon.trees import leaves_by_name
from jaxrecon.weights import E2E_VARNET, from_published, to_published, write_npz

NETWORK = VarNetConfig(n_steps=2, features=2, pools=1, sens_features=2, sens_pools=1)
TUNED = Experiment(
    NETWORK,
    Gleam(),
    GleamAdam(1e-2, weight_decay=0.1),
    loss="l1",
    data=DataConfig(acs=4, acceleration=2.0, n_masks=2, scale="none"),
    n_updates=2,
    ema_decay=0.9,
    every=Every(log=1),
)
KEPT = ("start", "steps/net/params/unet/down*")
DATA = TrainingData(slices(3, shape=(20, 18)), [], "three slices", {"training": "memory"})


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """(a file of random published weights, as another program would write it; the weights; the run folder of them)."""
    folder, rng = tmp_path_factory.mktemp("published"), np.random.default_rng(0)
    params = jax.tree.map(lambda a: (0.1 * rng.standard_normal(a.shape)).astype(a.dtype), abstract_params(NETWORK))
    write_npz(folder / "w.npz", {f"model.{k}": v for k, v in to_published(params, E2E_VARNET, NETWORK).items()})
    import_weights(folder / "w.npz", folder / "converted", model="e2e-varnet")
    return folder / "w.npz", params, folder / "converted"


def tune(out, weights, experiment=TUNED, **options):
    return train(experiment, data=DATA, out=out, weights=weights, freeze=KEPT, **options)


@pytest.fixture(scope="module")
def tuned(published, tmp_path_factory):
    """Fine-tuned from the converted folder, in one go."""
    return tune(tmp_path_factory.mktemp("tuned") / "run", published[2])


def test_published_weights_are_tuned_and_what_is_frozen_stays(published, tuned):
    before, after = leaves_by_name(published[1]), leaves_by_name(tuned.params)
    stays = {name for name in before if np.array_equal(before[name], after[name])}
    assert stays == {name for name in before if name.startswith(("start/", "steps/net/params/unet/down"))}
    about = load_config(tuned.out)
    assert about["freeze"] == list(KEPT) and about["started_from"]["path"] == str(published[2])
    with pytest.raises(ValueError, match="freeze"):  # the run that goes on has the same
        check_resume(TUNED, tuned.out, data=DATA.named)


def test_stopped_and_gone_on_with_it_is_the_same_run(published, tuned, tmp_path):
    """By the same command, and without saying again where it started; from the file as from the folder."""
    file, _, folder = published
    tune(tmp_path / "run", folder, dataclasses.replace(TUNED, n_updates=1))
    tune(tmp_path / "run", None)
    assert load_config(tmp_path / "run")["started_from"] == load_config(tuned.out)["started_from"]
    again = prepare_training(TUNED, data=DATA, out=tmp_path / "run", weights=file, freeze=KEPT)
    assert again.before.made == 2 and again.n_frozen < again.n_params
    once, twice = (load_params(run, abstract_params(NETWORK)) for run in (tuned.out, tmp_path / "run"))
    jax.tree.map(np.testing.assert_array_equal, once, twice)
    assert [r["loss"] for r in tuned.records] == [r["loss"] for r in again.run().records]


def test_a_folder_that_holds_a_run_is_not_started_in(published, tuned, tmp_path):
    with pytest.raises(ValueError, match=r"holds a run already, which did not start from the weights .*tuned"):
        tune(tuned.out, tuned.out)
    with pytest.raises(ValueError, match=r"converted weights, no run that could go on: .*--weights .*converted\)"):
        tune(published[2], None)
    with pytest.raises(ValueError, match=r"--weights .*converted\)"):
        tune(published[2], published[2])
    with pytest.raises(ValueError, match="2 updates already, 1 asked"):
        tune(tuned.out, None, dataclasses.replace(TUNED, n_updates=1))


def test_of_another_strategy_the_kind_is_told_first(tuned):
    other = dataclasses.replace(TUNED, freeze=KEPT, strategy=Checkpointed())
    with pytest.raises(
        ValueError, match=r"other data: strategy\.kind gleam, now checkpointed; strategy\.every None, now 1\."
    ):
        check_resume(other, tuned.out, data=DATA.named)


def test_weights_of_another_network_are_told(published, tmp_path):
    file, _, folder = published

    def refused(config, weights):
        with pytest.raises(ValueError) as error:
            prepare_training(dataclasses.replace(TUNED, model=config), data=DATA, out=tmp_path / "no", weights=weights)
        return str(error.value)

    wider = dataclasses.replace(NETWORK, n_steps=3, sens_pools=2)
    for source in (folder, file):
        text = refused(wider, source)
        assert text.startswith(f"{source}: its own network has model.n_steps 2, not 3; model.sens_pools 1, not 2. ")
        assert "missing" in text
    wider = dataclasses.replace(NETWORK, features=3)
    text = refused(wider, folder)
    assert text.startswith(f"{folder}: its own network has model.features 2, not 3. The weights of ")
    assert text.count(", wanted float32") == 3 and text.endswith(
        " more. Make the network as the weights have it, or give other weights"
    )
    text = refused(UNetConfig(features=2, pools=1), folder)
    assert "missing steps/params/" in text and "unknown start/params/norm_unet" in text
    assert "none: there is no such file" in refused(NETWORK, tmp_path / "none")
    assert "no run folder" in refused(NETWORK, tmp_path)
    bad = {**to_published(published[1], E2E_VARNET, NETWORK), "cascades.0.dc_weight": np.float32([np.nan])}
    write_npz(tmp_path / "bad.npz", bad)
    assert "not finite (1): cascades.0.dc_weight" in refused(NETWORK, tmp_path / "bad.npz")
    assert not (tmp_path / "no").exists()


def test_a_run_that_is_not_there_is_told_as_such(tmp_path):
    """Also of a network of which no published names are known: a mistyped folder is no question of those."""
    with pytest.raises(DataError, match="there is no such file"):
        starting_weights(dataclasses.replace(TUNED, model=KIKIConfig()), tmp_path / "K1")


def test_what_differs_is_said(published, tmp_path):
    other = dataclasses.replace(TUNED, data=dataclasses.replace(TUNED.data, scale="maximum"))
    plan = prepare_training(other, data=DATA, out=tmp_path, weights=published[2], freeze="start")
    assert plan.experiment.freeze == ("start",) and 0 < plan.n_frozen < plan.n_params
    with pytest.raises(ValueError, match=r"freeze=\('start',\)"), as_user():
        dataclasses.replace(other, freeze="start")
    assert plan.start.described.endswith("there data.scale none, not maximum")
    own, _ = from_published(dict(np.load(published[0])), E2E_VARNET)
    jax.tree.map(np.testing.assert_array_equal, plan.params, own)


def test_a_file_of_weights_tells_of_the_scale_what_its_run_folder_does(published, tmp_path):
    other = dataclasses.replace(TUNED, data=dataclasses.replace(TUNED.data, scale="maximum"))
    for source in (published[0], published[2]):
        assert starting_weights(other, source).described == f"{source}; there data.scale none, not maximum"
        assert starting_weights(TUNED, source).described == str(source)


@pytest.mark.parametrize("wrong", [{"n_updates": 0}, {"every": Every(evaluate=0)}])
def test_a_length_of_zero_is_refused_before_anything_is_read(wrong, tmp_path):
    with pytest.raises(UserError, match="n_updates and the numbers of `every` must be 1 or more"):
        prepare_training(dataclasses.replace(TUNED, **wrong), data=tmp_path / "nowhere", out=tmp_path)


def test_a_rate_that_falls_over_the_run_does_not_jump(tuned, tmp_path):
    """Of a run whose record says another length; with a constant rate it goes on."""
    longer = dataclasses.replace(TUNED, n_updates=4, freeze=KEPT)
    assert check_resume(longer, tuned.out, data=DATA.named).made == 2
    shutil.copytree(tuned.out, tmp_path / "run")
    (about,) = (tmp_path / "run").glob("checkpoints/2/about/metadata")
    content = json.loads(about.read_text())
    content["config"]["optimizer"] = {"kind": "adam_cosine", "learning_rate": 1e-3}
    about.write_text(json.dumps(content))
    falling = dataclasses.replace(longer, optimizer=AdamCosine(1e-3))
    assert check_resume(dataclasses.replace(falling, n_updates=2), tmp_path / "run", data=DATA.named).made == 2
    with pytest.raises(ValueError, match=r"n_updates 2, now 4: the rate of adam_cosine .*--weights .*run\)"):
        check_resume(falling, tmp_path / "run", data=DATA.named)

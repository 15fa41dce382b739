"""Evaluation by volume: scales undone, crops, compiled once per shape."""

import jax
import numpy as np
import pytest
from support.toy_run import slices, toy

from jaxrecon.data.pipeline import labelled
from jaxrecon.data.preparation import Preparation, combined_target, maximum
from jaxrecon.metrics import evaluate as evaluate_volume
from jaxrecon.models import run
from jaxrecon.training import evaluate, evaluator

HOW = Preparation(target=combined_target, scale=maximum)


@pytest.fixture(scope="module")
def examples():
    return labelled(slices(3, file="one") + slices(2, file="two", shape=(11, 12), seed=2), HOW)


def test_volumes_are_scored_whole_in_the_units_of_the_data(examples):
    traces = []

    def zero_filled(problem):
        traces.append(problem.kspace.shape)
        return 0.5 * problem.op.adjoint(problem.kspace)

    scores = evaluate(jax.jit(zero_filled), examples, variant="fastmri")
    assert sorted(traces) == [(2, 9, 8), (2, 11, 12)]
    assert list(scores.volumes) == ["one", "two"]
    volume = np.stack([combined_target(part) for part in slices(3)])
    own = evaluate_volume(np.abs(volume), 0.5 * np.abs(volume), variant="fastmri")
    for name, value in own.volume.items():
        assert scores.volumes["one"].volume[name] == pytest.approx(value, rel=1e-4)
    for name in own.volume:
        mean = np.mean([v.volume[name] for v in scores.volumes.values()])
        assert scores.metrics[name] == pytest.approx(mean)
    np.testing.assert_allclose(scores.images["target"], np.abs(volume[1]), rtol=1e-4)


def test_a_model_compiles_once_per_shape_for_all_calls(examples):
    model = toy()
    problems = [problem for _, _, problem, _ in examples]
    params = model.init(jax.random.key(0), problems[0])
    score = evaluator(model, examples, variant="fastmri")
    first, second = score(params), score(params)
    assert first.metrics == second.metrics
    image = np.asarray(run(model, params, problems[1]))
    reference = combined_target(slices(3)[1])
    scale = np.abs(first.images["reconstruction"]).max() / np.abs(image).max()
    np.testing.assert_allclose(first.images["reconstruction"], scale * np.abs(image), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(first.images["target"], np.abs(reference), rtol=1e-4)


def test_the_stated_peak_takes_the_place_of_the_maximum(examples):
    def half(problem):
        return 0.5 * problem.op.adjoint(problem.kspace)

    plain = evaluate(half, examples, variant="fastmri")
    stated = evaluate(half, examples, variant="fastmri", data_range=lambda file: 100.0)
    assert stated.metrics["psnr"] > plain.metrics["psnr"] + 10


def test_errors(examples):
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate(lambda p: p, [], variant="gleam")
    with pytest.raises(ValueError, match="no metric variant"):
        evaluate(lambda p: p.op.adjoint(p.kspace), examples, variant="none")
    # before training, not after its first part
    with pytest.raises(ValueError, match="no metric variant"):
        evaluator(toy(), examples, variant="none")
    a, b, *_ = examples
    other = ("other", *b[1:])
    with pytest.raises(ValueError, match="sort the examples"):
        evaluate(lambda p: p.op.adjoint(p.kspace), [a, other, b], variant="fastmri")

"""What `run` does with every kind of network: scan is loop, N = 1 is the first of every step, a batch is its examples."""

import dataclasses

import jax
import numpy as np
import pytest
from support.models import MODELS, batched
from support.problems import problem_for, random_params, stack, with_mask
from support.programs import run

from jaxrecon.models import build


@pytest.mark.parametrize(
    "name", ["varnet", "pgd", "deep-jsense", "deep-jsense, separate", "promptmr", "promptmr-plus", "pdnet"]
)
def test_scan_loop_one_step_and_batch(name):
    """Odd sizes; the examples of the batch have calibration regions of their own."""
    model = build(MODELS[name])
    given, other = (problem_for(model, shape=(11, 9), seed=seed)[0] for seed in (0, 1))
    other = with_mask(other, np.ones_like(other.op.encoding.mask))
    params = random_params(model, given)
    every, every_other = (np.asarray(run(model, params, one, every_step=True)) for one in (given, other))
    assert every.shape == (2, 11, 9) and np.abs(every[1] - every[0]).max() > 1e-3
    assert np.abs(every[1] - every_other[1]).max() > 1e-3
    both = np.asarray(run(batched(model), params, stack(other, given), loop=True, every_step=True))
    np.testing.assert_allclose(both, np.stack([every_other, every], 1), rtol=1e-3, atol=1e-4)
    one_step = build(dataclasses.replace(MODELS[name], n_steps=1))
    steps = params["steps"] if model.shared else jax.tree.map(lambda a: np.asarray(a)[:1], params["steps"])
    image = run(one_step, {**params, "steps": steps}, given)
    np.testing.assert_allclose(image, every[0], rtol=1e-3, atol=1e-4)
    if name == "pgd":
        np.testing.assert_allclose(run(model, params, given, n_steps=1), every[0], atol=1e-5)

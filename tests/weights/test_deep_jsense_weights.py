"""The published state dict of Deep J-Sense through the converter and back, out of a training checkpoint, and in the model."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import torch_files

from jaxrecon import DataError, Problem, weights
from jaxrecon.models import DeepJSenseConfig, deep_jsense
from jaxrecon.operators import CartesianSense

INVENTORY = json.loads((Path(__file__).parents[1] / "golden" / "deep_jsense" / "state_dict_full.json").read_text())


@pytest.fixture
def state(rng):
    """All 22 entries, random; both lambdas in double precision, as published."""
    kind = lambda name: np.float64 if name.endswith("lam") else np.float32
    return {name: rng.standard_normal(s).astype(kind(name)) for name, s in INVENTORY["tensors"].items()}


def test_the_published_state_dict_there_and_back(state):
    params, config = weights.from_published(state, weights.DEEP_JSENSE)
    assert config == DeepJSenseConfig(convention="reference")
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == INVENTORY["num_params"] == 447_490
    kspace = jax.ShapeDtypeStruct((2, 32, 24), jnp.complex64)
    problem = Problem(kspace, CartesianSense(None, jax.ShapeDtypeStruct((1, 24), jnp.float32)))
    own = jax.eval_shape(deep_jsense(config).init, jax.eval_shape(jax.random.key, 0), problem)
    assert jax.tree.map(jnp.shape, own) == jax.tree.map(jnp.shape, params)
    back = weights.to_published(params, weights.DEEP_JSENSE, config)
    assert set(back) == set(state) and len(back) == 22
    for name, array in state.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_a_training_checkpoint_whose_settings_are_an_object_that_is_never_made(state, tmp_path):
    folder = tmp_path / "made"
    storages, tensors = {}, {}
    for i, (name, array) in enumerate(state.items()):
        kind = "torch.DoubleStorage" if array.dtype == np.float64 else "torch.FloatStorage"
        strides = tuple(s // array.itemsize for s in array.strides)
        tensors[name] = torch_files.tensor(torch_files.storage(array.size, kind=kind, key=str(i)), array.shape, strides)
        storages[str(i)] = array.size, array.tobytes()
    settings = torch_files.Global("os.mkdir", (str(folder),), {"_map": {"unrolls": 6}})
    checkpoint = {"model_state_dict": tensors, "optimizer_state_dict": {"state": {}}, "hparams": settings}
    path = tmp_path / "last_weights.pt"
    path.write_bytes(torch_files.stream(checkpoint, storages))
    found = weights.read(path)
    assert not folder.exists()
    assert set(found) == set(state)
    for name, array in state.items():
        np.testing.assert_array_equal(found[name], array)


def test_sizes_are_inferred_and_what_does_not_fit_is_told(state):
    config = DeepJSenseConfig(features=3, blocks=3, convention="reference")
    small = {r.name: np.zeros(r.shape, np.float32) for r in weights.DEEP_JSENSE.rules(config)}
    assert weights.from_published(small, weights.DEEP_JSENSE)[1] == config
    del state["block1_l2lam"]
    with pytest.raises(DataError, match=r"missing \(1\): block1_l2lam"):
        weights.from_published(state, weights.DEEP_JSENSE)
    with pytest.raises(ValueError, match="share them all"):
        weights.to_published({}, weights.DEEP_JSENSE, DeepJSenseConfig(shared=False))

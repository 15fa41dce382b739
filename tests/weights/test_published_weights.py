"""The published inventories through the converter and back, and converted weights in our models."""

import dataclasses
import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon import DataError, Problem, weights
from jaxrecon.models import run
from jaxrecon.models.modl import MoDLConfig, modl
from jaxrecon.models.unet import UNET_LEADERBOARD, UNetConfig, unet
from jaxrecon.models.varnet import VARNET_DEEP_JSENSE, VARNET_DEMO, VarNetConfig, varnet
from jaxrecon.operators import CartesianSense

GOLDEN = Path(__file__).parents[1] / "golden"
FASTMRI = json.loads((GOLDEN / "varnet" / "state_dict_full.json").read_text())
MODL = {k: v for k, v in json.loads((GOLDEN / "modl" / "checkpoint_inventory.json").read_text()).items() if k != "note"}
CONFIGS = {
    "varnet_knee_brain_leaderboard__12casc_chans18_pools4_sens8x4": VarNetConfig(),
    "varnet_deep_jsense_paper__6casc_chans12_pools3_sens8x3": VARNET_DEEP_JSENSE,
    "varnet_demo__8casc": VARNET_DEMO,
    "unet_leaderboard__chans256_pools4_in1_out1": UNET_LEADERBOARD,
    "unet_demo__chans32_pools4_in1_out1": UNetConfig(),
}


def published(name):
    return weights.E2E_VARNET if name.startswith("varnet") else weights.FASTMRI_UNET


def marked(shapes):
    """A state dict that takes no memory: each tensor holds one number, its own."""
    return {name: np.broadcast_to(np.float32(i), shape) for i, (name, shape) in enumerate(shapes.items())}


def abstract(model, size=(64, 64)):
    """Parameters of a model as shapes only."""
    kspace = jax.ShapeDtypeStruct((2, *size), jnp.complex64)
    op = CartesianSense(jax.ShapeDtypeStruct((2, *size), jnp.complex64), jax.ShapeDtypeStruct(size, jnp.float32))
    return jax.eval_shape(model.init, jax.eval_shape(jax.random.key, 0), Problem(kspace, op))


def shapes_of(tree):
    return {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


@pytest.mark.parametrize("name", FASTMRI)
def test_fastmri_state_dicts_there_and_back(name):
    inventory = FASTMRI[name]
    state = marked(inventory["tensors"])
    params, config = weights.from_published(state, published(name))
    assert config == CONFIGS[name]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == inventory["num_params"]
    model = (varnet if name.startswith("varnet") else unet)(config)
    assert shapes_of(params) == shapes_of(abstract(model))
    back = weights.to_published(params, published(name), config)
    assert list(back) == list(inventory["tensors"])
    for i, (tensor, shape) in enumerate(inventory["tensors"].items()):
        assert back[tensor].shape == tuple(shape)
        assert back[tensor].flat[0] == back[tensor].flat[-1] == i


@pytest.mark.parametrize("name", MODL)
def test_modl_checkpoints_there_and_back(name):
    inventory = MODL[name]
    state = marked({n: t["shape"] for n, t in inventory["tensors"].items()})
    optimizer = marked({f"{n}/{slot}": a.shape for n, a in state.items() for slot in ("Adam", "Adam_1")})
    powers = {n: np.float32(0) for n in ("beta1_power", "beta2_power")}
    params, config = weights.from_published({**state, **optimizer, **powers}, weights.MODL)
    assert config == MoDLConfig(norm="frozen", bias=name.startswith("14Mar"))
    trainable = sum(leaf.size for leaf in jax.tree.leaves(params["steps"]))
    assert trainable == inventory["num_trainable"]
    assert shapes_of(params) == shapes_of(abstract(modl(config)))
    back = weights.to_published(params, weights.MODL, config)
    assert set(back) == set(state)
    for tensor, expected in state.items():
        assert back[tensor].shape == expected.shape
        assert (back[tensor] == expected).all()


def test_random_values_of_every_layout_come_back(rng):
    config = VarNetConfig(n_steps=2, features=3, pools=2, sens_features=2, sens_pools=1)
    rules = weights.E2E_VARNET.rules(config)
    state = {rule.name: rng.standard_normal(rule.shape).astype(np.float32) for rule in rules}
    params, found = weights.from_published(state, weights.E2E_VARNET)
    assert found == config
    back = weights.to_published(jax.tree.map(jnp.asarray, params), weights.E2E_VARNET, config)
    for name, array in state.items():
        np.testing.assert_array_equal(back[name], array)


def test_training_checkpoints_have_prefix_and_window():
    tensors = FASTMRI["unet_demo__chans32_pools4_in1_out1"]["tensors"]
    state = {f"unet.{n}": a for n, a in marked(tensors).items()} | {"loss.w": np.ones((1, 1, 7, 7))}
    assert weights.from_published(state, weights.FASTMRI_UNET)[1] == UNetConfig()
    config = VarNetConfig(n_steps=1, features=2, pools=1, sens_features=2, sens_pools=1)
    rules = weights.E2E_VARNET.rules(config)
    state = {f"varnet.{r.name}": np.zeros(r.shape) for r in rules} | {"loss.w": np.ones((1, 1, 7, 7))}
    assert weights.from_published(state, weights.E2E_VARNET)[1] == config


def test_weights_of_another_model_are_told():
    state = marked(FASTMRI["unet_demo__chans32_pools4_in1_out1"]["tensors"])
    with pytest.raises(
        DataError, match=r"the end-to-end VarNet: .* there is none; there are down_sample_layers.* and 21 more"
    ):
        weights.from_published(state, weights.E2E_VARNET)
    with pytest.raises(ValueError, match="shared by all steps"):
        weights.to_published({}, weights.MODL, MoDLConfig(shared=False))


def test_converted_varnet_meets_the_reference(tmp_path):
    case = np.load(GOLDEN / "varnet" / "varnet_small.npz")
    weights.write_npz(tmp_path / "w.npz", {k[2:]: case[k] for k in case.files if k.startswith("w/")})
    params, config = weights.from_published(weights.read(tmp_path / "w.npz"), weights.E2E_VARNET)
    assert config == VarNetConfig(n_steps=2, features=4, pools=2, sens_features=4, sens_pools=2)
    kspace = (case["masked_kspace"][0] @ np.array([1, 1j])).astype(np.complex64)
    mask = case["mask"][0, 0, :, :, 0].astype(np.float32)
    problem = Problem(jnp.asarray(kspace), CartesianSense(None, jnp.asarray(mask)))
    image = jax.jit(functools.partial(run, varnet(config)))(params, problem)
    expected = case["output"][0]
    assert np.linalg.norm(image - expected) < 1e-5 * np.linalg.norm(expected)


def test_converted_modl_meets_the_reference():
    case = np.load(GOLDEN / "modl" / "model_small_eval.npz")
    state = {k[2:].removesuffix(":0"): case[k] for k in case.files if k.startswith("w/")}
    params, config = weights.from_published(state, weights.MODL)
    model = modl(dataclasses.replace(config, n_steps=3, cg_tolerance=1e-10))
    step = jax.jit(model.step)
    # the reference's transforms are not centred: the same normal operator with its mask's corner moved to the centre
    masks = np.fft.fftshift(case["mask"], (-2, -1))
    for b in range(len(masks)):
        zero_filled = jnp.asarray(case["atb"][b] @ np.array([1, 1j])).astype(np.complex64)
        op = CartesianSense(jnp.asarray(case["csm"][b]), jnp.asarray(masks[b]))
        carry = {"image": zero_filled, "batch_stats": {}}
        for i in range(model.n_steps):
            carry = step(params["steps"], carry, (op, zero_filled, params["start"]["batch_stats"]), i)
            expected = case[f"dc{i + 1}"][b] @ np.array([1, 1j])
            assert np.abs(carry["image"] - expected).max() < 5e-5

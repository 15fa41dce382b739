"""PromptMR's published inventories through the converter and back, and its ties."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon import DataError, Problem, models, weights
from jaxrecon.models import (
    PROMPTMR_16,
    PROMPTMR_BRAIN,
    PROMPTMR_KNEE,
    PROMPTMR_PLUS_BASELINE,
    PROMPTMR_PLUS_BASELINE_BRAIN,
    PROMPTMR_PLUS_BASELINE_KNEE,
    PromptMRConfig,
    PromptMRPlusConfig,
    PromptSizes,
    abstract_params,
    run,
)
from jaxrecon.operators import CartesianSense

GOLDEN = Path(__file__).parents[1] / "golden" / "promptmr"
INVENTORIES = {
    "PromptMR+": ("state_dict_full.json", weights.PROMPTMR_PLUS, PromptMRPlusConfig(), 2126),
    "its baseline": ("state_dict_full_promptmr.json", weights.PROMPTMR_PLUS, PROMPTMR_PLUS_BASELINE, 1910),
    "PromptMR": ("state_dict_full_promptmr.json", weights.PROMPTMR, PromptMRConfig(), 1910),
}


def inventory(file):
    content = json.loads((GOLDEN / file).read_text())
    return content["entries"], content["shared_groups"]


def marked(shapes, groups):
    """A state dict that takes no memory: each tensor holds one number, its own; tied ones the same."""
    value = {name: i for i, name in enumerate(shapes)}
    for first, *others in groups:
        value |= dict.fromkeys(others, value[first])
    return {name: np.broadcast_to(np.float32(value[name]), shape) for name, shape in shapes.items()}


def shapes_of(tree):
    return {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


@pytest.mark.parametrize("name", INVENTORIES)
def test_published_state_dicts_there_and_back(name):
    file, kind, expected, n_entries = INVENTORIES[name]
    shapes, groups = inventory(file)
    state = marked(shapes, groups)
    assert len(state) == n_entries
    lightning = {f"promptmr.{k}": v for k, v in state.items()} | {"loss.w": np.ones((1, 1, 7, 7))}
    params, config = weights.from_published(lightning, kind)
    assert config == expected
    assert shapes_of(params) == shapes_of(abstract_params(config))
    back = weights.to_published(params, kind, config)
    assert list(back) == list(shapes)
    for tensor, array in state.items():
        assert back[tensor].shape == array.shape
        assert back[tensor].flat[0] == back[tensor].flat[-1] == array.flat[0]


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (weights.PROMPTMR, PROMPTMR_KNEE),
        (weights.PROMPTMR, PROMPTMR_BRAIN),
        (weights.PROMPTMR, PROMPTMR_16),
        (weights.PROMPTMR_PLUS, PROMPTMR_PLUS_BASELINE_KNEE),
        (weights.PROMPTMR_PLUS, PROMPTMR_PLUS_BASELINE_BRAIN),
        (weights.PROMPTMR_PLUS, PromptMRPlusConfig(adjacent_maps=False)),
        (weights.PROMPTMR_PLUS, PromptMRPlusConfig(n_history=0)),
        (weights.PROMPTMR_PLUS, PromptMRPlusConfig(n_buffers=0, n_adjacent=3)),
        (
            weights.PROMPTMR_PLUS,
            PromptMRPlusConfig(n_steps=1, sizes=PromptSizes(skip_cabs=(0, 2, 0), prompt_lengths=(1, 2, 3))),
        ),
    ],
)
def test_sizes_are_seen_from_the_weights(kind, config):
    assert kind.infer({rule.name: rule.shape for rule in kind.rules(config)}) == config


SMALL = PromptMRPlusConfig(
    n_steps=2,
    n_adjacent=3,
    n_history=1,
    sizes=PromptSizes(
        features=4,
        level_features=(4, 5, 6),
        prompt_features=(4, 5, 4),
        sens_features=4,
        sens_level_features=(5, 4, 4),
        sens_prompt_features=(4, 4, 4),
        prompt_lengths=(2, 3, 2),
        prompt_sizes=(4, 3, 2),
        enc_cabs=(2, 1, 1),
        dec_cabs=(1, 1, 1),
        skip_cabs=(1, 0, 1),
        bottleneck_cabs=1,
    ),
)


def random_state(kind, config, rng):
    state, tied = {}, rng.standard_normal(1).astype(np.float32)
    for rule in kind.rules(config):
        own = rng.standard_normal(rule.shape).astype(np.float32)
        state[rule.name] = tied if rule.path == "start/slope" else own
    return state


def test_random_values_of_every_layout_come_back(rng):
    state = random_state(weights.PROMPTMR_PLUS, SMALL, rng)
    params, config = weights.from_published(state, weights.PROMPTMR_PLUS)
    assert config == SMALL
    back = weights.to_published(jax.tree.map(jnp.asarray, params), weights.PROMPTMR_PLUS, config)
    for name, array in state.items():
        np.testing.assert_array_equal(back[name], array, err_msg=name)


def test_untied_weights_are_told(rng):
    state = random_state(weights.PROMPTMR_PLUS, SMALL, rng)
    name = "cascades.1.model.unet.dec_level2.ca.body.1.weight"
    with pytest.raises(DataError, match=rf"ties are not equal.*\n.*different \(1\): {name}, not that of sens_net"):
        weights.from_published({**state, name: np.ones(1)}, weights.PROMPTMR_PLUS)


def test_weights_of_another_network_are_told(rng):
    state = random_state(weights.PROMPTMR_PLUS, SMALL, rng)
    with pytest.raises(DataError, match=r"weights of PromptMR with.*\n.*unknown.*momentum"):
        weights.from_published(state, weights.PROMPTMR)
    with pytest.raises(DataError, match=r"there is none; there are fc\.weight"):
        weights.from_published({"fc.weight": np.ones((3, 4))}, weights.PROMPTMR_PLUS)


@pytest.mark.slow
def test_one_forward_pass_at_full_width(rng):
    """Two cascades of the published network with random weights, on the smallest window: the others repeat the second."""
    config = PromptMRPlusConfig(n_adjacent=5, n_steps=2)
    params = jax.tree.map(
        lambda a: 0.02 * jnp.asarray(rng.standard_normal(a.shape, np.float32)), abstract_params(config)
    )
    kspace = rng.standard_normal((5, 2, 16, 16)) + 1j * rng.standard_normal((5, 2, 16, 16))
    problem = Problem(jnp.asarray(kspace, jnp.complex64), CartesianSense(None, jnp.ones((1, 16))))
    image = jax.jit(lambda p, g: run(models.promptmr_plus(config), p, g))(params, problem)
    assert image.shape == (16, 16) and np.isfinite(image).all() and image.any()

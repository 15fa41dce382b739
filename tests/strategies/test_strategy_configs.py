"""Strategies as configurations: each makes the training step of its function, and is called by its name."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from support.models import batched
from support.problems import batch as make_batch
from support.problems import random_params
from support.programs import assert_trees_close, run
from support.toy import N, mean_square, toy

from jaxrecon.strategies import (
    STRATEGIES,
    Blockwise,
    Checkpointed,
    EndToEnd,
    Gleam,
    GleamShared,
    Invertible,
    PGleam,
    blockwise,
    checkpointed,
    deep_supervision,
    end_to_end,
    gleam,
    gleam_shared,
    invertible,
    module_mesh,
    per_module,
    stopped,
)
from jaxrecon.strategies.configs import DeepSupervision, modules_of
from jaxrecon.training import from_grad_fn

TX = optax.chain(optax.clip_by_global_norm(1e-2), optax.adam(1e-2))
FUNCTIONS = {
    EndToEnd(): (end_to_end(), TX),
    Checkpointed(2): (checkpointed(every=2), TX),
    Invertible(1): (invertible(1), TX),
    DeepSupervision(): (deep_supervision([1 / N] * N), TX),
    Blockwise(1, 2): (blockwise(1, 2, checkpoint=True), TX),
    Gleam(2): (gleam(2), per_module(TX, 2)),
    # on one device it is gleam
    PGleam(2): (gleam(2), per_module(TX, 2)),
}


@pytest.fixture(scope="module")
def batch():
    return make_batch()


def trained(update, model, batch):
    state = update.init(random_params(model, batch[0]), jax.random.key(1))
    for _ in range(2):
        state, metrics = update(state, *batch)
    return jax.device_get((state.params, state.opt_state, state.ema, metrics))


@pytest.mark.parametrize("config", FUNCTIONS, ids=lambda config: type(config).__name__)
def test_build_is_the_function_with_its_optimizer(config, batch):
    model = batched(toy())
    strategy, tx = FUNCTIONS[config]
    expected = trained(from_grad_fn(strategy(model, mean_square), tx, ema_decay=0.5), model, batch)
    own = trained(config.build(model, mean_square, TX, ema_decay=0.5), model, batch)
    assert_trees_close(own, expected, 1e-6)


def test_gleam_shared_and_devices(batch):
    model = batched(toy(shared=True))
    expected = trained(gleam_shared(2, TX)(model, mean_square), model, batch)
    for mesh in (None, module_mesh(1)):
        own = trained(GleamShared(2).build(model, mean_square, TX, mesh=mesh), model, batch)
        assert_trees_close(own, expected, 1e-6)


def test_an_optimizer_and_a_loss_for_each_module(batch):
    """Rates of their own for the modules, as `per_module` has them."""
    model = batched(toy())
    tx, losses = [optax.adam(rate) for rate in (1e-2, 1e-3)], [mean_square, lambda x, y: 2 * mean_square(x, y)]
    expected = trained(from_grad_fn(gleam(2)(model, losses), per_module(tx, 2)), model, batch)
    own = trained(Gleam(2).build(model, losses, tx), model, batch)
    assert_trees_close(own, expected, 1e-6)


def test_what_p_gleam_leaves_open_is_chosen_for_the_devices():
    mesh = module_mesh(1)
    assert PGleam().on(mesh, n_updates=12) == PGleam(schedule="pipeline", n_batches=1)
    # up to four times the devices, a divisor of the updates
    assert PGleam(schedule="spmd").on(mesh, n_updates=9) == PGleam(schedule="spmd", n_batches=3)
    assert PGleam(4, "spmd", 2).on(mesh, n_updates=9) == PGleam(4, "spmd", 2)


def test_labels():
    model = toy()
    assert all(kind().label(model).startswith(name) for name, kind in STRATEGIES.items())
    labels = {
        Checkpointed(2): "checkpointed, every 2 steps",
        Invertible(0): "invertible, all steps",
        Invertible(1): "invertible, 1 checkpoints",
        Blockwise(1): "blockwise, steps 1 to 3",
        Gleam(): "gleam, 4 modules",
        GleamShared(2): "gleam_shared, 2 modules",
        PGleam(2): "p_gleam, 2 modules",
    }
    assert {config: config.label(model) for config in labels} == labels
    assert modules_of(EndToEnd(), model) == 1


def test_models_that_a_strategy_cannot_train_are_refused():
    model = batched(toy())
    absorbing = dataclasses.replace(model, absorb=lambda params, carry: params)
    for config in (Invertible(), Gleam(), PGleam(), DeepSupervision(), Blockwise()):
        with pytest.raises(ValueError, match="cannot train batch norm"):
            config.build(absorbing, mean_square, TX)
    for block in ((2, 1), (-1, 1), (0, 4)):
        with pytest.raises(ValueError, match="blockwise: there are no steps"):
            Blockwise(*block).build(model, mean_square, TX)
    with pytest.raises(ValueError, match="separate weights"):
        Blockwise().build(batched(toy(shared=True)), mean_square, TX)
    with pytest.raises(ValueError, match="shared weights"):
        GleamShared(2).build(model, mean_square, TX)


def test_a_block_learns_alone_and_the_network_stops_behind_it(batch):
    """Weight decay moves weights without a gradient, of other steps too."""
    model, config = batched(toy()), Blockwise(1, 2)
    params = jax.device_get(random_params(model, batch[0]))
    decaying = optax.adamw(1e-2, weight_decay=0.1)
    update = config.build(model, mean_square, decaying)
    state, metrics = update(update.init(params, jax.random.key(1)), *batch)
    for own, begun in zip(*map(jax.tree.leaves, (state.params, params)), strict=True):
        assert (np.asarray(own) != begun).tolist() == [False, True, True, False]
    image = run(stopped(model, config), params, batch[0])
    np.testing.assert_allclose(metrics["loss"], mean_square(image, batch[1]), rtol=1e-6)
    assert stopped(model, Gleam()) is model

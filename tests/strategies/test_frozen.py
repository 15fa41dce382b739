"""Parameters that keep their values: none of them moves, by whatever strategy and optimizer, and all others learn."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from support.models import batched
from support.problems import batch, random_params
from support.toy import mean_square, toy

from jaxrecon.models import with_untrained
from jaxrecon.strategies import (
    Checkpointed,
    DeepSupervision,
    EndToEnd,
    Gleam,
    GleamShared,
    Invertible,
    PGleam,
    module_mesh,
)
from jaxrecon.trees import is_named, leaves_by_name

# what would move weights without a gradient: decay before and after the moments, momentum, the norm of all of it
MOVING = optax.chain(
    optax.add_decayed_weights(0.1), optax.clip_by_global_norm(1e-2), optax.adamw(1e-2, weight_decay=0.1)
)
FROZEN = ["start", "steps/t"]
PLAIN = {
    "end to end": (EndToEnd(), None),
    "checkpointed": (Checkpointed(2), None),
    "invertible": (Invertible(1), None),
    "deep supervision": (DeepSupervision(), None),
    "gleam": (Gleam(2), None),
    "gleam shared": (GleamShared(2), None),
    **{f"p_gleam {how}": (PGleam(2, schedule=how), 1) for how in ("pipeline", "algorithm2", "spmd")},
}


def trained(config, patterns, *, n_devices=None, tx=MOVING, n_updates=3):
    """(parameters before, the state after)."""
    model = with_untrained(batched(toy(shared=isinstance(config, GleamShared), learned_start=True)), patterns)
    mesh = None if n_devices is None else module_mesh(n_devices)
    update = config.build(model, mean_square, tx, ema_decay=0.9, mesh=mesh)
    problem, target = batch()
    params = jax.device_get(random_params(model, problem))
    state = update.init(params, jax.random.key(1))
    for _ in range(n_updates):
        state, metrics = update(state, problem, target)
    assert np.isfinite(metrics["loss"])
    return params, jax.device_get(state)


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_frozen_does_not_move_and_all_else_does(name):
    config, n_devices = PLAIN[name]
    params, state = trained(config, FROZEN, n_devices=n_devices)
    for tree in (state.params, state.ema):
        for leaf, value in leaves_by_name(tree).items():
            same = np.array_equal(value, leaves_by_name(params)[leaf])
            assert same == is_named(leaf, FROZEN), leaf


def test_the_others_learn_as_if_the_frozen_ones_were_not_there():
    """A step of plain descent by the clipped gradient: its norm is that of what learns."""
    tx = optax.chain(optax.clip_by_global_norm(1e-6), optax.sgd(1.0))
    for config in (EndToEnd(), GleamShared(1), Gleam(1)):
        params, state = trained(config, ["start", "steps/t"], tx=tx, n_updates=1)
        moved = jax.tree.map(lambda a, b: np.sum((a - b) ** 2), params["steps"], state.params["steps"])
        np.testing.assert_allclose(np.sqrt(sum(moved.values())), 1e-6, rtol=0.1)


def test_names_that_do_not_fit_are_refused():
    problem, _ = batch()
    toy_of = lambda *patterns: with_untrained(batched(toy(learned_start=True)), patterns)
    with pytest.raises(
        ValueError,
        match=r"called steps/c, begin, which .*there are steps/a, steps/b, steps/t, steps/, start/scale, start/",
    ):
        jax.eval_shape(toy_of("steps/a", "steps/c", "begin").init, jax.random.key(0), problem)
    with pytest.raises(ValueError, match="nothing is left to train"):
        jax.eval_shape(toy_of("start", "s*").init, jax.random.key(0), problem)
    assert toy_of("start", "steps/t").untrained == ("start", "steps/t")


def test_moving_averages_of_batch_norm_stay_too():
    """`absorb` takes nothing back of what is frozen."""
    model = toy()
    carried = lambda params, carry: {**params, "start": {"mean": carry, "var": carry}}
    kept = with_untrained(dataclasses.replace(model, absorb=carried), ["*/mean"])
    after = kept.absorb({"start": {"mean": np.zeros(1), "var": np.zeros(1)}, "steps": {}}, np.ones(1))
    assert after["start"] == {"mean": 0, "var": 1}

"""Every model with every strategy: the admissible pairs agree with their reference, the others raise one clear error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.models import MODELS

from jaxrecon.complex_ops import magnitude
from jaxrecon.models import batched, build
from jaxrecon.operators import CartesianSense
from jaxrecon.problem import Problem
from jaxrecon.strategies import checkpointed, deep_supervision, end_to_end, gleam, invertible

Y, X, COILS, BATCH = 16, 18, 3, 2

NETWORKS = {name: build(config) for name, config in MODELS.items()}
STRATEGIES = ("end_to_end loop", "checkpointed", "deep_supervision", "gleam 1", "gleam N", "invertible")


def reason_against(model, strategy):
    """Why a strategy cannot train a network; None: it can."""
    if strategy == "invertible" and model.inverse is None:
        return "inverse"
    if model.absorb and strategy not in ("end_to_end loop", "checkpointed"):
        return "batch norm"
    if strategy.startswith("gleam") and model.shared:
        return "separate weights"
    return None


PAIRS = [(name, strategy, reason_against(NETWORKS[name], strategy)) for name in MODELS for strategy in STRATEGIES]
ADMISSIBLE = [(name, strategy) for name, strategy, reason in PAIRS if reason is None]
REFUSED = [pair for pair in PAIRS if pair[2]]


def strategy_of(name, n_steps):
    return {
        "end_to_end loop": end_to_end(loop=True),
        "checkpointed": checkpointed(),
        "deep_supervision": deep_supervision((0.0,) * (n_steps - 1) + (1.0,), underneath=checkpointed()),
        "gleam 1": gleam(1),
        "gleam N": gleam(n_steps),
        "invertible": invertible(0),
    }[name]


def loss(image, target):
    return jnp.mean(magnitude(image - target))


@pytest.fixture(scope="module")
def setups():
    """name -> (model over a batch, parameters, problems, targets, end-to-end loss and gradients), made once."""
    made = {}

    def make(name):
        if name not in made:
            rng = np.random.default_rng(1)
            single = NETWORKS[name]
            wants = single.wants
            frames = {"slice": (), "window": (wants.window,), "series": (3,)}[wants.input]
            draw = lambda *shape: rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
            maps = draw(BATCH, COILS, Y, X)
            maps /= np.sqrt(np.sum(np.abs(maps) ** 2, 1, keepdims=True))
            mask = rng.random((BATCH, *frames, *((1,) if frames else ()), 1, X)) < 0.5
            mask[..., X // 2 - 3 : X // 2 + 3] = True
            op = CartesianSense(jnp.asarray(maps, jnp.complex64), jnp.asarray(mask, jnp.float32))
            target = jnp.asarray(draw(BATCH, *frames, Y, X), jnp.complex64)
            kspace = jax.vmap(lambda op, x: op.forward(x))(op, target)
            if wants.image == "magnitude":
                target = jnp.abs(target)
            if wants.input == "window":
                target = target[:, wants.window // 2]
            model, problem = batched(single), Problem(kspace, op)
            params = model.init(jax.random.key(0), problem)
            if model.inverse:
                # x -> x + g(x) is inverted only where g is a contraction
                params = jax.tree.map(lambda a: 0.3 * a, params)
            reference = jax.jit(end_to_end()(model, loss))(params, problem, target)
            made[name] = model, params, problem, target, reference
        return made[name]

    return make


def relative(own, expected):
    flat = lambda tree: jnp.concatenate([jnp.ravel(a) for a in jax.tree.leaves(tree)])
    return float(jnp.linalg.norm(flat(own) - flat(expected)) / jnp.linalg.norm(flat(expected)))


@pytest.mark.parametrize(("name", "strategy"), ADMISSIBLE)
def test_admissible(setups, name, strategy):
    model, params, problem, target, ((value, _), gradients) = setups(name)
    (own_value, aux), own = jax.jit(strategy_of(strategy, model.n_steps)(model, loss))(params, problem, target)
    # every parameter tree comes back whole and finite
    assert jax.tree.structure(own) == jax.tree.structure(params)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(own))
    np.testing.assert_allclose(own_value, value, rtol=1e-5)
    if strategy == "gleam N" and model.n_steps > 1:
        assert aux["losses"].shape == (model.n_steps,)
        # the last module's gradient is end to end's own for the last step; the first learns from its own loss
        last = lambda tree: jax.tree.map(lambda a: a[-1], tree["steps"])
        first = lambda tree: jax.tree.map(lambda a: a[0], tree["steps"])
        assert relative(last(own), last(gradients)) < 1e-4
        assert relative(first(own), first(gradients)) > 1e-3
    else:
        # remat and loops reorder sums only; inversion adds the round trip of 40 fixed-point iterations in single precision
        assert relative(own, gradients) < (2e-3 if strategy == "invertible" else 2e-5)
    if strategy == "invertible":
        assert aux["round_trip"] < 1e-4


@pytest.mark.parametrize(("name", "strategy", "reason"), REFUSED)
def test_refused(setups, name, strategy, reason):
    model, params, problem, target, _ = setups(name)
    with pytest.raises(ValueError, match=reason):
        strategy_of(strategy, model.n_steps)(model, loss)(params, problem, target)


def test_the_rule_says_of_known_networks_what_is_known():
    known = {
        "separate weights": {
            "unet", "varnet", "modl-gleam", "modl-cine", "pgd", "pgd-cine", "promptmr", "promptmr-plus",
            "deep-jsense, separate",
        },
        "shared weights": {"modl", "modl, frozen", "pgd, shared", "deep-jsense", "modl-deep-jsense"},
    }  # fmt: skip
    of = lambda strategy: {name for name, own in ADMISSIBLE if own == strategy} & set.union(*known.values())
    assert of("gleam 1") == of("gleam N") == known["separate weights"]
    assert of("end_to_end loop") == of("checkpointed") == set.union(*known.values())
    assert of("deep_supervision") == of("checkpointed") - {"modl"}
    assert of("invertible") == {"modl-gleam", "modl-cine"}


def test_inversion_of_an_expanding_network_is_reported(setups):
    """Where the inversion does not converge the gradient is wrong, and the round-trip error says so."""
    name = "modl-gleam"
    model, params, problem, target, _ = setups(name)
    params = jax.tree.map(lambda a: 4 * a, params)
    _, exact = jax.jit(end_to_end()(model, loss))(params, problem, target)
    (_, aux), own = jax.jit(invertible(0)(model, loss))(params, problem, target)
    assert relative(own, exact) > 0.05
    assert not aux["round_trip"] < 0.05

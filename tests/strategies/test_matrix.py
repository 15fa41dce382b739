"""Every model with every strategy: the admissible pairs agree with end to end, the others raise one clear error.

Each model is compared in numbers under `checkpointed` and `gleam`, each strategy on two models (`invertible` also on the toy of
test_strategies.py); all other pairs by the shapes and dtypes of their gradients.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.greedy import latent_learns
from support.models import MODELS, batched
from support.problems import problem_for, random_params, stack
from support.programs import all_finite, gradient, mean_error, relative, strategy

from jaxrecon.models import build

NETWORKS = {name: build(config) for name, config in MODELS.items()}
STRATEGIES = ("end_to_end loop", "checkpointed", "deep_supervision", "blockwise", "gleam 1", "gleam N", "invertible")


def reason_against(model, kind):
    """Why a strategy cannot train a network; None: it can."""
    if kind == "invertible" and model.inverse is None:
        return "inverse"
    if model.absorb and kind not in ("end_to_end loop", "checkpointed"):
        return "batch norm"
    if kind.startswith(("gleam", "blockwise")) and model.shared:
        return "separate weights"
    return None


PAIRS = [(name, kind, reason_against(NETWORKS[name], kind)) for name in MODELS for kind in STRATEGIES]
ADMISSIBLE = [(name, kind) for name, kind, reason in PAIRS if reason is None]
REFUSED = [pair for pair in PAIRS if pair[2]]
THROUGHOUT = ("modl-gleam", "pgd")
"""Two models that are compared in numbers under every strategy."""
VARIANTS = (
    *("modl, frozen", "modl-cine", "pgd, shared", "pgd-cine", "deep-jsense", "d5c5"),
    *("magnitude-unet", "updnet"),
)
"""Other configurations of models that are compared in numbers: their gradients have the same code, and here the shapes."""
IN_NUMBERS = [
    (name, kind)
    for name, kind in ADMISSIBLE
    if name in THROUGHOUT or (kind in ("checkpointed", "gleam N") and name not in VARIANTS)
]


@functools.cache
def setup(name):
    """(model, parameters, problem, target); over a batch of two where it matters, and for those two: it takes twice the time."""
    model = NETWORKS[name]
    given, target = problem_for(model)
    if name in THROUGHOUT or model.absorb:
        given, target = stack((given, target), problem_for(model, seed=1))
        model = batched(model)
    params = random_params(model, given)
    if model.inverse:
        # x -> x + g(x) is inverted only where g is a contraction
        params = jax.tree.map(lambda a: 0.3 * np.asarray(a), params)
    return model, params, given, target


@functools.cache
def result(name, kind="end_to_end"):
    """((loss, aux), gradients)."""
    model, *arguments = setup(name)
    return jax.device_get(gradient(kind, model)(*arguments))


@pytest.mark.parametrize(("name", "kind"), IN_NUMBERS)
def test_equals_end_to_end(name, kind):
    model, params, *_ = setup(name)
    (value, expected), gradients = result(name)
    (own_value, aux), own = result(name, kind)
    # every parameter tree comes back whole and finite
    assert jax.tree.structure(own) == jax.tree.structure(params)
    assert all_finite(own)
    np.testing.assert_allclose(own_value, value, rtol=1e-5)
    if kind == "gleam N" and model.n_steps > 1:
        assert aux["losses"].shape == (model.n_steps,)
        # the last module's gradient is end to end's own for the last step; the first learns from its own loss
        last = lambda tree: jax.tree.map(lambda a: a[-1], tree["steps"])
        first = lambda tree: jax.tree.map(lambda a: a[0], tree["steps"])
        assert relative(last(own), last(gradients)) < 1e-4
        assert relative(first(own), first(gradients)) > 1e-3
    elif kind == "blockwise":
        # the second half of the steps learns what it learns end to end, the first nothing
        half = model.n_steps // 2
        expected = jax.tree.map(
            lambda a: np.where(np.arange(len(a)).reshape(-1, *[1] * (a.ndim - 1)) < half, 0, a), gradients
        )
        assert relative(own["steps"], expected["steps"]) < 2e-5 and not np.any(jax.tree.leaves(own["start"]))
    else:
        # remat and loops reorder sums only; inversion adds the round trip of 40 fixed-point iterations in single precision
        assert relative(own, gradients) < (2e-3 if kind == "invertible" else 2e-5)
    if kind == "invertible":
        assert aux["round_trip"] < 1e-4
    if model.absorb:
        # batch norm: the moving averages in the carry
        assert relative(aux["carry"], expected["carry"]) < 2e-5


@pytest.mark.parametrize(("name", "kind"), [pair for pair in ADMISSIBLE if pair not in IN_NUMBERS])
def test_gradients_have_the_shapes_of_the_parameters(name, kind):
    model, params, *data = setup(name)
    (value, aux), own = jax.eval_shape(gradient(kind, model), params, *data)
    shapes = lambda tree: jax.tree.map(lambda a: (a.shape, a.dtype), tree)
    assert shapes(own) == shapes(params)
    assert shapes(value) == ((), jnp.float32)
    assert "gleam" not in kind or aux["losses"].shape == (1 if kind == "gleam 1" else model.n_steps,)


@pytest.mark.parametrize(("name", "kind", "reason"), REFUSED)
def test_refused(name, kind, reason):
    model = NETWORKS[name]
    with pytest.raises(ValueError, match=reason):
        strategy(kind, model.n_steps)(model, mean_error)


def test_the_rule_says_of_known_networks_what_is_known():
    known = {
        "separate weights": {
            "unet", "varnet", "modl-gleam", "modl-cine", "pgd", "pgd-cine", "promptmr", "promptmr-plus",
            "deep-jsense, separate", "cascade", "d5c5", "kiki", "pdnet", "magnitude-unet", "updnet", "xpdnet",
        },
        "shared weights": {"modl", "modl, frozen", "pgd, shared", "deep-jsense", "modl-deep-jsense"},
    }  # fmt: skip
    of = lambda kind: {name for name, own in ADMISSIBLE if own == kind} & set.union(*known.values())
    assert of("blockwise") == of("gleam 1") == of("gleam N") == known["separate weights"]
    assert of("end_to_end loop") == of("checkpointed") == set.union(*known.values())
    assert of("deep_supervision") == of("checkpointed") - {"modl"}
    assert of("invertible") == {"modl-gleam", "modl-cine"}


def test_the_latent_of_promptmr_plus_learns_only_through_a_later_step_of_its_module():
    """End to end the last step's does not, in modules of one step none."""
    learns = [
        latent_learns(result("promptmr-plus", kind)[1], MODELS["promptmr-plus"]) for kind in ("end_to_end", "gleam N")
    ]
    assert learns == [[True, False], [False, False]]


def test_inversion_of_an_expanding_network_is_reported():
    """Where the inversion does not converge the gradient is wrong, and the round-trip error says so."""
    model, params, *data = setup("modl-gleam")
    params = jax.tree.map(lambda a: 4 * a, params)
    _, exact = gradient("end_to_end", model)(params, *data)
    (_, aux), own = gradient("invertible", model)(params, *data)
    assert relative(own, exact) > 0.05
    assert not aux["round_trip"] < 0.05

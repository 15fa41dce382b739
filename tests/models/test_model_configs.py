"""Configurations: equal ones are one network, whatever they hold; what a network wants is held to; clear refusals."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.dense_dft import DENSE_DFT
from support.problems import problem
from support.toy import toy
from support.type_check import as_user

from jaxrecon import models
from jaxrecon.models import Unrolled, Wants, abstract_params, batched, build, unrolled
from jaxrecon.problem import Problem


@dataclasses.dataclass(frozen=True)
class Own:
    """A user's, with unheard-of fields."""

    rungs: int = 3
    palette: list[str] = dataclasses.field(default_factory=list)

    def build(self):
        return dataclasses.replace(toy(n_steps=self.rungs))


@dataclasses.dataclass(frozen=True)
class Named(Own):
    palette: tuple[str, ...] = ()


class First(NamedTuple):
    rungs: int = 2

    def build(self):
        return toy(n_steps=self.rungs)


class Second(NamedTuple):
    rungs: int = 2

    def build(self):
        return toy(n_steps=self.rungs, shared=True)


def test_equal_configurations_are_one_network():
    assert build(models.PGDConfig(n_steps=3)) is build(dataclasses.replace(models.PGDConfig(), n_steps=3))
    assert build(models.PGDConfig(n_steps=3)) is not build(models.PGDConfig(n_steps=4))
    assert build(Named(rungs=2)) is build(Named(rungs=2)) and build(Named(rungs=2)).n_steps == 2
    # equal as tuples are, and yet not the same
    assert First() == Second() and build(Second()).shared and not build(First()).shared


def test_one_compilation_for_equal_configurations():
    traced = []
    run = jax.jit(lambda x, model: (traced.append(model), x)[1], static_argnames="model")
    for config in (models.PGDConfig(n_steps=3), models.PGDConfig(n_steps=3)):
        run(jnp.zeros(()), model=build(config))
    assert len(traced) == 1


def test_what_cannot_be_hashed_is_built_each_time():
    own = Own(palette=["red"])
    with pytest.raises(TypeError):
        hash(own)
    assert build(own).n_steps == 3 and build(own) is not build(own)
    assert jax.tree.leaves(abstract_params(own))


@pytest.mark.parametrize("config", [3, models.PGDConfig, models.pgd(models.PGDConfig()), {"n_steps": 3}])
def test_what_is_no_configuration_is_refused(config):
    with (
        as_user(),
        pytest.raises(ValueError, match=r"expected the configuration of a network, with a method build\(\)"),
    ):
        build(config)


def test_any_configuration_can_be_told_at_run_time():
    """As the command line does, which makes its options from what is one."""
    assert issubclass(models.PGDConfig, models.ModelConfig) and isinstance(Own(), models.ModelConfig)
    assert not isinstance({"n_steps": 3}, models.ModelConfig)


def test_a_build_that_builds_nothing_is_refused():
    broken = dataclasses.make_dataclass("Broken", [], namespace={"build": lambda self: None}, frozen=True)
    with pytest.raises(ValueError, match=r"Broken\.build must return an Unrolled, but it returns None"):
        build(broken())


def counting(step, **wants):
    """A network of two scalars whose step is given."""
    return unrolled(
        n_steps=2,
        shared=True,
        init_step=lambda key, carry, context: jnp.ones(()),
        start=lambda params, problem: (jnp.zeros(()), problem.kspace.real.sum()),
        step=step,
        finish=lambda carry, context: carry,
        wants=Wants(**wants),
    )


def test_a_step_that_uses_its_number_though_it_says_not_is_refused():
    given, key = problem()[0], jax.random.key(0)
    unused = lambda theta, carry, context, i: carry + theta * context
    dead = lambda theta, carry, context, i: carry + theta * (jnp.where(i == 0, context, 1.0), context)[1]
    used = lambda theta, carry, context, i: carry + theta * jnp.where(i == 0, context, 1.0)
    handed_on = lambda theta, carry, context, i: jax.lax.cond(theta > 0, lambda n: n * 1.0, lambda n: 0.0, i)
    for step in (unused, dead):
        counting(step, uses_index=False).init(key, given)
    for step in (used, handed_on):
        counting(step, uses_index=True).init(key, given)
        with pytest.raises(ValueError, match=r"says that its step does not use i .*, but the step does"):
            counting(step, uses_index=False).init(key, given)
        with pytest.raises(ValueError, match="does not use i"):
            batched(counting(step, uses_index=False)).init(key, jax.tree.map(lambda a: np.asarray(a)[None], given))


@pytest.mark.parametrize(
    ("wants", "reason"),
    [
        ({"maps": "give"}, "maps must be one of given, estimated, none, not 'give'"),
        ({"input": "volume"}, "input must be one of slice, window, series"),
        ({"input": "window", "window": 4}, "window must be odd and positive"),
        ({"window": 3}, "1 unless input is 'window', not 3 of a slice"),
        ({"steps_per_module": 0}, "steps_per_module must be 1 or more"),
        ({"example_size": 0}, "example_size must be 1 or more"),
    ],
)
def test_wants_are_checked(wants, reason):
    with as_user(), pytest.raises(ValueError, match=reason):
        Wants(**wants)


@pytest.mark.parametrize(
    ("kind", "wrong", "reason"),
    [
        (models.UNetConfig, {"features": 0}, "features must be 1 or more, not 0"),
        (models.UNetConfig, {"pools": -1}, "pools must be 0 or more"),
        (models.VarNetConfig, {"n_steps": 0}, "n_steps must be 1 or more"),
        (models.VarNetConfig, {"sens_features": 0}, "sens_features must be 1 or more"),
        (models.MoDLConfig, {"layers": 0}, "layers must be 1 or more"),
        (models.MoDLConfig, {"norm": "group"}, "norm must be one of none, frozen, batch, not 'group'"),
        (models.MoDLConfig, {"ndim": 4}, "ndim must be 2 for images or 3 for frames, not 4"),
        (models.PGDConfig, {"blocks": 0}, "blocks must be 1 or more"),
        (models.PGDConfig, {"ndim": 1}, "ndim must be 2"),
        (models.DeepJSenseConfig, {"features": 0}, "features must be 1 or more"),
        (models.PromptMRConfig, {"n_adjacent": 4}, "n_adjacent must be odd"),
    ],
)
def test_sizes_that_make_no_network_are_refused(kind, wrong, reason):
    with as_user(), pytest.raises(ValueError, match=reason):
        build(kind(**wrong))


def test_networks_of_the_grid_refuse_other_encodings():
    example = {
        name: jnp.zeros(array.shape, array.dtype) for name, array in DENSE_DFT.abstract((2, 8, 8), (1, 8)).items()
    }
    problem = Problem.from_example(example, DENSE_DFT)
    for config in (models.VarNetConfig(), models.DeepJSenseConfig(), models.PromptMRConfig()):
        with pytest.raises(ValueError, match="works on the grid of k-space: it needs a Cartesian problem"):
            build(config).init(jax.random.key(0), problem)


def test_parameters_do_not_depend_on_the_size_of_the_example():
    """What `abstract_params` relies on, for a network that is deeper than its usual example is large."""
    config = models.UNetConfig(features=1, pools=7)
    like = abstract_params(config)
    model = build(config)
    problem = models.configs._example(dataclasses.replace(model, wants=Wants(maps="none", example_size=150)))
    assert jax.tree.map(np.shape, jax.eval_shape(model.init, jax.random.key(0), problem)) == jax.tree.map(
        np.shape, like
    )
    assert isinstance(model, Unrolled)

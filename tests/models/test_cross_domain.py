"""Cross-domain networks: published sizes, stages of KIKI-net, coils, maps of the middle of k-space, what is refused."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.models import MODELS
from support.problems import problem, problem_for, random_params
from support.programs import gradient, run
from support.type_check import as_user

from jaxrecon import models
from jaxrecon.models import abstract_params, build
from jaxrecon.models.cross_domain import center_maps
from jaxrecon.operators import CartesianSense
from jaxrecon.problem import Problem
from jaxrecon.strategies.configs import Gleam, modules_of

COUNTS = {
    models.CascadeConfig(): 424_570,
    models.CascadeConfig(learn_consistency=True): 424_571,
    models.D5C5: 565_770,
    models.KIKIConfig(): 1_251_080,
    models.PDNetConfig(): 318_280,
    models.PDNET_BENCHMARK: 318_280,
    models.PDNetConfig(primal_only=True): 156_260,
    models.MagnitudeUNetConfig(): 481_801,
    models.MagnitudeUNetConfig(penultimate_activation=True): 481_801,
    models.UPDNetConfig(): 607_520,
    models.UPDNET_KNEE: 12_126_858,
    models.XPDNetConfig(): 62_211_620,
    models.XPDNET_BRAIN_2020_SUBMITTED: 155_536_508,
    models.XPDNET_BRAIN_2020: 155_649_840,
}


def n_params(config):
    return sum(leaf.size for leaf in jax.tree.leaves(abstract_params(config)))


@pytest.mark.parametrize("config", COUNTS, ids=str)
def test_published_sizes(config):
    assert n_params(config) == COUNTS[config]


@functools.cache
def kiki_stage(last):
    """(model, its image) with the same weights for every stage."""
    given, _ = problem()
    config = dataclasses.replace(MODELS["kiki"], last=last)
    model = build(config)
    return model, np.asarray(run(model, random_params(model, given), given, n_steps=None))


def test_stages_of_kiki():
    """Each stops behind its network; in k-space the image is complex, and the one that the next network begins with."""
    given, target = problem()
    whole = build(MODELS["kiki"])
    params = random_params(whole, given)
    every = np.asarray(run(whole, params, given, every_step=True))
    for last, expected in (("I1", every[0]), ("I2", every[1])):
        model, image = kiki_stage(last)
        np.testing.assert_allclose(image, expected, rtol=1e-5, atol=1e-6)
        assert model.wants.image == "magnitude"
    for last in ("K1", "K2"):
        model, image = kiki_stage(last)
        assert model.wants.image == "complex" and np.iscomplexobj(image)
    model, image = kiki_stage("K1")
    theta = jax.tree.map(lambda a: a[0], params["steps"])
    identity = jax.tree.map(jnp.zeros_like, theta["image_net"])  # a residual network of zeros
    first = run(
        whole,
        {"start": {}, "steps": jax.tree.map(lambda a: a[None], {**theta, "image_net": identity})},
        given,
        n_steps=1,
    )
    np.testing.assert_allclose(np.abs(image), first, rtol=1e-5, atol=1e-6)
    _, gradients = gradient("end_to_end", model)(params, given, target)
    learns = jax.tree.map(lambda a: np.any(np.asarray(a), tuple(range(1, a.ndim))).tolist(), gradients["steps"])
    assert jax.tree.leaves(learns["image_net"], is_leaf=lambda a: isinstance(a, list)) == [[False, False]] * 4
    assert all(
        leaf == [True, False] for leaf in jax.tree.leaves(learns["kspace_net"], is_leaf=lambda a: isinstance(a, list))
    )


@pytest.mark.parametrize("last", ["K3", "J1", "K0", "", "1"])
def test_a_network_that_kiki_does_not_have(last):
    with pytest.raises(ValueError, match="last must be one of the networks K1, I1, K2, I2"):
        build(models.KIKIConfig(last=last))


def test_coils_with_constant_maps_are_one_coil():
    given, _ = problem(coils=1)
    one = given.replace(op=given.op.replace(maps=jnp.ones_like(given.op.maps)))
    parts = np.array([0.6, 0.8j], np.complex64)[:, None, None]
    kspace, maps = (jnp.array(parts * np.asarray(a)) for a in (one.kspace, one.op.maps))
    two = Problem(kspace, one.op.replace(maps=maps))
    model = build(MODELS["cascade"])
    params = random_params(model, one)
    np.testing.assert_allclose(run(model, params, two), run(model, params, one), rtol=1e-5, atol=1e-6)


def test_an_image_is_zero_where_the_maps_are():
    """Whatever the biases of the networks are."""
    given, _ = problem()
    given = given.replace(op=given.op.replace(maps=given.op.maps.at[:, 2:5].set(0)))
    model = build(MODELS["cascade"])
    image = np.asarray(run(model, random_params(model, given), given))
    assert not image[2:5].any() and image[:2].all() and image[5:].all()


def test_maps_of_the_middle_of_kspace():
    """An eighth along y of 20 are 2 samples, a third along x of 12 are 4; where there is no signal they are 0."""
    rng = np.random.default_rng(0)
    kspace = (rng.standard_normal((3, 20, 12)) + 1j * rng.standard_normal((3, 20, 12))).astype(np.complex64)
    with pytest.raises(ValueError, match=r"center 0.125 of k-space of size \(20, 12\) holds no sample"):
        center_maps(jnp.asarray(kspace), 0.125)
    low = np.zeros_like(kspace)
    low[:, 8:12, 4:8] = kspace[:, 8:12, 4:8]
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(low, (1, 2))), (1, 2))
    own = center_maps(jnp.asarray(kspace), 0.34)
    low[:, 7:13], low[:, :, 4:8] = 0, low[:, :, 4:8]
    window = np.zeros((20, 12), bool)
    window[7:13, 4:8] = True
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace * window, (1, 2))), (1, 2))
    np.testing.assert_allclose(own, images / np.sqrt((np.abs(images) ** 2).sum(0)), rtol=1e-3, atol=1e-4)
    assert not np.any(center_maps(jnp.zeros((3, 20, 12), jnp.complex64), 0.34))


def test_problems_that_are_refused():
    given, _ = problem()
    model = build(MODELS["pdnet"])
    params = random_params(model, given)
    call = lambda one: jax.eval_shape(functools.partial(models.run, model), params, one)
    with as_user():
        with pytest.raises(ValueError, match="the problem has no coil maps, and 3 coils"):
            call(given.replace(op=given.op.replace(maps=None)))
        for coils in (1, 2):
            with pytest.raises(ValueError, match=f"maps have {coils} coils, kspace has 3"):
                call(given.replace(op=given.op.replace(maps=given.op.maps[:coils])))
            with pytest.raises(ValueError, match=f"maps have 3 coils, kspace has {coils}"):
                call(given.replace(kspace=given.kspace[:coils]))
        with pytest.raises(ValueError, match="the coil maps have 2 sets"):
            call(given.replace(op=CartesianSense(jnp.stack([given.op.maps] * 2), given.op.encoding.mask)))


@pytest.mark.parametrize(
    ("kind", "wrong", "reason"),
    [
        (models.CascadeConfig, {"n_steps": 0}, "n_steps must be 1 or more"),
        (models.CascadeConfig, {"image": "phase"}, "image must be one of magnitude, complex"),
        (models.KIKIConfig, {"layers": 0}, "layers must be 1 or more"),
        (models.PDNetConfig, {"n_dual": 0}, "n_kspace must be 1 or more"),
        (models.PDNetConfig, {"forward_channel": 5}, "forward_channel 5: there are image channels 0 to 4"),
        (models.UPDNetConfig, {"features": ()}, "levels must be 1 or more"),
        (models.MagnitudeUNetConfig, {"features": (4, 0)}, "features must be 1 or more"),
        (models.XPDNetConfig, {"dual_net": "gan"}, "dual_net must be one of none, cnn, didn"),
        (models.XPDNetConfig, {"center": -0.1}, "center must be within 0 and 1"),
    ],
)
def test_sizes_that_make_no_network(kind, wrong, reason):
    with as_user(), pytest.raises(ValueError, match=reason):
        build(kind(**wrong))


def test_consistency_is_learned_only_where_something_is_replaced():
    with pytest.raises(ValueError, match="learn_consistency needs consistency 'replacement'"):
        models.Domains(learn_consistency=True)


@pytest.mark.parametrize(
    ("config", "modules"), [(models.PDNET_BENCHMARK, 5), (models.XPDNET_BRAIN_2020, 5), (models.KIKIConfig(), 2)]
)
def test_modules_in_which_all_channels_learn(config, modules):
    assert modules_of(Gleam(), build(config)) == modules


def test_nothing_measured_gives_zeros():
    """No k-space at all: maps of the middle, their norm and both maxima are 0."""
    model = build(MODELS["xpdnet"])
    given, target = problem_for(model)
    empty = given.replace(kspace=jnp.zeros_like(given.kspace))
    (value, _), gradients = gradient("end_to_end", model)(random_params(model, given), empty, target)
    np.testing.assert_allclose(value, np.mean(np.abs(target)), rtol=1e-6)  # the image is 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradients))

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.models import TINY, abstract
from support.problems import problem_for, random_params, with_mask
from support.programs import all_finite, gradient, run

from jaxrecon.complex_ops import rss
from jaxrecon.fourier import fftc, ifftc
from jaxrecon.models import VarNetConfig, build
from jaxrecon.models.varnet import VARNET_DEEP_JSENSE, VARNET_DEMO
from jaxrecon.nn import NormUNet

SMALL = TINY["varnet"]
MODEL = build(SMALL)


@pytest.mark.parametrize(
    ("config", "count", "maps_count"),
    [
        (VarNetConfig(), 29_936_966, 484_898),
        (VARNET_DEMO, 20_119_610, 484_898),
        (VARNET_DEEP_JSENSE, 1_744_404, 120_354),
        (dataclasses.replace(VARNET_DEEP_JSENSE, sens_pools=4), 2_108_948, 484_898),
    ],
)
def test_published_numbers_of_parameters(config, count, maps_count):
    params = abstract(dataclasses.replace(config, n_steps=1))
    size = lambda part: sum(leaf.size for leaf in jax.tree.leaves(params[part]))
    # more steps have a longer leading axis
    assert (size("start") + config.n_steps * size("steps"), size("start")) == (count, maps_count)


@functools.cache
def setup():
    """(parameters, problem, target, results of all steps)."""
    given, target = problem_for(MODEL, maps=False)
    params = random_params(MODEL, given)
    return params, given, target, run(MODEL, params, given, every_step=True, carry=True)


def test_written_out():
    """Two cascades by hand, from the maps that the model estimated."""
    params, given, _, (images, last, (_, op)) = setup()
    net = NormUNet(SMALL.features, SMALL.pools)
    np.testing.assert_allclose(rss(op.maps), 1, rtol=1e-5)

    @jax.jit
    def step(theta, k, given, maps):
        refined = net.apply(theta["net"], jnp.sum(jnp.conj(maps) * ifftc(k), 0)[None])
        sampled = given.op.encoding.mask[None] != 0
        k = k - jnp.where(sampled, k - given.kspace, 0) * theta["dc_weight"] - fftc(maps * refined)
        return k, rss(ifftc(k))

    k = given.kspace
    for i in range(2):
        k, image = step(jax.tree.map(lambda a, i=i: np.asarray(a)[i], params["steps"]), k, given, op.maps)
        np.testing.assert_allclose(images[i], image, atol=1e-4)
    np.testing.assert_allclose(last, k, atol=1e-4)


def test_forms_of_the_mask_and_given_calibration():
    """A collapsed mask is the full one; a given region replaces the detected one; no mask is a full mask."""
    params, given, _, (images, *_) = setup()
    reconstruct = lambda own: run(MODEL, params, own, every_step=True, carry=True)[0]
    mask = np.asarray(given.op.encoding.mask)
    np.testing.assert_allclose(reconstruct(with_mask(given, mask[0])), images, atol=1e-5)
    full, none = with_mask(given, np.ones_like(mask)), with_mask(given, None)
    np.testing.assert_allclose(reconstruct(none), reconstruct(full), atol=1e-5)
    maps = jax.jit(lambda own: MODEL.start(params["start"], own)[1][1].maps)
    found, region = np.asarray(maps(given)), np.isin(np.arange(10), range(3, 7)).astype(np.float32)
    np.testing.assert_allclose(maps(given.replace(acs=region)), found, atol=1e-5)
    other = np.isin(np.arange(10), range(4, 6)).astype(np.float32)
    assert np.abs(np.asarray(maps(given.replace(acs=other[None]))) - found).max() > 1e-3


def test_the_first_weight_has_no_gradient():
    params, given, target, _ = setup()
    gradients = jax.device_get(gradient("end_to_end", MODEL)(params, given, target)[1])
    first, second = gradients["steps"]["dc_weight"]
    assert first == 0 and second != 0
    assert all_finite(gradients) and all(leaf.any() for leaf in jax.tree.leaves(gradients["start"]))

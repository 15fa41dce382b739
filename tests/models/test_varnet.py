import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.problems import n_parameters, problem, with_mask

from jaxrecon.complex_ops import rss
from jaxrecon.fourier import fftc, ifftc
from jaxrecon.models import VarNetConfig, batched, run, stack_problems, varnet
from jaxrecon.models.varnet import VARNET_DEEP_JSENSE, VARNET_DEMO
from jaxrecon.nn import NormUNet

SMALL = VarNetConfig(n_steps=2, features=2, pools=1, sens_features=2, sens_pools=1)


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
    assert n_parameters(varnet(config), maps=False, part=None) == count
    assert n_parameters(varnet(config), maps=False, part="start") == maps_count


@pytest.fixture(scope="module")
def setup():
    given, _ = problem(maps=False)
    model = varnet(SMALL)
    params = jax.jit(model.init)(jax.random.key(0), given)
    params["steps"]["dc_weight"] = jnp.array([0.7, 0.6])
    return model, params, given


def test_written_out(setup):
    """Two cascades by hand, from the maps that the model estimated."""
    model, params, given = setup
    image, kspace, (_, op) = jax.jit(lambda p, g: run(model, p, g, carry=True))(params, given)
    net = jax.jit(NormUNet(2, 1).apply)
    k, y, sampled = (
        given.kspace,
        given.kspace,
        np.broadcast_to(given.op.encoding.mask, given.kspace.shape[-2:])[None] != 0,
    )
    maps = op.maps
    np.testing.assert_allclose(rss(maps), 1, rtol=1e-5)
    for i, eta in enumerate((0.7, 0.6)):
        combined = jnp.sum(jnp.conj(maps) * ifftc(k), 0)
        refined = net(jax.tree.map(lambda a, i=i: a[i], params["steps"]["net"]), combined[None])
        k = k - jnp.where(sampled, k - y, 0) * eta - fftc(maps * refined)
    np.testing.assert_allclose(kspace, k, atol=1e-4)
    np.testing.assert_allclose(image, np.sqrt(np.sum(np.abs(ifftc(k)) ** 2, 0)), atol=1e-4)


def test_one_and_two_steps_scan_loop_and_batch(setup):
    model, params, given = setup
    every = jax.jit(lambda p, g: run(model, p, g, every_step=True))(params, given)
    single = varnet(dataclasses.replace(SMALL, n_steps=1))
    first = {"start": params["start"], "steps": jax.tree.map(lambda a: a[:1], params["steps"])}
    np.testing.assert_allclose(jax.jit(lambda p, g: run(single, p, g))(first, given), every[0], atol=1e-4)
    loop = jax.jit(lambda p, g: run(model, p, g, loop=True))(params, given)
    np.testing.assert_allclose(loop, every[1], atol=1e-4)
    # each example has its own calibration region
    other = with_mask(given, jnp.ones_like(given.op.encoding.mask)).replace(kspace=given.kspace[::-1])
    batch = jax.jit(lambda p, g: run(batched(model), p, g))(params, stack_problems([other, given]))
    np.testing.assert_allclose(batch[1], every[1], atol=1e-4)
    alone = jax.jit(lambda p, g: run(model, p, g))(params, other)
    np.testing.assert_allclose(batch[0], alone, atol=1e-4)


def test_forms_of_the_mask_and_given_calibration(setup):
    """A collapsed mask is the full one; a given region replaces the detected one; no mask is a full mask."""
    model, params, given = setup
    reconstruct = jax.jit(lambda p, g: run(model, p, g))
    expected = reconstruct(params, given)
    flat = with_mask(given, given.op.encoding.mask[0])
    np.testing.assert_allclose(reconstruct(params, flat), expected, atol=1e-5)
    same = given.replace(acs=jnp.zeros((10,)).at[3:7].set(1))
    other = given.replace(acs=jnp.zeros((1, 10)).at[:, 4:6].set(1))
    detected = np.ravel(given.op.encoding.mask)[2] * np.ravel(given.op.encoding.mask)[7]
    assert detected == 0, "the problem's calibration region is larger than its centre"
    np.testing.assert_allclose(reconstruct(params, same), expected, atol=1e-5)
    assert np.abs(reconstruct(params, other) - expected).max() > 1e-3
    full = with_mask(given, jnp.ones((1, 10)))
    none = with_mask(given, None)
    np.testing.assert_allclose(reconstruct(params, none), reconstruct(params, full), atol=1e-5)


def test_the_first_weight_has_no_gradient(setup):
    model, params, given = setup
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(run(model, p, given) ** 2)))(params)
    first, second = gradient["steps"]["dc_weight"]
    assert first == 0 and second != 0
    assert all(np.isfinite(leaf).all() and np.any(leaf != 0) for leaf in jax.tree.leaves(gradient["start"]))

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.problems import random_variables

from jaxrecon import nn


@functools.partial(jax.jit, static_argnums=0)
def apply(net, params, x):
    return net.apply(params, x)


@pytest.fixture(scope="module")
def small():
    """(network, parameters, an image of odd size)."""
    net = nn.UNet(2, features=3, pools=2)
    x = np.random.default_rng(1).standard_normal((2, 3, 13, 10, 2)).astype(np.float32)
    return net, random_variables(net, np.zeros((8, 8, 2), np.float32)), x


def test_odd_sizes_and_leading_axes(small):
    net, params, x = small
    y = apply(net, params, x)
    assert y.shape == x.shape and y.dtype == x.dtype
    np.testing.assert_allclose(np.asarray(y)[1, 2], apply(net, params, x[1, 2]), atol=1e-5)


def test_too_small_an_image(small):
    net, params, _ = small
    with pytest.raises(ValueError, match=r"\(3, 8\) pixels is too small for 2 poolings"):
        net.apply(params, jnp.zeros((3, 8, 2)))


def test_dropout_only_with_a_key(small):
    net, params, x = small
    x, dropping = x[1, 2], net.clone(drop_rate=0.5)
    np.testing.assert_allclose(apply(dropping, params, x), apply(net, params, x), atol=1e-6)
    drop = jax.jit(lambda key: dropping.apply(params, jnp.array(x), rngs={"dropout": key}))
    drops = [np.asarray(drop(jax.random.key(k))) for k in (3, 3, 4)]
    np.testing.assert_array_equal(drops[0], drops[1])
    assert not np.allclose(drops[0], drops[2])


def test_bfloat16_keeps_the_dtype(small):
    net, params, x = small
    y = apply(net.clone(dtype=jnp.bfloat16), params, x[1, 2])
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(y, apply(net, params, x[1, 2]), atol=0.15)


@pytest.fixture(scope="module")
def norm_unet():
    net = nn.NormUNet(features=2, pools=1)
    return net, random_variables(net, np.zeros((1, 8, 8), np.complex64))


def test_norm_unet_follows_unit_and_offset(norm_unet, random_complex):
    """A change of unit or offset of either part passes through."""
    x = np.asarray(random_complex((1, 13, 18)))
    reconstruct = lambda x: np.asarray(apply(*norm_unet, x))
    y = reconstruct(x)
    np.testing.assert_allclose(reconstruct(1e-5 * x) * 1e5, y, atol=1e-4)
    np.testing.assert_allclose(reconstruct(x.real * 3 + 5 + 1j * x.imag), y.real * 3 + 5 + 1j * y.imag, atol=1e-4)


def test_norm_unet_of_a_constant_image(norm_unet):
    net, params = norm_unet
    x = jnp.zeros((1, 13, 18), jnp.complex64)

    def loss(p, x):
        y = net.apply(p, x)
        return jnp.sum(jnp.abs(y - 1) ** 2), y

    gradient, y = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, x)
    np.testing.assert_array_equal(y, x)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_normalisation_is_per_part_and_unbiased(random_complex):
    x = 3 * np.asarray(random_complex((4, 2, 5, 7))) + (2 - 1j)
    parts, mean, std = jax.device_get(jax.jit(nn.normalize_parts)(x))
    assert parts.shape == (4, 2, 2, 5, 7)
    np.testing.assert_allclose(mean[:, 1, 0, 0, 0], np.mean(x.imag, (1, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(std[:, 0, 0, 0, 0], np.std(x.real, (1, 2, 3), ddof=1), rtol=1e-5)
    np.testing.assert_allclose(parts[:, 0] * std[:, 0] + mean[:, 0], x.real, atol=1e-5)


def test_padding_puts_the_smaller_half_in_front(rng):
    x = rng.standard_normal((2, 13, 16, 1)).astype(np.float32)
    padded = nn.pad_to_multiple(jnp.array(x))
    assert padded.shape == (2, 16, 16, 1)
    np.testing.assert_array_equal(np.asarray(padded)[:, 1:14], x)
    np.testing.assert_array_equal(nn.unpad(padded, 13, 16), x)


def test_maps_have_unit_rss_and_calibration_masks_agree(random_complex):
    kspace = np.asarray(random_complex((3, 12, 10)))
    line = np.array([1, 0, 0, 1, 1, 1, 1, 0, 1, 0], np.float32)
    net = nn.SensitivityNet(features=2, pools=1)
    params = random_variables(net, kspace)
    masks = [nn.calibration_mask(jnp.asarray(m)) for m in (line, line[None], line[None, None])]
    for acs in masks:
        np.testing.assert_array_equal(np.ravel(acs), [0, 0, 0, 1, 1, 1, 1, 0, 0, 0])
    given = jnp.ones((1, 10))
    assert nn.calibration_mask(jnp.asarray(line), given) is given and nn.calibration_mask(None) is None
    with pytest.raises(ValueError, match="frames"):
        nn.calibration_mask(jnp.ones((4, 1, 1, 10)))
    maps = apply(net, params, kspace * np.asarray(masks[1])[None])
    np.testing.assert_allclose(np.sum(np.abs(maps) ** 2, 0), 1, rtol=1e-5)
    assert not np.any(apply(net, params, np.zeros_like(kspace)))

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon import nn


def n_parameters(net, x):
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0), x)))


@pytest.mark.parametrize(("features", "count"), [(32, 7_756_097), (256, 496_372_225)])
def test_published_numbers_of_parameters(features, count):
    assert n_parameters(nn.UNet(1, features), jax.ShapeDtypeStruct((32, 32, 1), jnp.float32)) == count


@pytest.fixture(scope="module")
def small():
    net = nn.UNet(2, features=3, pools=2)
    return net, jax.jit(net.lazy_init)(jax.random.key(0), jnp.zeros((8, 8, 2)))


def test_odd_sizes_and_leading_axes(small, rng):
    net, params = small
    x = jnp.asarray(rng.standard_normal((2, 3, 13, 10, 2)), jnp.float32)
    apply = jax.jit(net.apply)
    y = apply(params, x)
    assert y.shape == x.shape and y.dtype == x.dtype
    np.testing.assert_allclose(y[1, 2], apply(params, x[1, 2]), atol=1e-5)


def test_too_small_an_image(small):
    net, params = small
    with pytest.raises(ValueError, match=r"\(3, 8\) pixels is too small for 2 poolings"):
        net.apply(params, jnp.zeros((3, 8, 2)))


def test_dropout_only_with_a_key(small, rng):
    net, params = small
    dropping = net.clone(drop_rate=0.5)
    x = jnp.asarray(rng.standard_normal((9, 8, 2)), jnp.float32)
    np.testing.assert_allclose(jax.jit(dropping.apply)(params, x), jax.jit(net.apply)(params, x), atol=1e-6)
    drop = jax.jit(lambda key: dropping.apply(params, x, rngs={"dropout": key}))
    drops = [drop(jax.random.key(k)) for k in (3, 3, 4)]
    np.testing.assert_array_equal(drops[0], drops[1])
    assert not np.allclose(drops[0], drops[2])


def test_bfloat16_keeps_the_dtype(small, rng):
    net, params = small
    x = jnp.asarray(rng.standard_normal((8, 8, 2)), jnp.float32)
    y = jax.jit(net.clone(dtype=jnp.bfloat16).apply)(params, x)
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(y, jax.jit(net.apply)(params, x), atol=0.15)


@pytest.fixture(scope="module")
def norm_unet():
    net = nn.NormUNet(features=2, pools=1)
    return net, jax.jit(net.lazy_init)(jax.random.key(1), jnp.zeros((1, 8, 8), jnp.complex64))


def test_norm_unet_follows_unit_and_offset(norm_unet, random_complex):
    """A change of unit or offset of either part passes through."""
    net, params = norm_unet
    x = random_complex((1, 13, 18))
    apply = jax.jit(net.apply)
    y = apply(params, x)
    np.testing.assert_allclose(apply(params, 1e-5 * x) * 1e5, y, atol=1e-4)
    np.testing.assert_allclose(apply(params, x.real * 3 + 5 + 1j * x.imag), y.real * 3 + 5 + 1j * y.imag, atol=1e-4)


def test_norm_unet_of_a_constant_image(norm_unet):
    net, params = norm_unet
    x = jnp.zeros((1, 13, 18), jnp.complex64)
    loss = lambda p, x: (jnp.sum(jnp.abs(net.apply(p, x) - 1) ** 2), net.apply(p, x))
    gradient, y = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, x)
    np.testing.assert_array_equal(y, x)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_normalisation_is_per_part_and_unbiased(random_complex):
    x = 3 * random_complex((4, 2, 5, 7)) + (2 - 1j)
    parts, mean, std = nn.normalize_parts(x)
    assert parts.shape == (4, 2, 2, 5, 7)
    np.testing.assert_allclose(mean[:, 1, 0, 0, 0], np.mean(x.imag, (1, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(std[:, 0, 0, 0, 0], np.std(x.real, (1, 2, 3), ddof=1), rtol=1e-5)
    np.testing.assert_allclose(parts[:, 0] * std[:, 0] + mean[:, 0], x.real, atol=1e-5)


def test_padding_puts_the_smaller_half_in_front(rng):
    x = jnp.asarray(rng.standard_normal((2, 13, 16, 1)))
    padded = nn.pad_to_multiple(x)
    assert padded.shape == (2, 16, 16, 1)
    np.testing.assert_array_equal(padded[:, 1:14], x)
    np.testing.assert_array_equal(nn.unpad(padded, 13, 16), x)


def test_maps_have_unit_rss_and_calibration_masks_agree(random_complex):
    kspace = random_complex((3, 12, 10))
    line = np.array([1, 0, 0, 1, 1, 1, 1, 0, 1, 0], np.float32)
    net = nn.SensitivityNet(features=2, pools=1)
    params = jax.jit(net.lazy_init)(jax.random.key(0), kspace)
    masks = [nn.calibration_mask(jnp.asarray(m)) for m in (line, line[None], line[None, None])]
    for acs in masks:
        np.testing.assert_array_equal(np.ravel(acs), [0, 0, 0, 1, 1, 1, 1, 0, 0, 0])
    given = jnp.ones((1, 10))
    assert nn.calibration_mask(jnp.asarray(line), given) is given and nn.calibration_mask(None) is None
    with pytest.raises(ValueError, match="frames"):
        nn.calibration_mask(jnp.ones((4, 1, 1, 10)))
    apply = jax.jit(net.apply)
    maps = apply(params, kspace * masks[1][None])
    np.testing.assert_allclose(np.sum(np.abs(maps) ** 2, 0), 1, rtol=1e-5)
    assert np.all(np.asarray(apply(params, jnp.zeros_like(kspace))) == 0)

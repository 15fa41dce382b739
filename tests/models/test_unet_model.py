import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.problems import n_parameters, problem

from jaxrecon.complex_ops import rss
from jaxrecon.models import UNetConfig, run, unet
from jaxrecon.models.unet import UNET_LEADERBOARD, unet_normalization

SMALL = UNetConfig(features=2, pools=1, crop=None)


@pytest.mark.parametrize(("config", "count"), [(UNetConfig(), 7_756_097), (UNET_LEADERBOARD, 496_372_225)])
def test_published_numbers_of_parameters(config, count):
    assert n_parameters(unet(config)) == count


@pytest.mark.parametrize(
    ("shape", "crop", "expected"),
    [
        ((12, 10), None, (12, 10)),
        ((12, 10), (8, 10), (8, 10)),
        ((13, 10), (8, 12), (10, 10)),
        ((13, 11), (7, 9), (7, 9)),
    ],
)
def test_crop(shape, crop, expected):
    """A width below the crop's gives a square of the width."""
    given, _ = problem(shape)
    image, (mean, std, _) = unet(dataclasses.replace(SMALL, crop=crop)).start({}, given)
    full = np.abs(given.op.adjoint(given.kspace))
    top, left = ((n - m) // 2 for n, m in zip(shape, expected, strict=True))
    cropped = full[top : top + expected[0], left : left + expected[1]]
    assert image.shape == expected
    np.testing.assert_allclose([mean, std], [cropped.mean(), cropped.std(ddof=1)], rtol=1e-5)
    np.testing.assert_allclose(image, (cropped - mean) / std, atol=1e-5)


def test_clamp_and_unit():
    """The normalised input is cut at 6; the output has the input's unit."""
    given, _ = problem()
    spike = given.op.forward(given.op.adjoint(given.kspace) + jnp.zeros((12, 10)).at[3, 4].set(1e3))
    model = unet(SMALL)
    image, _ = model.start({}, given.replace(kspace=spike))
    assert image.max() == 6
    params = jax.jit(model.init)(jax.random.key(0), given)
    reconstruct = jax.jit(lambda g: run(model, params, g))
    scaled = reconstruct(given.replace(kspace=1e-4 * given.kspace))
    np.testing.assert_allclose(1e4 * scaled, reconstruct(given), rtol=2e-3)


def test_coil_images_without_maps_are_combined_by_rss():
    given, _ = problem(maps=False)
    image, context = unet(SMALL).start({}, given)
    combined = rss(given.op.adjoint(given.kspace))
    mean, std = unet_normalization(combined)
    np.testing.assert_allclose(image, jnp.clip((combined - mean) / std, -6, 6), atol=1e-5)
    assert context[:2] == (mean, std)


def test_dropout_with_a_key_only():
    given, _ = problem()
    model, plain = unet(dataclasses.replace(SMALL, drop_rate=0.5)), unet(SMALL)
    params = jax.jit(plain.init)(jax.random.key(0), given)
    reconstruct = jax.jit(lambda g: run(model, params, g))
    without = jax.jit(lambda g: run(plain, params, g))(given)
    np.testing.assert_allclose(reconstruct(given), without, atol=1e-6)
    assert np.abs(reconstruct(given.replace(key=jax.random.key(1))) - without).max() > 1e-3

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.models import TINY
from support.problems import n_parameters, problem, random_params
from support.programs import run

from jaxrecon.complex_ops import rss
from jaxrecon.models import UNetConfig, build
from jaxrecon.models.unet import UNET_LEADERBOARD, unet_normalization

SMALL = TINY["unet"]


@pytest.mark.parametrize(("config", "count"), [(UNetConfig(), 7_756_097), (UNET_LEADERBOARD, 496_372_225)])
def test_published_numbers_of_parameters(config, count):
    assert n_parameters(build(config)) == count


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
    model = build(dataclasses.replace(SMALL, crop=crop))
    start = jax.jit(lambda given: (model.start({}, given), jnp.abs(given.op.adjoint(given.kspace))))
    (image, (mean, std, _)), full = jax.device_get(start(given))
    top, left = ((n - m) // 2 for n, m in zip(shape, expected, strict=True))
    cropped = full[top : top + expected[0], left : left + expected[1]]
    assert image.shape == expected
    np.testing.assert_allclose([mean, std], [cropped.mean(), cropped.std(ddof=1)], rtol=1e-5)
    np.testing.assert_allclose(image, (cropped - mean) / std, atol=1e-5)


def test_clamp_and_unit():
    """The normalised input is cut at 6; the output has the input's unit."""
    given, _ = problem()
    model = build(SMALL)

    @jax.jit
    def clamped(given):
        spike = given.op.adjoint(given.kspace).at[3, 4].add(1e3)
        return model.start({}, given.replace(kspace=given.op.forward(spike)))[0].max()

    assert clamped(given) == 6
    params = random_params(model, given)
    scaled = run(model, params, given.replace(kspace=1e-4 * np.asarray(given.kspace)))
    np.testing.assert_allclose(1e4 * np.asarray(scaled), run(model, params, given), rtol=2e-3)


def test_coil_images_without_maps_are_combined_by_rss():
    given, _ = problem(maps=False)

    @jax.jit
    def both(given):
        combined = rss(given.op.adjoint(given.kspace))
        mean, std = unet_normalization(combined)
        own, context = build(SMALL).start({}, given)
        return (own, context[:2]), (jnp.clip((combined - mean) / std, -6, 6), (mean, std))

    (image, normalization), (expected, expected_normalization) = both(given)
    np.testing.assert_allclose(image, expected, atol=1e-5)
    np.testing.assert_allclose(normalization, expected_normalization, rtol=1e-6)


def test_dropout_with_a_key_only():
    given, _ = problem()
    model, plain = build(dataclasses.replace(SMALL, drop_rate=0.5)), build(SMALL)
    params = random_params(plain, given)
    without = np.asarray(run(plain, params, given))
    np.testing.assert_allclose(run(model, params, given), without, atol=1e-6)
    assert np.abs(np.asarray(run(model, params, given.replace(key=jax.random.key(1)))) - without).max() > 1e-3

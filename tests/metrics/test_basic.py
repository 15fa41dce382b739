import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.metrics
from support.type_check import as_user

from jaxrecon import metrics


@pytest.fixture
def pair(rng):
    reference = rng.random((3, 33, 24)) + 0.1
    return reference, reference + 0.05 * rng.standard_normal(reference.shape)


def test_against_scikit_image(pair, x64):
    reference, prediction = pair
    peak = reference.max()
    np.testing.assert_allclose(
        metrics.psnr(reference, prediction, data_range=peak),
        skimage.metrics.peak_signal_noise_ratio(reference, prediction, data_range=peak),
        rtol=1e-12,
    )
    np.testing.assert_allclose(
        metrics.mse(reference, prediction), skimage.metrics.mean_squared_error(reference, prediction), rtol=1e-12
    )
    for ours, theirs in (("euclidean", "euclidean"), ("range", "min-max"), ("mean", "mean")):
        own = metrics.nrmse(reference, prediction, normalization=ours)
        other = skimage.metrics.normalized_root_mse(reference, prediction, normalization=theirs)
        np.testing.assert_allclose(own, other, rtol=1e-12)
    np.testing.assert_allclose(
        metrics.nrmse(reference, prediction) ** 2, metrics.nmse(reference, prediction), rtol=1e-12
    )


def test_arguments_are_not_interchangeable(pair):
    reference, prediction = pair
    prediction = 1.5 * prediction
    assert abs(metrics.nmse(reference, prediction) - metrics.nmse(prediction, reference)) > 0.05
    assert abs(metrics.nrmse(reference, prediction) - metrics.nrmse(prediction, reference)) > 0.05


def test_phase_costs_only_complex_metrics(random_complex):
    reference = random_complex((17, 12))
    prediction = reference * jnp.exp(0.3j)
    assert metrics.psnr(reference, prediction, data_range=jnp.abs(reference).max()) < 30
    assert metrics.psnr(jnp.abs(reference), jnp.abs(prediction), data_range=jnp.abs(reference).max()) > 100
    expected = np.mean(np.abs(np.asarray(reference) - np.asarray(prediction)) ** 2)
    np.testing.assert_allclose(metrics.mse(reference, prediction), expected, rtol=1e-5)


def test_raw_scanner_units_keep_their_digits(pair):
    expected = metrics.psnr(*pair, data_range=pair[0].max())
    reference, prediction = ((1e-16 * x).astype(np.float32) for x in pair)
    own = metrics.psnr(reference, prediction, data_range=reference.max())
    np.testing.assert_allclose(own, expected, atol=1e-3)


def test_zero_reference_is_nan_not_zero():
    zero = jnp.zeros((5, 4))
    assert jnp.isnan(metrics.nmse(zero, zero)) and jnp.isnan(metrics.nmse(zero, zero + 1))
    assert jnp.isnan(metrics.nrmse(zero, zero)) and jnp.isnan(metrics.nrmse(zero, zero, normalization="mean"))


def test_single_precision_over_a_large_volume(rng):
    reference = (1 + 0.1 * rng.random((40, 256, 256))).astype(np.float32)
    prediction = (reference + 0.01 * rng.standard_normal(reference.shape)).astype(np.float32)
    exact = reference.astype(np.float64)
    expected = np.sum((exact - prediction) ** 2) / np.sum(exact**2)
    np.testing.assert_allclose(jax.jit(metrics.nmse)(reference, prediction), expected, rtol=1e-5)


def test_jit_vmap_and_dtype(pair, x64):
    reference, prediction = pair
    per_slice = jax.jit(jax.vmap(metrics.nmse))(reference, prediction)
    assert per_slice.dtype == jnp.float64
    np.testing.assert_allclose(per_slice, [metrics.nmse(a, b) for a, b in zip(reference, prediction, strict=True)])
    assert metrics.rmse(reference.astype(np.complex64), prediction.astype(np.complex64)).dtype == jnp.float32


@pytest.mark.parametrize("name", ["mse", "rmse", "nmse", "nrmse"])
def test_shapes_are_never_broadcast(name):
    with as_user(), pytest.raises(ValueError, match=r"\(4, 3\).*\(4, 1\)"):
        getattr(metrics, name)(jnp.ones((4, 1)), jnp.ones((4, 3)))


def test_unusable_normalizations():
    with pytest.raises(ValueError, match="complex"):
        metrics.nrmse(jnp.ones(3, jnp.complex64), jnp.ones(3, jnp.complex64), normalization="range")
    with as_user(), pytest.raises(ValueError, match="'max'"):
        metrics.nrmse(jnp.ones(3), jnp.ones(3), normalization="max")

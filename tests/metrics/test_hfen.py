import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from support.type_check import as_user

from jaxrecon import metrics


def test_kernel_is_the_laplacian_of_a_gaussian():
    kernel = metrics.log_kernel(15, 1.5)
    assert kernel.shape == (15, 15) and abs(kernel.sum()) < 1e-15
    np.testing.assert_array_equal(kernel, kernel.T)
    np.testing.assert_array_equal(kernel, kernel[::-1])
    # away from discretisation (large sigma) it is scipy's filter of an impulse
    impulse = np.zeros((61, 61))
    impulse[30, 30] = 1
    np.testing.assert_allclose(
        metrics.log_kernel(61, 5.0), scipy.ndimage.gaussian_laplace(impulse, 5.0, truncate=8), atol=2e-6
    )


def test_definition(rng, x64):
    reference = rng.random((33, 24))
    prediction = reference + 0.1 * rng.standard_normal(reference.shape)
    kernel = metrics.log_kernel(15, 1.5)
    g, p = (scipy.ndimage.correlate(x, kernel, mode="constant") for x in (reference, prediction))
    expected = np.linalg.norm(p - g) / np.linalg.norm(g)
    np.testing.assert_allclose(jax.jit(metrics.hfen)(reference, prediction), expected, rtol=1e-10)
    assert metrics.hfen(reference, reference) == 0
    np.testing.assert_allclose(metrics.hfen(reference, 0 * reference), 1)


def test_blur_counts_and_offset_does_not(rng):
    reference = rng.random((64, 50)).astype(np.float32)
    blurred = scipy.ndimage.gaussian_filter(reference, 1.0)
    assert metrics.hfen(reference, blurred) > 0.3
    inner = np.zeros_like(reference)
    inner[20:40, 20:30] = 1  # edges of the offset only
    assert metrics.hfen(reference, reference + 0.01 * inner) < 0.02


def test_direct_variant_normalises_by_the_unfiltered_reference(rng):
    reference = rng.random((2, 20, 21)).astype(np.float32) + 1
    prediction = 0.9 * reference
    for order in (1, 2):
        plain = metrics.hfen_direct(reference, prediction, order=order)
        scaled = metrics.hfen_direct(reference, prediction, order=order, normalize=True)
        np.testing.assert_allclose(scaled, plain / np.mean(reference**order), rtol=1e-5)


def test_zero_reference_and_border_errors():
    zero = jnp.zeros((16, 16))
    assert jnp.isnan(metrics.hfen(zero, zero + 1))
    with as_user(), pytest.raises(ValueError, match=r"\(y, x\)"):
        metrics.hfen(jnp.ones((2, 16, 16)), jnp.ones((2, 16, 16)))
    with as_user(), pytest.raises(ValueError, match="shape"):
        metrics.hfen(zero, zero[:-1])
    with pytest.raises(ValueError, match="odd"):
        metrics.log_kernel(14)

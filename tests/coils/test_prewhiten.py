import numpy as np
import pytest
from support.type_check import as_user

from jaxrecon.coils import noise_covariance, whiten, whitening_matrix


@pytest.fixture
def noise(rng):
    mixing = np.tril(rng.standard_normal((4, 4))) + np.eye(4)
    white = rng.standard_normal((4, 3000)) + 1j * rng.standard_normal((4, 3000))
    return (mixing @ white).astype(np.complex64)


def test_whitened_noise_is_white(noise):
    white = np.asarray(whiten(noise, whitening_matrix(noise)))
    # real and imaginary part of unit variance each
    np.testing.assert_allclose(np.cov(white), 2 * np.eye(4), atol=5e-3)
    np.testing.assert_allclose([white.real.var(1), white.imag.var(1)], 1, atol=0.1)
    white = np.asarray(whiten(noise, whitening_matrix(noise, form="bart")))
    np.testing.assert_allclose(np.cov(white), np.eye(4), atol=5e-3)


def test_covariance_and_scale_factor(noise):
    np.testing.assert_allclose(noise_covariance(noise), noise @ noise.conj().T / 2999, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(noise_covariance(noise.reshape(4, 30, 100)), noise_covariance(noise), rtol=1e-5)
    plain, scaled = whitening_matrix(noise), whitening_matrix(noise, scale_factor=0.79)
    np.testing.assert_allclose(scaled, np.sqrt(0.79) * plain, rtol=1e-5)
    np.testing.assert_allclose(plain, np.sqrt(2) * whitening_matrix(noise, form="bart"), rtol=1e-5)
    assert np.abs(np.triu(plain, 1)).max() == 0


def test_whiten_acts_on_the_first_axis(noise, random_complex):
    matrix = whitening_matrix(noise)
    kspace = random_complex((4, 7, 5))
    np.testing.assert_allclose(whiten(kspace, matrix), np.einsum("dc,cyx->dyx", matrix, kspace), atol=1e-5)


def test_errors(noise, random_complex):
    with pytest.raises(ValueError, match="has 4 samples for 3000 coils"):
        noise_covariance(noise.T)
    with as_user(), pytest.raises(ValueError, match=r"shape \(4, 4\), kspace has 5 coils"):
        whiten(random_complex((5, 7, 5)), whitening_matrix(noise))
    with as_user(), pytest.raises(ValueError, match="'ismrmrd' or 'bart'"):
        whitening_matrix(noise, form="sigpy")

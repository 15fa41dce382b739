import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import uniform_filter
from support.coil_data import ellipsoid, fft, smooth_maps
from support.type_check import as_user

from jaxrecon.coils import adaptive_combine, combine_coils, inati, low_resolution_maps, rss, walsh

SHAPE = (25, 32)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    maps = smooth_maps(4, SHAPE)
    image = ellipsoid(SHAPE) * np.exp(0.3j * np.arange(SHAPE[1]) / SHAPE[1])
    noise = rng.standard_normal(maps.shape) + 1j * rng.standard_normal(maps.shape)
    return (maps * image + 0.002 * noise).astype(np.complex64), maps.astype(np.complex64), image


def test_rss_and_roemer(data):
    images, maps, image = data
    np.testing.assert_allclose(rss(jnp.asarray(images)), np.linalg.norm(images, axis=0), rtol=1e-5)
    combined = np.asarray(combine_coils(images, 3 * maps))
    np.testing.assert_allclose(3 * combined, image, atol=0.02)
    zero = jnp.asarray(maps).at[:, 4, 5].set(0)
    assert combine_coils(images, zero)[4, 5] == 0
    with as_user(), pytest.raises(ValueError, match="maps have 3 coils, kspace has 4"):
        combine_coils(images, maps[:3])


def scipy_box(x, size):
    return uniform_filter(x.real, size) + 1j * uniform_filter(x.imag, size)


@pytest.mark.parametrize("window", [5, 4, (3, 5)])
def test_walsh_is_the_eigenvector_of_the_local_covariance(data, window, x64):
    images = data[0].astype(np.complex128)
    size = window if isinstance(window, int) else list(window)
    covariance = np.stack([[scipy_box(p * q.conj(), size) for q in images] for p in images])
    values, vectors = np.linalg.eigh(np.moveaxis(covariance, (0, 1), (-2, -1)))
    result = walsh(images, window=window, n_iter=200)
    clear = values[..., -2] < 0.8 * values[..., -1]
    assert clear.mean() > 0.5
    np.testing.assert_allclose(result.power[clear], values[..., -1][clear], rtol=1e-8)
    own = np.moveaxis(np.asarray(result.maps), 0, -1)
    np.testing.assert_allclose(np.abs((vectors[..., -1].conj() * own).sum(-1))[clear], 1, atol=1e-8)


def test_walsh_start_and_iterations(data):
    # one iteration from the sum over the first index of R
    images = data[0]
    covariance = np.stack([[scipy_box(p * q.conj(), 5) for q in images] for p in images])
    start = covariance.sum(0)
    start /= np.linalg.norm(start, axis=0)
    vector = np.einsum("pqyx,qyx->pyx", covariance, start)
    power = np.linalg.norm(vector, axis=0)
    result = walsh(images, n_iter=1)
    np.testing.assert_allclose(result.power, power, rtol=1e-4)
    np.testing.assert_allclose(result.maps, vector / power, atol=1e-4)


@pytest.mark.parametrize("lines", [4, 7, 25])
def test_walsh_bands_do_not_change_the_result(data, lines, monkeypatch):
    module = sys.modules["jaxrecon.coils.combine"]
    whole = walsh(data[0], window=(3, 5))
    monkeypatch.setattr(module, "_BAND_ENTRIES", 4 * 4 * SHAPE[1] * lines)
    module._walsh.clear_cache()
    banded = walsh(data[0], window=(3, 5))
    module._walsh.clear_cache()
    np.testing.assert_allclose(banded.maps, whole.maps, atol=1e-5)
    np.testing.assert_allclose(banded.power, whole.power, rtol=1e-5)


def test_adaptive_combine_recovers_the_magnitude(data):
    images, _, image = data
    combined = np.asarray(adaptive_combine(images))
    assert combined.shape == SHAPE
    inside = ellipsoid(SHAPE, 0.3)
    np.testing.assert_allclose(np.abs(combined)[inside], np.abs(image)[inside], atol=0.02)


def test_inati_recovers_the_image_with_smooth_phase(data):
    images, maps, image = data
    result = inati(images, n_iter=10, threshold=0)
    inside = ellipsoid(SHAPE, 0.3)
    np.testing.assert_allclose(np.abs(result.image)[inside], np.abs(image)[inside], atol=0.02)
    overlap = (np.asarray(result.maps).conj() * maps).sum(0)[inside]
    assert np.abs(overlap).min() > 0.99
    # sum_c conj(d_c) S_c is real, d the direction of the mean coil image
    mean = (np.asarray(result.maps) * np.asarray(result.image)).sum((1, 2))
    projection = np.einsum("c,cyx->yx", mean.conj() / np.linalg.norm(mean), np.asarray(result.maps))
    assert np.abs(np.angle(projection[inside])).max() < 0.05


def test_inati_stops_by_its_threshold_and_takes_a_window_per_axis(data):
    images = data[0]
    one = inati(images, n_iter=1)
    stopped = inati(images, n_iter=9, threshold=1e9)
    np.testing.assert_allclose(stopped.image, one.image, rtol=1e-5, atol=1e-6)
    assert np.abs(inati(images, n_iter=9, threshold=0).image - one.image).max() > 1e-4
    assert np.abs(inati(images, window=(5, 1)).maps - inati(images, window=(1, 5)).maps).max() > 1e-3
    with pytest.raises(ValueError, match="2 spatial axes"):
        inati(images, window=(5, 5, 5))


def test_low_resolution_maps(data):
    images, maps, _ = data
    kspace = fft(images).astype(np.complex64)
    inside = ellipsoid(SHAPE, 0.3)
    for window in ("hann", "kaiser", "none"):
        own = np.asarray(low_resolution_maps(kspace, calib_size=12, window=window))
        np.testing.assert_allclose(np.linalg.norm(own, axis=0), 1, atol=1e-5)
        assert np.abs((own.conj() * maps).sum(0))[inside].min() > 0.98
    # the window stands at DC: one sample there is not attenuated, and gives constant images
    delta = np.ones((2, *SHAPE), np.complex64)
    raw = np.asarray(low_resolution_maps(delta, calib_size=12, normalize=False))
    taper = 0.5 + 0.5 * np.cos(np.pi * (np.arange(12) - 6) / 6)
    np.testing.assert_allclose(raw[0, 12, 16].real, taper.sum() ** 2 / np.sqrt(25 * 32), rtol=1e-5)
    with as_user(), pytest.raises(ValueError, match="'hann', 'kaiser' or 'none'"):
        low_resolution_maps(kspace, calib_size=12, window="hamming")
    with pytest.raises(ValueError, match="not complete"):
        low_resolution_maps(kspace * (np.arange(32) % 2), calib_size=12)


def test_jit_and_vmap(data):
    images = jnp.asarray(data[0])
    both = jnp.stack([images, images[:, ::-1]])
    np.testing.assert_allclose(jax.jit(jax.vmap(adaptive_combine))(both)[0], adaptive_combine(images), atol=1e-5)
    np.testing.assert_allclose(jax.vmap(lambda i: inati(i).image)(both)[1], inati(images[:, ::-1]).image, atol=1e-5)

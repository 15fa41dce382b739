import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.complex_ops import from_channels, magnitude, pack_channels, rss, to_channels, unpack_channels
from jaxrecon.fourier import center_crop, crop_or_pad, fftc, ifftc


@pytest.mark.parametrize("shape", [(6, 8), (5, 7), (6, 7), (1, 9), (4, 6, 5), (2, 2)])
@pytest.mark.parametrize("axes", [(-1,), (-2, -1), (0,), (0, 1)])
def test_equals_shifted_numpy(shape, axes, random_complex):
    x = random_complex(shape)
    for own, reference in ((fftc, np.fft.fftn), (ifftc, np.fft.ifftn)):
        shifted = np.fft.ifftshift(np.asarray(x), axes)
        expected = np.fft.fftshift(reference(shifted, axes=axes, norm="ortho"), axes)
        np.testing.assert_allclose(own(x, axes), expected, atol=2e-6)
    np.testing.assert_allclose(ifftc(fftc(x, axes), axes), x, atol=2e-6)


def test_dtypes(x64, rng):
    assert fftc(jnp.ones((4, 4), jnp.float32)).dtype == jnp.complex64
    assert fftc(jnp.ones((4, 5), jnp.complex128)).dtype == jnp.complex128


@pytest.mark.parametrize(("n", "m"), [(6, 9), (9, 6), (7, 4), (4, 7), (5, 5), (8, 3)])
def test_crop_or_pad_keeps_the_centre(n, m):
    x = jnp.zeros(n).at[n // 2].set(1)
    y = crop_or_pad(x, (m,))
    assert y.shape == (m,) and y[m // 2] == 1 and y.sum() == 1


def test_crop_or_pad_adjoint_is_itself(random_complex):
    x, y = random_complex((7, 6)), random_complex((4, 9))
    left = jnp.vdot(crop_or_pad(x, (4, 9)), y)
    assert abs(left - jnp.vdot(x, crop_or_pad(y, (7, 6)))) < 1e-5


def test_center_crop_is_fastmri_s():
    np.testing.assert_array_equal(center_crop(jnp.arange(9), (6,)), np.arange(1, 7))
    np.testing.assert_array_equal(center_crop(jnp.arange(10), (5,)), np.arange(2, 7))
    with pytest.raises(ValueError, match="cannot crop"):
        center_crop(jnp.arange(4), (5,))


def test_magnitudes_have_finite_gradients_at_zero(random_complex):
    x = random_complex((3, 4, 5)).at[:, 0, 0].set(0)
    np.testing.assert_allclose(rss(x), np.sqrt((np.abs(np.asarray(x)) ** 2).sum(0)), rtol=1e-6)
    for f in (lambda x: rss(x).sum(), lambda x: magnitude(x).sum()):
        gradient = jax.grad(f)(x)
        assert jnp.isfinite(gradient).all() and not gradient[:, 0, 0].any() and gradient[:, 1, 1].all()


def test_magnitudes_keep_nan(random_complex):
    """NaN must reach the loss, where training looks for it."""
    x = random_complex((3, 2, 2)).at[1, 0, 1].set(jnp.nan)
    assert jnp.isnan(magnitude(x)[1, 0, 1]) and jnp.isnan(rss(x)[0, 1])


def test_channels_round_trip(random_complex):
    x = random_complex((3, 4))
    assert to_channels(x).shape == (3, 4, 2)
    np.testing.assert_array_equal(from_channels(to_channels(x)), x)
    assert pack_channels(x).shape == (3, 8)
    np.testing.assert_array_equal(unpack_channels(pack_channels(x)), x)

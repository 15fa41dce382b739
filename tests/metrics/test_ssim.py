import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import structural_similarity
from support.type_check import as_user

from jaxrecon import metrics
from jaxrecon.metrics import FASTMRI_LOSS, GAUSSIAN, UNIFORM, UNIFORM_3D, SSIMVariant


@pytest.fixture
def pair(rng):
    y, x = np.mgrid[:33, :24] / 24
    reference = np.abs(np.sin(5 * y + 3 * x**2)) + 0.1 * rng.random((33, 24))
    return reference, reference + 0.1 * rng.standard_normal(reference.shape)


@pytest.mark.parametrize(
    ("variant", "options"),
    [
        (UNIFORM, {}),
        (
            SSIMVariant(size=5, sample_covariance=False, k1=0.02),
            {"win_size": 5, "use_sample_covariance": False, "K1": 0.02},
        ),
        (GAUSSIAN, {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}),
        (
            SSIMVariant(size=11, sigma=1.5),
            {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": True},
        ),
    ],
    ids=["uniform", "uniform5", "gaussian", "gaussian_sample"],
)
def test_against_scikit_image(pair, variant, options, x64):
    reference, prediction = pair
    mean, whole = structural_similarity(reference, prediction, data_range=1.3, full=True, **options)
    b = variant.border
    own = metrics.ssim_map(reference, prediction, data_range=1.3, variant=variant)
    np.testing.assert_allclose(own, whole[b:-b, b:-b], atol=1e-10)
    np.testing.assert_allclose(metrics.ssim(reference, prediction, data_range=1.3, variant=variant), mean, atol=1e-10)


def test_volume_window(rng, x64):
    reference = rng.random((9, 11, 10))
    prediction = reference + 0.1 * rng.standard_normal(reference.shape)
    expected = structural_similarity(reference, prediction, data_range=0.9)
    own = metrics.ssim(reference, prediction, data_range=0.9, variant=UNIFORM_3D)
    np.testing.assert_allclose(own, expected, atol=1e-10)


@pytest.mark.parametrize("unit", [1e-5, 1.0, 1e4])
@pytest.mark.parametrize("offset", [0.0, 0.8])
def test_single_precision_in_any_unit_also_in_flat_bright_areas(rng, unit, offset):
    reference = ((offset + 0.02 * rng.random((33, 24))) * unit).astype(np.float32)
    prediction = (reference + 0.01 * unit * rng.standard_normal(reference.shape)).astype(np.float32)
    _, whole = structural_similarity(
        *(x.astype(np.float64) for x in (reference, prediction)), data_range=unit, full=True
    )
    own = jax.jit(functools.partial(metrics.ssim_map, data_range=unit))(reference, prediction)
    assert own.dtype == jnp.float32
    np.testing.assert_allclose(own, whole[3:-3, 3:-3], atol=3e-5)


def test_stack_is_mean_of_slices_and_vmap_takes_a_range_each(rng):
    reference = rng.random((3, 12, 9)).astype(np.float32)
    prediction = 0.9 * reference
    ranges = reference.max((1, 2))
    each = jax.vmap(lambda g, p, r: metrics.ssim(g, p, data_range=r))(reference, prediction, ranges)
    np.testing.assert_allclose(each[1], metrics.ssim(reference[1], prediction[1], data_range=ranges[1]), rtol=1e-5)
    slices = [metrics.ssim(g, p, data_range=1.0) for g, p in zip(reference, prediction, strict=True)]
    np.testing.assert_allclose(metrics.ssim(reference, prediction, data_range=1.0), np.mean(slices), rtol=1e-5)


def test_rounded_window_follows_its_definition(pair, x64):
    reference, prediction = 10 + pair[0], 10 + pair[1]  # an offset, so that the rounding shows
    weight = float(np.float32(1) / np.float32(49))

    def mean(x):
        return np.lib.stride_tricks.sliding_window_view(x, (7, 7)).sum((-2, -1)) * weight

    u, v = mean(reference), mean(prediction)
    n = 49 / 48
    vx, vy = n * (mean(reference**2) - u**2), n * (mean(prediction**2) - v**2)
    vxy = n * (mean(reference * prediction) - u * v)
    expected = (2 * u * v + 1e-4) * (2 * vxy + 9e-4) / ((u**2 + v**2 + 1e-4) * (vx + vy + 9e-4))
    own = metrics.ssim_map(reference, prediction, data_range=1.0, variant=FASTMRI_LOSS)
    np.testing.assert_allclose(own, expected, rtol=1e-9)
    exact = metrics.ssim_map(reference, prediction, data_range=1.0)
    assert np.abs(own - exact).max() > 1e-7


def test_gradient_is_finite_in_air_and_matches_differences(pair, x64):
    reference, prediction = pair[0].copy(), pair[1].copy()
    reference[:12], prediction[:12] = 0, 0

    def loss(p):
        return 1 - metrics.ssim(reference, p, data_range=1.0)

    gradient = jax.grad(loss)(prediction)
    assert np.isfinite(gradient).all()
    for i, j in ((0, 0), (5, 7), (20, 11), (32, 23)):
        step = np.zeros_like(prediction)
        step[i, j] = 1e-5
        difference = (loss(prediction + step) - loss(prediction - step)) / 2e-5
        np.testing.assert_allclose(gradient[i, j], difference, rtol=1e-6, atol=1e-10)
    assert np.isfinite(jax.grad(lambda z: metrics.ssim(jnp.zeros((9, 9)), z, data_range=1.0))(jnp.zeros((9, 9)))).all()


def test_perfect_and_constant_images():
    image = jnp.ones((9, 8))
    assert metrics.ssim(image, image, data_range=1.0) == 1
    assert metrics.ssim(image, 0 * image, data_range=1.0) < 1e-3


def test_border_errors():
    with pytest.raises(ValueError, match="7 pixels"):
        metrics.ssim(jnp.ones((6, 9)), jnp.ones((6, 9)), data_range=1.0)
    with as_user(), pytest.raises(ValueError, match=r"\(9, 9\).*\(9, 8\)"):
        metrics.ssim(jnp.ones((9, 8)), jnp.ones((9, 9)), data_range=1.0)
    with as_user(), pytest.raises(ValueError, match="magnitudes"):
        metrics.ssim(jnp.ones((9, 9), jnp.complex64), jnp.ones((9, 9)), data_range=1.0)
    with pytest.raises(ValueError, match="odd"):
        SSIMVariant(size=8)


def _smooth_pair(height, width):
    y, x = np.mgrid[:height, :width]
    blob = np.exp(-((y - height / 2) ** 2 + (x - width / 2) ** 2) / 3000)
    reference = blob + 0.3 * np.sin(x / 5) * np.cos(y / 7)
    return reference.astype(np.float32), (reference + 0.1 * np.cos(x * y / 400)).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "crop", "scales", "expected"),
    [
        ((192, 176), (192, 176), 5, 0.9153243),
        ((163, 171), (163, 171), 5, 0.91825026),
        ((192, 176), (45, 47), 3, 0.9591373),
        ((163, 171), (45, 47), 3, 0.9604811),
    ],
)
def test_multiscale_against_tensorflow(shape, crop, scales, expected):
    """tf.image.ssim_multiscale of TensorFlow 2.15, max_val=1.3, the three weights divided by their sum."""
    reference, prediction = (image[: crop[0], : crop[1]] for image in _smooth_pair(*shape))
    own = jax.jit(metrics.ms_ssim, static_argnames="scales")(reference, prediction, data_range=1.3, scales=scales)
    assert float(own) == pytest.approx(expected, abs=1e-6)


def test_multiscale_has_a_finite_gradient_where_nothing_is_alike():
    reference, _ = _smooth_pair(48, 41)
    of = jax.jit(jax.value_and_grad(lambda image, truth: metrics.ms_ssim(truth, image, data_range=1.0, scales=3)))
    for truth, image, value in (
        (reference, -reference, 0),
        (reference, 0 * reference, None),
        (0 * reference,) * 2 + (1,),
    ):
        found, gradient = of(jnp.asarray(image), truth)
        assert np.isfinite(gradient).all()
        assert value is None or float(found) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("shape", "scales", "message"),
    [
        (
            (160, 161),
            5,
            "5 scales needs images of at least 161 pixels along y and x, but these are 160 x 161; they have 4",
        ),
        ((10, 300), 1, "at least 11 pixels"),
        ((200, 200), 6, "5 scales at most, not 6"),
    ],
)
def test_multiscale_of_what_has_none(shape, scales, message):
    with pytest.raises(ValueError, match=message):
        metrics.ms_ssim(np.ones(shape, np.float32), np.ones(shape, np.float32), data_range=1.0, scales=scales)

"""Losses against their formulas: batches, crops, gradients at zero."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from jaxrecon import losses
from jaxrecon.checks import DataWarning
from jaxrecon.metrics import ms_ssim
from jaxrecon.problem import Target

B, Y, X = 3, 13, 10


@pytest.fixture
def images(random_complex):
    return random_complex((B, Y, X)), random_complex((B, Y, X))


@pytest.fixture
def peaks():
    return jnp.array([1.0, 2.5, 4.0])


def test_formulas(images, peaks):
    x, t = (np.asarray(a, np.complex128) for a in images)
    target = Target(images[1], peaks)
    expected = {
        losses.complex_l1: np.abs(x - t).mean(),
        losses.l1: np.abs(np.abs(x) - np.abs(t)).mean(),
        losses.mse: (np.abs(x - t) ** 2).mean(),
        losses.nmse: np.mean([(np.abs(a - b) ** 2).sum() / (np.abs(b) ** 2).sum() for a, b in zip(x, t, strict=True)]),
    }
    similar = [
        structural_similarity(np.abs(b), np.abs(a), data_range=float(r)) for a, b, r in zip(x, t, peaks, strict=True)
    ]
    expected[losses.ssim] = 1 - np.mean(similar)
    expected[losses.l1_ssim] = expected[losses.l1] + 0.5 * expected[losses.ssim]
    for loss, value in expected.items():
        assert float(jax.jit(loss)(images[0], target)) == pytest.approx(value, rel=1e-5), loss.__name__
    both = functools.partial(losses.l1_ssim, weight=2.0, complex_difference=True)
    assert float(jax.jit(both)(images[0], target)) == pytest.approx(
        expected[losses.complex_l1] + 2 * expected[losses.ssim], rel=1e-5
    )


@pytest.mark.parametrize("name", ["complex_l1", "l1", "mse", "nmse", "ssim", "l1_ssim"])
def test_batch_is_the_mean_of_examples_and_gradients_are_finite_at_zero(name, images, peaks):
    loss = jax.jit(getattr(losses, name))
    gradient = jax.jit(jax.grad(getattr(losses, name)))
    x, target = images[0], Target(images[1], peaks)
    each = [float(loss(x[i], jax.tree.map(lambda a, i=i: a[i], target))) for i in range(B)]
    assert float(loss(x, target)) == pytest.approx(np.mean(each), rel=1e-5)
    for start in (jnp.zeros_like(x), target.image):
        assert np.isfinite(gradient(start, target)).all()
    assert np.isfinite(gradient(jnp.zeros_like(x), Target(jnp.zeros_like(x), peaks))).all()


def test_ssim_does_not_change_with_the_unit(images, peaks):
    ssim = jax.jit(losses.ssim)
    value = ssim(images[0], Target(images[1], peaks))
    scaled = ssim(1e-7 * images[0], Target(1e-7 * images[1], 1e-7 * peaks))
    assert float(scaled) == pytest.approx(float(value), rel=1e-5)


@pytest.mark.parametrize(("rounding", "start"), [("floor", (2, 1)), ("ceil", (3, 2)), ("center", (2, 2))])
def test_crop_to_the_target_by_each_rounding(images, rounding, start):
    x, small = images[0], images[1][:, :8, :7]
    cut = x[:, start[0] : start[0] + 8, start[1] : start[1] + 7]
    assert losses.l1(x, Target(small), rounding=rounding) == losses.l1(cut, Target(small))
    # a target wider than the image, as of some FLAIR volumes
    assert losses.l1(cut, Target(x), rounding=rounding) == losses.l1(cut, Target(cut))


@pytest.mark.parametrize("name", ["complex_l1", "l1", "mse", "nmse"])
def test_an_image_alone_is_a_target(name, images):
    loss = getattr(losses, name)
    x, t = images
    assert loss(x, t) == loss(x, Target(t))
    assert loss(x, t[:, :8, :7]) == loss(x, Target(t[:, :8, :7]))


def test_frames_share_the_range_of_their_example(random_complex, peaks):
    x, t = random_complex((B, 2, Y, X)), random_complex((B, 2, Y, X))
    value = jax.jit(losses.ssim)(x, Target(t, peaks))
    apart = jax.jit(losses.ssim)(x.reshape(2 * B, Y, X), Target(t.reshape(2 * B, Y, X), jnp.repeat(peaks, 2)))
    assert float(value) == pytest.approx(float(apart), rel=1e-6)


def test_errors(images):
    x, t = images
    with pytest.raises(ValueError, match="data_range"):
        losses.ssim(x, Target(t))
    with pytest.raises(ValueError, match="data_range"):
        losses.l1_ssim(x, t)
    with pytest.raises(ValueError, match="both"):
        losses.mse(x, Target(jnp.abs(t)))
    with pytest.raises(ValueError, match="batched"):
        losses.l1(x[0], Target(t))


def test_multiscale_loss_says_how_many_scales_there_are(random_complex):
    """Of a batch the mean, each example with its own range; an empty target gives a number."""
    x, t = random_complex((2, 24, 30)), random_complex((2, 24, 30)).at[1].multiply(3)
    loss = jax.jit(losses.l1_ms_ssim)
    with pytest.warns(DataWarning, match="24 x 30 has 2 of its 5 scales"):
        own = loss(x, t)
    similar = [ms_ssim(abs(b), abs(a), data_range=abs(b).max(), scales=2) for a, b in zip(x, t, strict=True)]
    expected = 0.02 * np.abs(np.abs(x) - np.abs(t)).mean() + 0.98 * (1 - np.mean(similar))
    assert float(own) == pytest.approx(expected, rel=1e-5)
    assert np.isfinite(loss(x, 0 * t))
    with pytest.raises(ValueError, match="at least 11 pixels"):
        losses.l1_ms_ssim(x[:, :10], t[:, :10])

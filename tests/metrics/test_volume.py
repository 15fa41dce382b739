import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import structural_similarity
from support.type_check import as_user

from jaxrecon import metrics
from jaxrecon.checks import DataError


@pytest.fixture
def pair(rng):
    """Slices of very different brightness, with an offset (no zero minimum); predictions may be negative."""
    brightness = np.array([0.2, 1.0, 0.6, 0.8])[:, None, None]
    y, x = np.mgrid[:27, :22] / 22
    reference = brightness * (1.2 + np.sin(4 * y + 7 * x))
    return reference, reference + 0.05 * rng.standard_normal(reference.shape)


def psnr(reference, prediction, data_range):
    return 10 * np.log10(data_range**2 / np.mean((reference - prediction) ** 2))


def ssim(reference, prediction, data_range, **options):
    return structural_similarity(reference, prediction, data_range=data_range, **options)


def test_fastmri_crops_to_the_width_and_scores_the_volume(pair, x64):
    reference, prediction = pair
    taller = np.pad(prediction, ((0, 0), (4, 5), (2, 3)))
    g, p = reference[:, 2:24], taller[:, 7:29, 2:24]
    result = metrics.evaluate(reference, taller, variant="fastmri")
    assert result.shape == g.shape and result.variant == "fastmri"
    np.testing.assert_allclose(result.volume["nmse"], np.sum((g - p) ** 2) / np.sum(g**2), rtol=1e-12)
    np.testing.assert_allclose(result.volume["psnr"], psnr(g, p, g.max()), rtol=1e-12)
    expected = [ssim(a, b, g.max()) for a, b in zip(g, p, strict=True)]
    np.testing.assert_allclose(result.per_slice["ssim"], expected, atol=1e-10)
    np.testing.assert_allclose(result.volume["ssim"], np.mean(expected), atol=1e-10)
    np.testing.assert_allclose(result.per_slice["psnr"][1], psnr(g[1], p[1], g.max()), rtol=1e-12)


def test_the_variants_differ(pair, x64):
    """Each rule against its own formula; a rule that fell back to another's would be seen."""
    g, p = pair
    slices = list(zip(g, p, strict=True))
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = {
        "promptmr-plus-fastmri": (psnr(g, p, g.max()), [ssim(a, b, g.max()) for a, b in slices]),
        "promptmr-plus-cmrxrecon": (psnr(g, p, g.max()), [ssim(a, b, g.max()) for a, b in slices]),
        "reconode": (psnr(g, p, g.max()), [ssim(a, b, g.max()) for a, b in slices]),
        "ramzi": (psnr(g, p, np.ptp(g)), [ssim(a, b, np.ptp(g)) for a, b in slices]),
        "deep-jsense": (np.mean([psnr(a, b, a.max()) for a, b in slices]), [ssim(a, b, a.max()) for a, b in slices]),
        "gleam": (
            np.mean([psnr(a, b, a.max()) for a, b in slices]),
            [ssim(a, b, a.max(), **gaussian) for a, b in slices],
        ),
    }
    challenge = [(a / a.max(), b / a.max()) for a, b in slices]
    spans = [max(a.max(), b.max()) - min(a.min(), b.min()) for a, b in challenge]
    expected["calgary"] = (
        np.mean([psnr(a, b, r) for (a, b), r in zip(challenge, spans, strict=True)]),
        [ssim(a, b, r) for (a, b), r in zip(challenge, spans, strict=True)],
    )
    found = {}
    for name, (value, similarities) in expected.items():
        result = metrics.evaluate(g, p, variant=name)
        np.testing.assert_allclose(result.volume["psnr"], value, rtol=1e-12, err_msg=name)
        np.testing.assert_allclose(result.per_slice["ssim"], similarities, atol=1e-10, err_msg=name)
        found[name] = round(result.volume["psnr"], 6), round(result.volume["ssim"], 6)
    assert len(set(found.values())) == 5  # the first three are one rule here


def test_data_range_from_the_file(pair):
    reference, prediction = pair
    own = metrics.evaluate(reference, prediction, variant="promptmr-plus-fastmri", data_range=2 * reference.max())
    default = metrics.evaluate(reference, prediction, variant="promptmr-plus-fastmri")
    np.testing.assert_allclose(own.volume["psnr"] - default.volume["psnr"], 20 * np.log10(2))
    assert own.volume["ssim"] > default.volume["ssim"]
    with pytest.raises(ValueError, match="leave it out"):
        metrics.evaluate(reference, prediction, variant="gleam", data_range=1.0)


def test_crops(rng):
    image = rng.random((3, 9, 12))
    starts = {"floor": (1, 3), "ceil": (2, 4), "center": (1, 4)}
    for rounding, (y, x) in starts.items():
        own = metrics.crop_to_target(image, (6, 5), rounding=rounding)
        np.testing.assert_array_equal(own, image[:, y : y + 6, x : x + 5])
    traced = jax.jit(lambda v: metrics.crop_to_target(v, (6, 5)))(jnp.asarray(image, jnp.complex64))
    assert traced.shape == (3, 6, 5) and traced.dtype == jnp.complex64
    a, b = metrics.crop_to_smallest(image, image[:, :7, :])
    assert a.shape == b.shape == (3, 7, 12)
    with pytest.raises(ValueError, match="smaller"):
        metrics.crop_to_target(image, (10, 5))
    with as_user(), pytest.raises(ValueError, match="'round'"):
        metrics.crop_to_target(image, (6, 5), rounding="round")


def test_central_crop_rules_of_the_sources(rng):
    """From 325 to 320 columns: deep-jsense starts at 3, reconode and ramzi at 2."""
    reference = rng.random((1, 322, 325)) + 1
    error = np.zeros_like(reference)
    error[0, 5, 2] = 1  # inside the crop from column 2 on, outside of it from column 3 on
    assert metrics.evaluate(reference, reference + error, variant="reconode").volume["mse"] > 0
    assert metrics.evaluate(reference, reference + error, variant="ramzi").volume["mse"] > 0
    assert metrics.evaluate(reference, reference + error, variant="deep-jsense").volume["mse"] == 0


def test_cmrxrecon_leaderboard(rng):
    reference = rng.random((5, 7, 45, 28)) + 0.1
    prediction = reference.copy()
    prediction[:3, 2:4, 15:30, 7:21] *= 0.9  # slices 3 and 4 of 7, counted from 1; the rest must not count
    prediction[:, :, :10] = 0
    result = metrics.evaluate(reference, prediction, variant="cmrxrecon-2023-cine")
    assert result.shape == (6, 15, 14)
    np.testing.assert_allclose(result.volume["nmse"], 0.01)
    assert metrics.evaluate(reference, prediction, variant="cmrxrecon-2023-mapping").shape == (10, 15, 14)
    with pytest.raises(ValueError, match="frame, slice, y, x"):
        metrics.evaluate(reference[0], prediction[0], variant="cmrxrecon-2023-cine")


def test_calgary_of_promptmr_plus_leaves_out_the_ends(rng):
    reference = rng.random((103, 8, 9)) + 0.1
    prediction = 0.9 * reference
    prediction[:50], prediction[-50:] = 0, 0
    result = metrics.evaluate(reference, prediction, variant="promptmr-plus-calgary")
    assert result.shape == (3, 8, 9)
    np.testing.assert_allclose(result.volume["nmse"], 0.01)
    with pytest.raises(ValueError, match="more than 100 slices"):
        metrics.evaluate(reference[:100], prediction[:100], variant="promptmr-plus-calgary")


def test_complex_volumes(random_complex):
    reference = random_complex((2, 17, 13))
    turned = reference * jnp.exp(0.3j)
    assert metrics.evaluate(reference, turned, variant="gleam").volume["nmse"] < 1e-12
    np.testing.assert_allclose(
        metrics.evaluate(reference, turned, variant="gleam-complex").volume["nmse"],
        abs(1 - np.exp(0.3j)) ** 2,
        rtol=1e-5,
    )


def test_modl_variant_hides_a_scale(pair):
    reference = pair[0]
    result = metrics.evaluate(reference, 3 * reference + 1, variant="modl")
    assert set(result.volume) == {"psnr"} and result.volume["psnr"] > 200


def test_zero_slices_are_nan_and_left_out_of_the_mean(pair):
    reference, prediction = pair[0].copy(), pair[1]
    reference[2] = 0
    result = metrics.evaluate(reference, prediction, variant="gleam")
    assert result.zero_slices == (2,)
    for name in ("nmse", "psnr", "ssim", "hfen"):
        values = result.per_slice[name]
        assert np.isnan(values[2]) and np.isfinite(np.delete(values, 2)).all()
        np.testing.assert_allclose(result.volume[name], np.delete(values, 2).mean())
    calgary = metrics.evaluate(reference, prediction, variant="calgary")
    assert np.isnan(calgary.per_slice["psnr"][2]) and np.isfinite(calgary.volume["psnr"])
    everything = metrics.evaluate(0 * reference, prediction, variant="fastmri")
    assert np.isnan(everything.volume["nmse"])


def test_volume_psnr_is_not_the_mean_of_slices(pair):
    volume = metrics.evaluate(*pair, variant="fastmri")
    own = metrics.evaluate(*pair, variant="deep-jsense")
    assert abs(volume.volume["psnr"] - own.volume["psnr"]) > 1
    assert own.per_slice["ssim"][0] != pytest.approx(volume.per_slice["ssim"][0], abs=1e-3)


def test_json_has_no_nan(pair):
    reference = pair[0].copy()
    reference[0] = 0
    text = json.dumps(metrics.evaluate(reference, reference, variant="gleam").as_dict(), allow_nan=False)
    read = json.loads(text)
    assert read["variant"] == "gleam" and read["per_slice"]["nmse"][:2] == [None, 0.0] and read["zero_slices"] == [0]


def test_summary_is_over_volumes_or_over_slices(pair):
    reference, prediction = pair
    halves = [(reference[:1], prediction[:1]), (reference[1:], prediction[1:])]
    by_volume = metrics.summarize(metrics.evaluate(g, p, variant="fastmri") for g, p in halves)
    by_slice = metrics.summarize(metrics.evaluate(g, p, variant="gleam") for g, p in halves)
    assert by_volume["psnr"].n == 2 and by_slice["psnr"].n == 4
    whole = metrics.evaluate(reference, prediction, variant="gleam")
    values = whole.per_slice["psnr"]
    np.testing.assert_allclose(
        [by_slice["psnr"].mean, by_slice["psnr"].median, by_slice["psnr"].std],
        [values.mean(), np.median(values), values.std()],
    )
    each = [metrics.evaluate(g, p, variant="fastmri") for g, p in halves]
    np.testing.assert_allclose(
        metrics.summarize(each, ddof=1)["nmse"].std, np.std([e.volume["nmse"] for e in each], ddof=1)
    )
    with pytest.raises(ValueError, match="one variant"):
        metrics.summarize([each[0], whole])


def test_slices_in_any_order_become_volumes(rng):
    a, b = rng.random((3, 8, 8)), rng.random((2, 8, 8))
    items = [
        ("b", 4, b[1], b[1]),
        ("a", 2, a[2], a[2]),
        ("a", 0, a[0], a[0]),
        ("b", 3, b[0], b[0]),
        ("a", 1, a[1], a[1]),
    ]
    volumes = metrics.collect_volumes(items)
    np.testing.assert_array_equal(volumes["a"][0], a)
    np.testing.assert_array_equal(volumes["b"][1], b)
    with pytest.raises(ValueError, match="twice"):
        metrics.collect_volumes([*items, items[0]])
    with pytest.raises(ValueError, match=r"\[1\] are missing"):
        metrics.collect_volumes(items[:4])


def test_scale_is_an_order_statistic(random_complex):
    image = random_complex((13, 11))
    magnitudes = np.sort(np.abs(np.asarray(image)).ravel())
    k = round(0.05 * image.size)
    assert jax.jit(metrics.top_magnitude_scale)(image) == pytest.approx(magnitudes[-k], rel=1e-6)
    assert metrics.top_magnitude_scale(image[:2, :2]) == pytest.approx(np.abs(image[:2, :2]).max(), rel=1e-6)
    with pytest.raises(ValueError, match="95"):
        metrics.top_magnitude_scale(image, percentile=95)


def test_errors_name_what_is_wrong(pair):
    reference, prediction = pair
    with pytest.raises(ValueError, match="fastmri, promptmr"):
        metrics.evaluate(reference, prediction, variant="fast-mri")
    with as_user(), pytest.raises(ValueError, match="slice missing"):
        metrics.evaluate(reference, prediction[:-1], variant="fastmri")
    with pytest.raises(ValueError, match="smaller"):
        metrics.evaluate(reference, prediction[:, :-1], variant="gleam")
    broken = prediction.copy()
    broken[1, 2, 3] = np.nan
    with pytest.raises(DataError, match=r"prediction holds 1 NaN.*\(1, 2, 3\)"):
        metrics.evaluate(reference, broken, variant="fastmri")

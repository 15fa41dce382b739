"""No result depends on the units of the data: scanners, and the scalings of other packages, give k-space of 1e-12 to 1e14."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.experiments import with_data
from support.problems import problem_for, random_params
from support.scans import line_mask, measured, object_and_maps

import jaxrecon as jr
from jaxrecon import classical, coils, metrics
from jaxrecon.classical.methods import METHODS
from jaxrecon.experiment.catalog import CATALOG
from jaxrecon.models import build
from jaxrecon.recon import Network

UNITS = [2.0**-40, 2.0**-20, 2.0**13, 2.0**46]
"""9.1e-13, 9.5e-7, 8192 and 7.0e13. Powers of two, so that nothing but the units changes: not a digit of the data."""
SHAPE = (24, 21)

KSPACE = measured(shape=SHAPE)[0]
KSPACE = KSPACE / np.abs(KSPACE).max()
IMAGES = np.asarray(jr.fourier.ifftc(jnp.asarray(KSPACE)))
IMAGES = IMAGES / np.abs(IMAGES).max()
MAPS = object_and_maps(shape=SHAPE)[1].astype(np.complex64)
MASK = line_mask(SHAPE[1], n_acs=9, step=3)
REFERENCE = np.abs(IMAGES).sum(0) / 4
PREDICTION = np.float32(REFERENCE + 0.05 * np.random.default_rng(0).standard_normal(SHAPE))


@dataclasses.dataclass(frozen=True)
class Case:
    """Something computed from data in some unit: the data as they are in the unit 1, and the result's power of the unit.

    Attributes:
      function: (data, unit) -> result; unit is for what is given in units of the data: weights, thresholds, ranges.
      data: arrays in units of the data.
      power: the result grows as this power of the unit; of each part, where it has some.
    """

    function: Callable
    data: object
    power: object = 0


def _calibration(name, power=0, *, data=KSPACE, **options):
    return Case(lambda k, _: getattr(coils, name)(k, **options), data, power)


NOISE = np.random.default_rng(1).standard_normal((2, 3, 50)).astype(np.float32)
NOISE = (NOISE[0] + 1j * NOISE[1]) * np.float32([[1], [0.5], [0.2]])
SMALL = {"calib_size": 12, "kernel_size": 4}
CALIBRATIONS = {
    "espirit": _calibration("espirit", **SMALL),
    "espirit, soft": _calibration("espirit", n_maps=2, soft=True, phase="principal", **SMALL),
    "espirit_eigen": _calibration("espirit_eigen", coils.EspiritResult(0, 0, 1, 0), **SMALL),
    "jsense": _calibration("jsense", calib_size=12, kernel_width=5, n_outer=3),
    "low_resolution_maps": _calibration("low_resolution_maps", calib_size=12),
    "low_resolution_maps, raw": _calibration("low_resolution_maps", 1, calib_size=12, normalize=False),
    "walsh": _calibration("walsh", coils.WalshResult(0, 2), data=IMAGES),
    "inati": _calibration("inati", coils.InatiResult(0, 1), data=IMAGES),
    "adaptive_combine": _calibration("adaptive_combine", 1, data=IMAGES),
    "combine_coils": Case(lambda i, _: coils.combine_coils(i, MAPS), IMAGES, 1),
    "combine_coils, maps": Case(lambda maps, _: coils.combine_coils(IMAGES, maps), MAPS, -1),
    "rss": _calibration("rss", 1, data=IMAGES),
    "svd_compression": _calibration("svd_compression", n_virtual=2, calib_size=12),
    "gcc_compression": _calibration("gcc_compression", n_virtual=2, calib_size=12),
    "noise_covariance": _calibration("noise_covariance", 2, data=NOISE),
    "whitening": Case(lambda noise, _: coils.whiten(noise, coils.whitening_matrix(noise)), NOISE),
}


def _solved(function, **options):
    """A method with options in units of the data, and others."""
    fixed = {name: value for name, value in options.items() if name != "lam_of_data"}

    def solve(kspace, unit):
        problem = PROBLEM.replace(kspace=kspace)
        weight = {"lam": unit * options["lam_of_data"]} if "lam_of_data" in options else {}
        return function(problem, **fixed, **weight)

    return Case(solve, PROBLEM.kspace, 1)


PROBLEM = jr.Problem.from_numpy(KSPACE, mask=MASK, maps=MAPS)
UNIFORM = jr.Problem.from_numpy(KSPACE, mask=np.arange(SHAPE[1]) % 3 == 0, maps=MAPS)
SPARSE = {"lam_of_data": 1e-3, "n_iter": 5, "wavelet": "haar"}
TV = {"lam_of_data": 1e-3, "n_iter": 5}
METHOD_CASES = {
    "zero_filled": _solved(classical.zero_filled),
    "rss_image": _solved(classical.rss_image),
    "cg_sense": _solved(classical.cg_sense, lam=1e-3),
    "cg_sense, implicit": _solved(classical.cg_sense, lam=1e-3, implicit_gradient=True),
    "sense": Case(
        lambda k, _: classical.sense(UNIFORM.replace(kspace=k), acceleration=(1, 3), lam=1e-3), UNIFORM.kspace, 1
    ),
    "l1_wavelet": _solved(classical.l1_wavelet, **SPARSE),
    "l1_wavelet_cycle_spun": _solved(classical.l1_wavelet_cycle_spun, key=jax.random.key(0), **SPARSE),
    "total_variation": _solved(classical.total_variation, **TV),
    "total_variation, isotropic": _solved(classical.total_variation, isotropic=True, **TV),
    "total_variation_result": _solved(
        lambda p, **o: classical.total_variation_result(p, tolerance=0.3, **o).image, **TV
    ),
    **{
        f"data_scale, {rule}": _solved(functools.partial(classical.data_scale, rule=rule, calib_size=(8, 8)))
        for rule in ("max", "p95", "bart")
    },
}


def _metric(function, power=0, **options):
    def measure(pair, unit):
        given = {name: unit * value if name == "data_range" else value for name, value in options.items()}
        return function(*pair, **given)

    return Case(measure, (REFERENCE, PREDICTION), power)


METRICS = {
    "mse": _metric(metrics.mse, 2),
    "rmse": _metric(metrics.rmse, 1),
    "nmse": _metric(metrics.nmse),
    **{f"nrmse, {n}": _metric(metrics.nrmse, normalization=n) for n in ("euclidean", "range", "mean")},
    "psnr": _metric(metrics.psnr, data_range=0.8),
    **{
        f"ssim, {i}": _metric(metrics.ssim, data_range=0.8, variant=variant)
        for i, variant in enumerate((metrics.UNIFORM, metrics.FASTMRI_LOSS, metrics.GAUSSIAN))
    },
    "ssim_map": _metric(metrics.ssim_map, data_range=0.8),
    "hfen": _metric(metrics.hfen),
    "hfen_direct": _metric(metrics.hfen_direct, 1, order=1),
    "hfen_direct, normalized": _metric(metrics.hfen_direct, order=2, normalize=True),
    "top_magnitude_scale": Case(lambda pair, _: metrics.top_magnitude_scale(pair[0]), (REFERENCE, PREDICTION), 1),
}
CASES = CALIBRATIONS | METHOD_CASES | METRICS


@pytest.mark.parametrize("name", CASES)
def test_the_unit_of_the_data_is_that_of_the_result(name):
    case = CASES[name]
    function = case.function if "sense" in name.split(",")[0] else jax.jit(case.function)
    of_unit = lambda unit: jax.tree.leaves(function(jax.tree.map(lambda a: a * np.float32(unit), case.data), unit))
    expected = of_unit(1.0)
    powers = jax.tree.leaves(case.power)
    for unit in UNITS:
        for own, one, power in zip(of_unit(unit), expected, powers, strict=True):
            assert np.any(one), "a case without a result"
            own = np.asarray(own, np.result_type(own, np.float64)) / unit**power
            np.testing.assert_allclose(own, one, rtol=1e-4, atol=1e-6 * np.abs(one).max(), err_msg=f"{unit:.1e}")


@pytest.mark.parametrize("name", METHODS)
def test_of_whole_reconstructions(name):
    """Maps, scale and weights are found by the data."""
    images = [jr.reconstruct(np.float32(u) * KSPACE, method=name, mask=MASK, n_iter=5).images / u for u in (1, *UNITS)]
    for image in images[1:]:
        np.testing.assert_allclose(image, images[0], rtol=1e-4, atol=1e-6 * np.abs(images[0]).max())


@pytest.mark.parametrize(
    ("name", "scale"), [("unet", "none"), *((name, CATALOG[name].preset.data.scale) for name in CATALOG)]
)
def test_of_networks(name, scale):
    """With the scale that their experiments divide by, or their own."""
    entry = CATALOG[name]
    model = build(entry.tiny)
    given, _ = problem_for(model, shape=(16, 12))
    experiment = with_data(dataclasses.replace(entry.preset, model=entry.tiny), scale=scale)
    network = Network(Path(name), experiment, random_params(model, given), model)
    kspace, mask = np.asarray(given.kspace), np.asarray(given.op.encoding.mask) != 0
    maps = np.asarray(given.op.maps) if network.needs_maps else None
    images = [network.reconstruct(np.float32(unit) * kspace, mask, maps)[0] / unit for unit in (1.0, *UNITS)]
    assert np.any(images[0])
    for image in images[1:]:
        np.testing.assert_allclose(image, images[0], rtol=1e-4, atol=1e-5 * np.abs(images[0]).max())


@pytest.mark.parametrize("unit", [1e-7, 1e-6, 1e10, 4.9e13])
def test_maps_have_norm_1_in_any_unit(unit):
    images = np.float32(unit) * MAPS
    for maps in (coils.walsh(images).maps, coils.inati(images).maps):
        np.testing.assert_allclose(np.linalg.norm(maps, axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("variant", [metrics.UNIFORM, metrics.GAUSSIAN, metrics.UNIFORM_3D])
def test_ssim_of_a_prediction_that_has_run_away(variant):
    """Squares of 1e25 do not fit in single precision, also not where both images are 0."""
    volume = np.float32(np.random.default_rng(0).random((8, 16, 16)))
    volume[:, :9] = 0
    values = metrics.ssim_map(volume, np.float32(1e25) * volume, data_range=1.0, variant=variant)
    assert np.all((values >= 0) & (values <= 1)) and np.mean(values) < 0.5

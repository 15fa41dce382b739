"""Maps of a scan without a choice of sizes: defaults, and what is said of maps that do not cover the object."""

import warnings

import numpy as np
import pytest
from support.scans import line_mask, measured, object_and_maps

import jaxrecon as jr
from jaxrecon.checks import DataWarning
from jaxrecon.coils import espirit
from jaxrecon.coils.estimate import estimate_maps
from jaxrecon.experiment import DataConfig

KSPACE = measured()[0]
MASK = line_mask()


def test_one_default_crop():
    """Of BART, not of sigpy, wherever maps are estimated."""
    maps = estimate_maps(KSPACE * MASK, MASK)
    np.testing.assert_array_equal(maps, espirit(KSPACE * MASK, calib_size=13, kernel_size=6))
    np.testing.assert_array_equal(maps, espirit(KSPACE * MASK, calib_size=13, kernel_size=6, crop=0.8))
    assert jr.recon.Settings().map_crop == DataConfig().espirit_crop == jr.data.MapSettings().least_eigenvalue == 0.8
    assert jr.reconstruct(KSPACE, method="cg-sense", mask=MASK, n_iter=2).settings.map_crop == 0.8


def test_maps_of_one_coil_are_1():
    """As without maps: a crop would only take from the object."""
    maps = estimate_maps(KSPACE[:1] * MASK, MASK)
    np.testing.assert_array_equal(maps, np.ones_like(KSPACE[:1]))
    assert maps.dtype == KSPACE.dtype


def test_sizes_of_0_are_refused():
    with pytest.raises(ValueError, match="expected 4 x 4"):
        estimate_maps(KSPACE, MASK, calib_size=0)
    with pytest.raises(ValueError, match="expected calib_size of 4 to 33, found 0"):
        estimate_maps(KSPACE, MASK, calib_size=0, method="jsense")


def test_an_object_beyond_the_maps_is_warned_of():
    """Where more than 1 % of the calibration region's energy lies outside, and what it is, by an independent sum."""
    crop = 0.997
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        maps = estimate_maps(KSPACE, np.ones((1, 1), bool), calib_size=12, crop=crop)
    calib = np.zeros_like(KSPACE)
    center = np.s_[:, 20 - 6 : 20 + 6, 16 - 6 : 16 + 6]
    calib[center] = KSPACE[center]
    energy = (np.abs(jr.host.coil_images(calib)) ** 2).sum(0)
    share = 100 * energy[~maps.any(0)].sum() / energy.sum()
    assert 1 < share < 50
    with pytest.warns(DataWarning, match=rf"slice 3: {share:.1f} % of the energy .* crop of 0\.997"):
        estimate_maps(1e-6 * KSPACE, np.ones((1, 1), bool), calib_size=12, crop=crop, name="slice 3")
    with pytest.warns(DataWarning, match="k-space in memory, slice 0.* maps are 0"):
        jr.reconstruct(KSPACE, method="zero-filled", calib_size=12, map_crop=crop)
    # of measured maps that cover the object nothing is said: warnings are errors here
    assert np.abs(object_and_maps()[0][~maps.any(0)]).any()
    estimate_maps(KSPACE, np.ones((1, 1), bool), calib_size=12)


@pytest.mark.parametrize("crop", [-0.1, 1.0, np.nan])
def test_a_crop_that_is_no_eigenvalue_is_refused(crop):
    with pytest.raises(ValueError, match="expected 0 or more and below 1"):
        jr.reconstruct(KSPACE, map_crop=crop)

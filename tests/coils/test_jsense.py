import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sigpy.mri as mr
from scipy.signal import convolve2d
from support.coil_data import simulate

from jaxrecon.coils import jsense, jsense_kernels

OPTIONS = {"kernel_width": 5, "calib_size": 14}


@pytest.fixture(scope="module")
def data():
    return simulate(3, (31, 26), noise=0.01)


@pytest.mark.parametrize("width, calib", [(5, 14), (6, 13)])
def test_agrees_with_sigpy_in_double_precision(data, x64, width, calib):
    kspace = data[0].astype(np.complex128)
    kspace[:, 13] = 0  # an unsampled line of the calibration region
    app = mr.app.JsenseRecon(
        kspace,
        mps_ker_width=width,
        ksp_calib_width=calib,
        lamda=0.01,
        max_iter=3,
        max_inner_iter=4,
        show_pbar=False,
    )
    maps = app.run()
    result = jsense_kernels(kspace, kernel_width=width, calib_size=calib, lam=0.01, n_outer=3, n_cg=4)
    np.testing.assert_allclose(result.map_kernels, app.mps_ker, atol=1e-10)
    np.testing.assert_allclose(result.image_kernel, app.img_ker, atol=1e-10)
    np.testing.assert_allclose(result.maps, maps, atol=1e-8)


def test_kernels_explain_the_calibration_data(data):
    result = jsense_kernels(data[0], n_outer=10, **OPTIONS)
    image = np.asarray(result.image_kernel)
    assert image.shape == (18, 18) and result.map_kernels.shape == (3, 5, 5)
    model = np.stack([convolve2d(image, np.asarray(m), mode="valid") for m in result.map_kernels])
    assert np.linalg.norm(model - np.asarray(result.calib)) < 0.03
    np.testing.assert_allclose(np.linalg.norm(result.calib), 1, rtol=1e-5)


def test_maps_are_the_true_ones_up_to_phase(data):
    kspace, true, inside = data
    maps = np.asarray(jsense(kspace, **OPTIONS))
    np.testing.assert_allclose(np.linalg.norm(maps, axis=0), 1, atol=1e-5)
    assert np.abs((maps.conj() * true).sum(0))[inside].min() > 0.98
    raw = np.asarray(jsense(kspace, normalize=False, **OPTIONS))
    # two programs, whose alternating fits amplify what they round differently
    np.testing.assert_allclose(raw / np.linalg.norm(raw, axis=0), maps, atol=1e-3)


def test_three_dimensions_jit_and_vmap():
    kspace, true, inside = simulate(3, (12, 16, 14))
    run = jax.jit(jax.vmap(lambda k: jsense(k, kernel_width=3, calib_size=10)))
    maps = np.asarray(run(jnp.stack([kspace, 3 * kspace])))
    assert np.median(np.abs((maps[0].conj() * true).sum(0))[inside]) > 0.98
    np.testing.assert_allclose(maps[1], maps[0], atol=1e-3)  # the scale of the data does not matter


def test_errors(data):
    with pytest.raises(ValueError, match="kernels of width 16 do not fit a calibration region of width 14"):
        jsense(data[0], calib_size=14)
    with pytest.raises(ValueError, match="found 0"):
        jsense(np.zeros_like(data[0]), **OPTIONS)
    with pytest.raises(ValueError, match="calib_size is 27"):
        jsense(data[0], calib_size=27)

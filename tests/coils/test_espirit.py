import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sigpy.mri as mr
from support.coil_data import simulate
from support.type_check import as_user

from jaxrecon.checks import DataError
from jaxrecon.coils import calibration_matrix, espirit, espirit_eigen, soft_weight

SHAPE = (45, 38)
OPTIONS = {"calib_size": 18, "kernel_size": 5}


@pytest.fixture(scope="module")
def data():
    return simulate(4, SHAPE, noise=0.01)


def inner(a, b, axis=0):
    return np.abs((np.conj(a) * b).sum(axis))


def test_maps_are_the_true_ones_up_to_phase(data):
    kspace, true, inside = data
    maps = np.asarray(espirit(kspace, crop=0.9, **OPTIONS))
    assert maps.shape == true.shape and maps.dtype == np.complex64
    norm = np.linalg.norm(maps, axis=0)
    np.testing.assert_allclose(norm[inside], 1, atol=1e-5)
    assert np.all((norm < 1e-6) | (np.abs(norm - 1) < 1e-5))
    assert inner(maps, true)[inside].min() > 0.99
    assert np.abs(maps[0].imag).max() < 1e-6 and maps[0].real.min() > -1e-6


def test_projection_on_the_maps_keeps_the_coil_images(data):
    kspace, _, inside = data
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, (1, 2)), norm="ortho"), (1, 2))
    maps = np.asarray(espirit(kspace, **OPTIONS))
    kept = maps * (maps.conj() * images).sum(0)
    assert np.linalg.norm((kept - images)[:, inside]) < 0.03 * np.linalg.norm(images[:, inside])


def test_agrees_with_sigpy(data):
    kspace, _, _ = data
    reference = mr.app.EspiritCalib(
        kspace, calib_width=18, kernel_width=5, thresh=0.03, crop=0.9, max_iter=300, show_pbar=False
    ).run()
    result = espirit_eigen(kspace, threshold=0.03, crop=0.9, n_maps=2, **OPTIONS)
    assert espirit(kspace, n_maps=2, **OPTIONS).shape == (2, 4, *SHAPE)
    clear = (result.eigenvalues[0] - result.eigenvalues[1] > 0.1) & (result.eigenvalues[0] > 0.91)
    clear = np.asarray(clear)
    assert clear.mean() > 0.3
    np.testing.assert_allclose(np.asarray(result.maps[0])[:, clear], reference[:, clear], atol=1e-4)


@pytest.mark.parametrize("shape", [(45, 38), (13, 22, 17)])
def test_eigen_decomposition_is_that_of_the_kernel_images(shape, x64):
    # the definition: kernels to image size, inverse FFT, G = sum q q^H, eigh per pixel
    calib_size, kernel_size, threshold = 10, 3, 0.05
    kspace = simulate(3, shape, noise=0.01)[0].astype(np.complex128)
    result = espirit_eigen(
        kspace, calib_size=calib_size, kernel_size=kernel_size, threshold=threshold, crop=0, n_maps=3, n_iter=4096
    )
    center = (slice(None), *(slice(n // 2 - 5, n // 2 + 5) for n in shape))
    matrix = np.asarray(calibration_matrix(jnp.asarray(kspace[center]), kernel_size))
    _, singular, vh = np.linalg.svd(matrix, full_matrices=False)
    kernels = vh[singular > threshold * singular[0]].reshape(-1, 3, *(kernel_size,) * len(shape))
    padded = np.zeros((len(kernels), 3, *shape), complex)
    where = tuple(slice(n // 2 - 1, n // 2 + 2) for n in shape)
    padded[(..., *where)] = kernels
    axes = tuple(range(2, padded.ndim))
    q = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(padded, axes), axes=axes, norm="ortho"), axes)
    gram = np.einsum("kc...,kd...->...cd", q, q.conj()) * np.prod(shape) / kernel_size ** len(shape)
    values, vectors = np.linalg.eigh(gram)
    assert int(result.n_kernels) == len(kernels)
    np.testing.assert_allclose(result.singular_values, singular, rtol=0, atol=1e-10 * singular[0])
    own_values = np.moveaxis(np.asarray(result.eigenvalues), 0, -1)
    clear = np.diff(values, axis=-1).min(-1) > 0.02
    assert clear.mean() > 0.5 and own_values.max() <= 1 + 1e-9
    np.testing.assert_allclose(own_values[clear], values[..., ::-1][clear], atol=1e-8)
    own = np.moveaxis(np.asarray(result.maps), (0, 1), (-1, -2))[clear]
    np.testing.assert_allclose(inner(own, vectors[..., ::-1][clear], -2), 1, atol=1e-8)


def test_calibration_matrix_rows_are_blocks():
    calib = jnp.asarray(np.arange(2 * 6 * 5).reshape(2, 6, 5) + 0j)
    matrix = calibration_matrix(calib, 3)
    assert matrix.shape == (4 * 3, 2 * 9)
    # block at (2, 1): row 2 * 3 + 1
    np.testing.assert_array_equal(matrix[7], np.asarray(calib)[:, 2:5, 1:4].ravel())


def test_chunks_do_not_change_the_result(data):
    kspace, _, _ = data
    whole = espirit_eigen(kspace, chunk=10**6, **OPTIONS)
    part = espirit_eigen(kspace, chunk=100, **OPTIONS)  # two lines at a time, the last chunk has one
    np.testing.assert_allclose(part.eigenvalues, whole.eigenvalues, atol=1e-5)
    clear = np.asarray(whole.eigenvalues[0]) > 0.97
    np.testing.assert_allclose(np.asarray(part.maps)[:, :, clear], np.asarray(whole.maps)[:, :, clear], atol=1e-4)


def test_two_sets_where_the_object_exceeds_the_field_of_view():
    # twice the field of view, then every second column of k-space: the object folds over itself
    kspace, true, inside = simulate(6, (40, 72))
    folded = kspace[:, :, ::2]
    result = espirit_eigen(folded, calib_size=20, kernel_size=6, n_maps=2, crop=0.9)
    both = inside[:, 18:54] & (np.roll(inside, 36, 1)[:, 18:54])
    alone = inside[:, 18:54] & ~np.roll(inside, 36, 1)[:, 18:54]
    assert both.sum() > 50
    second = np.asarray(result.eigenvalues[1])
    assert np.median(second[both]) > 0.95 and np.median(second[alone]) < 0.8
    # both true maps lie in the span of the two sets
    maps = np.asarray(result.maps)
    for t in (true[:, :, 18:54], np.roll(true, 36, 2)[:, :, 18:54]):
        norm = np.sqrt(inner(maps[0], t) ** 2 + inner(maps[1], t) ** 2)
        assert np.median(norm[both]) > 0.98
    np.testing.assert_allclose(inner(maps[0], maps[1])[both].max(), 0, atol=1e-2)


def test_principal_phase(data):
    kspace, _, inside = data
    maps = np.asarray(espirit(kspace, phase="principal", **OPTIONS))
    center = kspace[:, 22 - 9 : 22 + 9, 19 - 9 : 19 + 9].reshape(4, -1)
    reference = np.linalg.svd(center, full_matrices=False)[0][:, 0]
    projection = np.einsum("c,cyx->yx", reference.conj(), maps)[inside]
    assert np.abs(projection.imag).max() < 1e-5 and projection.real.min() > 0


def test_soft_weight_and_soft_maps(data):
    np.testing.assert_allclose(soft_weight(jnp.array([0.36, 0.64, 1.0, 1.1]), 0.8), [0, 0.5, 1, 1], atol=1e-6)
    result = espirit_eigen(data[0], soft=True, crop=0.8, **OPTIONS)
    norm = np.linalg.norm(np.asarray(result.maps[0]), axis=0)
    np.testing.assert_allclose(norm, soft_weight(result.eigenvalues[0], 0.8), atol=1e-5)
    assert ((norm > 0.05) & (norm < 0.95)).any()


def test_jit_vmap_and_one_trace(data):
    kspace = jnp.asarray(data[0])
    eager = espirit(kspace, **OPTIONS)
    stack = jax.jit(jax.vmap(lambda k: espirit(k, **OPTIONS)))(jnp.stack([kspace, 2 * kspace[:, :, ::-1]]))
    np.testing.assert_allclose(stack[0], eager, atol=2e-5)


def test_all_coils_zero_under_jit_gives_zeros_not_nan():
    maps = jax.jit(lambda k: espirit(k, **OPTIONS))(jnp.zeros((4, *SHAPE), jnp.complex64))
    assert np.isfinite(np.asarray(maps)).all()


def test_errors_name_the_cure(data):
    kspace = data[0].copy()
    with pytest.raises(ValueError, match=r"found 0\. Is this masked k-space without calibration lines"):
        espirit(np.zeros_like(kspace))
    holes = kspace.copy()
    holes[:, 22 + 7] = 0  # row offset 7: the largest complete width is 14
    with pytest.raises(ValueError, match=r"expected 324 sampled positions, found 306\..*use calib_size=14"):
        espirit(holes, **OPTIONS)
    with pytest.raises(ValueError, match="external maps"):
        espirit(np.where(np.arange(38) % 2, kspace, 0), **OPTIONS)
    with pytest.raises(ValueError, match="calib_size is 40, but kspace has 45 x 38"):
        espirit(kspace, calib_size=40)
    with pytest.raises(ValueError, match="kernels of width 6 do not fit"):
        espirit(kspace, calib_size=5)
    with pytest.raises(ValueError, match="wanted 1 <= kernel width < calib_size"):  # not maps of zeros
        espirit(kspace, calib_size=6)
    with pytest.raises(ValueError, match="n_maps is 5, but 4 coils"):
        espirit(kspace, n_maps=5)
    with as_user(), pytest.raises(ValueError, match="'principal'"):
        espirit(kspace, phase="bart", **OPTIONS)
    with as_user(), pytest.raises(ValueError, match=r"\(coil, y, x\)"):
        espirit(kspace[0])
    kspace[1, 22, 19] = np.nan
    with pytest.raises(DataError, match="NaN"):
        espirit(kspace, **OPTIONS)


@pytest.mark.slow
def test_memory_of_32_coils_stays_small():
    compiled = jax.jit(espirit).lower(jax.ShapeDtypeStruct((32, 640, 368), jnp.complex64)).compile()
    # all G(r) at once would be 1.8 GiB
    assert compiled.memory_analysis().temp_size_in_bytes < 2**28

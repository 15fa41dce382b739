import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrecon as jr
from jaxrecon import Problem, coils, metrics


def _kspace(rng, shape=(3, 10, 8)):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def test_mask_is_found_and_simplified(rng):
    kspace = _kspace(rng)
    kspace[..., 1::2] = 0
    problem = Problem.from_numpy(kspace, maps=np.ones_like(kspace))
    assert problem.op.encoding.mask.shape == (1, 8)  # constant along the readout: 1D FFTs
    np.testing.assert_array_equal(problem.op.encoding.mask[0], [1, 0] * 4)


def test_mask_is_applied_and_single_coil_needs_no_maps(rng):
    mask = np.arange(8) % 2
    problem = Problem.from_numpy(_kspace(rng, (10, 8)), mask=mask)
    assert problem.kspace.shape == (1, 10, 8)
    assert not jnp.any(problem.kspace[..., ::2])
    assert problem.op.adjoint(problem.kspace).shape == (10, 8)


def test_double_precision_is_kept(x64, rng):
    problem = Problem.from_numpy(_kspace(rng).astype(np.complex128))
    assert problem.kspace.dtype == jnp.complex128
    assert problem.op.encoding.mask.dtype == jnp.float64
    assert problem.op.maps is None


def test_problem_is_a_pytree(rng):
    problem = Problem.from_numpy(_kspace(rng), maps=_kspace(rng))
    batch = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), problem)
    images = jax.vmap(lambda p: p.op.adjoint(p.kspace))(batch)
    assert images.shape == (2, 10, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"maps": np.ones((4, 10, 8))}, "maps have 4 coils, kspace has 3"),
        ({"maps": np.ones((3, 10, 9))}, r"maps of size \(10, 9\) do not fit"),
        ({"mask": np.ones(10)}, r"mask of shape \(10,\) does not broadcast against kspace"),
        ({"mask": np.zeros(8)}, "mask is empty"),
        ({"mask": np.full(8, np.nan)}, "mask holds 8 NaN or infinite values"),
        ({"maps": np.full((3, 10, 8), np.inf)}, "maps holds 240 NaN or infinite values"),
        ({"acs": np.full(8, np.nan)}, "acs holds 8 NaN"),
    ],
)
def test_border_errors(rng, options, message):
    with pytest.raises(ValueError, match=message):
        Problem.from_numpy(_kspace(rng), **options)


def test_values_are_checked(rng):
    kspace = _kspace(rng)
    kspace[0, 1, 2] = np.nan
    with pytest.raises(ValueError, match="1 NaN or infinite"):
        Problem.from_numpy(kspace)
    with pytest.raises(ValueError, match="must be complex"):
        Problem.from_numpy(kspace.real)


def test_a_mask_counts_where_it_is_not_0(rng, tmp_path):
    kspace, mask = _kspace(rng), np.arange(8) % 2
    expected = Problem.from_numpy(kspace, mask=mask, acs=mask)
    for other in (255 * mask.astype(np.uint8), mask != 0, -0.5 * mask):
        own = Problem.from_numpy(kspace, mask=other, acs=other)
        jax.tree.map(np.testing.assert_array_equal, own, expected)
    image = jr.reconstruct(kspace, mask=mask, method="rss").images
    np.save(tmp_path / "mask.npy", 255 * mask.astype(np.uint8))
    for other in (255 * mask, tmp_path / "mask.npy"):
        np.testing.assert_array_equal(jr.reconstruct(kspace, mask=other, method="rss").images, image)
    with pytest.raises(ValueError, match="keeps no sample"):
        jr.reconstruct(kspace, mask=0 * mask, method="rss")
    with pytest.raises(ValueError, match="mask holds no numbers"):
        jr.reconstruct(kspace, mask=mask.astype(str), method="rss")
    with pytest.raises(ValueError, match="mask holds 8 NaN"):
        jr.reconstruct(kspace, mask=np.full(8, np.nan), method="rss")


def test_double_precision_is_converted(rng):
    """Arrays of NumPy's own precision, without a warning."""
    kspace = _kspace(rng).astype(np.complex128)
    problem = Problem.from_numpy(kspace, mask=np.ones(8), acs=np.ones(8), maps=kspace)
    assert {leaf.dtype.itemsize for leaf in jax.tree.leaves(problem)} == {8, 4}


def test_the_other_byte_order_is_converted(rng):
    kspace, mask = _kspace(rng), np.arange(8) % 2
    swapped = lambda a: a.astype(a.dtype.newbyteorder())
    own = Problem.from_numpy(swapped(kspace), mask=swapped(mask), maps=swapped(kspace), acs=swapped(mask))
    jax.tree.map(np.testing.assert_array_equal, own, Problem.from_numpy(kspace, mask=mask, maps=kspace, acs=mask))
    for function in (
        lambda k: jr.reconstruct(k, mask=swapped(mask), maps=k, method="zero-filled").images,
        lambda k: coils.low_resolution_maps(k, calib_size=6),
        lambda k: coils.espirit(k, calib_size=6, kernel_size=3),
        lambda k: coils.combine_coils(k, k),
        lambda k: coils.compress(k, coils.svd_compression(k, n_virtual=2, calib_size=6)),
        lambda k: coils.whiten(k, coils.whitening_matrix(k)),
        lambda k: metrics.nmse(k, 2 * k),
        lambda k: metrics.ssim(k.real, 2 * k.real, data_range=1.0),
    ):
        np.testing.assert_array_equal(function(swapped(kspace)), function(kspace))


def test_traced_arrays_are_told_where_to_go(rng):
    kspace = jnp.asarray(_kspace(rng))
    with pytest.raises(ValueError, match=r"traced.*Problem\(kspace, CartesianSense\(maps, mask\)\)"):
        jax.grad(lambda k: jnp.abs(Problem.from_numpy(k, maps=np.ones(k.shape)).kspace).sum())(kspace)

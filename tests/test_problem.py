import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon import Problem


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

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.nn.padding import MODES, pad_border

NUMPY_NAME = {"reflect": "reflect", "edge": "edge", "circular": "wrap"}
CASES = [((6, 5), (1, 1)), ((7, 6), (3, 2)), ((5, 4), (0, 2)), ((4, 5, 3), (1, 2, 1))]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("size", "pad"), CASES)
def test_equals_numpy_and_its_transpose(rng, x64, mode, size, pad):
    x = rng.normal(size=(2, *size, 3))
    reference = lambda x: jnp.pad(x, [(0, 0), *((p, p) for p in pad), (0, 0)], NUMPY_NAME[mode])
    padded, pull = jax.vjp(lambda x: pad_border(x, pad, mode), x)
    expected, pull_reference = jax.vjp(reference, x)
    np.testing.assert_array_equal(padded, expected)
    cotangent = jnp.asarray(rng.normal(size=padded.shape))
    np.testing.assert_allclose(pull(cotangent)[0], pull_reference(cotangent)[0], atol=1e-13)


def test_too_small_an_image():
    with pytest.raises(ValueError, match=r"\(2, 8\) pixels is too small for a reflect border of \(2, 1\)"):
        pad_border(jnp.zeros((1, 2, 8, 1)), (2, 1), "reflect")

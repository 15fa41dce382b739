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
    pad_as = lambda x: np.pad(x, [(0, 0), *((p, p) for p in pad), (0, 0)], NUMPY_NAME[mode])
    cotangent = rng.normal(size=pad_as(x).shape)

    @jax.jit
    def with_transpose(x, cotangent):
        padded, pull = jax.vjp(lambda x: pad_border(x, pad, mode), x)
        return padded, pull(cotangent)[0]

    padded, pulled = with_transpose(x, cotangent)
    np.testing.assert_array_equal(padded, pad_as(x))
    # the transpose adds each padded pixel to the one that it was taken from
    taken_from = pad_as(np.arange(x.size).reshape(x.shape))
    np.testing.assert_allclose(np.ravel(pulled), np.bincount(taken_from.ravel(), cotangent.ravel()), atol=1e-13)


def test_too_small_an_image():
    with pytest.raises(ValueError, match=r"\(2, 8\) pixels is too small for a reflect border of \(2, 1\)"):
        pad_border(jnp.zeros((1, 2, 8, 1)), (2, 1), "reflect")

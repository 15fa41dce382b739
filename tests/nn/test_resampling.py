"""Half and twice the size, against the operations written out or XLA's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from support.problems import random_variables

from jaxrecon import nn
from jaxrecon.nn import resampling
from jaxrecon.operators import Wavelet

NAMES = ("NHWC", "HWIO", "NHWC")


def test_haar_is_that_of_the_operators_up_to_signs(rng):
    x = rng.standard_normal((2, 6, 10, 3)).astype(np.float32)
    bands, back = jax.jit(lambda x: (nn.haar(x), nn.inverse_haar(nn.haar(x))))(x)
    wavelet = Wavelet((6, 10), "haar", level=1, periodic=True)
    approximation, (along_x, along_y, both) = jax.jit(wavelet.forward)(np.moveaxis(x, -1, 1))
    # PyWavelets' details are the first minus the second pixel; HL is the one along x
    expected = np.concatenate([approximation, -along_x, -along_y, both], 1)
    np.testing.assert_allclose(np.moveaxis(bands, -1, 1), expected, atol=1e-6)
    np.testing.assert_allclose(back, x, atol=1e-6)


@pytest.fixture(scope="module")
def ours_and_native():
    """{name: (ours, XLA's own)}, and gradients of the input."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 5, 8, 3)).astype(np.float32)
    up, unpool = nn.resampling.UpConv(4), nn.resampling.ConvTranspose3x3(4)
    of_up, of_unpool = random_variables(up, x), random_variables(unpool, x)
    kernel = jnp.array(rng.standard_normal((3, 3, 3, 4)), jnp.float32)
    bias = lambda variables: variables["params"]["bias"].reshape(1, 1, 1, -1)

    def native_up(x):
        upsampled = x.repeat(2, 1).repeat(2, 2)
        y = lax.conv_general_dilated(upsampled, of_up["params"]["kernel"], (1, 1), "SAME", dimension_numbers=NAMES)
        return y + bias(of_up)

    def native_unpool(x):
        kernel = of_unpool["params"]["kernel"]
        y = lax.conv_transpose(x, kernel, (2, 2), "SAME", dimension_numbers=NAMES, transpose_kernel=True)
        return y + bias(of_unpool)

    def native_same(x):
        return lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=NAMES)

    pairs = {
        "UpConv": (lambda x: up.apply(of_up, x), native_up),
        "ConvTranspose3x3": (lambda x: unpool.apply(of_unpool, x), native_unpool),
        "same": (lambda x: nn.conv(x, kernel, padding="same", stride=2), native_same),
    }
    both = lambda f: lambda x: (f(x), jax.grad(lambda x: jnp.sum(jnp.sin(f(x))))(x))
    return jax.device_get(jax.jit(lambda x: {k: [both(f)(x) for f in pair] for k, pair in pairs.items()})(x))


@pytest.mark.parametrize("name", ["UpConv", "ConvTranspose3x3", "same"])
def test_equals_the_native_one(ours_and_native, name):
    ours, native = ours_and_native[name]
    for a, b in zip(ours, native, strict=True):
        np.testing.assert_allclose(a, b, atol=3e-5)


def test_pooling_and_depth_to_space(rng):
    x = rng.standard_normal((1, 4, 6, 8)).astype(np.float32)
    pooled, deep = jax.jit(lambda x: (resampling.max_pool_2x2(x), resampling.depth_to_space(x)))(x)
    np.testing.assert_array_equal(pooled[0, 1, 2], x[0, 2:4, 4:6].max((0, 1)))
    assert deep.shape == (1, 8, 12, 2)
    np.testing.assert_array_equal(deep[0, 2:4, 4:6].reshape(8), x[0, 1, 2])

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from scipy import ndimage
from support.problems import random_variables
from support.type_check import as_user

from jaxrecon import nn
from jaxrecon.nn import conv

SCIPY_MODES = {"zeros": "constant", "reflect": "mirror", "edge": "nearest", "circular": "wrap"}
NUMPY_MODES = {"zeros": "constant", "reflect": "reflect", "edge": "edge", "circular": "wrap"}


jitted = jax.jit(conv, static_argnames=("padding", "dilation", "stride"))


def arrays(rng, shape, kernel):
    return jnp.array(rng.standard_normal(shape)), jnp.array(rng.standard_normal(kernel))


def native(x, kernel, padding, dilation=1):
    """The library's convolution and its own gradient, for one example."""
    ndim = kernel.ndim - 2
    pad = [(dilation * (k // 2),) * 2 for k in kernel.shape[:ndim]]
    x = jnp.pad(x, [*pad, (0, 0)], NUMPY_MODES[padding])
    space = "DHW"[-ndim:]
    names = (f"N{space}C", f"{space}IO", f"N{space}C")
    return lax.conv_general_dilated(
        x[None], kernel, (1,) * ndim, "VALID", rhs_dilation=(dilation,) * ndim, dimension_numbers=names
    )[0]


@pytest.mark.parametrize("padding", SCIPY_MODES)
@pytest.mark.parametrize("shape", [(6, 9), (5, 4, 7)])
def test_equals_correlation(rng, x64, padding, shape):
    x, kernel = arrays(rng, (*shape, 2), (3,) * len(shape) + (2, 3))
    expected = np.zeros((*shape, 3))
    for i, o in np.ndindex(2, 3):
        expected[..., o] += ndimage.correlate(
            np.array(x[..., i]), np.array(kernel[..., i, o]), mode=SCIPY_MODES[padding]
        )
    np.testing.assert_allclose(jitted(x, kernel, padding=padding), expected, atol=1e-12)


@pytest.mark.parametrize("padding", NUMPY_MODES)
@pytest.mark.parametrize(("size", "dilation"), [((7, 10), 1), ((9, 11), 2), ((5, 6, 8), 1), ((6, 9, 7), 2)])
def test_gradient_equals_the_native_one(rng, x64, padding, size, dilation):
    x, kernel = arrays(rng, (*size, 2), (3,) * len(size) + (2, 4))
    weight = jnp.array(rng.standard_normal((*size, 4)))

    def gradients(f):
        return jax.grad(lambda *a: jnp.sum(weight * f(*a) ** 2), (0, 1))

    ours = gradients(lambda *a: conv(*a, padding=padding, dilation=dilation))
    theirs = gradients(lambda *a: native(*a, padding, dilation))
    ours, theirs = jax.jit(lambda *a: (ours(*a), theirs(*a)))(x, kernel)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-11 * np.abs(b).max())


@pytest.mark.parametrize(
    ("size", "channels", "leading"),
    [((23, 40), (3, 8), (2,)), ((23, 40), (8, 3), (2,)), ((13, 20), (128, 2), ()), ((3, 21, 37), (3, 4), (2,))],
)
def test_kernel_gradient_in_several_blocks(rng, x64, monkeypatch, size, channels, leading):
    """Rows that no block divides, more channels in than out, several examples, volumes."""
    monkeypatch.setattr("jaxrecon.nn.kernel_gradient.BLOCK", 2**12)
    monkeypatch.setattr("jaxrecon.nn.kernel_gradient.LEAST_PIXELS", 64)
    x, kernel = arrays(rng, (*leading, *size, channels[0]), (3,) * len(size) + channels)
    weight = jnp.array(rng.standard_normal((*leading, *size, channels[1])))
    ours = jax.grad(lambda kernel: jnp.sum(weight * conv(x, kernel)))
    one = lambda x, kernel: native(x, kernel, "zeros")
    each = jax.vmap(one, (0, None)) if leading else one
    theirs = jax.grad(lambda kernel: jnp.sum(weight * each(x, kernel)))
    ours, theirs = jax.jit(lambda k: (ours(k), theirs(k)))(kernel)
    np.testing.assert_allclose(ours, theirs, atol=1e-11 * np.abs(theirs).max())


@pytest.mark.parametrize(("size", "width"), [((7, 10), 3), ((8, 9), 5), ((6, 7), 1), ((5, 6, 8), 3)])
def test_stride_takes_every_second_pixel(rng, x64, size, width):
    """Value and gradient: those of stride 1 where every second output is looked at."""
    x, kernel = arrays(rng, (3, *size, 2), (width,) * len(size) + (2, 4))
    every = (slice(None), *[slice(None, None, 2)] * len(size))
    weight = jnp.array(rng.standard_normal((3, *[(n + 1) // 2 for n in size], 4)))
    own = lambda x, kernel: conv(x, kernel, stride=2)
    dense = lambda x, kernel: conv(x, kernel)[every]
    gradients = lambda f: jax.grad(lambda *a: jnp.sum(weight * f(*a) ** 2), (0, 1))
    ours, theirs = jax.jit(lambda *a: [(f(*a), gradients(f)(*a)) for f in (own, dense)])(x, kernel)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12 * np.abs(b).max())
    mapped = jax.jit(jax.vmap(lambda x, kernel: jax.checkpoint(own)(x[None], kernel)[0], (0, None)))(x, kernel)
    np.testing.assert_allclose(mapped, ours[0], atol=1e-12)


def test_gradient_under_transformations(rng, x64):
    x, kernel = arrays(rng, (3, 6, 8, 2), (3, 3, 2, 2))

    def chain(f):
        def loss(kernel, x):
            return jnp.sum(lax.scan(lambda h, _: (jnp.tanh(f(h, kernel)), None), x, length=3)[0] ** 2)

        return loss

    ours, theirs = chain(conv), chain(lambda h, k: native(h, k, "zeros"))

    @jax.jit
    def gradients(kernel, x):
        mapped = lambda k: jnp.sum(jax.vmap(jax.checkpoint(ours), (None, 0))(k, x))
        squared = lambda f: jax.grad(lambda k: jnp.sum(jax.grad(f)(k, x[0]) ** 2))(kernel)
        return {
            "native": jax.vmap(jax.grad(theirs), (None, 0))(kernel, x),
            "vmap of grad": jax.vmap(jax.grad(ours), (None, 0))(kernel, x),
            "a kernel for each example": jax.vmap(jax.grad(ours))(jnp.stack([kernel] * 3), x),
            "leading axis": jax.grad(ours)(kernel, x),
            "grad of vmap of checkpoint": jax.grad(mapped)(kernel),
            "second": squared(ours),
            "second, native": squared(theirs),
        }

    out = jax.device_get(gradients(kernel, x))
    for name in ("vmap of grad", "a kernel for each example"):
        np.testing.assert_allclose(out[name], out["native"], atol=1e-10)
    for name in ("leading axis", "grad of vmap of checkpoint"):
        np.testing.assert_allclose(out[name], out["native"].sum(0), atol=1e-10)
    np.testing.assert_allclose(out["second"], out["second, native"], atol=1e-8)


def test_an_infinite_gradient_of_the_kernel_leaves_that_of_the_input_alone():
    """1e30 x 1e30 is more than single precision holds; the input's gradient is 1e30 times the kernel."""
    x, kernel, cotangent = jnp.full((6, 7, 2), 1e30), jnp.ones((3, 3, 2, 2)), jnp.full((6, 7, 2), 1e30)
    of_x, of_kernel = jax.jit(lambda x, kernel: jax.vjp(conv, x, kernel)[1](cotangent))(x, kernel)
    assert np.isinf(of_kernel).all()
    np.testing.assert_allclose(of_x[1:-1, 1:-1], 18e30, rtol=1e-6)


def test_gradient_has_the_form_that_is_fast_in_loops():
    """On a CPU ordinary convolutions and matrix products in a loop; elsewhere the native gradient."""
    x, kernel = jnp.zeros((1, 32, 32, 16)), jnp.zeros((3, 3, 16, 16))
    traced = jax.jit(jax.grad(lambda *a: jnp.sum(conv(*a) ** 2), (0, 1))).trace(x, kernel)
    text = {p: traced.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "cuda")}
    assert text["cpu"].count("stablehlo.convolution") == 2 and "stablehlo.while" in text["cpu"]
    assert text["cuda"].count("stablehlo.convolution") == 3 and "stablehlo.while" not in text["cuda"]


def test_gradient_is_lean():
    """Never all shifted copies of the image at once."""
    x, kernel = jnp.zeros((64, 64, 16)), jnp.zeros((3, 3, 16, 16))
    compiled = (
        jax.jit(jax.grad(lambda *a: jnp.sum(conv(*a, padding="reflect") ** 2), (0, 1))).lower(x, kernel).compile()
    )
    assert compiled.memory_analysis().temp_size_in_bytes < 7 * x.nbytes


def test_one_by_one_is_a_matrix_product(rng):
    x, kernel = arrays(rng, (2, 4, 5, 3), (1, 1, 3, 6))
    expected = np.asarray(x) @ np.asarray(kernel)[0, 0]
    np.testing.assert_allclose(jitted(x, kernel), expected, atol=1e-5)
    assert "convolution" not in jitted.lower(x, kernel).as_text()


def test_wrong_arguments():
    x = jnp.zeros((8, 9, 2))
    with pytest.raises(ValueError, match=r"odd .* \(2, 3\)"):
        conv(x, jnp.zeros((2, 3, 2, 1)))
    with as_user(), pytest.raises(ValueError, match=r"\(8, 9, 2\) does not fit .* \(3, 3, 3, 1\)"):
        conv(x, jnp.zeros((3, 3, 3, 1)))
    with as_user(), pytest.raises(ValueError, match="'mirror' is not one of"):
        conv(x, jnp.zeros((3, 3, 2, 1)), padding="mirror")


def test_transposed_convolution(rng):
    x, kernel = arrays(rng, (3, 4, 5, 2), (2, 2, 2, 3))
    expected = np.zeros((3, 8, 10, 3))
    for a, b in np.ndindex(2, 2):
        expected[:, a::2, b::2] = np.array(x) @ np.array(kernel[a, b])
    np.testing.assert_allclose(jax.jit(nn.conv_transpose_2x2)(x, kernel), expected, atol=1e-5)


def test_pooling_drops_the_odd_row():
    x = np.arange(30, dtype=np.float32).reshape(5, 6, 1)
    expected = np.arange(30.0).reshape(5, 6)[:4].reshape(2, 2, 3, 2).mean((1, 3))
    np.testing.assert_allclose(jax.jit(nn.average_pool_2x2)(x)[..., 0], expected)


@pytest.mark.parametrize("ndim", [2, 3])
def test_instance_norm(rng, ndim):
    x = (3 + 2 * rng.standard_normal((2, *(5, 6, 7)[:ndim], 4))).astype(np.float32)
    axes = tuple(range(1, ndim + 1))
    expected = (x - np.mean(x, axes, keepdims=True)) / np.sqrt(np.var(x, axes, keepdims=True) + 1e-5)
    np.testing.assert_allclose(jax.jit(lambda x: nn.instance_norm(x, ndim=ndim))(x), expected, atol=1e-5)


def test_layers_initialise_as_torch(rng):
    x = jnp.zeros((6, 6, 8))
    params = jax.jit(nn.Conv(50).init)(jax.random.key(0), x)["params"]
    for leaf in (params["kernel"], params["bias"]):
        bound = 1 / np.sqrt(8 * 9)
        assert bound * 0.8 < np.abs(leaf).max() <= bound
    kernel = jax.jit(nn.ConvTranspose2x2(16).init)(jax.random.key(0), x)["params"]["kernel"]
    assert kernel.shape == (2, 2, 8, 16) and 0.8 / 8 < np.abs(kernel).max() <= 1 / 8


def test_bfloat16_computes_low_and_keeps_parameters_high(rng):
    x = rng.standard_normal((6, 7, 3)).astype(np.float32)
    low, high = nn.Conv(4, dtype=jnp.bfloat16), nn.Conv(4)
    params = random_variables(low, x)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}

    def look(net):
        def loss(params, x):
            y = net.apply(params, x)
            return jnp.sum(y.astype(jnp.float32) ** 2), y

        gradients, y = jax.jit(jax.grad(loss, has_aux=True))(params, x)
        return y, gradients

    (y, gradients), (expected, expected_gradients) = look(low), look(high)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(y, np.float32), expected, atol=0.05)
    for a, b in zip(*map(jax.tree.leaves, (gradients, expected_gradients)), strict=True):
        assert a.dtype == jnp.float32
        np.testing.assert_allclose(a, b, atol=0.05 * np.abs(b).max())


def test_frozen_kernels_cost_no_gradient():
    """The gradient of the input alone (an inverse, an equilibrium, a frozen network) never runs the kernel's loop over taps."""
    x, kernel = jnp.ones((1, 12, 10, 3)), jnp.ones((3, 3, 3, 4))

    def program(*arguments):
        gradient = jax.grad(lambda x, kernel: jnp.sum(conv(x, kernel) ** 2), arguments)
        return jax.jit(gradient).lower(x, kernel).compile().as_text()

    assert "while" in program(0, 1)
    assert "while" not in program(0)


def test_layers_in_3d_share_no_buffer_that_outlives_them():
    """What is alive at the peak does not grow with the layers: a padded input, an output, one plane's copies."""
    size, features = (20, 48, 40), 8

    def peak(layers):
        chain = lambda x, kernels: functools.reduce(lambda x, k: jnp.tanh(conv(x, k, padding="edge")), kernels, x)
        shapes = [jax.ShapeDtypeStruct((3, 3, 3, features, features), jnp.float32)] * layers
        x = jax.ShapeDtypeStruct((*size, features), jnp.float32)
        return jax.jit(chain).lower(x, shapes).compile().memory_analysis().temp_size_in_bytes

    activation = 4 * features * size[0] * size[1] * size[2]
    assert peak(5) < peak(3) + 0.5 * activation
    assert peak(5) < 4 * activation

"""One suite over all operators: adjointness, the normal operator, linearity, dtype, jit, vmap, VJP, one trace per shape."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from support.dense_dft import DenseDFT

from jaxrecon import operators as ops
from jaxrecon.operators import vdot
from jaxrecon.operators.cpu import coil_parts

COILS, Y, X, FRAMES, Z = 3, 11, 8, 4, 5
KERNEL = (4, 3)
GRID = ops.linear_grid((Y, X), KERNEL)


def _complex(rng, shape):
    return jnp.asarray(rng.standard_normal(shape) + 1j * rng.standard_normal(shape))


def _mask(rng, shape):
    return jnp.asarray(rng.random(shape) < 0.5, jnp.zeros(0).dtype)


def _cases(rng):
    """name -> (operator, shape of its domain); sizes all different and one odd, so that swapped axes show."""
    maps, sets, maps3 = (_complex(rng, s) for s in ((COILS, Y, X), (2, COILS, Y, X), (COILS, Z, Y, X)))
    sense = ops.CartesianSense(maps, _mask(rng, (Y, X)))
    return {
        "sense": (sense, (Y, X)),
        "sense line mask": (ops.CartesianSense(maps, _mask(rng, (X,))), (Y, X)),
        "sense row mask": (ops.CartesianSense(maps, _mask(rng, (Y, 1))), (Y, X)),
        "sense weighted mask": (ops.CartesianSense(maps, jnp.asarray(rng.random((Y, X)))), (Y, X)),
        "sense constant mask": (ops.CartesianSense(maps, jnp.full((1, 1), 0.5)), (Y, X)),
        "sense unmasked": (ops.CartesianSense(maps), (Y, X)),
        "coil-wise": (ops.CartesianSense(None, _mask(rng, (1, X))), (COILS, Y, X)),
        "two map sets": (ops.CartesianSense(sets, _mask(rng, (Y, X))), (2, Y, X)),
        "frames": (ops.CartesianSense(maps, _mask(rng, (FRAMES, 1, 1, X))), (FRAMES, Y, X)),
        "frames, two map sets": (ops.CartesianSense(sets, _mask(rng, (FRAMES, 1, Y, X))), (FRAMES, 2, Y, X)),
        "slices with maps of their own": (
            ops.Sense(_complex(rng, (FRAMES, COILS, Y, X)), ops.CartesianFFT(_mask(rng, (FRAMES, 1, 1, X)))),
            (FRAMES, Y, X),
        ),
        "slices with two map sets of their own": (
            ops.Sense(_complex(rng, (FRAMES, 2, COILS, Y, X)), ops.CartesianFFT(_mask(rng, (Y, 1))), sets=True),
            (FRAMES, 2, Y, X),
        ),
        "a mask for each coil": (ops.CartesianSense(maps, _mask(rng, (COILS, Y, X))), (Y, X)),
        "an encoding of one's own": (
            ops.Sense(maps, DenseDFT(_complex(rng, (9, Y)), _complex(rng, (9, X)))),
            (Y, X),
        ),
        "3D": (ops.CartesianSense(maps3, _mask(rng, (Z, 1, X)), ndim=3), (Z, Y, X)),
        "convolution, image": (
            ops.ImageConvolution(_complex(rng, (COILS, *KERNEL)), _mask(rng, (1, X)), (Y, X), GRID),
            GRID,
        ),
        "convolution, image, two map sets": (
            ops.ImageConvolution(_complex(rng, (2, COILS, *KERNEL)), _mask(rng, (Y, X)), (Y, X), GRID),
            (2, *GRID),
        ),
        "convolution, maps": (
            ops.MapConvolution(_complex(rng, GRID), _mask(rng, (1, X)), (Y, X), KERNEL),
            (COILS, *KERNEL),
        ),
        "convolution, maps, two map sets": (
            ops.MapConvolution(_complex(rng, (2, *GRID)), None, (Y, X), KERNEL),
            (2, COILS, *KERNEL),
        ),
        "finite differences": (ops.FiniteDifference(), (Y, X)),
        "finite differences in time": (
            ops.FiniteDifference((-3, -2, -1), jnp.array([0.5, 1.0, 2.0])),
            (FRAMES, Y, X),
        ),
        "temporal FFT": (ops.TemporalFFT(), (FRAMES, Y, X)),
        "wavelet, zero-padded": (ops.Wavelet((Y, X), "db2"), (Y, X)),
        "wavelet, periodic": (ops.Wavelet((Y, X), "db3", 2, periodic=True), (Y, X)),
        "wavelet 3D": (ops.Wavelet((Z, Y, X), "haar", 1), (Z, Y, X)),
        "blocks": (ops.Blocks((Y, X), (4, 3), (2, 1)), (Y, X)),
        "composition": (ops.TemporalFFT() @ ops.Scale(2 - 1j, ops.TemporalFFT()), (FRAMES, Y, X)),
        "diagonal": (ops.Scale(_complex(rng, (COILS, Y, X)), sense), (Y, X)),
        "stack": (ops.Stack((sense, ops.FiniteDifference())), (Y, X)),
        "adjoint": (sense.H, (COILS, Y, X)),
    }


NAMES = list(_cases(np.random.default_rng(0)))


@pytest.fixture(params=NAMES)
def case(request, rng):
    op, shape = _cases(rng)[request.param]
    return op, _complex(rng, shape), rng


def _like(rng, tree):
    return jax.tree.map(lambda s: _complex(rng, s.shape).astype(s.dtype), tree)


def _close(a, b, tolerance):
    chex.assert_trees_all_equal_shapes_and_dtypes(a, b)
    difference = jax.tree.map(jnp.subtract, a, b)
    assert vdot(difference, difference).real ** 0.5 <= tolerance * (vdot(b, b).real ** 0.5 + 1e-30)


@pytest.mark.parametrize(("double", "tolerance"), [(False, 1e-5), (True, 1e-10)])
@pytest.mark.parametrize("name", NAMES)
def test_adjoint_and_normal(name, double, tolerance):
    with jax.enable_x64(double):
        rng = np.random.default_rng(1)
        op, shape = _cases(rng)[name]
        x = _complex(rng, shape)
        forward = op @ x
        y = _like(rng, forward)
        back = op.H @ y
        left, right = vdot(forward, y), vdot(x, back)
        assert abs(left - right) <= tolerance * abs(vdot(forward, forward).real * vdot(y, y).real) ** 0.5
        _close(op.normal(x), op.adjoint(forward), tolerance)
        assert back.dtype == x.dtype == (jnp.complex128 if double else jnp.complex64)
        assert all(leaf.dtype == x.dtype for leaf in jax.tree.leaves(forward))


def test_linear(case):
    op, x, rng = case
    other = _complex(rng, x.shape)
    combined = jax.tree.map(lambda a, b: (2 - 1j) * a + b, op @ x, op @ other)
    _close(op @ ((2 - 1j) * x + other), combined, 2e-6)


def test_jit_vmap_and_one_trace(case):
    op, x, _ = case
    chex.clear_trace_counter()
    traced = chex.assert_max_traces(lambda op, x: (op.forward(x), op.normal(x)), n=1)
    jitted = jax.jit(traced)
    first = jitted(op, x)
    _close(first, (op.forward(x), op.normal(x)), 2e-6)
    jitted(jax.tree.map(lambda a: 2 * a, op), 3 * x)  # other values, the same shapes
    batch = jnp.stack([x, 2 * x])
    mapped = jax.vmap(op.forward)(batch)
    _close(mapped, jax.tree.map(lambda *a: jnp.stack(a), op @ x, op @ (2 * x)), 2e-6)


def test_vjp_is_the_transpose(case):
    op, x, rng = case
    y, pull = jax.vjp(op.forward, x)
    cotangent = _like(rng, y)
    (out,) = pull(jax.tree.map(jnp.conj, cotangent))
    _close(jnp.conj(out), op.H @ cotangent, 2e-6)


def test_gradient_of_the_maps(x64, rng):
    op, shape = _cases(rng)["sense"]
    x, y = _complex(rng, shape), _complex(rng, (COILS, Y, X))

    def loss(maps):
        return jnp.sum(jnp.abs(op.replace(maps=maps).forward(x) - y) ** 2)

    check_grads(loss, (op.maps,), order=1, modes=("rev",), rtol=1e-6)


@pytest.mark.parametrize("parts", [[1], [1, 1], [2, 1, 2], [4, 2, 2]])
def test_large_problems_split_their_coils(parts, rng):
    """Above a size the normal operator works on parts of the coils: the sum is the same."""
    coils = sum(parts)
    maps = _complex(rng, (coils, 192, 384 // coils + 1)) if coils > 1 else _complex(rng, (1, 257, 256))
    op = ops.CartesianSense(maps, _mask(rng, maps.shape[1:]))
    assert [len(part) for part in coil_parts(maps, -3)] == parts
    x = _complex(rng, maps.shape[1:])
    _close(op.normal(x), op.adjoint(op.forward(x)), 1e-5)


def test_leading_axes_are_a_loop_over_slices(rng):
    """Maps (slice, coil, y, x), with map sets and without: each slice by its own maps and mask."""
    for sets in (False, True):
        maps = _complex(rng, (FRAMES, *[2] * sets, COILS, Y, X))
        mask = _mask(rng, (FRAMES, 1, 1, X))
        x = _complex(rng, (FRAMES, *[2] * sets, Y, X))
        op = ops.Sense(maps, ops.CartesianFFT(mask), sets=sets)
        each = [ops.Sense(maps[i], ops.CartesianFFT(mask[i]), sets=sets) for i in range(FRAMES)]
        for method in ("forward", "normal", "expand"):
            loop = jnp.stack([getattr(one, method)(x[i]) for i, one in enumerate(each)])
            _close(getattr(op, method)(x), loop, 1e-6)


def test_four_axes_are_map_sets_unless_said_otherwise(rng):
    maps = _complex(rng, (2, COILS, Y, X))
    assert ops.CartesianSense(maps).n_sets == 2 and ops.Sense(maps, ops.CartesianFFT()).n_sets is None
    assert ops.CartesianSense(maps[0]).n_sets is None and ops.CartesianSense(None).n_sets is None
    # of a batch of problems each has one set
    each = jax.vmap(lambda op, x: op.expand(x))(ops.CartesianSense(maps), _complex(rng, (2, Y, X)))
    assert each.shape == (2, COILS, Y, X)


def test_adjoint_of_matches(rng):
    op, shape = _cases(rng)["sense line mask"]
    y = _complex(rng, (COILS, Y, X))
    derived = ops.adjoint_of(op.forward, jax.ShapeDtypeStruct(shape, jnp.complex64))
    _close(derived(y), op.H @ y, 1e-6)


def test_operator_norm_of_a_known_operator(rng):
    maps = _complex(rng, (COILS, Y, X))
    largest = jnp.sqrt(jnp.max(jnp.sum(jnp.abs(maps) ** 2, 0)))
    start = ops.random_like(jax.random.key(0), jnp.zeros((Y, X), jnp.complex64))
    norm = ops.operator_norm(ops.CartesianSense(maps), start, n_iter=300)
    assert float(norm) == pytest.approx(float(largest), rel=1e-3)


@pytest.mark.parametrize(("name", "level"), [("db4", None), ("sym4", 2), ("haar", 1)])
def test_wavelet_equals_pywavelets_periodized(name, level, rng):
    import pywt

    x = rng.standard_normal((48, 64))
    transform = ops.Wavelet(x.shape, name, level, periodic=True)
    reference = pywt.wavedecn(x, name, mode="periodization", level=transform.n_levels)
    expected = pywt.coeffs_to_array(reference)[0]
    np.testing.assert_allclose(ops.pack(transform @ jnp.asarray(x)), expected, atol=1e-5)


def test_periodic_wavelet_is_orthogonal(rng):
    transform = ops.Wavelet((16, 24), "db4", 2, periodic=True)
    x = _complex(rng, (16, 24))
    coefficients = _like(rng, transform @ x)
    _close(transform.H @ (transform @ x), x, 1e-6)
    _close(transform @ (transform.H @ coefficients), coefficients, 1e-6)


def test_border_errors(rng):
    maps = _complex(rng, (COILS, Y, X))
    with pytest.raises(ValueError, match="maps have 3 coils, kspace has 5: compressed one of them"):
        ops.CartesianSense(maps).adjoint(_complex(rng, (5, Y, X)))
    with pytest.raises(ValueError, match=r"maps have 2 sets, but the image's shape"):
        ops.CartesianSense(_complex(rng, (2, COILS, Y, X))).forward(_complex(rng, (3, Y, X)))
    with pytest.raises(ValueError, match="not orthogonal"):
        ops.Wavelet((16, 16), "bior2.2") @ jnp.ones((16, 16))
    with pytest.raises(ValueError, match=r"made for images"):
        ops.Wavelet((16, 16)) @ jnp.ones((16, 17))

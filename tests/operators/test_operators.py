"""One suite over all operators: adjointness, the normal operator, linearity, dtype, jit, vmap, VJP, one trace per shape."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from support.dense_dft import DenseDFT

from jaxrecon import operators as ops
from jaxrecon.operators.cpu import coil_parts

COILS, Y, X, FRAMES, Z = 3, 11, 8, 4, 5
KERNEL = (4, 3)
GRID = ops.linear_grid((Y, X), KERNEL)


def _complex(rng, shape):
    return jnp.array(rng.standard_normal(shape) + 1j * rng.standard_normal(shape))


def _mask(rng, shape):
    return jnp.array((rng.random(shape) < 0.5).astype(float))


def _cases(rng):
    """name -> (operator, shape of its domain); sizes all different and one odd, so that swapped axes show."""
    maps, sets, maps3 = (_complex(rng, s) for s in ((COILS, Y, X), (2, COILS, Y, X), (COILS, Z, Y, X)))
    sense = ops.CartesianSense(maps, _mask(rng, (Y, X)))
    return {
        "sense": (sense, (Y, X)),
        "sense line mask": (ops.CartesianSense(maps, _mask(rng, (X,))), (Y, X)),
        "sense row mask": (ops.CartesianSense(maps, _mask(rng, (Y, 1))), (Y, X)),
        "sense weighted mask": (ops.CartesianSense(maps, jnp.array(rng.random((Y, X)))), (Y, X)),
        "sense constant mask": (ops.CartesianSense(maps, jnp.array(np.full((1, 1), 0.5))), (Y, X)),
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


def _like(rng, tree):
    return jax.tree.map(lambda s: _complex(rng, s.shape), tree)


def _vdot(a, b):
    return sum(np.vdot(x, y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))


def _close(a, b, tolerance):
    a, b = jax.device_get((a, b))
    shapes = lambda tree: jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)
    assert shapes(a) == shapes(b)
    difference = jax.tree.map(np.subtract, a, b)
    assert _vdot(difference, difference).real ** 0.5 <= tolerance * (_vdot(b, b).real ** 0.5 + 1e-30)


TRACED = []


@jax.jit
def _everything(op, x, other, y):
    """All that the suite looks at, in one program for each operator; each trace is noted."""
    TRACED.append(op)
    forward, pull = jax.vjp(op.forward, x)
    return {
        "A x": op @ x,
        "A^H y": op.H @ y,
        "normal": op.normal(x),
        "A^H A x": op.adjoint(forward),
        "A other": op @ other,
        "A of the sum": op @ ((2 - 1j) * x + other),
        "mapped": jax.vmap(op.forward)(jnp.stack([x, other])),
        "pulled back": jnp.conj(pull(jax.tree.map(jnp.conj, y))[0]),
    }


@functools.cache
def _case(name, double=False):
    """(operator, x, y, results of `_everything`)."""
    with jax.enable_x64(double):
        rng = np.random.default_rng(1)
        op, shape = _cases(rng)[name]
        x, other = _complex(rng, shape), _complex(rng, shape)
        y = _like(rng, jax.eval_shape(op.forward, x))
        return op, x, y, jax.device_get(_everything(op, x, other, y))


@pytest.mark.parametrize(("double", "tolerance"), [(False, 1e-5), (True, 1e-10)])
@pytest.mark.parametrize("name", NAMES)
def test_adjoint_and_normal(name, double, tolerance):
    _, x, y, out = _case(name, double)
    forward, back = out["A x"], out["A^H y"]
    left, right = _vdot(forward, y), _vdot(x, back)
    assert abs(left - right) <= tolerance * abs(_vdot(forward, forward).real * _vdot(y, y).real) ** 0.5
    _close(out["normal"], out["A^H A x"], tolerance)
    assert back.dtype == x.dtype == (np.complex128 if double else np.complex64)
    assert all(leaf.dtype == x.dtype for leaf in jax.tree.leaves(forward))


@pytest.mark.parametrize("name", NAMES)
def test_linear(name):
    out = _case(name)[-1]
    combined = jax.tree.map(lambda a, b: (2 - 1j) * a + b, out["A x"], out["A other"])
    _close(out["A of the sum"], combined, 2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_jit_vmap_and_one_trace(name):
    op, x, y, out = _case(name)
    _close((op.forward(x), op.normal(x)), (out["A x"], out["normal"]), 2e-6)
    _close(out["mapped"], jax.tree.map(lambda *a: np.stack(a), out["A x"], out["A other"]), 2e-6)
    traced = len(TRACED)
    # other values, the same shapes
    _everything(_cases(np.random.default_rng(2))[name][0], x, x, y)
    assert len(TRACED) == traced


@pytest.mark.parametrize("name", NAMES)
def test_vjp_is_the_transpose(name):
    out = _case(name)[-1]
    _close(out["pulled back"], out["A^H y"], 2e-6)


def test_gradient_of_the_maps(x64, rng):
    op, shape = _cases(rng)["sense"]
    x, y = _complex(rng, shape), _complex(rng, (COILS, Y, X))

    def loss(maps):
        return jnp.sum(jnp.abs(op.replace(maps=maps).forward(x) - y) ** 2)

    check_grads(jax.jit(loss), (op.maps,), order=1, modes=("rev",), rtol=1e-6)


@pytest.mark.parametrize("parts", [[1], [1, 1], [2, 1, 2], [4, 2, 2]])
def test_large_problems_split_their_coils(parts, rng):
    """Above a size the normal operator works on parts of the coils: the sum is the same."""
    coils = sum(parts)
    maps = _complex(rng, (coils, 192, 384 // coils + 1)) if coils > 1 else _complex(rng, (1, 257, 256))
    op = ops.CartesianSense(maps, _mask(rng, maps.shape[1:]))
    assert [len(part) for part in coil_parts(maps, -3)] == parts
    normal, gram = jax.jit(lambda op, x: (op.normal(x), op.adjoint(op.forward(x))))(op, _complex(rng, maps.shape[1:]))
    _close(normal, gram, 1e-5)


def test_leading_axes_are_a_loop_over_slices(rng):
    """Maps (slice, coil, y, x), with map sets and without: each slice by its own maps and mask."""
    look = jax.jit(lambda op, x: (op.forward(x), op.normal(x), op.expand(x)))
    for sets in (False, True):
        maps = np.asarray(_complex(rng, (FRAMES, *[2] * sets, COILS, Y, X)))
        mask = np.asarray(_mask(rng, (FRAMES, 1, 1, X)))
        x = np.asarray(_complex(rng, (FRAMES, *[2] * sets, Y, X)))
        together = look(ops.Sense(maps, ops.CartesianFFT(mask), sets=sets), x)
        each = [look(ops.Sense(maps[i], ops.CartesianFFT(mask[i]), sets=sets), x[i]) for i in range(FRAMES)]
        _close(together, tuple(np.stack(one) for one in zip(*each, strict=True)), 1e-6)


def test_four_axes_are_map_sets_unless_said_otherwise(rng):
    maps = np.asarray(_complex(rng, (2, COILS, Y, X)))
    assert ops.CartesianSense(maps).n_sets == 2 and ops.Sense(maps, ops.CartesianFFT()).n_sets is None
    assert ops.CartesianSense(maps[0]).n_sets is None and ops.CartesianSense(None).n_sets is None
    # of a batch of problems each has one set
    each = jax.eval_shape(jax.vmap(lambda op, x: op.expand(x)), ops.CartesianSense(maps), _complex(rng, (2, Y, X)))
    assert each.shape == (2, COILS, Y, X)


def test_adjoint_of_matches(rng):
    op, shape = _cases(rng)["sense line mask"]
    y = _complex(rng, (COILS, Y, X))
    like = jax.ShapeDtypeStruct(shape, jnp.complex64)
    derived, own = jax.jit(lambda op, y: (ops.adjoint_of(op.forward, like)(y), op.H @ y))(op, y)
    _close(derived, own, 1e-6)


def test_operator_norm_of_a_known_operator(rng):
    maps = _complex(rng, (COILS, Y, X))
    largest = np.sqrt(np.max(np.sum(np.abs(maps) ** 2, 0)))
    start = jax.jit(ops.random_like)(jax.random.key(0), np.zeros((Y, X), np.complex64))
    norm = jax.jit(functools.partial(ops.operator_norm, n_iter=300))(ops.CartesianSense(maps), start)
    assert float(norm) == pytest.approx(float(largest), rel=1e-3)


@pytest.mark.parametrize(("name", "level"), [("db4", None), ("sym4", 2), ("haar", 1)])
def test_wavelet_equals_pywavelets_periodized(name, level, rng):
    import pywt

    x = rng.standard_normal((48, 64))
    transform = ops.Wavelet(x.shape, name, level, periodic=True)
    reference = pywt.wavedecn(x, name, mode="periodization", level=transform.n_levels)
    expected = pywt.coeffs_to_array(reference)[0]
    np.testing.assert_allclose(jax.jit(lambda x: ops.pack(transform @ x))(x), expected, atol=1e-5)


def test_periodic_wavelet_is_orthogonal(rng):
    transform = ops.Wavelet((16, 24), "db4", 2, periodic=True)
    x = _complex(rng, (16, 24))
    coefficients = _like(rng, jax.eval_shape(transform.forward, x))
    there_and_back = lambda x, c: (transform.H @ (transform @ x), transform @ (transform.H @ c))
    _close(jax.jit(there_and_back)(x, coefficients), (x, coefficients), 1e-6)


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

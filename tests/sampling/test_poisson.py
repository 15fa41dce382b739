import builtins
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.type_check import as_user

from jaxrecon import sampling
from jaxrecon.sampling import bridson, compatible, detect_acs_rectangle, poisson

N_KEYS = 24
CASES = {
    "crop": {"shape": (60, 45), "acceleration": 5, "calib_size": (8, 7)},
    "no_calib": {"shape": (45, 60), "acceleration": 6, "calib_size": (0, 0)},
    "corners": {"shape": (60, 45), "acceleration": 3.3, "calib_size": (9, 6), "crop_corner": False},
}


KEYS = jax.random.split(jax.random.key(1), N_KEYS)


@functools.cache
def draws(name):
    return np.stack([sampling.poisson_disc(key, **CASES[name]) for key in KEYS])


def distance_map(shape, calib_size):
    """Distance beyond the calibration rectangle, each axis from 0 to 1."""
    axes = []
    for n, c in zip(shape, calib_size, strict=True):
        beyond = np.maximum(np.abs(np.arange(n) - n / 2) - c / 2, 0)
        axes.append(beyond / beyond.max())
    return np.hypot(axes[0][:, None], axes[1][None])


@pytest.mark.parametrize("name", CASES)
def test_acceleration_calibration_and_corners(name):
    case, masks = CASES[name], draws(name)
    shape, calib = case["shape"], case["calib_size"]
    assert masks.shape == (N_KEYS, *shape) and masks.dtype == np.float32
    assert set(np.unique(masks)) == {0, 1}
    assert np.all(masks.sum(axis=(1, 2)) == round(shape[0] * shape[1] / case["acceleration"]))
    y, x = (n // 2 - c // 2 for n, c in zip(shape, calib, strict=True))
    assert np.all(masks[:, y : y + calib[0], x : x + calib[1]] == 1)
    r = distance_map(shape, calib)
    assert bool(masks[:, r >= 1].any()) is ("crop_corner" in case)
    # no more than the calibration region is sampled by rule; a neighbour may be so by chance
    assert masks.min(axis=0).sum() <= np.prod(calib) + 6


def test_calibration_region_is_found_again():
    calib = CASES["crop"]["calib_size"]
    found = [tuple(int(v) for v in detect_acs_rectangle(mask)) for mask in draws("crop")[:4]]
    assert all(a >= b for f in found for a, b in zip(f, calib, strict=True))
    assert calib in found


@pytest.mark.parametrize("name", CASES)
def test_density_falls_with_the_distance(name):
    r = distance_map(CASES[name]["shape"], CASES[name]["calib_size"])
    mean = draws(name).mean(axis=0)
    rings = [mean[(r > lo) & (r <= lo + 0.25)].mean() for lo in (0, 0.25, 0.5, 0.75)]
    assert rings[0] > 1.3 * rings[1] > 1.3 * rings[2] > rings[3] > 0


def test_samples_keep_their_distance(monkeypatch):
    """No two samples outside the calibration region are nearer than the smaller radius, but for the jitter."""
    used = []
    original = poisson._throw

    def spy(state, order, jitter, radii, unit, shifts, reach):
        jax.debug.callback(lambda r, u=unit: used.append(np.asarray(r) / u), radii)
        return original(state, order, jitter, radii, unit, shifts, reach)

    monkeypatch.setattr(poisson, "_throw", spy)
    shape, calib = (48, 36), (8, 7)
    mask = np.array(sampling.poisson_disc(jax.random.key(2), shape, acceleration=7, calib_size=calib))
    jax.effects_barrier()
    # the radii grow with the distance, from 3/4 along the longer axis on; the shorter one is scaled by 36/48
    r = distance_map(shape, calib)
    ry, rx = used[-1]
    slope = (ry[r > 0] + 0.25 - 1) / r[r > 0]
    assert np.ptp(slope[r[r > 0] > 0.3]) < 0.4 and slope.min() > 1
    assert np.allclose(rx, np.maximum((ry + 0.25) * 0.75, 1) - 0.25, atol=0.15)
    mask[24 - 4 :, 18 - 3 :][:8, :7] = 0
    y, x = np.nonzero(mask)
    smaller_y, smaller_x = (np.minimum(a[y, x][:, None], a[y, x][None]) for a in (ry, rx))
    apart_y, apart_x = (np.abs(a[:, None] - a[None]) + 0.5 for a in (y, x))
    gap = (apart_y / smaller_y) ** 2 + (apart_x / smaller_x) ** 2
    np.fill_diagonal(gap, np.inf)
    assert gap.min() >= 1
    # and hardly anything more would have found a place: sampling with half the radii is far from what is here
    assert np.sort(gap.min(axis=1))[len(gap) // 2] < 3


def test_parallel_rounds_are_the_sequential_throw():
    """Against the definition: the darts in order, each out if one that stays has it within its radii."""
    rng = np.random.default_rng(3)
    shape, unit = (14, 11), 8
    order = rng.permutation(shape[0] * shape[1]).reshape(shape).astype(np.int32)
    jitter = rng.integers(0, unit // 2, (2, *shape)).astype(np.int32)
    radii = rng.integers(unit, 3 * unit, (2, *shape)).astype(np.int32)
    state = rng.integers(0, 2, shape).astype(np.uint8)
    state[6:8, 4:6] = poisson.ALIVE
    order[6:8, 4:6] = -1
    shifts, reach = poisson._shifts(np.array([3.0, 3.0]))
    alive = poisson._throw(*map(jnp.asarray, (state, order, jitter, radii)), unit, jnp.asarray(shifts), reach)
    position = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")) * unit + jitter
    expected = state == poisson.ALIVE
    for q in np.argsort(order.ravel())[4:]:
        q = np.unravel_index(q, shape)
        apart = position - position[(slice(None), *q)][:, None, None]
        near = ((apart / radii) ** 2).sum(axis=0) < 1
        expected[q] = state[q] == poisson.UNDECIDED and not np.any(near & expected)
    assert np.array_equal(alive, expected)


def test_one_mask_per_key():
    masks, traced = draws("crop"), []

    def counted(key):
        traced.append(1)
        return sampling.poisson_disc(key, **CASES["crop"])

    jitted = jax.jit(counted)
    assert all(np.array_equal(jitted(key), mask) for key, mask in zip(KEYS[:3], masks, strict=False))
    assert len(traced) == 1
    mapped = jax.jit(jax.vmap(functools.partial(sampling.poisson_disc, **CASES["crop"])))
    assert np.array_equal(mapped(KEYS[:5]), masks[:5])
    assert len(np.unique(masks.reshape(N_KEYS, -1), axis=0)) == N_KEYS
    with jax.enable_x64(True):
        double = sampling.poisson_disc(KEYS[2], **CASES["crop"])
    assert double.dtype == jnp.float32 and np.array_equal(double, masks[2])


def test_columns_never_acquired_stay_empty():
    mask = sampling.poisson_disc(jax.random.key(0), padding=(3, 40), **CASES["crop"])
    assert mask.sum() == 60 * 45 / 5
    assert not mask[:, :3].any() and not mask[:, 40:].any()
    assert mask[:, 3:8].any() and mask[:, 36:40].any()


def test_calgary_like():
    shape, radius = (62, 51), 6
    f = functools.partial(sampling.calgary_poisson, shape=shape, acceleration=5, acs_radius=radius, acquired_share=0.85)
    masks = np.stack([f(key) for key in KEYS])
    assert np.all(masks.sum(axis=(1, 2)) == round(62 * 51 / 5))
    assert not masks[:, :, 44:].any() and masks[:, :, 43].any()  # ceil(0.85 * 51) = 44
    y, x = np.arange(62)[:, None] - 31, np.arange(51)[None] - 25
    disc = np.hypot(y, x) <= radius
    assert np.all(masks[:, disc] == 1) and masks.min(axis=0).sum() <= disc.sum() + 6
    with pytest.raises(ValueError, match="acquired_share"):
        sampling.calgary_poisson(jax.random.key(0), shape, acceleration=5, acquired_share=0)


def test_gaussian_2d():
    f = jax.jit(jax.vmap(lambda k: sampling.gaussian_2d(k, (40, 31), acceleration=5, calib_size=(6, 5))))
    keys = jax.random.split(jax.random.key(1), 100)
    masks = np.asarray(f(keys))
    assert masks.dtype == np.float32 and set(np.unique(masks)) == {0, 1}
    assert np.all(masks.sum(axis=(1, 2)) == 30 + round(40 * 31 / 5 - 30 - 1) + 1)
    assert np.all(masks[:, 17:23, 13:18] == 1)
    assert np.array_equal(masks[3], sampling.gaussian_2d(keys[3], (40, 31), acceleration=5, calib_size=(6, 5)))
    assert len(np.unique(masks.reshape(100, -1), axis=0)) == 100
    mean = masks.mean(axis=0)
    weight = [np.exp(-((np.arange(n) + 0.5 - n // 2) ** 2) / (72 * (n // 2))) for n in (40, 31)]
    weight = weight[0][:, None] * weight[1][None]
    outer = np.ones((40, 31), bool)
    outer[17:23, 13:18] = False
    order = np.argsort(weight[outer])
    quarters = [part.mean() for part in np.array_split(mean[outer][order], 4)]
    expected = [part.mean() for part in np.array_split(weight[outer][order], 4)]
    assert np.all(np.diff(quarters) > 0)
    # few are drawn, so that drawing without replacement hardly flattens the density
    assert np.allclose(np.array(quarters) / quarters[-1], np.array(expected) / expected[-1], rtol=0.15)


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize(
    "case",
    [
        {"shape": (36, 30), "acceleration": 4, "calib_size": (6, 6)},
        {"shape": (33, 47), "acceleration": 5, "calib_size": (8, 5), "crop_corner": False},
    ],
)
def test_compatible_form_without_numba(case, seed, monkeypatch):
    """The sampler in Python, sample for sample that of numba; odd sizes included."""
    fast = compatible.poisson_disc(seed, **case)
    assert fast.dtype == np.float32 and set(np.unique(fast)) == {0, 1}
    assert abs(fast.size / fast.sum() - case["acceleration"]) < 0.1
    (ny, nx), (cy, cx) = case["shape"], case["calib_size"]
    assert np.all(fast[int(ny / 2 - cy / 2) :, int(nx / 2 - cx / 2) :][:cy, :cx] == 1)
    importer = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "numba":
            raise ImportError(name)
        return importer(name, *args, **kwargs)

    bridson.kernel.cache_clear()
    monkeypatch.setattr(builtins, "__import__", refuse)
    try:
        np.random.rand(2)
        assert np.array_equal(compatible.poisson_disc(seed, **case), fast)
        assert bridson.kernel() is bridson.sample_python
    finally:
        bridson.kernel.cache_clear()
    assert not np.array_equal(compatible.poisson_disc(seed + 1, **case), fast)


def test_compatible_form_is_sigpys():
    """Odd sizes, which the golden files lack; and the seed whose first point dies amid the calibration region."""
    reference = pytest.importorskip("sigpy.mri").poisson
    for seed, shape, acceleration, calib, crop in (
        (1, (33, 47), 5, (8, 5), False),
        (2, (47, 33), 4, (7, 8), True),
        (3, (45, 60), 3, (0, 0), True),
    ):
        own = compatible.poisson_disc(seed, shape, acceleration=acceleration, calib_size=calib, crop_corner=crop)
        assert np.array_equal(own, reference(shape, acceleration, calib=calib, seed=seed, crop_corner=crop).real)
    with pytest.raises(ValueError, match="the seed"):
        compatible.poisson_disc(0, (32, 24), acceleration=4, calib_size=(6, 6))
    with pytest.raises(ValueError):
        reference((32, 24), 4, calib=(6, 6), seed=0)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 100, 257])
def test_python_generator_draws_as_numpy(n):
    own, numpy = bridson._python_generator(5), np.random.RandomState(5)
    for _ in range(50):
        assert bridson._integer(own, n) == numpy.randint(0, n)
        assert own.random() == numpy.random_sample()


def test_errors():
    key = jax.random.key(0)
    forms = (functools.partial(sampling.poisson_disc, key), functools.partial(compatible.poisson_disc, 0))
    for form in forms:
        for arguments, message in (
            ({"acceleration": 0.5}, "at least 1"),
            ({"acceleration": 60}, "fully sampled centre"),
            ({"acceleration": 1.05}, "no Poisson-disc mask of 24 x 20"),
            ({"acceleration": 4, "calib_size": (25, 4)}, "do not fit"),
            ({"acceleration": 4, "tol": 0}, "tol"),
            ({"acceleration": 4, "calib_size": (4,)}, "calib_size"),
        ):
            with as_user(), pytest.raises(ValueError, match=message):
                form((24, 20), **{"calib_size": (6, 5)} | arguments)
        with as_user(), pytest.raises(ValueError, match="shape"):
            form((24, 20, 3), acceleration=4, calib_size=(6, 5))
    # in jitted code the nearest mask comes back, and can be measured
    nearest = jax.jit(lambda k: sampling.poisson_disc(k, (24, 20), acceleration=1.05, calib_size=(6, 5)))(key)
    assert 1.2 < sampling.measured_acceleration(nearest) < 2
    with pytest.raises(ValueError, match="acceleration"):
        sampling.gaussian_2d(key, (24, 20), acceleration=40, calib_size=(6, 5))
    for seed in (-1, 2**32, (1, 2), "file.h5"):
        with as_user(), pytest.raises(ValueError, match="seed"):
            compatible.poisson_disc(seed, (24, 20), acceleration=4)

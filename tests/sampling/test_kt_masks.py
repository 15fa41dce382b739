import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon import sampling
from jaxrecon.sampling import compatible, kt_masks

N_KEYS = 200
N, FRAMES = 45, 7
OPTIONS = {
    "kt_random_lines": {"acceleration": 4, "n_acs": 6},
    "kt_gaussian_lines": {"acceleration": 3, "n_acs": 7},
    "kt_shear_lines": {"acceleration": 4, "n_acs": 5},
    "kt_variable_density": {"acceleration": 4, "n_cal": 4},
}
ACS = {  # columns complete in all frames
    "kt_random_lines": range(20, 26),
    "kt_gaussian_lines": range(19, 26),
    "kt_shear_lines": range(20, 25),
    "kt_variable_density": range(20, 23),  # one less than n_cal, as in the reference
}


def generator(name, **change):
    return functools.partial(getattr(sampling, name), **{"n": N, "n_frames": FRAMES} | OPTIONS[name] | change)


@functools.cache
def draws(name):
    return np.asarray(jax.jit(jax.vmap(generator(name)))(jax.random.split(jax.random.key(1), N_KEYS)))


@pytest.mark.parametrize("name", OPTIONS)
def test_shape_values_and_acs(name):
    masks = draws(name)
    assert masks.shape == (N_KEYS, FRAMES, N) and masks.dtype == np.float32
    assert set(np.unique(masks)) == {0, 1}
    # complete in every frame, and no other column is
    assert list(np.flatnonzero(masks.min(axis=(0, 1)))) == list(ACS[name])
    seeded = np.stack([getattr(compatible, name)(s, N, FRAMES, **OPTIONS[name]) for s in range(N_KEYS)])
    assert seeded.shape == masks.shape and seeded.dtype == masks.dtype
    assert list(np.flatnonzero(seeded.min(axis=(0, 1)))) == list(ACS[name])
    # both forms have one distribution: the columns' frequencies within 4.5 standard errors
    p, q = masks.mean(axis=0), seeded.mean(axis=0)
    error = np.sqrt((p * (1 - p) + q * (1 - q)) / N_KEYS)
    assert np.all(np.abs(p - q) <= 4.5 * error + 0.02)


@pytest.mark.parametrize("name", OPTIONS)
def test_one_mask_per_key_and_seed(name):
    f, masks = generator(name), draws(name)
    traced = []

    def counted(key):
        traced.append(1)
        return f(key)

    jitted = jax.jit(counted)
    for i, key in enumerate(jax.random.split(jax.random.key(1), N_KEYS)[:3]):
        assert np.array_equal(masks[i], jitted(key))
    assert len(traced) == 1
    assert np.array_equal(masks[2], f(key))
    assert len(np.unique(masks, axis=0)) > 1
    own = functools.partial(getattr(compatible, name), n=N, n_frames=FRAMES, **OPTIONS[name])
    first = own(3)
    np.random.rand(2)
    assert np.array_equal(first, own(3))
    assert np.array_equal(own("P001_cine_sax.h5"), own(tuple(map(ord, "P001_cine_sax.h5"))))


def test_counts():
    gaussian = draws("kt_gaussian_lines")
    assert np.all(gaussian.sum(axis=2) == N // 3)
    random = draws("kt_random_lines").sum(axis=(1, 2))
    expected = FRAMES * (6 + (N - 6) / 4)
    assert abs(random.mean() - expected) < 3 * random.std() / np.sqrt(N_KEYS)
    shear = draws("kt_shear_lines")[0]
    start = np.flatnonzero(shear[0, :4])[0]
    for t in range(FRAMES):
        assert np.array_equal(np.flatnonzero(shear[t, :20]), [i for i in range(20) if (i - start - t) % 4 == 0])


def test_uniform_lines_move_by_one_per_frame():
    mask = np.asarray(sampling.kt_uniform_lines(N, FRAMES, acceleration=4, n_acs=6))
    assert mask.shape == (FRAMES, N) and mask.dtype == np.float32
    for t in range(FRAMES):
        expected = np.union1d(np.arange(t % 4, N, 4), np.arange(20, 26))
        assert np.array_equal(np.flatnonzero(mask[t]), expected)
    assert np.array_equal(compatible.kt_uniform_lines(0, N, FRAMES, acceleration=4, n_acs=6), mask)


def test_cmrxrecon_draws():
    """The choices of the ACS and of R come first, each also from a single value."""
    for seed in range(6):
        rng = np.random.RandomState(seed)
        n_acs, acceleration = rng.choice([6, 8]), rng.choice([4, 8])
        outer = np.stack([rng.uniform(size=N) < 1 / acceleration for _ in range(FRAMES)])
        outer[:, (N - n_acs + 1) // 2 :][:, :n_acs] = True
        own = compatible.kt_random_lines(seed, N, FRAMES, acceleration=(4, 8), n_acs=(6, 8))
        assert np.array_equal(own, outer)
        lines = compatible.cmrxrecon_lines(seed, N, acceleration=(4, 8), n_acs=(6, 8))
        assert np.array_equal(lines, sampling.cmrxrecon_lines(N, acceleration=acceleration, n_acs=int(n_acs)))
        frames = compatible.kt_uniform_lines(seed, N, FRAMES, acceleration=(4, 8), n_acs=(6, 8))
        assert np.array_equal(frames[0], lines)


def test_deep_cascade_draws():
    density = np.exp(-(0.5 / (N / 10) ** 2) * (np.arange(N) - N / 2) ** 2) + 1 / (2 * 3)
    density[19:26] = 0
    rng = np.random.RandomState(4)
    mask = compatible.kt_gaussian_lines(4, N, FRAMES, **OPTIONS["kt_gaussian_lines"])
    for frame in mask:
        drawn = rng.choice(N, N // 3 - 7, False, density / density.sum())
        assert np.array_equal(np.flatnonzero(frame), np.union1d(drawn, np.arange(19, 26)))
    start = np.random.RandomState(4).randint(0, 4)
    own = compatible.kt_shear_lines(4, N, FRAMES, **OPTIONS["kt_shear_lines"])
    keyed = sampling.kt_shear_lines(jax.random.key(0), N, FRAMES, start=start, **OPTIONS["kt_shear_lines"])
    assert np.array_equal(own, keyed)


@pytest.mark.parametrize("n, acceleration, degree", [(180, 10, 1.5), (61, 4, 1.5), (44, 6.5, 0), (97, 5, 3.0)])
def test_variable_density_by_either_form(n, acceleration, degree, x64, rng):
    """The same uniform numbers, the same masks: the jit-able rule against the loops of the compatible one."""
    n_frames = 4
    size = int(np.ceil(n / acceleration))
    uniform = rng.random((n_frames, size))
    shifts = kt_masks.comb_shifts(n_frames, acceleration)
    masks = kt_masks._frames(jnp.asarray(shifts, float), jnp.asarray(uniform), n, acceleration, degree, 0.4, 0.33)
    for u, shift, mask in zip(uniform, shifts, masks, strict=True):
        source = types.SimpleNamespace(rand=iter(u).__next__)
        own = np.zeros(n, bool)
        compatible.set_comb(own, source, shift, acceleration, degree, 0.4, 0.33)
        assert np.array_equal(mask, own)


def test_variable_density():
    n, n_frames, acceleration = 180, 20, 10
    mask = np.asarray(sampling.kt_variable_density(jax.random.key(2), n, n_frames, acceleration=acceleration))
    assert np.all(mask.sum(axis=1) == n / acceleration)
    assert not np.array_equal(mask[0], mask[1])
    # density falls from the centre of the time average outwards
    profile = mask.mean(axis=0)
    near, middle, far = profile[75:105].mean(), profile[45:135].mean(), profile[:45].mean()
    assert near > 1.5 * middle > 1.5 * far > 0
    plain = sampling.kt_variable_density(jax.random.key(2), n, n_frames, acceleration=acceleration, vd_degree=0)
    assert plain.mean(axis=0)[75:105].mean() < 1.3 * plain.mean()
    still = sampling.kt_variable_density(
        jax.random.key(2), n, n_frames, acceleration=acceleration, vd_degree=0, perturb=0.0
    )
    assert np.array_equal(np.flatnonzero(still[1]), np.arange(6, 180, 10))


def test_partial_echo():
    readout = sampling.partial_echo(10)
    assert np.array_equal(readout, [0, 0, 1, 1, 1, 1, 1, 1, 1, 1]) and readout.dtype == jnp.float32
    assert sampling.partial_echo(10, fraction=0).sum() == 10
    with pytest.raises(ValueError, match="fraction"):
        sampling.partial_echo(10, fraction=1)


@pytest.mark.parametrize(
    "frame, n_frames, n_adjacent, expected",
    [
        (1, 12, 5, [11, 0, 1, 2, 3]),
        (8, 9, 5, [6, 7, 8, 0, 1]),
        (0, 4, 5, [2, 3, 0, 1, 2]),
        (1, 3, 5, [0, 0, 1, 2, 2]),
        (0, 2, 5, [1, 1, 0, 1, 1]),
        (0, 1, 3, [0, 0, 0]),
        (1, 4, 11, [3, 3, 3, 3, 0, 1, 2, 3, 3, 3, 3]),
    ],
)
def test_adjacent_frames(frame, n_frames, n_adjacent, expected):
    assert sampling.adjacent_frames(frame, n_frames, n_adjacent).tolist() == expected


def test_errors():
    key = jax.random.key(0)
    for name in OPTIONS:
        own = getattr(compatible, name)
        for change, message in (
            ({"acceleration": 0.9}, "acceleration must be at least 1"),
            ({"n_frames": 0}, "n_frames"),
            ({"n_cal" if name == "kt_variable_density" else "n_acs": N + 1}, "do not fit"),
        ):
            with pytest.raises(ValueError, match=message):
                generator(name, **change)(key)
            with pytest.raises(ValueError, match=message):
                own(0, **{"n": N, "n_frames": FRAMES} | OPTIONS[name] | change)
    with pytest.raises(ValueError, match="acceleration 9 leaves"):
        sampling.kt_gaussian_lines(key, N, FRAMES, acceleration=9)
    with pytest.raises(ValueError, match="integer"):
        sampling.kt_shear_lines(key, N, FRAMES, acceleration=2.5)
    with pytest.raises(ValueError, match="vd_degree"):
        sampling.kt_variable_density(key, N, FRAMES, acceleration=4, vd_degree=-1)
    with pytest.raises(ValueError, match="leaves no line"):
        sampling.kt_variable_density(key, N, FRAMES, acceleration=50)
    with pytest.raises(ValueError, match="odd"):
        sampling.adjacent_frames(0, 5, 4)


def test_pool_of_2024():
    """All kinds come; a kind is its own function's draw after the choice; radial masks need a bank that fits."""
    shape, bank = (20, 40), {r: np.random.default_rng(r).random((6, 20, 40)) < 0.3 for r in (4, 8)}
    drawn = [
        sampling.cmrxrecon2024_pool(seed, shape, 5, acceleration=(4, 8), n_acs=6, radial=bank) for seed in range(40)
    ]
    assert {d.kind for d in drawn} == set(sampling.POOL)
    for d in drawn:
        assert d.mask.dtype == np.float32
        if d.kind == "kt_radial":
            assert any(np.array_equal(d.mask, masks[:5]) for masks in bank.values())
            np.testing.assert_array_equal(d.acs, sampling.acs_square(shape, 6))
        else:
            assert d.mask.shape == (1 if d.kind == "uniform" else 5, 1, 40)
            assert d.acs.sum() == 6 and (d.mask >= d.acs).all()
    lines = sampling.cmrxrecon2024_pool(3, shape, 5, kinds=("kt_random",), n_acs=6)
    rng = sampling.compatible.random_state(3)
    rng.choice(1)
    np.testing.assert_array_equal(
        lines.mask[:, 0],
        sampling.compatible.kt_random_lines(rng, 40, 5, acceleration=(4, 8, 12, 16, 20, 24), n_acs=[6]),
    )
    for radial in (None, {4: bank[4]}, {r: m[:4] for r, m in bank.items()}, {r: m[..., 1:] for r, m in bank.items()}):
        with pytest.raises(
            ValueError, match=r"kt_radial, R = \d: expected radial masks of 5 frames or more of \(20, 40\)"
        ):
            sampling.cmrxrecon2024_pool(0, shape, 5, acceleration=(4, 8), radial=radial)


def test_the_smallest_grids():
    """A centre that is the whole grid leaves nothing to draw; a single column has no centre to keep away from."""
    key = jax.random.key(0)
    assert np.asarray(sampling.kt_gaussian_lines(key, 4, 2, acceleration=1, n_acs=4)).all()
    assert compatible.kt_gaussian_lines(0, 4, 2, acceleration=1, n_acs=4).all()
    for draw in (
        functools.partial(sampling.kt_variable_density, key),
        functools.partial(compatible.kt_variable_density, 0),
    ):
        with pytest.raises(ValueError, match="n must be at least 2"):
            draw(1, 2, acceleration=1, n_cal=1)

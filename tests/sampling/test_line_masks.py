import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.type_check import as_user

from jaxrecon import sampling
from jaxrecon.sampling import compatible

N_KEYS = 500
FRACTION = 0.08
FASTMRI = (
    "random_lines",
    "equispaced_lines",
    "equispaced_fraction_lines",
    "magic_lines",
    "magic_fraction_lines",
    "integer_spaced_lines",
    "gaussian_lines",
)
OFFSET = FASTMRI[1:6]
KEYED = (*FASTMRI, "fixed_count_lines")
CASES = ((75, 4), (64, 5))  # columns and R; n_low = 6, 5


def options(name, n, acceleration=4):
    centre = {"n_acs": round(n * FRACTION)} if name == "fixed_count_lines" else {"center_fraction": FRACTION}
    return {"acceleration": acceleration, **centre}


def generator(name, n, acceleration=4, **more):
    return functools.partial(getattr(sampling, name), n=n, **options(name, n, acceleration), **more)


def acs(name, n):
    n_acs = round(n * FRACTION)
    start = (n - n_acs) // 2 if name in ("fixed_count_lines", "outer_equispaced_lines") else (n - n_acs + 1) // 2
    return slice(start, start + n_acs)


@functools.cache
def draws(name, n, acceleration):
    """Masks of N_KEYS keys, as an array on the host."""
    return np.asarray(jax.jit(jax.vmap(generator(name, n, acceleration)))(jax.random.split(jax.random.key(1), N_KEYS)))


@pytest.mark.parametrize("n, acceleration", CASES)
@pytest.mark.parametrize("name", KEYED)
def test_shape_values_and_acs(name, n, acceleration):
    masks = draws(name, n, acceleration)
    assert masks.shape == (N_KEYS, n) and masks.dtype == np.float32
    assert set(np.unique(masks)) == {0, 1}
    # the ACS is complete, and no more than that is promised: every other column is left out somewhere
    always = np.zeros(n, bool)
    always[acs(name, n)] = True
    assert np.array_equal(masks.min(axis=0) == 1, always)


def test_broadcasts_along_the_readout():
    kspace = jnp.ones((2, 5, 75), jnp.complex64)
    mask = sampling.random_lines(jax.random.key(0), kspace.shape[-1], acceleration=4, center_fraction=0.08)
    masked = kspace * mask[None, None]
    assert masked.dtype == jnp.complex64
    assert np.array_equal(masked[1, 3].real, mask)


def test_masks_are_the_same_in_double_precision():
    names = ("random_lines", "equispaced_lines", "gaussian_lines")
    single = [generator(name, 75)(jax.random.key(3)) for name in names]
    with jax.enable_x64(True):
        double = [generator(name, 75)(jax.random.key(3)) for name in names]
    assert all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(single, double, strict=True))


@pytest.mark.parametrize("name", KEYED)
def test_one_mask_per_key(name):
    f = generator(name, 75)
    keys = jax.random.split(jax.random.key(1), N_KEYS)[:3]
    traced = []

    def counted(key):
        traced.append(1)
        return f(key)

    jitted = jax.jit(counted)
    masks = draws(name, 75, 4)
    for i, key in enumerate(keys):
        assert np.array_equal(masks[i], jitted(key))
        assert np.array_equal(masks[i], f(key))
    assert len(traced) == 1
    assert len(np.unique(masks, axis=0)) > 1


@pytest.mark.parametrize("n, acceleration", CASES)
def test_random_lines_meet_the_acceleration_on_average(n, acceleration):
    count = draws("random_lines", n, acceleration).sum(axis=1)
    assert count.std() > 0
    assert abs(count.mean() - n / acceleration) < 3 * count.std() / np.sqrt(N_KEYS)


@pytest.mark.parametrize("n, acceleration", CASES)
def test_exact_counts(n, acceleration):
    n_low = round(n * FRACTION)

    def counts(name):
        return set(draws(name, n, acceleration).sum(axis=1))

    assert counts("fixed_count_lines") == {n // acceleration}
    assert counts("gaussian_lines") == {n_low + round(n / acceleration - n_low - 1) + 1}
    outer = np.ones(n, bool)
    outer[acs("equispaced_lines", n)] = False
    assert counts("equispaced_lines") == {n_low + outer[offset::acceleration].sum() for offset in range(acceleration)}
    # the rules that count the ACS into R: the rounding of spacings and the missing last column cost a few lines
    for name in ("equispaced_fraction_lines", "magic_fraction_lines", "integer_spaced_lines"):
        assert all(abs(c / (n / acceleration) - 1) < 0.2 for c in counts(name)), name
    assert min(counts("magic_lines")) >= n // acceleration


@pytest.mark.parametrize("n, acceleration", CASES)
@pytest.mark.parametrize("name", [n for n in OFFSET if hasattr(compatible, n)])
def test_key_and_compatible_agree_at_every_offset(name, n, acceleration):
    traced = jax.jit(lambda offset: generator(name, n, acceleration, offset=offset)(jax.random.key(0)))
    expected = set()
    for offset in range(n):
        try:
            mask = generator(name, n, acceleration, offset=offset)(jax.random.key(0))
        except ValueError as error:
            assert "offset" in str(error)
            break
        twin = getattr(compatible, name)(0, n, offset=offset, **options(name, n, acceleration))
        assert twin.dtype == np.float32 and np.array_equal(mask, twin)
        assert np.array_equal(mask, traced(offset))
        expected.add(twin.tobytes())
    # both draw every offset, and nothing else
    seeded = {getattr(compatible, name)(s, n, **options(name, n, acceleration)).tobytes() for s in range(80)}
    assert {m.tobytes() for m in draws(name, n, acceleration)} == seeded == expected


def test_integer_spacing():
    mask = sampling.integer_spaced_lines(jax.random.key(0), 75, acceleration=4, center_fraction=FRACTION, offset=2)
    outer = np.ones(75, bool)
    outer[acs("integer_spaced_lines", 75)] = False
    # (75 - 6) // (18 - 6) = 5
    assert np.array_equal(np.flatnonzero(mask * outer), [i for i in range(2, 75, 5) if outer[i]])


def test_magic_lines_need_conjugate_symmetry():
    """A column and the mirror of another never coincide, so that symmetry doubles the lines (even offsets, even n)."""
    mask = np.asarray(
        sampling.magic_lines(jax.random.key(0), 64, acceleration=4, center_fraction=0, offset=0), dtype=bool
    )
    mirrored = np.roll(mask[::-1], 1)  # k -> -k about column 32
    assert not np.any(mask & mirrored)


@pytest.mark.parametrize("name", ["random_lines", "equispaced_lines", "fixed_count_lines"])
def test_traced_acceleration(name):
    traced = jax.jit(lambda r: generator(name, 75, r)(jax.random.key(8)))
    for acceleration in (3, 4):
        assert np.array_equal(traced(acceleration), generator(name, 75, acceleration)(jax.random.key(8)))


def test_gaussian_lines_follow_the_sequential_draw():
    """Frequencies against DIRECT's loop: normal positions, rounded down, repeated ones drawn again."""
    n, acceleration = 75, 4
    masks = draws("gaussian_lines", n, acceleration)
    rng = np.random.default_rng(0)
    reference = np.zeros((N_KEYS, n))
    for mask in reference:
        mask[acs("gaussian_lines", n)] = 1
        while mask.sum() < masks[0].sum():
            i = int(np.floor(rng.normal(n // 2, 6 * np.sqrt(n // 2))))
            if 0 <= i < n:
                mask[i] = 1
    p, q = masks.mean(axis=0), reference.mean(axis=0)
    error = np.sqrt((p * (1 - p) + q * (1 - q)) / N_KEYS)
    assert np.all(np.abs(p - q) <= 4 * error + 1e-6)
    assert np.abs(p - q)[error > 0].mean() < 1.2 * error[error > 0].mean()


def test_deterministic_lines():
    mask = np.asarray(sampling.outer_equispaced_lines(75, acceleration=3, n_acs=6))
    inside = np.arange(75) // 1
    outer = np.delete(inside, range(34, 40))
    assert np.array_equal(np.flatnonzero(mask), np.sort(np.concatenate([np.arange(34, 40), outer[::3]])))
    for acceleration, count in ((4, 69), (8, 47), (10, 42)):
        lines = sampling.cmrxrecon_lines(204, acceleration=acceleration)
        assert lines.sum() == count and lines.shape == (204,)
        assert np.all(lines[90:114] == 1) and np.all(lines[::acceleration] == 1)
    shifted = sampling.cmrxrecon_lines(204, acceleration=4, n_acs=0, offset=3)
    assert np.array_equal(np.flatnonzero(shifted), np.arange(3, 204, 4))


@pytest.mark.parametrize("name", KEYED)
def test_columns_never_acquired_stay_empty(name):
    mask = generator(name, 75, padding=(5, 70))(jax.random.key(10))
    whole = np.array(generator(name, 75)(jax.random.key(10)))
    assert whole[:5].any() or whole[70:].any() or name == "gaussian_lines"
    whole[:5] = whole[70:] = 0
    assert np.array_equal(mask, whole)
    if hasattr(compatible, name):
        f = functools.partial(getattr(compatible, name), 1, 75, **options(name, 75))
        whole = f()
        whole[:5] = whole[70:] = 0
        assert np.array_equal(f(padding=(5, 70)), whole)


@pytest.mark.parametrize("name", KEYED)
@pytest.mark.parametrize(
    "change, message",
    [
        ({"acceleration": 0.5}, "at least 1"),
        ({"acceleration": float("nan")}, "at least 1"),
        ({"center_fraction": 1.5, "n_acs": 76}, "center_fraction|do not fit"),
        ({"padding": (70, 5)}, "padding"),
        ({"padding": (0, 76)}, "padding"),
        ({"n": 0}, "n must be at least 1|do not fit"),
        ({"n": 7.5}, "integer"),
    ],
)
def test_errors(name, change, message):
    arguments = {"n": 75, **options(name, 75)}
    arguments.update({k: v for k, v in change.items() if k in arguments or k == "padding"})
    with as_user(), pytest.raises(ValueError, match=message):
        getattr(sampling, name)(jax.random.key(0), **arguments)
    if hasattr(compatible, name):
        with as_user(), pytest.raises(ValueError, match=message):
            getattr(compatible, name)(0, **arguments)


def test_errors_of_an_acs_beyond_the_acceleration():
    wide = {"acceleration": 8, "center_fraction": 0.3}
    names = (
        "random_lines",
        "equispaced_fraction_lines",
        "magic_fraction_lines",
        "integer_spaced_lines",
        "gaussian_lines",
    )
    for name in names:
        with pytest.raises(ValueError, match="acceleration 8 leaves"):
            getattr(sampling, name)(jax.random.key(0), 75, **wide)
    with pytest.raises(ValueError, match="acceleration 8 leaves"):
        sampling.fixed_count_lines(jax.random.key(0), 75, acceleration=8, n_acs=20)
    for name in ("equispaced_lines", "magic_lines"):
        with pytest.raises(ValueError, match="integer"):
            getattr(sampling, name)(jax.random.key(0), 75, acceleration=3.5, center_fraction=0.08)
    with pytest.raises(ValueError, match="offset"):
        sampling.equispaced_lines(jax.random.key(0), 75, acceleration=4, center_fraction=0.08, offset=4)


def test_seeds():
    f = functools.partial(compatible.random_lines, n=75, acceleration=(4, 8), center_fraction=(0.08, 0.04))
    name = "file1000001.h5"
    assert np.array_equal(f(name), f(tuple(map(ord, name))))
    assert np.array_equal(f(5), f(np.random.RandomState(5)))
    assert not np.array_equal(f(name), f("file1000002.h5"))
    before = f(3)
    np.random.seed(1)
    np.random.rand(3)
    assert np.array_equal(before, f(3))
    # a generator goes on where it stands
    rng = np.random.RandomState(5)
    assert not np.array_equal(f(rng), f(rng))
    for bad in ("folder/file.h5", "", -1, 1.5, None):
        with as_user(), pytest.raises(ValueError, match="seed"):
            f(bad)


def test_the_pair_drawn_first():
    pairs = (0.08, 0.04), (4, 8)
    seen = set()
    for seed in range(10):
        fraction, acceleration = compatible.draw_pair(seed, *pairs)
        rng = np.random.RandomState(seed)
        rng.randint(2)  # then one choice of a single pair more
        own = rng.uniform(size=75) < (75 / acceleration - round(75 * fraction)) / (75 - round(75 * fraction))
        own[(75 - round(75 * fraction) + 1) // 2 :][: round(75 * fraction)] = True
        assert np.array_equal(compatible.random_lines(seed, 75, center_fraction=pairs[0], acceleration=pairs[1]), own)
        seen.add((fraction, acceleration))
    assert seen == {(0.08, 4), (0.04, 8)}
    with pytest.raises(ValueError, match="pairs"):
        compatible.draw_pair(0, (0.08, 0.04), 4)


def test_benchmark_and_fixed_count_draws():
    n, acceleration, n_low = 75, 4, 6
    own = np.random.default_rng(7).uniform(size=n) < (n / acceleration - n_low) / (n - n_low)
    own[35:41] = True
    assert np.array_equal(compatible.benchmark_lines(7, n, acceleration=acceleration), own)
    mask = compatible.fixed_count_lines(7, n, acceleration=acceleration, n_acs=n_low)
    outer = np.setdiff1d(np.arange(n), np.arange(34, 40))
    drawn = np.random.RandomState(7).choice(outer, size=n // acceleration - n_low, replace=False)
    assert np.array_equal(np.flatnonzero(mask), np.sort(np.concatenate([np.arange(34, 40), drawn])))

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon.sampling import acs_from_mask, detect_acs_lines, detect_acs_rectangle, measured_acceleration


def test_measured_acceleration():
    mask = np.zeros((6, 10), np.float32)
    mask[:, 2:5] = 1
    assert measured_acceleration(mask) == pytest.approx(10 / 3)
    assert measured_acceleration(mask, padding=(1, 7)) == pytest.approx(2)
    assert measured_acceleration(mask[0] > 0) == pytest.approx(10 / 3)
    assert np.isinf(measured_acceleration(np.zeros(4)))
    assert jax.jit(measured_acceleration)(mask) == pytest.approx(10 / 3)
    with pytest.raises(ValueError, match="padding"):
        measured_acceleration(mask, padding=(3, 11))


def detect_by_walking(mask):
    n, c = len(mask), len(mask) // 2
    if all(mask):
        return 0, n
    left = right = 0
    while c - 1 - left >= 0 and mask[c - 1 - left]:
        left += 1
    while c + right < n and mask[c + right]:
        right += 1
    size = max(2 * min(left, right), 1)
    return (n - size + 1) // 2, size


@pytest.mark.parametrize("n", [16, 17])
def test_lines_against_walking_outwards(n, rng):
    detect = jax.jit(detect_acs_lines)
    for density in (0.3, 0.8, 0.95, 1.0):
        for _ in range(10):
            mask = rng.random(n) < density
            expected = detect_by_walking(mask)
            assert tuple(int(v) for v in detect(mask)) == expected
            own = np.zeros(n, np.float32)
            own[expected[0] : sum(expected)] = 1
            found = acs_from_mask(jnp.asarray(mask, jnp.float32))
            assert found.dtype == jnp.float32 and np.array_equal(found, own)
            assert np.array_equal(acs_from_mask(mask[None]), own[None])


def rectangle_by_search(mask):
    ny, nx = mask.shape
    complete = [(0, 0, 0)]
    for cy in range(1, ny + 1):
        for cx in range(1, nx + 1):
            y, x = ny // 2 - cy // 2, nx // 2 - cx // 2
            if 0 <= y <= ny - cy and 0 <= x <= nx - cx and mask[y : y + cy, x : x + cx].all():
                complete.append((cy * cx, cy, cx))
    area = max(complete)[0]
    return area, min(max(cy, cx) for a, cy, cx in complete if a == area)


@pytest.mark.parametrize("shape", [(12, 9), (11, 14)])
def test_rectangle_against_search(shape, rng):
    detect = jax.jit(detect_acs_rectangle)
    for density in (0.0, 0.5, 0.97, 1.0):
        for cy, cx in ((0, 0), (4, 5), (5, 3), (6, 6)):
            mask = rng.random(shape) < density
            y, x = shape[0] // 2 - cy // 2, shape[1] // 2 - cx // 2
            mask[y : y + cy, x : x + cx] = True
            found = tuple(int(v) for v in detect(mask))
            assert (found[0] * found[1], max(found)) == rectangle_by_search(mask)
            y, x = shape[0] // 2 - found[0] // 2, shape[1] // 2 - found[1] // 2
            own = np.zeros(shape, np.float32)
            own[y : y + found[0], x : x + found[1]] = 1
            assert np.all(mask[own == 1])
            assert np.array_equal(acs_from_mask(mask), own)


def test_lines_given_in_two_dimensions():
    mask = np.zeros((7, 12), np.float32)
    mask[:, 4:8] = 1
    mask[:, 0] = 1
    assert [int(v) for v in detect_acs_rectangle(mask)] == [7, 4]
    assert np.array_equal(acs_from_mask(mask)[3], acs_from_mask(mask[3]))


def test_frames_are_mapped_by_the_caller(rng):
    masks = jnp.asarray(rng.random((3, 16)) < 0.7)
    assert np.array_equal(jax.vmap(acs_from_mask)(masks)[1], acs_from_mask(masks[1]))
    with pytest.raises(ValueError, match=r"\(2, 1, 4\): take one coil's \(mask\[0\].*vmap over frames"):
        acs_from_mask(jnp.ones((2, 1, 4)))

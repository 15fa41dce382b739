import numpy as np
import pytest

from jaxrecon import DataError
from jaxrecon.data.windows import neighbours, stack_kspace, stack_masks


def test_slices_are_clamped_at_the_ends():
    assert neighbours(0, 8, 5) == [0, 0, 0, 1, 2]
    assert neighbours(6, 8, 3) == [5, 6, 7]
    assert neighbours(7, 8, 5) == [5, 6, 7, 7, 7]
    assert neighbours(0, 1, 3) == [0, 0, 0], "a single slice is its own neighbour"


def test_frames_are_periodic():
    # three positions in four frames: frame 0 of position 1 has the last frame before it
    assert neighbours(1, 12, 3, n_frames=4) == [10, 1, 4]
    # fewer frames than the window: those there are, the first and the last repeated
    assert neighbours(0, 2, 5, n_frames=2) == [1, 1, 0, 1, 1]


@pytest.mark.parametrize("n", [1, 3, 5, 11])
@pytest.mark.parametrize("n_frames", [1, 2, 3, 4, 12])
def test_the_middle_one_is_the_slice(n, n_frames):
    for index in range(2 * n_frames):
        window = neighbours(index, 2 * n_frames, n, n_frames=n_frames)
        assert len(window) == n and window[n // 2] == index
        assert n_frames == 1 or {i % 2 for i in window} == {index % 2}, "all frames are of one position"


@pytest.mark.parametrize("n", [0, 4, -1])
def test_windows_are_odd(n):
    with pytest.raises(ValueError, match="number of adjacent slices"):
        neighbours(0, 8, n)


def test_other_coils_are_told():
    kspace = stack_kspace([np.ones((4, 3, 2), np.complex64), np.zeros((4, 3, 2), np.complex64)])
    assert kspace.shape == (2, 4, 3, 2)
    with pytest.raises(DataError, match=r"scan\.h5.*coils.*\(4, 3, 2\), \(5, 3, 2\).*compress the coils"):
        stack_kspace([np.ones((n, 3, 2), np.complex64) for n in (4, 5)], file="scan.h5")


def test_masks():
    lines, others = np.array([[True, False, True]]), np.array([[True, True, False]])
    assert stack_masks([None, None]) is None
    np.testing.assert_array_equal(stack_masks([lines, lines.copy()]), lines)
    np.testing.assert_array_equal(stack_masks([lines, others]), np.stack([lines, others])[:, None])
    assert stack_masks([lines, None]).tolist() == [[[[True, False, True]]], [[[True, True, True]]]]
    empty = np.zeros((3, 3), bool)
    assert stack_masks([None, empty, None]) is None, "a slice without signal takes the mask of the others"
    np.testing.assert_array_equal(stack_masks([lines, empty, lines]), lines)
    np.testing.assert_array_equal(
        stack_masks([lines, empty, others])[:, 0, :1], np.stack([lines, lines | others, others])
    )
    np.testing.assert_array_equal(stack_masks([empty, empty]), empty)
    plane = np.eye(3, dtype=bool)
    assert stack_masks([plane, lines]).shape == (2, 1, 3, 3)

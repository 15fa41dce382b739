"""Columns that a scanner filled with zeros, out and in again."""

import numpy as np
import pytest

from jaxrecon.data import dead_columns, restore_columns


@pytest.mark.parametrize(
    ("in_front", "behind", "removed"),
    [(3, 2, [1, 2, 12, 13]), (4, 3, [0, 1, 2, 3, 11, 12]), (1, 0, []), (0, 0, []), (0, 4, [10, 11, 12, 13])],
)
def test_an_even_number_of_columns_goes_out_and_comes_back_outside(in_front, behind, removed, random_complex):
    """A kept dead column that a network has filled stays beside its neighbour."""
    kspace = np.array(random_complex((2, 3, 14)))
    kspace[..., :in_front] = 0
    kspace[..., 14 - behind :] = 0
    found = dead_columns(kspace)
    np.testing.assert_array_equal(found, removed)
    short = np.delete(kspace, found, -1)
    np.testing.assert_array_equal(restore_columns(short, found), kspace)

    filled = np.where(short == 0, 1, short)
    whole, n_front = restore_columns(filled, found), in_front - in_front % 2
    assert whole.shape == kspace.shape and whole.dtype == kspace.dtype
    np.testing.assert_array_equal(whole[..., n_front : n_front + filled.shape[-1]], filled)
    assert not whole[..., :n_front].any() and not whole[..., n_front + filled.shape[-1] :].any()

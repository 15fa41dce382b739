import h5py
import numpy as np
import pytest
from support.files import complex_array

from jaxrecon import data
from jaxrecon.checks import DataError


def write(path, kspace, maps, target):
    with h5py.File(path, "w") as file:
        file["kspace"], file["maps"], file["target"] = kspace, maps, target
    return path


@pytest.mark.parametrize("n_sets", [1, 2])
def test_planes_with_maps_and_target(tmp_path, n_sets):
    kspace, maps, target = complex_array(3, 6, 5, 2), complex_array(3, 6, 5, 2, n_sets), complex_array(3, 6, 5, n_sets)
    scan = data.open(write(tmp_path / "a.h5", kspace, maps, target))
    assert scan.header.format == "GLEAM HDF5" and len(scan) == 3 and scan.header.shape == (6, 5)
    part = scan[1]
    np.testing.assert_array_equal(part.kspace, kspace[1].transpose(2, 0, 1))
    np.testing.assert_array_equal(part.target, target[1, ..., 0])
    expected = maps[1].transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(part.maps, expected[0] if n_sets == 1 else expected)
    assert scan.header.has_maps and scan.header.has_target


def test_sizes_must_agree(tmp_path):
    path = write(tmp_path / "a.h5", complex_array(3, 6, 5, 2), complex_array(3, 6, 4, 2, 1), complex_array(3, 6, 5, 1))
    with pytest.raises(DataError) as caught:
        data.open(path)
    assert caught.value.dataset == "maps" and caught.value.found == (3, 6, 4, 2, 1) and "kz 5" in caught.value.expected

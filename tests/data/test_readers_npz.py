import numpy as np
import pytest
from support.files import complex_array

from jaxrecon import data
from jaxrecon.checks import DataError

KSPACE = complex_array(4, 3, 7, 5)  # slice, coil, y, x


def pairs(x):
    return np.stack([x.real, x.imag], -1)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("convert", [np.asarray, pairs, np.asfortranarray, lambda x: x.astype(np.complex128)])
def test_kspace_mask_maps_target(tmp_path, save, convert):
    mask = (np.arange(5) % 2 == 0).astype(np.float32)
    target = np.random.default_rng(0).random((4, 6, 5))
    save(tmp_path / "a.npz", kspace=convert(KSPACE), mask=mask, maps=convert(2 * KSPACE), target=target, note="text")
    scan = data.open(tmp_path / "a.npz")
    assert len(scan) == 4 and scan.header.format == "npz" and scan.header.n_coils == 3 and scan.header.shape == (7, 5)
    part = scan[2]
    np.testing.assert_array_equal(part.kspace, KSPACE[2])
    np.testing.assert_array_equal(part.maps, 2 * KSPACE[2])
    np.testing.assert_array_equal(part.mask, mask[None] > 0)
    np.testing.assert_array_equal(part.target, target[2].astype(np.float32))
    assert part.kspace.dtype == np.complex64 and part.target.dtype == np.float32
    assert scan.header.has_mask and scan.header.has_maps and scan.header.has_target


@pytest.mark.parametrize("shape", [(7, 5), (1, 7, 5), (1, 1, 1, 5), (4, 7, 5), (4, 1, 5), (7, 1)])
def test_masks_broadcast(tmp_path, shape):
    mask = np.random.default_rng(0).random(shape) < 0.5
    np.savez(tmp_path / "a.npz", kspace=KSPACE, mask=mask)
    own = data.open(tmp_path / "a.npz")[3].mask
    expected = np.broadcast_to(mask, (4, 7, 5))[3] if mask.ndim < 4 else np.broadcast_to(mask[0, 0], (7, 5))
    np.testing.assert_array_equal(np.broadcast_to(own, (7, 5)), expected)


def test_one_slice_without_axis(tmp_path):
    np.savez(tmp_path / "a.npz", kspace=KSPACE[0], target=np.ones((7, 5)), maps=KSPACE[:2])
    part = data.open(tmp_path / "a.npz")[0]
    np.testing.assert_array_equal(part.kspace, KSPACE[0])
    assert part.maps.shape == (2, 3, 7, 5) and part.target.shape == (7, 5)


@pytest.mark.parametrize("convert", [np.asarray, pairs, np.asfortranarray])
def test_npy(tmp_path, convert):
    np.save(tmp_path / "a.npy", convert(KSPACE))
    scan = data.open(tmp_path / "a.npy")
    np.testing.assert_array_equal(scan[3].kspace, KSPACE[3])
    np.save(tmp_path / "b.npy", convert(KSPACE[0]))
    assert len(data.open(tmp_path / "b.npy")) == 1
    np.testing.assert_array_equal(data.open(tmp_path / "b.npy")[0].kspace, KSPACE[0])
    np.save(tmp_path / "c.npy", convert(KSPACE[0, 0]))
    np.testing.assert_array_equal(data.open(tmp_path / "c.npy")[0].kspace, KSPACE[0, :1])


def test_images(tmp_path):
    images = np.random.default_rng(0).random((3, 7, 5))
    np.save(tmp_path / "a.npy", images)
    scan = data.open(tmp_path / "a.npy")
    assert len(scan) == 3 and scan[1].kspace is None and scan.header.n_coils == 0
    np.testing.assert_array_equal(scan[1].image, images[1].astype(np.float32))
    np.savez(tmp_path / "b.npz", image=KSPACE[0])
    np.testing.assert_array_equal(data.open(tmp_path / "b.npz")[2].image, KSPACE[0, 2])


def test_mask_from_zeros(tmp_path):
    mask = np.random.default_rng(0).random((7, 5)) < 0.5
    np.save(tmp_path / "a.npy", KSPACE * mask)
    scan = data.open(tmp_path / "a.npy")
    np.testing.assert_array_equal(scan[0].mask, mask)
    assert not scan.header.has_mask


@pytest.mark.parametrize(
    ("arrays", "dataset"),
    [
        ({"kspace": KSPACE, "mask": np.ones((7, 6))}, "mask"),
        ({"kspace": KSPACE, "maps": KSPACE[:, :2]}, "maps"),
        ({"kspace": KSPACE, "target": np.ones((3, 7, 5))}, "target"),
        ({"kspace": KSPACE.real}, "kspace"),
        ({"kspace": KSPACE[0, 0, 0]}, "kspace"),
        ({"k_space": KSPACE}, "kspace"),
        ({"kspace": KSPACE[None]}, "kspace"),
        ({"kspace": np.array(["text"])}, "kspace"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, arrays, dataset):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError) as caught:
        data.open(tmp_path / "a.npz")
    error = caught.value
    assert error.dataset == dataset and error.expected and error.found is not None and "a.npz" in str(error)

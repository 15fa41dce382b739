import h5py
import numpy as np
import pytest
from support.files import complex_array, flag, header_xml, write_ismrmrd

from jaxrecon import data, fourier
from jaxrecon.checks import DataError

KSPACE = complex_array(2, 3, 9, 12)  # slice, coil, ky, kx


def lines_of(kspace, **fixed):
    """One line per (slice, ky) of (slice, coil, ky, kx), in a shuffled order."""
    n_slices, _, n_ky, _ = kspace.shape
    lines = [
        {"data": kspace[s, :, k], "kspace_encode_step_1": k, "slice": s, **fixed}
        for s in range(n_slices)
        for k in range(n_ky)
    ]
    return [lines[i] for i in np.random.default_rng(0).permutation(len(lines))]


def test_a_stack_of_slices_is_sorted_and_transposed(tmp_path):
    xml = header_xml((12, 9, 1), (6, 9, 1), {"kspace_encoding_step_1": (8, 4)})
    scan = data.open(write_ismrmrd(tmp_path / "a.h5", lines_of(KSPACE), xml))
    header = scan.header
    assert header.format == "ISMRMRD" and len(scan) == 2 and header.n_coils == 3 and header.shape == (12, 9)
    assert header.slice_axes == ("coil", "readout", "ky") and not header.has_volume and scan.noise is None
    for i in range(2):
        np.testing.assert_array_equal(scan[i].kspace, KSPACE[i].swapaxes(-1, -2))
        assert scan[i].mask is None
    assert header.encoded_matrix == (12, 9, 1) and header.recon_matrix == (6, 9, 1) and header.padding == (0, 9)


def test_missing_lines_make_the_mask(tmp_path):
    lines = [line for line in lines_of(KSPACE) if line["kspace_encode_step_1"] % 3 != 1 or line["slice"] == 1]
    scan = data.open(write_ismrmrd(tmp_path / "a.h5", lines, header_xml((12, 9, 1))))
    np.testing.assert_array_equal(scan[0].mask, (np.arange(9) % 3 != 1)[None])
    assert not scan[0].kspace[..., 1::3].any() and scan[1].mask is None


def test_center_of_the_limits_goes_to_the_middle(tmp_path):
    """Partial Fourier: 6 of 9 lines, the centre is the first but one."""
    xml = header_xml((12, 9, 1), None, {"kspace_encoding_step_1": (5, 1)})
    scan = data.open(write_ismrmrd(tmp_path / "a.h5", lines_of(KSPACE[:1, :, 3:]), xml))
    np.testing.assert_array_equal(scan[0].kspace[..., 3:], KSPACE[0, :, 3:].swapaxes(-1, -2))
    np.testing.assert_array_equal(scan[0].mask, (np.arange(9) >= 3)[None])
    assert scan.header.padding == (3, 9)


def test_header_that_contradicts_the_lines_gives_way(tmp_path):
    """Neither the matrix size nor the centre fits: the largest index counts."""
    xml = header_xml((12, 5, 1), None, {"kspace_encoding_step_1": (4, 0)})
    scan = data.open(write_ismrmrd(tmp_path / "a.h5", lines_of(KSPACE), xml))
    np.testing.assert_array_equal(scan[1].kspace, KSPACE[1].swapaxes(-1, -2))


def test_a_bare_header_is_enough(tmp_path):
    xml = "<ismrmrdHeader><encoding/></ismrmrdHeader>"
    scan = data.open(write_ismrmrd(tmp_path / "a.h5", lines_of(KSPACE), xml))
    np.testing.assert_array_equal(scan[1].kspace, KSPACE[1].swapaxes(-1, -2))
    assert scan.header.recon_matrix is None and scan.header.encoded_matrix == (12, 9, 1)


def test_asymmetric_echo_is_placed_by_its_center_sample(tmp_path):
    lines = lines_of(KSPACE[:1, :, :, 4:], center_sample=2)  # 8 of 12 samples, centre 6 of the full line
    scan = data.open(write_ismrmrd(tmp_path / "a.h5", lines, header_xml((12, 9, 1))))
    np.testing.assert_array_equal(scan[0].kspace[:, 4:], KSPACE[0, :, :, 4:].swapaxes(-1, -2))
    np.testing.assert_array_equal(scan[0].mask, np.repeat(np.arange(12)[:, None] >= 4, 9, 1))


def test_discarded_samples_reversed_lines_and_averages(tmp_path):
    lines = lines_of(KSPACE[:1])
    for i, line in enumerate(lines):
        padded = np.pad(line["data"], ((0, 0), (2, 1)), constant_values=99)
        line |= {"data": padded, "discard_pre": 2, "discard_post": 1, "center_sample": 8}
        if i % 2:
            samples = line["data"][:, 2:-1][:, ::-1]
            line |= {"data": np.pad(samples, ((0, 0), (2, 1)), constant_values=99), "flags": flag(22)}
    repeated = {**lines[0], "data": lines[0]["data"] + 2j, "average": 1}
    scan = data.open(write_ismrmrd(tmp_path / "a.h5", [*lines, repeated], header_xml((12, 9, 1))))
    expected = KSPACE[0].swapaxes(-1, -2).copy()
    expected[..., lines[0]["kspace_encode_step_1"]] += 1j
    np.testing.assert_allclose(scan[0].kspace, expected, rtol=1e-6)


@pytest.mark.parametrize("number", [19, 23, 24, 26, 27, 28, 29, 30, 31])
def test_lines_that_are_no_image_are_left_out(tmp_path, number):
    other = {
        "data": 100 * complex_array(3, 12),
        "kspace_encode_step_1": 4,
        "flags": flag(number),
        "sample_time_us": 5.0,
    }
    path = write_ismrmrd(tmp_path / "a.h5", [other, *lines_of(KSPACE)], header_xml((12, 9, 1)))
    scan = data.open(path)
    np.testing.assert_array_equal(scan[0].kspace, KSPACE[0].swapaxes(-1, -2))
    assert len(scan) == 2
    if number == 19:
        np.testing.assert_array_equal(scan.noise, other["data"][None])
        assert scan.header.attributes["noise_sample_time_us"] == 5.0
    else:
        assert scan.noise is None


@pytest.mark.parametrize(("mode", "joins"), [("embedded", True), ("separate", False), (None, False), ("flags", True)])
def test_calibration_lines_join_where_they_are_embedded(tmp_path, mode, joins):
    lines = lines_of(KSPACE[:1])
    for line in lines:
        k = line["kspace_encode_step_1"]
        line["flags"] = flag(20) if k in (3, 5) else flag(21) if mode == "flags" and k == 4 else 0
    extra = f"<parallelImaging><calibrationMode>{mode}</calibrationMode></parallelImaging>" if mode else ""
    extra = "" if mode == "flags" else extra
    scan = data.open(write_ismrmrd(tmp_path / "a.h5", lines, header_xml((12, 9, 1), extra=extra)))
    mask = scan[0].mask
    assert (mask is None) == joins
    if not joins:
        np.testing.assert_array_equal(np.flatnonzero(~mask[0]), [3, 5])


def test_contrasts_and_repetitions_are_problems_of_their_own(tmp_path):
    lines = lines_of(KSPACE, contrast=0) + lines_of(2 * KSPACE, contrast=1)
    scan = data.open(write_ismrmrd(tmp_path / "a.h5", lines, header_xml((12, 9, 1))))
    assert len(scan) == 4
    np.testing.assert_array_equal(scan[3].kspace, 2 * KSPACE[1].swapaxes(-1, -2))


@pytest.fixture
def volume_3d(tmp_path):
    """(coil, kz, ky, kx), readout oversampled, one position left out."""
    kspace = complex_array(2, 4, 5, 12)
    kspace[:, 1, 3] = 0
    lines = [
        {"data": kspace[:, z, y], "kspace_encode_step_1": y, "kspace_encode_step_2": z}
        for z in range(4)
        for y in range(5)
        if (z, y) != (1, 3)
    ][::-1]
    noise = {"data": complex_array(2, 7, seed=1), "flags": flag(19)}
    xml = header_xml((12, 5, 4), (6, 5, 4), {"kspace_encoding_step_1": (4, 2), "kspace_encoding_step_2": (3, 2)})
    return write_ismrmrd(tmp_path / "v.h5", [noise, *lines], xml), kspace


def test_3d_scan_gives_planes_along_the_readout_and_its_volume(volume_3d):
    path, kspace = volume_3d
    scan = data.open(path)
    assert len(scan) == 6 and scan.header.has_volume and scan.header.shape == (5, 4)
    assert scan.header.slice_axes == ("coil", "ky", "kz")
    np.testing.assert_array_equal(scan.volume(), kspace)
    hybrid = np.asarray(fourier.ifftc(kspace, (-1,)))[..., 3:9]
    for i in (0, 5, 2):
        np.testing.assert_allclose(scan[i].kspace, hybrid[..., i].swapaxes(-1, -2), atol=1e-6)
    mask = np.ones((5, 4), bool)
    mask[3, 1] = False
    np.testing.assert_array_equal(scan[2].mask, mask)
    np.testing.assert_array_equal(scan.line_order[0], [3, 4])
    assert scan.noise.shape == (1, 2, 7)
    image = np.zeros((5, 4))
    assert data.crop_to_recon_size(image, scan.header).shape == (5, 4)
    with pytest.raises(IndexError):
        scan.volume(1)


def test_mridata_layout(tmp_path):
    """The slice direction is in the image domain with alternating sign; the maximum is the number of lines."""
    kspace = complex_array(2, 4, 5, 6)
    stored = np.asarray(fourier.ifftc(kspace, (1,))) * np.array([1, -1, 1, -1], np.float32)[:, None, None]
    lines = [
        {"data": stored[:, z, y], "kspace_encode_step_1": y, "slice": z, "center_sample": 0}
        for y in range(5)
        for z in range(4)
    ]
    xml = header_xml((6, 5, 4), (6, 5, 4), {"kspace_encoding_step_1": (5, 2), "slice": (3, 0)})
    path = write_ismrmrd(tmp_path / "m.h5", lines, xml)
    with h5py.File(path, "a") as file:
        file["dataset/rec_std"] = np.array([[1.0, 2.0]])
    scan = data.open(path)
    np.testing.assert_allclose(scan.volume(), kspace, atol=1e-6)
    assert len(scan) == 6 and scan[0].mask is None
    np.testing.assert_allclose(scan.header.attributes["coil_weights"], np.sqrt([0.8, 0.2]))
    plain = data.IsmrmrdScan(path, slice_in_image_domain=False)
    assert len(plain) == 4
    np.testing.assert_allclose(plain[1].kspace, stored[:, 1].swapaxes(-1, -2), atol=1e-6)


@pytest.mark.parametrize(("scale", "fov"), [(1, None), (8, None), (1 / 0.2 * 8, (200, 200, 5))])
def test_trajectories_come_in_radians_per_pixel(tmp_path, scale, fov):
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 10, 2)).astype(np.float32)
    points[0, 0] = 0.5
    lines = [
        {"data": complex_array(2, 10, seed=i), "kspace_encode_step_1": i, "traj": scale * points[i]} for i in range(3)
    ]
    path = write_ismrmrd(tmp_path / "r.h5", lines, header_xml((8, 8, 1), trajectory="radial", fov=fov))
    part = data.open(path)[0]
    assert part.kspace.shape == (2, 30) and part.trajectory.shape == (30, 2)
    np.testing.assert_allclose(part.trajectory, 2 * np.pi * points.reshape(-1, 2)[:, ::-1], atol=1e-5)
    np.testing.assert_array_equal(part.kspace[:, 10:20], lines[1]["data"])


def test_remove_oversampling_keeps_the_centre_of_the_image():
    kspace = complex_array(2, 12, 5)
    cropped = data.remove_oversampling(kspace, 7)
    image = np.asarray(fourier.ifftc(kspace, (-2,)))
    np.testing.assert_allclose(fourier.ifftc(cropped, (-2,)), image[:, 3:10], atol=1e-6)
    assert cropped.dtype == np.complex64
    with pytest.raises(ValueError, match="12"):
        data.remove_oversampling(kspace, 13)


def test_lines_that_disagree_with_their_heads(tmp_path):
    lines = lines_of(KSPACE)
    lines[3]["number_of_samples"] = 11
    path = write_ismrmrd(tmp_path / "a.h5", lines, header_xml((12, 9, 1)))
    with pytest.raises(DataError, match="disagrees with its head") as caught:
        list(data.open(path))
    assert (
        caught.value.dataset == "dataset/data" and caught.value.found == "72 numbers" and str(path) in str(caught.value)
    )


def test_number_of_coils_must_not_change(tmp_path):
    lines = lines_of(KSPACE)
    lines[3]["data"] = lines[3]["data"][:2]
    with pytest.raises(DataError, match="number of coils") as caught:
        data.open(write_ismrmrd(tmp_path / "a.h5", lines, header_xml((12, 9, 1))))
    assert caught.value.found == [2, 3]


def test_file_of_noise_only(tmp_path):
    path = write_ismrmrd(tmp_path / "n.h5", lines_of(KSPACE, flags=flag(19)), header_xml((12, 9, 1)))
    with pytest.raises(DataError, match="no imaging line"):
        data.open(path)


def test_aligned_heads_are_read_by_name(tmp_path):
    """Some writers pad the struct of the head: 352 bytes in place of 340."""
    from support.files import FIELDS

    aligned = np.dtype(FIELDS, align=True)
    packed = write_ismrmrd(tmp_path / "p.h5", lines_of(KSPACE), header_xml((12, 9, 1), namespace=False))
    with h5py.File(packed) as file:
        rows = file["dataset/data"][:]
        xml = file["dataset/xml"][0]
    assert aligned.itemsize == 352
    dtype = np.dtype([("head", aligned), ("traj", h5py.vlen_dtype("<f4")), ("data", h5py.vlen_dtype("<f4"))])
    table = np.zeros(len(rows), dtype)
    for name in aligned.names:
        table["head"][name] = rows["head"][name]
    table["traj"], table["data"] = rows["traj"], rows["data"]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["other/data"], file["other/xml"] = table, xml
    scan = data.open(tmp_path / "a.h5")
    np.testing.assert_array_equal(scan[1].kspace, KSPACE[1].swapaxes(-1, -2))

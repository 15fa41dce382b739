"""Voxel size, place, orientation and counters travel from the file to the outputs."""

import h5py
import nibabel
import numpy as np
import pytest
from support.files import complex_array, header_xml, lines_of_columns, write_bart, write_ismrmrd
from support.scans import fftc, object_and_maps

import jaxrecon as jr
from jaxrecon import host
from jaxrecon.checks import DataWarning
from jaxrecon.cli import main
from jaxrecon.data.geometry import voxel_size

IMAGE, MAPS = object_and_maps(shape=(32, 24))
KSPACE = fftc(np.pad(IMAGE * MAPS, [(0, 0), (16, 16), (0, 0)])).astype(np.complex64)
# an oblique slice, in ISMRMRD's coordinates (left, posterior, superior)
READ, PHASE, NORMAL = np.array([[0.6, 0.8, 0], [-0.8, 0.6, 0], [0, 0, 1]])
DIRECTIONS = {"read_dir": READ, "phase_dir": PHASE, "slice_dir": NORMAL}
RAS = np.array([-1, -1, 1])
XML = header_xml(
    (64, 24, 1), (32, 32, 1), {"kspace_encoding_step_1": (23, 12)}, fov=(512, 128, 5), recon_fov=(256, 128, 5)
)


def stack(path, places, **fixed):
    lines = [
        line
        for number, place in enumerate(places)
        for line in lines_of_columns(KSPACE, slice=number, position=place, **fixed)
    ]
    return write_ismrmrd(path, lines, XML)


def recon(source, out, *options):
    assert main(["recon", str(source), "--out", str(out), "--method", "rss", "--no-figure", *options]) == 0
    return nibabel.load(out) if out.suffix == ".nii" else jr.data.read_cfl(out) if out.suffix == ".cfl" else out


def test_voxel_size_of_the_header(tmp_path):
    """Without directions in the heads: its size, along the axes, the middle of the field of view at 0."""
    image = recon(stack(tmp_path / "a.h5", [np.zeros(3)] * 2), tmp_path / "a.nii")
    assert image.shape == (24, 32, 2) and image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(image.header.get_zooms(), (128 / 24, 8, 5), rtol=1e-6)
    np.testing.assert_allclose(image.affine @ (12, 16, 0, 1), (0, 0, 0, 1), atol=1e-5)
    fine = recon(tmp_path / "a.h5", tmp_path / "fine.nii", "--interpolate")
    np.testing.assert_allclose(fine.header.get_zooms(), (4, 8, 5), rtol=1e-6)
    np.testing.assert_allclose(fine.affine @ (16, 16, 0, 1), (0, 0, 0, 1), atol=1e-5)


def test_slices_lie_where_the_heads_say(tmp_path):
    places = [(10, -20, 30 + 7.5 * i) for i in range(3)]
    path = stack(tmp_path / "a.h5", places, **DIRECTIONS)
    affine = recon(path, tmp_path / "a.nii").affine
    for i, place in enumerate(places):
        np.testing.assert_allclose((affine @ (12, 16, i, 1))[:3], RAS * place, atol=1e-4)
    step = affine[:3, :3]
    np.testing.assert_allclose(step[:, 0], RAS * PHASE * 128 / 24, atol=1e-4)
    np.testing.assert_allclose(step[:, 1], RAS * READ * 8, atol=1e-4)
    np.testing.assert_allclose(step[:, 2], (0, 0, 7.5), atol=1e-4)
    for name, options in (("part", ["--slices", "1:3"]), ("whole", ["--no-crop"]), ("fine", ["--interpolate"])):
        other = recon(path, tmp_path / f"{name}.nii", *options)
        middle = (other.shape[0] // 2, other.shape[1] // 2, 0 if name == "part" else 1, 1)
        np.testing.assert_allclose((other.affine @ middle)[:3], RAS * places[1], atol=1e-4)
    done = jr.reconstruct(path, method="rss", which=[1, 2])
    jr.data.write_reconstruction(tmp_path / "own.nii", done.images, header=done.header)
    np.testing.assert_allclose(
        nibabel.load(tmp_path / "own.nii").affine, nibabel.load(tmp_path / "part.nii").affine, atol=1e-4
    )


def test_slices_that_are_no_stack(tmp_path, capsys):
    """Interleaved by their index: no affine holds that, so the place is left open, and info says so."""
    path = stack(tmp_path / "a.h5", [(0, 0, z) for z in (0, 10, 5)], **DIRECTIONS)
    assert main(["info", str(path)]) == 0
    assert "the slices do not follow each other evenly in space" in capsys.readouterr().out
    with pytest.warns(DataWarning, match="only the size of their voxels"):
        image = recon(path, tmp_path / "a.nii")
    np.testing.assert_allclose(image.affine[:3, :3], np.diag((128 / 24, 8, 5)), rtol=1e-6)


def test_slices_of_an_unfinished_contrast(tmp_path):
    """The second contrast lacks its last slice: what is written in a row lies in no row, unless it is the first contrast."""
    lines = [
        line
        for contrast, n in ((0, 3), (1, 2))
        for i in range(n)
        for line in lines_of_columns(KSPACE, slice=3 * i, contrast=contrast, position=(0, 0, 5 * i), **DIRECTIONS)
    ]
    path = write_ismrmrd(tmp_path / "a.h5", lines, XML)
    assert not jr.reconstruct(path, method="rss").header.evenly_spaced
    with pytest.warns(DataWarning, match="only the size of their voxels"):
        recon(path, tmp_path / "a.nii")
    for which, first in (([0, 1, 2], 0), ([4], 5)):
        header = jr.reconstruct(path, method="rss", which=which).header
        assert header.evenly_spaced
        np.testing.assert_allclose((header.affine @ (12, 16, 0, 1))[:3], (0, 0, first), atol=1e-5)


def test_every_second_slice(tmp_path):
    path = stack(tmp_path / "a.h5", [(0, 0, 5 * i) for i in range(5)], **DIRECTIONS)
    for which, first, step in (([1, 3], 5, 10), ([4, 3, 2], 20, -5), ([2], 10, 5)):
        affine = jr.reconstruct(path, method="rss", which=which).header.affine
        np.testing.assert_allclose(affine[:3, 2], (0, 0, step), atol=1e-5)
        np.testing.assert_allclose((affine @ (12, 16, 0, 1))[:3], (0, 0, first), atol=1e-5)
    assert not jr.reconstruct(path, method="rss", which=[0, 1, 4]).header.evenly_spaced


def test_planes_along_the_readout(tmp_path):
    """x of the readout is the third axis: 4 of 8 positions are kept, around the middle of the slab."""
    lines = [
        {
            "data": np.ones((1, 8)),
            "kspace_encode_step_1": y,
            "kspace_encode_step_2": z,
            "position": (1, 2, 3),
            **DIRECTIONS,
        }
        for z in range(4)
        for y in range(6)
    ]
    xml = header_xml((8, 6, 4), (4, 6, 4), fov=(80, 30, 8), recon_fov=(40, 30, 8))
    image = recon(write_ismrmrd(tmp_path / "a.h5", lines, xml), tmp_path / "a.nii")
    assert image.shape == (4, 6, 4)
    np.testing.assert_allclose(image.affine[:3, :3].T, RAS * (NORMAL * 2, PHASE * 5, READ * 10), atol=1e-5)
    np.testing.assert_allclose(image.affine @ (2, 3, 2, 1), (-1, -2, 3, 1), atol=1e-5)


def test_affine_of_a_nifti_through_simulation(tmp_path):
    affine = np.array([[-1.2, 0.1, 0, 30], [0.2, 1.1, 0, -20], [0, 0, 3, 7], [0, 0, 0, 1]])
    images = np.random.default_rng(0).random((10, 12, 4)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(images, affine), tmp_path / "in.nii")
    simulate = ["simulate", str(tmp_path / "in.nii"), "--coils", "2", "--no-figure", "--out"]
    assert main([*simulate, str(tmp_path / "sim.h5"), "--slices", "1:3"]) == 0
    out = recon(tmp_path / "sim.h5", tmp_path / "out.nii")
    assert out.shape == (10, 12, 2)
    np.testing.assert_allclose(out.affine, affine @ [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]], atol=1e-5)
    recon(tmp_path / "sim.h5", tmp_path / "out.h5")
    with jr.data.open(tmp_path / "out.h5") as scan:
        np.testing.assert_allclose(scan.header.affine, out.affine, atol=1e-5)
    assert main([*simulate, str(tmp_path / "small.h5"), "--shape", "6", "5"]) == 0
    with jr.data.open(tmp_path / "small.h5") as scan:
        np.testing.assert_allclose(voxel_size(scan.header.affine)[:2], 2 * np.linalg.norm(affine[:3, :2], axis=0))
        np.testing.assert_allclose(scan.header.affine @ (2, 3, 0, 1), affine @ (5, 6, 0, 1), atol=1e-5)


def test_bart_volume_keeps_its_dimensions(tmp_path):
    """Dims 24 32 12 4, contrast at 5 and time at 10: what goes in as x, y, z comes out there."""
    image = np.random.default_rng(0).random((3, 2, 12, 32, 24)) + 1  # time, te, z, y, x
    kspace = image[:, :, None] * np.array([0.6, 0.8]).reshape(2, 1, 1, 1)
    for axis in (-3, -2, -1):
        kspace = host.fftc(kspace.astype(complex), axis)
    stored = kspace.reshape(
        3, 1, 1, 1, 1, 2, 1, 2, 12, 32, 24
    )  # time, cshift, iter, coeff_2, coeff, te, maps, coil ...
    out = recon(write_bart(tmp_path / "a", stored), tmp_path / "out.cfl")
    assert out.shape[::-1] == (24, 32, 12, 1, 1, 2, 1, 1, 1, 1, 3, 1, 1, 1, 1, 1)
    np.testing.assert_allclose(out.real.reshape(image.shape), image, rtol=1e-4)
    part = recon(tmp_path / "a.cfl", tmp_path / "part.cfl", "--slices", "24:48")
    assert part.shape[::-1][:6] == (24, 32, 12, 1, 1, 1)
    np.testing.assert_allclose(part.real.reshape(12, 32, 24), image[0, 1], rtol=1e-4)


@pytest.fixture
def counted(tmp_path):
    """2 contrasts of 3 repetitions of 2 slices, each of its own brightness."""
    lines = [
        line
        for c in range(2)
        for r in range(3)
        for s in range(2)
        for line in lines_of_columns((1 + s + 10 * r + 100 * c) * KSPACE, contrast=c, repetition=r, slice=s)
    ]
    return write_ismrmrd(tmp_path / "scan.h5", lines[::-1], XML)


def test_what_each_image_is_of(counted, tmp_path, capsys):
    assert main(["info", str(counted)]) == 0
    assert "contrast 2, repetition 3, slice 2" in capsys.readouterr().out
    with jr.data.open(counted) as scan:
        assert scan[7].counters == {"contrast": 1, "phase": 0, "repetition": 0, "set": 0, "slice": 1}
    bright = recon(counted, tmp_path / "a.cfl")
    assert bright.shape[::-1][5] == 2 and bright.shape[::-1][11] == 3 and bright.shape[::-1][13] == 2
    assert bright.shape[::-1][:2] == (32, 24)
    expected = (
        1 + np.arange(2) + 10 * np.arange(3)[:, None] + 100 * np.arange(2)[:, None, None]
    )  # contrast, repetition, slice
    peaks = np.abs(bright).reshape(2, 3, 2, -1).max(-1)  # slice, time_2, te
    np.testing.assert_allclose(peaks.T / IMAGE.max(), expected, rtol=1e-3)
    nifti = recon(counted, tmp_path / "a.nii").get_fdata()
    assert nifti.shape == (24, 32, 2, 6)
    np.testing.assert_allclose(nifti.max((0, 1)).T.reshape(2, 3, 2) / IMAGE.max(), expected, rtol=1e-3)
    with h5py.File(recon(counted, tmp_path / "a.h5", "--slices", "4:8")) as file:
        assert file["contrast"][:].tolist() == [0, 0, 1, 1] and file["repetition"][:].tolist() == [2, 2, 0, 0]
    done = jr.reconstruct(counted, method="rss", which=[5, 6])
    assert done.header.counter(1) == {"contrast": 1, "phase": 0, "repetition": 0, "set": 0, "slice": 0}


def test_combinations_that_are_missing_leave_a_row_of_slices(tmp_path):
    lines = [*lines_of_columns(KSPACE, contrast=0, slice=0), *lines_of_columns(KSPACE, contrast=1, slice=1)]
    out = recon(write_ismrmrd(tmp_path / "scan.h5", lines, XML), tmp_path / "a.cfl")
    assert out.shape[::-1] == (32, 24, *[1] * 11, 2, 1, 1)


def test_planes_of_bart_stay_where_they_were(tmp_path):
    out = recon(write_bart(tmp_path / "a", complex_array(3, 7, 6, 1)), tmp_path / "out.cfl")  # (1, 6, 7, 3)
    assert out.shape[::-1] == (1, 6, 7, *[1] * 13)

"""Arrays whose axes have no names: what they are taken for, the warning, and what the user says instead."""

import re

import numpy as np
import pytest
from support.files import complex_array, write_bart

import jaxrecon as jr
from jaxrecon import data
from jaxrecon.checks import DataWarning
from jaxrecon.cli import main

VOLUME = complex_array(3, 7, 9, 8)  # coil, z, y, x
SAID = "coil,z,y,x"


def saved(folder, array, name="scan", **beside):
    """The array as .npy, or as .npz with others."""
    path = folder / (name + (".npz" if beside else ".npy"))
    np.savez(path, kspace=array, **beside) if beside else np.save(path, array)
    return path


def test_more_coils_than_slices_are_doubtful(tmp_path):
    path = saved(tmp_path, VOLUME)
    with pytest.warns(DataWarning, match=r"3 slices of 7 coils.*--axes\) coil,z,y,x") as caught:
        scan = data.open(path)
    assert len(caught) == 1 and str(path) in str(caught[0].message)
    assert (len(scan), scan.header.n_coils) == (3, 7)
    with pytest.warns(DataWarning, match=r"coil,z,y,x"):
        assert len(data.ArrayScan(VOLUME)) == 3


def test_more_coils_than_columns_are_doubtful(tmp_path):
    """As of an array (y, x, coil)."""
    last = complex_array(12, 9, 4)
    with pytest.warns(DataWarning, match=r"read as 12 coils of 9 x 4 samples.*y,x,coil.*\(--axes\)"):
        data.open(saved(tmp_path, last))
    found = data.open(saved(tmp_path, last), axes="y,x,coil")
    assert found.header.n_coils == 4 and found.header.shape == (12, 9)
    data.ArrayScan(complex_array(4, 12, 9))


def test_what_is_said_or_fits_is_not_doubtful(tmp_path):
    for options in ({"axes": "slice,coil,y,x"}, {"maps": VOLUME}, {"target": np.ones((3, 9, 8))}):
        np.testing.assert_array_equal(data.ArrayScan(VOLUME, **options)[1].kspace, VOLUME[1])
    data.open(saved(tmp_path, VOLUME, maps=VOLUME))
    data.open(saved(tmp_path, VOLUME, target=np.ones((3, 9, 8))))
    data.open(saved(tmp_path, VOLUME[:, :3]))


def test_a_3d_scan_as_a_bart_pair_of_the_same_array(tmp_path):
    bart = data.open(write_bart(tmp_path / "scan", VOLUME))
    for scan in (
        data.open(saved(tmp_path, VOLUME), axes=SAID),
        data.open(saved(tmp_path, np.asfortranarray(VOLUME), mask=np.ones((7, 9))), axes=SAID.split(",")),
        data.open(saved(tmp_path, VOLUME.transpose(3, 0, 2, 1), "turned"), axes="x,coil,y,z"),
        data.ArrayScan(VOLUME, axes=SAID),
    ):
        header = scan.header
        assert (len(scan), header.n_coils, header.shape) == (len(bart), bart.header.n_coils, bart.header.shape)
        assert header.slice_axes == ("coil", "z", "y") and header.has_volume
        for own, wanted in zip(scan, bart, strict=True):
            np.testing.assert_array_equal(own.kspace, wanted.kspace)
        np.testing.assert_array_equal(scan.volume(), bart.volume())


@pytest.mark.parametrize("order", ["F", "C"])
def test_any_order_of_axes(tmp_path, order):
    """Frames are the slowest, then sets, then slices."""
    whole = complex_array(2, 3, 4, 2, 7, 5)  # frame, set, slice, coil, y, x
    stored = np.array(whole.transpose(2, 4, 0, 3, 5, 1), order=order)
    path = saved(tmp_path, stored)
    scan = data.open(path, axes="slice,y,frame,coil,x,set")
    assert len(scan) == 24 and scan.header.n_frames == 2 and scan.header.n_coils == 2
    for i, part in enumerate(scan):
        np.testing.assert_array_equal(part.kspace, whole.reshape(24, 2, 7, 5)[i])
        assert part.frame == i // 12


def test_slices_of_a_single_coil(tmp_path):
    path = saved(tmp_path, VOLUME[0])
    assert data.open(path).header.n_coils == 7
    scan = data.open(path, axes="slice,y,x")
    assert (len(scan), scan.header.n_coils) == (7, 1)
    np.testing.assert_array_equal(scan[3].kspace, VOLUME[0, 3:4])


def test_images(tmp_path):
    images = np.abs(VOLUME).astype(np.float32)
    scan = data.open(saved(tmp_path, images), axes="frame,z,y,x")
    assert len(scan) == 21 and scan.header.n_frames == 3
    np.testing.assert_array_equal(scan[9].image, images[1, 2])


@pytest.mark.parametrize(
    ("axes", "words"),
    [("coil,z,y", "with y and x"), ("coil,z,y,w", "frame, set"), ("y,y,y,x", "once"), ("coil,y,x", "has 4 axes")],
)
def test_axes_that_do_not_fit(tmp_path, axes, words):
    path = saved(tmp_path, VOLUME)
    with pytest.raises(ValueError, match=words):
        data.open(path, axes=axes)
    with pytest.raises(ValueError, match=words):
        data.ArrayScan(VOLUME, axes=axes)


def test_axes_of_other_formats(tmp_path):
    with pytest.raises(ValueError, match=r"\.npy and \.npz"):
        data.open(write_bart(tmp_path / "scan", VOLUME), axes=SAID)
    with data.open(tmp_path / "scan.cfl") as scan, pytest.raises(ValueError, match="opened scan"):
        jr.reconstruct(scan, method="rss", axes=SAID)


def test_one_answer_of_all_doors(tmp_path, capsys):
    """`recon`, `info` and `prepare`, `jr.reconstruct` of file and array."""
    path, pair = saved(tmp_path, VOLUME), write_bart(tmp_path / "pair", VOLUME)
    wanted = jr.reconstruct(pair, method="rss").images
    assert wanted.shape == (8, 7, 9)
    for source in (path, VOLUME):
        np.testing.assert_array_equal(jr.reconstruct(source, method="rss", axes=SAID).images, wanted)
    command = ["recon", str(path), "--method", "rss", "--no-figure", "--out", str(tmp_path / "r.npy")]
    assert main([*command, "--axes", SAID]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "r.npy"), wanted, rtol=1e-6)
    assert "coil, z, y, x" in capsys.readouterr().out
    assert main(["evaluate", str(tmp_path / "r.npy"), "--target", str(path), "--axes", SAID]) == 0
    text = capsys.readouterr().out
    assert "slices 8 of 7 x 9" in text and float(re.search(r"(?i)nmse\W+([\d.e+-]+)", text)[1]) < 1e-10
    assert main(["info", str(path), "--axes", SAID]) == 0
    assert "coil 3, z 7, y 9, x 8" in capsys.readouterr().out
    with pytest.warns(DataWarning, match="3 slices of 7 coils"):
        main(["info", str(path)])
    [entry] = {e.axes for e in data.index_files(path, axes=SAID)}
    source = data.Source(data.index_files(path, axes=SAID))
    assert entry == SAID and len(source) == 8
    np.testing.assert_array_equal(source[6].kspace, data.open(pair)[6].kspace)


def test_frames_of_complex_images_are_no_doubtful_kspace(tmp_path):
    """What `recon` writes of a series is (frame, slice, y, x), complex."""
    images = complex_array(2, 3, 9, 8)
    np.save(tmp_path / "r.npy", images)
    assert jr.evaluate(tmp_path / "r.npy", images).volume["nmse"] == 0

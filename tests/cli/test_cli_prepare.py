"""`jaxrecon prepare` and the split of `train`: what is written, read again and gone on with; refusals."""

import shutil

import h5py
import numpy as np
import pytest
from support.files import header_xml, write_fastmri, write_matlab
from support.scans import PREPARE, line_mask, measured, nrmse, object_and_maps

import jaxrecon
from jaxrecon.cli import main
from jaxrecon.data.hdf5 import close
from jaxrecon.experiment import find_data
from jaxrecon.experiment.catalog import CATALOG


@pytest.fixture
def folder(raw, tmp_path):
    """A copy of the scans of the fixture `raw`, to be changed."""
    shutil.copytree(raw, tmp_path / "raw")
    return tmp_path


def prepare(folder, *options, out="ready", data="raw"):
    return main(["prepare", str(folder / data), "--out", str(folder / out), *PREPARE, *options])


@pytest.mark.parametrize("maps", ["espirit", "jsense"])
def test_prepared_scans_hold_maps_and_target(raw, prepared, maps, tmp_path, capsys):
    """The target is the object, the maps are those of the object where it is; train reads them by the split."""
    ready, text = prepared
    if maps == "jsense":
        ready = tmp_path / "ready"
        assert main(["prepare", str(raw), "--out", str(ready), *PREPARE, "--maps", "jsense"]) == 0
        text = capsys.readouterr().out
    assert "4 of 4: scan3.h5, 2 slices" in text
    image, true_maps = object_and_maps()
    inside = image > 0
    with jaxrecon.data.open(ready / "scan1.h5") as scan, jaxrecon.data.open(raw / "scan1.h5") as given:
        assert scan.header.has_maps and scan.header.has_target and len(scan) == 2
        part = scan[1]
        np.testing.assert_array_equal(part.kspace, given[1].kspace)
    assert nrmse(part.target * inside, 1e-4 * image) < 0.05
    # up to the phase of a pixel, which the maps share
    agreement = np.abs((np.conj(part.maps) * true_maps).sum(0))
    assert agreement[inside].min() > 0.95

    data = find_data(CATALOG["pgd"].small_preset, str(ready), None, split=(0.5, 0.25, 0.25))
    names = [sorted({s.file[-8:] for s in part}) for part in (data.training, data.validation, data.test)]
    assert names == [["scan0.h5", "scan1.h5"], ["scan2.h5"], ["scan3.h5"]]
    assert "2 left for the test" in data.described
    np.testing.assert_array_equal(data.training[3].maps, part.maps)


def test_a_measured_head_is_prepared_whole(tmp_path):
    """By default, without a warning: targets hold the energy of the scan."""
    scan = jaxrecon.data.example("brain")
    jaxrecon.data.prepare_scan(scan.path, tmp_path / "ready.h5")
    with jaxrecon.data.open(tmp_path / "ready.h5") as ready:
        kspace, target = scan[0].kspace, ready[0].target
    assert 0.97 < np.linalg.norm(target) ** 2 / np.linalg.norm(kspace) ** 2 < 1
    made = [(m.width, m.kernel_width) for m in (jaxrecon.data.MapSettings(maps) for maps in ("espirit", "jsense"))]
    assert made == [(24, 6), (20, 8)]


def test_a_killed_run_goes_on(folder, capsys):
    """Finished scans are left alone, what was unfinished is made anew, and another setting is refused."""
    options = ["--acquisition", "T1"]
    assert prepare(folder, *options) == 0
    ready = folder / "ready"
    assert sorted(p.name for p in ready.iterdir()) == ["scan0.h5", "scan2.h5"]
    (ready / "scan2.h5").unlink()
    (ready / ".0123456789ab.scan2.h5").write_bytes(b"half")
    before = (ready / "scan0.h5").stat().st_mtime_ns
    capsys.readouterr()
    assert prepare(folder, *options) == 0
    text = capsys.readouterr().out
    assert "2, of which 1 are there already" in text and "1 of 1: scan2.h5" in text
    assert sorted(p.name for p in ready.iterdir()) == ["scan0.h5", "scan2.h5"]
    assert (ready / "scan0.h5").stat().st_mtime_ns == before
    assert prepare(folder, *options, "--maps", "jsense") == 2
    assert "expected maps jsense" in capsys.readouterr().err
    # a file that does not say its crop was made with the default of its time
    close(ready / "scan0.h5")
    with h5py.File(ready / "scan0.h5", "a") as file:
        assert file.attrs["crop"] == 0.8
        del file.attrs["crop"]
    assert prepare(folder, *options) == 2
    assert "crop 0.8, source scan0.h5, found" in (text := capsys.readouterr().err) and "crop 0.95" in text


def test_train_on_prepared_scans(trained):
    assert "4 slices for training, 2 for validation" in trained.text
    assert "2 left for the test" in trained.text and "NMSE" in trained.text


def test_readout_oversampling_is_removed(tmp_path):
    """Twice the field of view along the readout: the prepared scan has the object alone."""
    wide, _ = measured(shape=(80, 33))
    (tmp_path / "raw").mkdir()
    xml = header_xml(encoded=(80, 33, 1), recon=(40, 33, 1))
    write_fastmri(tmp_path / "raw" / "scan.h5", wide[None], xml=xml)
    assert prepare(tmp_path) == 0
    with jaxrecon.data.open(tmp_path / "ready" / "scan.h5") as scan:
        assert scan.header.shape == (40, 33)


def test_refusals(folder, capsys):
    def refused(*options, text, **where):
        assert prepare(folder, *options, **where) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and text in error
        assert not list((folder / "ready").glob("*"))

    (folder / "under").mkdir()
    kspace, _ = measured()
    write_fastmri(folder / "under" / "half.h5", kspace[None] * line_mask(step=9))
    refused(data="under", text="half.h5, slice 0: a target needs fully sampled k-space, but")
    (folder / "cine").mkdir()
    write_matlab(folder / "cine" / "P1.mat", kspace_full=np.ones((3, 1, 2, 8, 8), np.complex64))
    refused("--calib-size", "8", data="cine", text="expected Cartesian k-space of still images, found frames")
    refused("--calib-size", "99", text="expected 99 x 99 measured samples around the center")
    refused("--calib-size", "3", text="kernel 6 must be within 1 and 2, calib_size being 3")
    refused("--acquisition", "T9", text="there is none; there are T1, T2")
    (folder / "raw" / "more").mkdir()
    write_fastmri(folder / "raw" / "more" / "scan0.h5", kspace[None])
    refused(text="would both become")
    with h5py.File(folder / "raw" / "scan0.h5") as file:
        assert "maps" not in file


def test_split_needs_files(folder, capsys):
    command = ["train", "--model", "pgd", "--small", "--out", str(folder / "run"), "--split", "0.5", "0.25", "0.25"]
    assert main([*command, "--data", "simulated"]) == 2
    assert "split divides the scans of data" in capsys.readouterr().err
    assert main([*command, "--data", str(folder / "raw" / "scan0.h5")]) == 2
    assert "1 scans cannot be divided" in capsys.readouterr().err

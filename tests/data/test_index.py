import dataclasses
import json
import os
import pickle
import warnings

import numpy as np
import pytest
from support.files import complex_array, write_bart, write_fastmri, write_matlab

from jaxrecon import data
from jaxrecon.checks import DataError
from jaxrecon.data import detect, hdf5, index


@pytest.fixture
def folder(tmp_path):
    """Six files of three formats, and what is none."""
    for i, acquisition in enumerate(["AXT2", "AXT1", "AXT2", "AXFLAIR"]):
        write_fastmri(tmp_path / f"file{i}.h5", complex_array(i + 2, 2, 6, 5 + i, seed=i), acquisition=acquisition)
    (tmp_path / "P077").mkdir()
    write_matlab(tmp_path / "P077" / "aorta_sag.mat", kspace_full=complex_array(3, 2, 2, 4, 5))
    write_matlab(tmp_path / "P077" / "aorta_sag_mask.mat", mask=np.ones((4, 5)))
    write_bart(tmp_path / "brain", complex_array(2, 1, 4, 3))
    (tmp_path / "README.txt").write_text("hello")
    (tmp_path / ".unfinished.h5").write_bytes(b"half")
    return tmp_path


def names(entries):
    return sorted({os.path.basename(e.file) for e in entries})


def test_index_of_a_folder(folder):
    entries = data.index_files(folder)
    assert names(entries) == ["aorta_sag.mat", "brain.cfl", "file0.h5", "file1.h5", "file2.h5", "file3.h5"]
    assert len(entries) == 6 + 1 + (2 + 3 + 4 + 5)
    files = [e.file for e in entries]
    assert files == sorted(files)
    first = next(e for e in entries if e.file.endswith("file1.h5"))
    assert (first.index, first.n_slices, first.n_coils, first.shape, first.acquisition) == (0, 3, 2, (6, 6), "AXT1")
    assert data.index_files([folder / "file1.h5", folder / "file0.h5", folder / "file0.h5"])[0].file.endswith(
        "file0.h5"
    )


def test_nothing_found(tmp_path):
    with pytest.raises(DataError, match="no data file"):
        data.index_files(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        data.index_files(tmp_path / "absent")


def test_a_damaged_file_is_named(folder):
    (folder / "zzz.h5").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"zzz\.h5"):
        data.index_files(folder)


def test_cache_is_used_renewed_and_never_trusted_blindly(folder, monkeypatch):
    cache = folder / "cache.json"
    entries = data.index_files(folder, cache=cache)
    assert json.loads(cache.read_text())["version"] == index.CACHE_VERSION
    opened = []
    monkeypatch.setattr(index, "open_scan", lambda p, **said: opened.append(p) or detect.open(p, **said))
    assert data.index_files(folder, cache=cache) == entries and not opened
    write_fastmri(folder / "file0.h5", complex_array(7, 2, 6, 5))
    assert sum(e.file.endswith("file0.h5") for e in data.index_files(folder, cache=cache)) == 7
    assert len(opened) == 1
    for damaged in ("{", "[]", '{"version": 0, "files": {}}', '{"version": 1, "files": {"a": 3}}'):
        cache.write_text(damaged)
        assert len(data.index_files(folder, cache=cache)) == len(entries) + 5
    assert sorted(p.name for p in folder.iterdir() if "cache" in p.name) == ["cache.json"]


def test_select(folder):
    entries = data.index_files(folder)
    assert names(data.select(entries, acquisition="AXT2")) == ["file0.h5", "file2.h5"]
    assert names(data.select(entries, acquisition=["AXT2", "AXT1"])) == ["file0.h5", "file1.h5", "file2.h5"]
    inner = data.select(entries, acquisition="AXFLAIR", slices=(1, -1))
    assert [e.index for e in inner] == [1, 2, 3]
    assert "file3.h5" not in names(data.select(entries, max_width=7))
    assert "aorta_sag.mat" not in names(data.select(entries, exclude=data.KNOWN_BAD_2024))
    assert "file2.h5" not in names(data.select(entries, exclude=["file2"]))
    half = data.select(entries, sample_rate=0.5, seed=1)
    assert len(names(half)) == 3 and half == data.select(entries, sample_rate=0.5, seed=1)
    assert len({tuple(names(data.select(entries, sample_rate=0.5, seed=s))) for s in range(8)}) > 1
    assert all(sum(e.file == f for e in half) == sum(e.file == f for e in entries) for f in {e.file for e in half})
    with pytest.raises(ValueError, match="sample_rate"):
        data.select(entries, sample_rate=0)


def test_split_keeps_files_and_subjects_together(folder):
    entries = data.index_files(folder)
    parts = data.split(entries, (3, 2, 1))
    assert [len(names(p)) for p in parts] == [3, 2, 1]
    assert sorted((e for part in parts for e in part), key=lambda e: (e.file, e.index)) == entries
    assert names(parts[0]) == ["aorta_sag.mat", "brain.cfl", "file0.h5"]  # sorted by path
    assert [len(names(p)) for p in data.split(entries, (0.5, 0.5), seed=0)] == [3, 3]
    by_suffix = data.split(entries, (1, 2), group=lambda f: f.rsplit(".", 1)[1])
    assert names(by_suffix[0]) == ["brain.cfl"]
    for wrong in ((5, 5), (0.5, 0.6), (-1, 2)):
        with pytest.raises(ValueError, match="do not divide"):
            data.split(entries, wrong)


def test_subject():
    assert data.subject("/data/sub-OAS30012_ses-d1_T1w.nii.gz") == "OAS30012"
    assert data.subject("/data/x.nii.gz") == "x.nii.gz"


def test_patients_of_cmrxrecon():
    """All files of a patient are one subject; a scan's name tells patients apart; other names stay as they are."""
    files = [f"/data/{kind}/P{n:03}/{name}.mat" for n in (1, 2) for kind in ("FullSample", "AccFactor04")
             for name in ("cine_sax", "T1map")]  # fmt: skip
    assert [data.subject(f) for f in files] == ["P001"] * 4 + ["P002"] * 4
    assert data.subject("/P003/h5/P001_cine_sax.h5") == "P001" == data.subject("/P003/P001/cine_sax.mat")
    assert data.scan_name(files[0]) == "P001_cine_sax.mat" and data.scan_name(files[4]) == "P002_cine_sax.mat"
    assert data.scan_name("/P003/P001_cine_sax.h5") == "P001_cine_sax.h5"
    for other in ("simulated heart 3", "/data/P0/cine.mat", "/P0001/a.h5", "P1_a.h5", "/data/file1000.h5"):
        assert data.scan_name(other) == os.path.basename(other) == data.subject(other)


def test_source_reads_by_position_and_survives_pickle(folder):
    entries = data.index_files(folder)
    source = pickle.loads(pickle.dumps(data.Source(entries)))
    assert len(source) == len(entries)
    for i in (0, len(source) - 1):
        np.testing.assert_array_equal(source[i].kspace, data.open(entries[i].file)[entries[i].index].kspace)
        assert source[i].file == entries[i].file and source[i].index == entries[i].index
    several = data.Source(data.select(entries, acquisition="AXT1"), adjacent=3)
    assert several[0].kspace.shape == (3, 2, 6, 6)


def test_source_feeds_grain(folder):
    import grain

    source = data.Source(data.select(data.index_files(folder), acquisition="AXT1"))
    read = [s.index for s in grain.MapDataset.source(source).shuffle(seed=0)]
    assert sorted(read) == [0, 1, 2]


def test_a_changed_file_is_read_anew(tmp_path):
    path = write_fastmri(tmp_path / "a.h5", complex_array(2, 2, 6, 5))
    source = data.Source(data.index_files(path))
    before = source[0].kspace
    os.remove(path)
    write_fastmri(path, 2 * complex_array(2, 2, 6, 5))
    os.utime(path, ns=(1, 1))
    np.testing.assert_array_equal(source[0].kspace, 2 * before)


def test_scans_are_picklable_and_handles_bounded(tmp_path):
    scans = [
        data.open(write_fastmri(tmp_path / f"{i}.h5", complex_array(1, 1, 4, 5, seed=i)))
        for i in range(hdf5.MAX_OPEN + 4)
    ]
    assert len(hdf5._handles) <= hdf5.MAX_OPEN
    for i, scan in enumerate(scans):  # the first handles have been closed meanwhile
        again = pickle.loads(pickle.dumps(scan))
        np.testing.assert_array_equal(again[0].kspace, complex_array(1, 1, 4, 5, seed=i)[0])
    with scans[-1] as scan:
        scan[0]
        key = str(scan.path)
        assert any(k[0] == key for k in hdf5._handles)
    assert not any(k[0] == key for k in hdf5._handles)
    assert scan[0].kspace.shape == (1, 4, 5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_opens_its_own_handle(tmp_path):
    scan = data.open(write_fastmri(tmp_path / "a.h5", complex_array(2, 2, 6, 5)))
    scan[0]
    handle = next(iter(hdf5._handles.values()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX warns of forks; the child does not use it
        child = os.fork()
    if child == 0:
        status = 1
        try:
            fresh = not hdf5._handles
            right = np.array_equal(scan[1].kspace, complex_array(2, 2, 6, 5)[1])
            status = 0 if fresh and right and handle not in hdf5._handles.values() else 1
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(scan[1].kspace, complex_array(2, 2, 6, 5)[1])


def test_split_scans_as_gleam():
    """14, 2 and 3 of 19 scans by sorted name, never one in two parts; small numbers keep one each."""
    entry = data.Entry("", 0, 2, "GLEAM HDF5", None, 8, (4, 4), None, 1, True)
    entries = [dataclasses.replace(entry, file=f"{n:02}.h5", index=i) for n in range(19) for i in range(2)]
    parts = data.split_scans(entries[::-1])
    assert [len(names(part)) for part in parts] == [14, 2, 3] and [len(part) for part in parts] == [28, 4, 6]
    assert names(parts[0])[-1] == "13.h5" and names(parts[2]) == ["16.h5", "17.h5", "18.h5"]
    assert [len(names(part)) for part in data.split_scans(entries[:6])] == [1, 1, 1]
    with pytest.raises(ValueError, match="2 scans cannot be divided"):
        data.split_scans(entries[:4])
    with pytest.raises(ValueError, match="add up to 1"):
        data.split_scans(entries, (0.7, 0.1, 0.1))

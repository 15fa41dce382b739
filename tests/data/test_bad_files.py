"""Each damaged, wrong or hostile file gives one DataError that names file, dataset, expected and found."""

import gzip
import os
import struct
import zipfile

import h5py
import nibabel
import numpy as np
import pytest
import scipy.io
from support.files import complex_array, header_xml, write_bart, write_fastmri, write_ismrmrd, write_matlab

from jaxrecon import data, files
from jaxrecon.checks import DataError

KSPACE = complex_array(3, 3, 16, 12)
BOMB = (
    "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>"
    + "".join(f"<!ENTITY {n} '{f'&{m};' * 10}'>" for m, n in zip("abcdefgh", "bcdefghi", strict=True))
    + "]><ismrmrdHeader>&i;</ismrmrdHeader>"
)


def refusal(path, *, dataset=None, expected=True, found=True, read=True):
    """The DataError of opening and reading a file; its message names what it should, and its cause is kept apart."""
    with pytest.raises(DataError) as caught:
        with data.open(path) as scan:
            if read:
                list(scan)
    error = caught.value
    assert str(path) in str(error)
    assert error.dataset == dataset and (dataset is None or dataset in str(error))
    assert not expected or (error.expected is not None and str(error.expected) in str(error))
    assert not found or (error.found is not None and str(error.found) in str(error))
    return error


def test_missing_file(tmp_path):
    error = refusal(tmp_path / "no" / "such.h5")
    assert "no such file" in str(error) and str(tmp_path) in error.found


def test_folder(tmp_path):
    assert "index_files" in str(refusal(tmp_path))


def test_empty_file(tmp_path):
    for name in ("a.h5", "b.nii.gz", "c"):
        (tmp_path / name).touch()
        assert refusal(tmp_path / name).found == "0 bytes"


def test_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refusal(tmp_path / "pipe")


def test_unreadable_file(tmp_path, monkeypatch):
    path = tmp_path / "a.npy"
    np.save(path, KSPACE)

    def refuse(self, *_):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(path), "open", refuse)
    assert refusal(path).found == "Permission denied"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "a PNG image"),
        (b"<html>Please log in</html>", "HTML"),
        (b"once upon a time", "first bytes"),
        (b"\x1f\x8b" + bytes(50), "first bytes"),
    ],
)
def test_other_formats_with_a_known_suffix(tmp_path, content, found):
    path = tmp_path / "file1000.h5"
    path.write_bytes(content)
    error = refusal(path)
    assert found in error.found and "HDF5" in error.expected


def test_wrong_dataset_name(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["k_space"] = KSPACE
    assert refusal(tmp_path / "a.h5", dataset="kspace").found == ["k_space"]


def test_wrong_types(tmp_path):
    refusal(write_fastmri(tmp_path / "a.h5", KSPACE.real[0]), dataset="kspace")
    refusal(write_fastmri(tmp_path / "b.h5", np.array([b"text"] * 3).reshape(3, 1, 1)), dataset="kspace")
    refusal(write_fastmri(tmp_path / "c.h5", None, reconstruction=KSPACE[0]), dataset="reconstruction")
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_group("kspace")
        file["reconstruction_rss"] = np.ones((2, 3, 3))
    refusal(tmp_path / "d.h5", dataset="kspace")
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file["kspace"] = h5py.Empty("c8")
    refusal(tmp_path / "e.h5", dataset="kspace", expected=False, found=False)


@pytest.mark.parametrize("value", [np.nan, np.inf, complex(0, -np.inf)])
def test_values_that_are_not_finite(tmp_path, value):
    kspace = KSPACE.copy()
    kspace[1, 2, 3, 4] = value
    np.save(tmp_path / "a.npy", kspace)
    for path in (write_fastmri(tmp_path / "a.h5", kspace), tmp_path / "a.npy"):
        error = refusal(path, dataset="kspace")
        assert "slice 1" in str(error) and "(2, 3, 4)" in str(error)
        assert data.open(path)[0].kspace.shape == (3, 16, 12)
    target = np.ones((3, 4, 4), np.float32)
    target[0, 0, 0] = np.nan
    refusal(write_fastmri(tmp_path / "t.h5", KSPACE, reconstruction_rss=target), dataset="target")


def test_masks_that_are_not_finite(tmp_path):
    """NaN is not 0, and yet no sample was measured there."""
    mask = np.where(np.arange(12) % 3, 1, np.nan).astype(np.float32)
    np.savez(tmp_path / "a.npz", kspace=KSPACE, mask=mask)
    for path in (write_fastmri(tmp_path / "a.h5", KSPACE, mask=mask), tmp_path / "a.npz"):
        assert "mask holds 4 NaN" in str(refusal(path))
    with pytest.raises(DataError, match=r"m\.mat: the mask holds 4 NaN"):
        data.read_mask(write_matlab(tmp_path / "m.mat", mask=mask[None]))


def make_hdf5(tmp_path):
    return write_fastmri(tmp_path / "a.h5", KSPACE, xml=header_xml((16, 12, 1)))


def make_compressed(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("kspace", data=KSPACE, chunks=(1, 1, 16, 12), compression="gzip")
    return tmp_path / "a.h5"


def make_ismrmrd(tmp_path):
    lines = [{"data": KSPACE[0, :, i], "kspace_encode_step_1": i} for i in range(16)]
    return write_ismrmrd(tmp_path / "i.h5", lines, header_xml((12, 16, 1)))


def make_matlab(tmp_path):
    return write_matlab(tmp_path / "a.mat", kspace_full=KSPACE[None])


def make_matlab_5(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"kspace_full": KSPACE[None].T}, do_compression=True)
    return tmp_path / "a.mat"


def make_bart(tmp_path):
    return write_bart(tmp_path / "a", KSPACE[0, :, None])


def make_npy(tmp_path):
    np.save(tmp_path / "a.npy", KSPACE)
    return tmp_path / "a.npy"


def make_npz(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", kspace=KSPACE, mask=np.ones(12))
    return tmp_path / "a.npz"


def make_nifti(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.abs(KSPACE[0]).astype(np.float32), np.eye(4)), tmp_path / "a.nii")
    return tmp_path / "a.nii"


def make_nifti_gz(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.abs(KSPACE[0]).astype(np.float32), np.eye(4)), tmp_path / "a.nii.gz")
    return tmp_path / "a.nii.gz"


MAKERS = [
    make_hdf5, make_compressed, make_ismrmrd, make_matlab, make_matlab_5, make_bart, make_npy, make_npz, make_nifti,
    make_nifti_gz,
]  # fmt: skip


@pytest.mark.parametrize("make", MAKERS)
def test_truncated_anywhere(tmp_path, make):
    path = make(tmp_path)
    list(data.open(path))  # whole, it is fine
    content = path.read_bytes()
    for part in (0.999, 0.9, 0.5, 0.3, 0.1, 0.03, 0.001):
        path.write_bytes(content[: max(int(part * len(content)), 1)])
        with pytest.raises(DataError) as caught:
            list(data.open(path))
        error = caught.value
        assert str(path) in str(error) and error.expected is not None and error.found is not None


def test_cfl_header_that_disagrees_with_its_data(tmp_path):
    path = make_bart(tmp_path)
    (tmp_path / "a.hdr").write_text("# Dimensions\n12 17 1 3\n")
    error = refusal(path, dataset="# Dimensions")
    assert error.expected.startswith("4896 bytes") and error.found == "4608 bytes"
    (tmp_path / "a.hdr").unlink()
    with pytest.raises(DataError, match=r"a\.hdr"):
        data.open(path)


def test_entities_that_expand(tmp_path):
    for path in (
        write_fastmri(tmp_path / "a.h5", KSPACE, xml=BOMB),
        write_ismrmrd(tmp_path / "b.h5", [{"data": KSPACE[0, :, 0]}], BOMB),
    ):
        with pytest.raises(DataError, match="expand") as caught:
            data.open(path)
        assert caught.value.dataset in ("ismrmrd_header", "dataset/xml") and str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("xml", "found"),
    [
        ("<ismrmrdHeader><encoding>", "no element found"),
        ("no XML", "syntax error"),
        (header_xml((16, "many", 1)), "many"),
        (header_xml((16, 10**9, 1)), "1000000000"),
        (header_xml((16, -12, 1)), "-12"),
    ],
)
def test_damaged_xml(tmp_path, xml, found):
    error = refusal(write_fastmri(tmp_path / "a.h5", KSPACE, xml=xml), dataset="ismrmrd_header")
    assert found in str(error.found)


@pytest.mark.parametrize("chunks", [None, (1, 1, 100, 100)])
def test_hdf5_of_a_terabyte_that_was_never_written(tmp_path, chunks):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("kspace", (125, 1000, 1000, 1000), "c8", chunks=chunks)
    assert "1e+12 bytes" in refusal(tmp_path / "a.h5", dataset="kspace").found
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("kspace", (2, 10, 100, 100), "c8", chunks=chunks)
    assert refusal(tmp_path / "b.h5", dataset="kspace").found == "0 bytes stored"


def npy_header(shape, descr="<c8"):
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def test_numpy_headers_of_a_terabyte(tmp_path):
    (tmp_path / "a.npy").write_bytes(npy_header((125, 1000, 1000, 1000)) + bytes(100))
    assert "1e+12 bytes" in refusal(tmp_path / "a.npy", dataset="a").found
    (tmp_path / "b.npy").write_bytes(npy_header((25, 10, 1000, 1000)) + bytes(100))
    assert refusal(tmp_path / "b.npy", dataset="b").found == "100 bytes"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("kspace.npy", npy_header((125, 1000, 1000, 1000)) + bytes(100))
    assert "1e+12 bytes" in refusal(tmp_path / "a.npz", dataset="kspace").found
    (tmp_path / "c.npy").write_bytes(npy_header((-3, 4, 5)) + bytes(100))
    refusal(tmp_path / "c.npy", dataset="c")


def test_nifti_of_a_terabyte(tmp_path):
    path = make_nifti(tmp_path)
    content = bytearray(path.read_bytes())
    content[40:56] = struct.pack("<8h", 3, 10000, 10000, 5000, 1, 1, 1, 1)
    path.write_bytes(content)
    assert "bytes" in refusal(path, dataset="image").found
    with gzip.open(tmp_path / "b.nii.gz", "wb") as file:
        file.write(content)
    assert "2e+12 bytes" in refusal(tmp_path / "b.nii.gz", dataset="image").found


def test_bart_header_of_a_terabyte(tmp_path):
    path = make_bart(tmp_path)
    (tmp_path / "a.hdr").write_text("# Dimensions\n1000 1000 1000 125\n")
    with pytest.raises(DataError, match=r"1e\+12 bytes"):
        data.open(path)


def test_ismrmrd_grid_of_a_few_lines(tmp_path):
    lines = [{"data": KSPACE[0, :, i], "kspace_encode_step_1": i, "kspace_encode_step_2": 9} for i in range(16)]
    path = write_ismrmrd(tmp_path / "i.h5", lines, header_xml((60000, 60000, 10)))
    refusal(path, dataset="dataset/xml")
    path = write_ismrmrd(tmp_path / "j.h5", lines, header_xml((12, 60000, 60)))
    assert "times" in refusal(path, dataset="dataset/xml").expected


def test_data_that_expand_beyond_belief(tmp_path, monkeypatch):
    """Zeros compress a thousandfold; large arrays of them are no measurement."""
    monkeypatch.setattr(files, "SMALL_BYTES", 2**16)
    zeros = np.zeros((8, 1, 64, 128), np.complex64)
    np.savez_compressed(tmp_path / "a.npz", kspace=zeros)
    assert "times" in refusal(tmp_path / "a.npz", dataset="kspace").expected
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("kspace", data=zeros, chunks=zeros.shape, compression="gzip")
    assert "times" in refusal(tmp_path / "a.h5", dataset="kspace").expected
    nibabel.save(nibabel.Nifti1Image(zeros.real[:, 0], np.eye(4)), tmp_path / "a.nii.gz")
    assert "times" in refusal(tmp_path / "a.nii.gz", dataset="image").expected


def test_pickles_are_never_loaded(tmp_path):
    objects = np.empty(2, object)
    objects[:] = [KSPACE[0], KSPACE[1]]
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    refusal(tmp_path / "a.npy", dataset="a")
    np.savez(tmp_path / "a.npz", kspace=objects)
    refusal(tmp_path / "a.npz", dataset="kspace")


def test_hdf5_that_points_to_another_file(tmp_path):
    secret = write_fastmri(tmp_path / "secret.h5", KSPACE)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["kspace"] = h5py.ExternalLink(str(secret), "kspace")
        file["reconstruction_rss"] = np.ones((2, 4, 4), np.float32)
    assert "another file" in str(refusal(tmp_path / "a.h5", dataset="kspace"))
    layout = h5py.VirtualLayout(KSPACE.shape, KSPACE.dtype)
    layout[...] = h5py.VirtualSource(str(secret), "kspace", KSPACE.shape)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_virtual_dataset("kspace", layout)
    assert "another file" in str(refusal(tmp_path / "b.h5", dataset="kspace"))


def test_checksum_of_a_compressed_member(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, kspace=KSPACE[0])
    content = bytearray(path.read_bytes())
    content[1000] ^= 64
    path.write_bytes(content)
    refusal(path, dataset="kspace")


def test_ismrmrd_without_heads(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["dataset/data"], file["dataset/xml"] = np.ones((3, 4)), "<ismrmrdHeader/>"
    assert "head" in refusal(tmp_path / "a.h5", dataset="dataset/data").expected
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["dataset/data"] = np.zeros(3, [("head", [("flags", "<u8")]), ("data", "<f4", (4,))])
        file["dataset/xml"] = "<ismrmrdHeader/>"
    assert "idx" in str(refusal(tmp_path / "b.h5", dataset="dataset/data"))


def test_ismrmrd_with_lines_never_written(tmp_path):
    path = make_ismrmrd(tmp_path)
    with h5py.File(path, "a") as file:
        file["dataset/data"].resize((10**6,))
    assert refusal(path, dataset="dataset/data").found
    with h5py.File(path, "a") as file:
        file["dataset/data"].resize((20,))
    assert refusal(path, dataset="dataset/data").expected == "20 acquisitions"


def test_the_cause_is_kept_apart(tmp_path):
    path = make_hdf5(tmp_path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError) as caught:
        data.open(path)
    assert isinstance(caught.value.__cause__, OSError)

"""No damaged file stops a reader, takes the machine's memory, or raises anything but a DataError."""

import gzip
import json
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import scipy.io
from support import files, mutations

from jaxrecon import data
from jaxrecon.checks import DataError
from jaxrecon.data.hdf5_raw import REFERENCE, RawFile

MINI = Path(__file__).parents[1] / "golden" / "data"
KSPACE = files.complex_array(1, 3, 16, 12)
SECONDS, BYTES = 5, 2 * 2**30
"""What opening a damaged file and reading one slice may take."""


@pytest.fixture
def ismrmrd(tmp_path):
    lines = [{"data": KSPACE[0, :, i], "kspace_encode_step_1": i} for i in range(16)]
    return files.write_ismrmrd(tmp_path / "i.h5", lines, files.header_xml((12, 16, 1)))


def heaps(content):
    """Where the collections of a file's global heap are, and their sizes."""
    places = [i for i in range(0, len(content), 8) if content[i : i + 4] == b"GCOL"]
    return [(place, struct.unpack_from("<Q", content, place + 8)[0]) for place in places]


def change(path, place, new):
    content = bytearray(path.read_bytes())
    content[place : place + len(new)] = new
    path.write_bytes(content)
    return path


def refusal(path):
    with pytest.raises(DataError) as caught, data.open(path) as scan:
        scan[0]
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_heap_that_is_walked_in_a_circle(ismrmrd, tmp_path):
    """Objects of 0 bytes, which HDF5's library goes through for ever: lines, headers as text, attributes."""
    fastmri = files.write_fastmri(tmp_path / "f.h5", KSPACE, xml=files.header_xml((16, 12, 1)), acquisition="AXT2")
    for path in (ismrmrd, fastmri):
        content = path.read_bytes()
        assert heaps(content)
        for place, size in heaps(content):
            path.write_bytes(content)
            change(path, place + 16, bytes(size - 16))
            assert "in object" in refusal(path)


def test_a_number_that_two_objects_of_a_heap_have(ismrmrd):
    content = ismrmrd.read_bytes()
    place, size = heaps(content)[-1]
    change(ismrmrd, place + 16, struct.pack("<HHIQ", 1, 0, 0, 0) * ((size - 16) // 16))
    assert "a sound heap" in refusal(ismrmrd)


def references(path):
    """Where the references to variable lengths are: of the first line, and of the XML header."""
    with h5py.File(path) as file:
        table = file["dataset/data"]
        first = table.id.get_chunk_info(0).byte_offset + table.dtype.fields["data"][1]
        return first, file["dataset/xml"].id.get_offset()


@pytest.mark.parametrize(("field", "value"), [("length", 2**32 - 1), ("address", 2**40), ("address", 8), ("index", 99)])
@pytest.mark.parametrize("which", [0, 1], ids=["line", "text"])
def test_references_beyond_what_the_heap_holds(ismrmrd, which, field, value):
    place = references(ismrmrd)[which]
    reference = np.frombuffer(ismrmrd.read_bytes(), REFERENCE, 1, place).copy()
    reference[field] = value
    error = refusal(change(ismrmrd, place, reference.tobytes()))
    assert ("dataset/xml" if which else "dataset/data") in error


def test_lines_are_read_however_they_are_stored(ismrmrd, tmp_path):
    """Compressed, with checksums, contiguous, in files of the newest form, after a block of another program."""
    with h5py.File(ismrmrd) as file:
        table, xml = file["dataset/data"][()], file["dataset/xml"][()]
    filters = {"compression": "gzip", "shuffle": True, "fletcher32": True}
    for i, (options, how) in enumerate(
        [({}, {}), ({"libver": "latest"}, filters | {"chunks": (5,)}), ({"userblock_size": 512}, {"chunks": (16,)})]
    ):
        with h5py.File(tmp_path / f"{i}.h5", "w", **options) as file:
            file.create_dataset("dataset/data", data=table, **how)
            file.create_dataset("dataset/xml", data=xml)
        np.testing.assert_array_equal(data.open(tmp_path / f"{i}.h5")[0].kspace, KSPACE[0].swapaxes(-1, -2))
    with h5py.File(tmp_path / "lzf.h5", "w") as file:
        file.create_dataset("dataset/data", data=table, compression="lzf")
        file.create_dataset("dataset/xml", data=xml)
    assert "lzf" in refusal(tmp_path / "lzf.h5")


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_attributes_and_texts_are_read_however_they_are_stored(tmp_path, libver):
    """In headers of both forms, with and without continuations; texts of fixed and of variable length, empty ones, and
    one within the header of its dataset."""
    with h5py.File(tmp_path / "a.h5", "w", libver=libver) as file:
        file["kspace"] = KSPACE
        created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        created.set_layout(h5py.h5d.COMPACT)
        text = h5py.h5t.py_create(h5py.string_dtype(), logical=True)
        header = h5py.h5d.create(file.id, b"ismrmrd_header", text, h5py.h5s.create(h5py.h5s.SCALAR), created)
        h5py.Dataset(header)[()] = files.header_xml((16, 12, 1), (8, 12, 1))
        wanted = {"acquisition": "AXT2", "empty": "", "umlaut": "ä" * 300, "max": 2.5}
        file.attrs.update(wanted | {"fixed": np.bytes_("fixed")})
        file.attrs["reference"] = file["kspace"].ref
    header = data.open(tmp_path / "a.h5").header
    assert header.attributes == wanted | {"fixed": "fixed"} and header.recon_matrix == (8, 12, 1)


def test_a_header_that_goes_on_in_itself(tmp_path):
    path = files.write_fastmri(tmp_path / "a.h5", KSPACE, **{f"name{i}": "x" * 50 for i in range(9)})
    content = path.read_bytes()
    with h5py.File(path) as file:
        address = h5py.h5o.get_info(file.id).addr
    n_bytes = struct.unpack_from("<I", content, address + 8)[0]
    place = content.index(struct.pack("<HH", 0x10, 16), address)
    start = address + 16
    assert start <= place < start + n_bytes
    with h5py.File(path) as file, RawFile(file, path) as raw:
        assert len(raw.texts(address)) == 9
        change(path, place + 8, struct.pack("<QQ", start, n_bytes))
        with pytest.raises(DataError, match="that ends"):
            raw.texts(address)


def test_a_chunk_that_states_more_bytes_than_its_rows_have(ismrmrd):
    """HDF5's library would write them all into memory for one chunk."""
    with h5py.File(ismrmrd) as file:
        n_bytes = file["dataset/data"].dtype.itemsize
    key = struct.pack("<IIQ", n_bytes, 0, 3)  # of the fourth row, in the tree of chunks
    place = ismrmrd.read_bytes().index(key)
    assert f"found {n_bytes + 1024} bytes" in refusal(change(ismrmrd, place, struct.pack("<I", n_bytes + 1024)))


@pytest.mark.parametrize("filters", [(), ("shuffle",), ("shuffle", "fletcher32"), ("fletcher32",)], ids="-".join)
def test_entries_are_those_of_the_library(tmp_path, filters):
    """However chunks cut the array, with chunks that were never written, and others that left the filters out."""
    stored = files.complex_array(4, 5, 7, 6)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        options = {"chunks": (3, 2, 4, 6), "compression": "gzip", "fillvalue": 2j} | dict.fromkeys(filters, True)
        item = file.create_dataset("a", stored.shape, stored.dtype, **options)
        item[:3], item[3, :4] = stored[:3], stored[3, :4]
        item.id.write_direct_chunk((0, 0, 0, 0), stored[:3, :2, :4].tobytes(), filter_mask=2 ** (1 + len(filters)) - 1)
    with h5py.File(tmp_path / "a.h5") as file, RawFile(file, tmp_path / "a.h5") as raw:
        item = file["a"]
        assert (item[3, 4] == 2j).all()
        for where in ((), (0,), (3,), (2, 1), (3, 4), (1, 4, 6)):
            np.testing.assert_array_equal(raw.entry(item, where), item[where])


def test_chunks_that_unpack_beyond_their_size(tmp_path):
    """Zeros compress a thousandfold: HDF5's library would unpack as far as the bytes go."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        item = file.create_dataset("kspace", KSPACE.shape, KSPACE.dtype, chunks=KSPACE.shape, compression="gzip")
        item.id.write_direct_chunk((0, 0, 0, 0), zlib.compress(bytes(2**26)))
    tracemalloc.start()
    refusal(tmp_path / "a.h5")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


def test_matlab_variables_that_unpack_beyond_their_shape(tmp_path, monkeypatch):
    """The bytes of an element are stated beside its shape: SciPy unpacks as many."""
    from jaxrecon import files as guards
    from jaxrecon.data import cmrxrecon

    for module in (guards, cmrxrecon):
        monkeypatch.setattr(module, "SMALL_BYTES", 2**16)
    scipy.io.savemat(tmp_path / "a.mat", {"kspace": KSPACE[None].T})
    content = (tmp_path / "a.mat").read_bytes()
    n_bytes = KSPACE.nbytes // 2
    place = content.index(struct.pack("<2I", 7, n_bytes))  # the real part, of single precision
    element = content[128:place] + struct.pack("<2I", 7, 2**24) + bytes(2**24) + content[place + 8 + n_bytes :]
    packed = zlib.compress(element)
    (tmp_path / "a.mat").write_bytes(content[:128] + struct.pack("<2I", 15, len(packed)) + packed)
    assert "times" in refusal(tmp_path / "a.mat")


def test_nifti_extensions_are_not_read(tmp_path):
    """Texts before the image; a negative length would be all that a compressed file unpacks to."""
    image = nibabel.Nifti1Image(np.abs(KSPACE[0]).astype(np.float32), np.diag([2.0, 3, 4, 1]))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 40))
    nibabel.save(image, tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    sound = data.open(tmp_path / "a.nii")
    np.testing.assert_array_equal(np.stack([part.image for part in sound]).T, np.abs(KSPACE[0]))
    for length in (-16, 2**31 - 1):
        content[352:356] = struct.pack("<i", length)
        with gzip.open(tmp_path / "b.nii.gz", "wb") as file:
            file.write(content + bytes(2**24))
        tracemalloc.start()
        np.testing.assert_array_equal(data.open(tmp_path / "b.nii.gz")[0].image, sound[0].image)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**22


def test_chunks_larger_than_their_data(tmp_path, monkeypatch):
    """A chunk is unpacked whole, however little of it is asked for."""
    from jaxrecon import files as guards

    monkeypatch.setattr(guards, "SMALL_BYTES", 2**16)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        chunks = (1, 3, 16, 2**12)
        file.create_dataset("kspace", data=KSPACE, maxshape=(1, 3, 16, None), chunks=chunks, compression="gzip")
    assert "times" in refusal(tmp_path / "a.h5")


def test_five_hundred_damaged_files(tmp_path):
    """Of all formats, each opened and one slice read, by a process of its own: it can be stopped, and its memory is its own."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", KSPACE)
    np.savez(tmp_path / "stored.npz", kspace=KSPACE, mask=np.ones(12), maps=KSPACE)
    np.savez_compressed(tmp_path / "packed.npz", kspace=KSPACE, target=np.ones((1, 16, 12)))
    nibabel.save(nibabel.Nifti1Image(rng.random((16, 12, 3)).astype(np.float32), np.eye(4)), tmp_path / "a.nii")
    mini = [p for p in MINI.glob("mini_*") if not p.name.endswith((".hdr", "expected.npz"))]
    assert len(mini) >= 7
    command = [sys.executable, mutations.__file__, "15", "500", *map(str, sorted(mini) + sorted(tmp_path.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    report = json.loads(done.stdout)
    assert set(report["outcomes"]) == {"read", "refused"}, report["outcomes"]
    assert min(report["outcomes"].values()) > 100 and report["slowest"][0] < SECONDS
    assert report.get("peak_bytes", 0) < BYTES

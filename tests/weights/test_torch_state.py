import os
import pickle
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from support.torch_files import Global, pickled, storage, stream, tensor

from jaxrecon import DataError, files
from jaxrecon.weights import read, read_settings, read_torch, write_npz

FIXTURES = Path(__file__).parent / "fixtures"
FORMS = ["zip", "stream"]
ALL = sorted(FIXTURES.glob("torch_*"))
BASE = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
PLAIN = {
    "contiguous": BASE,
    "transposed": BASE.transpose(2, 0, 1),
    "every_second": BASE.reshape(-1)[1::2],
    "row": BASE[1],
    "expanded": np.repeat(np.float32([[5], [6]]), 3, 1),
    "half": (np.arange(5) / 8).astype(np.float16),
    "bfloat16": (np.arange(6, dtype=np.float32) / 4 - 0.5).reshape(2, 3),
    "double": np.linspace(0, 1, 3),
    "int64": np.array([-1, 2**40]),
    "int32": np.array([[7]], np.int32),
    "uint8": np.array([0, 255], np.uint8),
    "bool": np.array([True, False, True]),
    "complex64": np.array([1 + 2j, -3j], np.complex64),
    "scalar": np.float32(2.5),
    "empty": np.zeros((0, 3), np.float32),
    "parameter": np.float32([1, -2]),
}
ONE = {"0": (2, np.float32([3, 4]).tobytes())}


def write(path, data):
    path.write_bytes(data)
    return path


def rezip(path, source, *, method=zipfile.ZIP_STORED, **changed):
    """A copy of a zip file with members replaced by the end of their name (data__0 for data/0)."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", method) as new:
        for name in old.namelist():
            key = next((k for k in changed if name.endswith(k.replace("__", "/").replace("_pkl", ".pkl"))), None)
            new.writestr(name, old.read(name) if key is None else changed[key])
    return path


@pytest.mark.parametrize("form", FORMS)
def test_every_dtype_stride_and_offset(form):
    state = read(FIXTURES / f"torch_plain_{form}.pt")
    assert list(state) == list(PLAIN)
    for name, expected in PLAIN.items():
        assert state[name].dtype == expected.dtype, name
        assert state[name].shape == np.shape(expected), name
        np.testing.assert_array_equal(state[name], expected, err_msg=name)
        assert state[name].dtype.isnative
        assert not state[name].flags.writeable or name == "empty"


@pytest.mark.parametrize("form", FORMS)
def test_shared_storage_is_read_once(form):
    state = read(FIXTURES / f"torch_plain_{form}.pt")
    assert all(np.shares_memory(state["contiguous"], state[name]) for name in ("transposed", "every_second", "row"))
    assert not np.shares_memory(state["contiguous"], state["parameter"])


@pytest.mark.parametrize("form", FORMS)
def test_lightning_checkpoint_gives_its_state_dict_only(form):
    state = read(FIXTURES / f"torch_lightning_{form}.ckpt")
    assert {name: (a.dtype.name, a.shape) for name, a in state.items()} == {
        "varnet.steps": ("int64", ()),
        "varnet.conv.weight": ("float32", (2, 1, 3, 3)),
        "loss.w": ("float32", (1, 1, 7, 7)),
    }
    assert state["varnet.steps"] == 3
    np.testing.assert_allclose(state["varnet.conv.weight"].ravel()[:3], [-0.0025, 0.1788, -0.2743], atol=5e-5)
    np.testing.assert_allclose(state["loss.w"], 1 / 49)


def test_other_pickle_protocol_and_types_without_a_storage_of_their_own():
    assert set(read(FIXTURES / "torch_protocol4_stream.pt")) == {"conv.weight", "steps"}
    np.testing.assert_array_equal(read(FIXTURES / "torch_uint16.pt")["w"], np.array([1, 65535], np.uint16))


def test_part_chooses_among_several_dicts():
    path = FIXTURES / "torch_two_parts.pt"
    with pytest.raises(DataError, match=r"'ema', 'weights'.*part"):
        read(path)
    assert set(read(path, part="ema")) == {"conv.weight", "steps"}
    with pytest.raises(DataError, match="'optimizer'"):
        read(path, part="optimizer")


def test_part_named_model_wins_over_a_lone_tensor_beside_it(tmp_path):
    value = {"best_val_loss": tensor(storage(2), (), ()), "model": {"w": tensor(storage(2), (2,), (1,))}, "args": None}
    assert list(read(write(tmp_path / "a.pt", stream(value, ONE)))) == ["w"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torch_conj.pt", "'w'.*pending conjugate"),
        ("torch_sparse.pt", "'w'.*_rebuild_sparse_tensor"),
        ("torch_tensor.pt", r"state_dict\(\)"),
    ],
)
def test_what_is_not_read_is_said(name, message):
    with pytest.raises(DataError, match=message) as error:
        read(FIXTURES / name)
    assert name in str(error.value)


@pytest.mark.parametrize("form", FORMS)
def test_settings_are_plain_values_only(tmp_path, form):
    bad = Global("os.mkdir", (str(tmp_path / "made"),))
    given = {"model_version": "v2", "lr": 0.5, "n": 3, "flag": True, 7: "x", "bad": bad, "list": [1], "none": None}
    value = {"state_dict": {"w": tensor(storage(2), (2,), (1,))}, "hyper_parameters": given}
    path = tmp_path / "a.ckpt"
    if form == "stream":
        write(path, stream(value, ONE))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", pickled(value))
            archive.writestr("a/data/0", ONE["0"][1])
    assert read_settings(path) == {"model_version": "v2", "lr": 0.5, "n": 3, "flag": True}
    assert not (tmp_path / "made").exists()
    assert read_settings(FIXTURES / f"torch_lightning_{form}.ckpt") == {}  # settings of a class that is not read
    assert read_settings(FIXTURES / f"torch_plain_{form}.pt") == {}
    write_npz(tmp_path / "w.npz", {"w": np.ones(2, np.float32)})
    assert read_settings(tmp_path / "w.npz") == {}
    with pytest.raises(DataError, match="no such file"):
        read_settings(tmp_path / "none.pt")


def test_what_is_no_tensor_is_left_out_of_a_state_dict(tmp_path):
    value = {"w": tensor(storage(2), (2,), (1,)), "_extra_state": Global("odd.Thing", ()), "n": 3, "s": "x", 7: None}
    assert list(read(write(tmp_path / "a.pt", stream(value, ONE)))) == ["w"]


# ------------------------------------------------------------------------------------------------ hostile files


def hostile(path, kind):
    """An object that makes a folder `path` when it is unpickled."""
    call = Global("os.mkdir", (str(path),))
    return {
        "reduce": call,
        "build": Global("odd.Thing", (), state={"inside": call}),
        "list": [call, {"deeper": (call,)}],
        "key": {"a": call},
    }[kind]


def test_the_hostile_pickles_are_live(tmp_path):
    pickle.loads(pickled(hostile(tmp_path / "made", "list")[1]["deeper"][0]))
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["reduce", "build", "list", "key"])
@pytest.mark.parametrize("where", ["main", "beside", "within"])
def test_hostile_pickle_is_never_run(tmp_path, form, kind, where):
    target = tmp_path / "made"
    bad = hostile(target, kind)
    weights = {"w": tensor(storage(2), (2,), (1,))}
    value = {"main": bad, "beside": {"hparams": bad, "state_dict": weights}, "within": {**weights, "bad": bad}}[where]
    path = tmp_path / "a.pt"
    if form == "stream":
        write(path, stream(value, {} if where == "main" else ONE))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", pickled(value))
            archive.writestr("a/data/0", ONE["0"][1])
    if where == "main":
        with pytest.raises(DataError):
            read(path)
    else:
        np.testing.assert_array_equal(read(path)["w"], [3, 4])
    assert not target.exists()


def test_hostile_stream_before_the_objects_is_never_run(tmp_path):
    path = write(tmp_path / "a.pt", pickled(hostile(tmp_path / "made", "reduce")))
    with pytest.raises(DataError, match=r"none that torch.save has written"):
        read(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "code",
    [
        b"(cos\nmkdir\no.",  # OBJ
        b"(X\x01\x00\x00\x00aios\nmkdir\n.",  # INST
        b"\x82\x01.",  # EXT1
        b"0.",  # POP of nothing
        b"h\x07.",  # a memo that was never put
        b"}X\x01\x00\x00\x00as.",  # a key without a value
        b"N]e.",  # APPENDS without a mark
        b"J\x00\x00\x00\x00N\x85R.",  # a call of a number
        b"NQ.",
        b"X\xff\xff\xff\x7fabc.",  # text longer than the file
        b"\x8b\xff\xff\xff\x7f\x01.",  # a number longer than the file
        b"\x8b\xff\xff\xff\xff.",  # a number of negative length
        b"I" + b"9" * 10000 + b"\n.",
        b"",
    ],
)
def test_strange_opcodes_are_one_error(tmp_path, code):
    head = b"".join(map(pickled, [0x1950A86A20F9469CFC6C, 1001, {}]))
    with pytest.raises(DataError):
        read_torch(write(tmp_path / "a.pt", head + b"\x80\x02" + code + pickled([])))


def test_pickles_that_grow_when_used_stay_small(tmp_path):
    lists = b"]" + b"]" * 100_000 + b"a" * 100_000  # lists in lists
    # a tuple of itself twice, 60 times over, as a key: its hash would take 2^60 steps
    tuples = b"N" + b"2\x86" * 60
    value = pickled({"w": tensor(storage(2), (2,), (1,))})[2:-1]
    text = b"X\x05\x00\x00\x00other"
    code = b"\x80\x02" + value + text + lists + b"s}" + tuples + b"Ns0."
    head = b"".join(map(pickled, [0x1950A86A20F9469CFC6C, 1001, {}]))
    data = head + code + pickled(["0"]) + (2).to_bytes(8, "little") + ONE["0"][1]
    begin = time.perf_counter()
    np.testing.assert_array_equal(read(write(tmp_path / "a.pt", data))["w"], [3, 4])
    assert time.perf_counter() - begin < 20


@pytest.mark.parametrize("kind", ["pairs", "sizes", "arguments", "references", "dicts"])
def test_one_long_value_used_often_does_not_take_long(tmp_path, kind):
    n = 30_000
    keys = b"".join(b"J" + i.to_bytes(4, "little") + b"N" for i in range(n))
    rebuild, store = b"ctorch._utils\n_rebuild_tensor_v2\n", pickled(storage(2))[2:-1]
    long, use = {
        "pairs": (b"](" + b"K\0K\0\x86" * n + b"e\x85", b"ccollections\nOrderedDict\nh\0R0"),
        "sizes": (b"(" + b"K\0" * n + b"t", rebuild + b"(h\1K\0h\0h\0tR0"),
        "arguments": (b"(h\1K\0))" + b"K\0" * n + b"t", rebuild + b"h\0R0"),
        "references": (b"(X\7\0\0\0storage" + b"K\0" * n + b"t", b"h\0Q0"),
        "dicts": (b"}(" + keys + b"u", b""),
    }[kind]
    uses = use * n
    if kind == "dicts":
        uses = b"}(" + b"".join(b"J" + i.to_bytes(4, "little") + b"h\0" for i in range(n)) + b"u."
    head = b"".join(map(pickled, [0x1950A86A20F9469CFC6C, 1001, {}]))
    code = b"\x80\x02" + store + b"q\x010" + long + b"q\x000" + uses + b"}."
    begin = time.perf_counter()
    with pytest.raises(DataError):
        read(write(tmp_path / "a.pt", head + code + pickled(["0"]) + (2).to_bytes(8, "little") + ONE["0"][1]))
    assert time.perf_counter() - begin < 20


@pytest.mark.parametrize(
    ("value", "storages"),
    [
        ({"w": tensor(storage(2**40), (2**40,), (1,))}, {"0": (2**40, b"1234")}),  # more than there is
        ({"w": tensor(storage(2**60), (2,), (1,))}, {"0": (2**60, b"1234")}),
        ({"w": tensor(storage(2), (3,), (1,))}, ONE),  # beyond its storage
        ({"w": tensor(storage(2), (2,), (1,), 1)}, ONE),
        ({"w": tensor(storage(2), (2, 2), (2, 1))}, ONE),
        ({"w": tensor(storage(2), (-1,), (1,))}, ONE),
        ({"w": tensor(storage(2), (2,), (-1,))}, ONE),
        ({"w": tensor(storage(2), (2,), (1, 1))}, ONE),
        ({"w": tensor(storage(2), (1.5,), (1,))}, ONE),
        ({"w": tensor(storage(2), (2**20, 2**20), (0, 0))}, ONE),  # one number, a million million times
        ({"w": tensor(storage(2), (2**26,), (0,)), "v": tensor(storage(2), (2**26,), (0,))}, ONE),
        ({"w": tensor(storage(2), (0, 2**61), (1, 1))}, ONE),
        ({"w": tensor(storage(2), (1,) * 70, (1,) * 70)}, ONE),
        ({"w": tensor(storage(2, kind="torch.QInt8Storage"), (2,), (1,))}, ONE),
        ({"w": tensor(storage(3), (2,), (1,))}, ONE),  # pickle and data disagree
        ({"w": tensor(storage(2), (2,), (1,)), "v": tensor(storage(3), (2,), (1,))}, ONE),
        ({"w": tensor(storage(2, key="1"), (2,), (1,))}, ONE),
        ({"w": tensor(storage(2), (2,), (1,))}, {}),
        ({"w": tensor(storage(2, view=("v", 1, 2)), (2,), (1,))}, ONE),
        ({"w": tensor(storage(True), (2,), (1,))}, ONE),
        ({"w": tensor(Global("odd.Storage", ()), (2,), (1,))}, {}),
    ],
)
def test_wrong_claims_are_one_error_before_memory_is_taken(tmp_path, value, storages):
    path = write(tmp_path / "wrong.pt", stream(value, storages))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"wrong\.pt"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


def test_compressed_archives_are_read_but_bombs_are_not(tmp_path, monkeypatch):
    source = FIXTURES / "torch_uint16.pt"
    path = rezip(tmp_path / "small.pt", source, method=zipfile.ZIP_DEFLATED)
    np.testing.assert_array_equal(read(path)["w"], [1, 65535])
    monkeypatch.setattr(files, "SMALL_BYTES", 10_000)
    path = rezip(tmp_path / "bomb.pt", source, method=zipfile.ZIP_DEFLATED, data__0=bytes(10**6))
    with pytest.raises(DataError, match="not plausible"):
        read(path)


def test_archive_whose_storages_are_wrong(tmp_path):
    source = FIXTURES / "torch_uint16.pt"
    with pytest.raises(DataError, match=r"expected 4 bytes.*found 3 bytes"):
        read(rezip(tmp_path / "a.pt", source, data__0=b"123"))
    with zipfile.ZipFile(source) as archive:
        data = archive.read("torch_uint16/data.pkl")
    with pytest.raises(DataError, match=r"expected 4 bytes.*nothing of that name"):
        read(rezip(tmp_path / "b.pt", source, data_pkl=data.replace(b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x009")))
    with pytest.raises(DataError, match="compression method 14"):
        read(rezip(tmp_path / "c.pt", source, method=zipfile.ZIP_LZMA))


def test_old_views_byte_order_and_bools(tmp_path):
    data = np.arange(6, dtype=">f4").tobytes()
    value = {
        "big": tensor(storage(6), (6,), (1,)),
        "view": tensor(storage(6, view=("v", 2, 3)), (3,), (1,)),
        "bool": tensor(storage(3, kind="torch.BoolStorage", key="b"), (3,), (1,)),
    }
    state = read(write(tmp_path / "a.pt", stream(value, {"0": (6, data), "b": (3, b"\0\1\2")}, little=False)))
    np.testing.assert_array_equal(state["big"], np.arange(6))
    np.testing.assert_array_equal(state["view"], [2, 3, 4])
    assert state["bool"].view(np.uint8).tolist() == [0, 1, 1]
    path = rezip(tmp_path / "b.pt", FIXTURES / "torch_uint16.pt", byteorder=b"big")
    np.testing.assert_array_equal(read(path)["w"], [256, 65535])


@pytest.mark.parametrize("source", ALL, ids=lambda p: p.name)
def test_truncation_at_any_byte_is_one_error(tmp_path, source):
    data = source.read_bytes()
    path = write(tmp_path / "short.pt", data)
    for n in reversed(range(0, len(data), 1 if len(data) < 2000 else 13)):
        os.truncate(path, n)
        with pytest.raises(DataError, match=r"short\.pt"):
            read(path)


@pytest.mark.parametrize("source", ALL, ids=lambda p: p.name)
def test_damage_is_one_error_or_harmless(tmp_path, source, rng):
    data = source.read_bytes()
    path = write(tmp_path / "damaged.pt", data)
    for _ in range(200):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), rng.integers(1, 4)):
            damaged[position] = rng.integers(0, 256)
        with path.open("r+b") as file:  # in place: much faster than a new file
            file.write(damaged)
        try:
            state = read(path)
        except DataError as error:
            assert "damaged.pt" in str(error)
        else:
            assert all(isinstance(a, np.ndarray) and a.nbytes < 1e6 for a in state.values())


def test_other_files_are_told_apart(tmp_path):
    with pytest.raises(DataError, match="expected an HDF5 file"):
        read(write(tmp_path / "other.pt", b"\x89HDF\r\n\x1a\n" + bytes(100)))
    for data in (b"ustar", b"\x80\x05K\x01."):
        with pytest.raises(DataError, match=r"torch\.save"):
            read(write(tmp_path / "other.pt", data))
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "absent.pt")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match="readme"):
        read(tmp_path / "other.zip")

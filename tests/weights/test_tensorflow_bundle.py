import os
import tracemalloc

import numpy as np
import pytest
from support import bundle_files as tf

from jaxrecon import DataError
from jaxrecon.weights import read, read_bundle
from jaxrecon.weights.crc32c import crc32c

RNG = np.random.default_rng(0)
TENSORS = {
    "Wts/Layer1/W": RNG.standard_normal((3, 3, 2, 5)).astype(np.float32),
    "Wts/Layer1/BN/beta": RNG.standard_normal(5).astype(np.float32),
    "Wts/Layer1/BN/gamma": RNG.standard_normal(5).astype(np.float32),
    "Wts/Layer10/W": RNG.standard_normal((1, 300)),
    "Wts/lam1": np.float32(0.05),
    "beta1_power": np.float32(0.9),
    "flags": np.array([True, False]),
    "none": np.zeros((0, 4), np.float32),
    "step": np.int64(-7),
    "z": np.array([1 + 2j], np.complex64),
}


@pytest.fixture
def prefix(tmp_path):
    return tmp_path / "model-100"


def write_items(prefix, items, data, **options):
    prefix.with_name("model-100.index").write_bytes(tf.table(items, **options))
    prefix.with_name("model-100.data-00000-of-00001").write_bytes(data)


@pytest.mark.parametrize(("length", "expected"), [(0, 0), (9, 0xE3069283), (32, 0x8A9136AA)])
def test_checksum_meets_the_published_values(length, expected):
    assert crc32c({0: b"", 9: b"123456789", 32: bytes(32)}[length]) == expected


def test_checksum_of_any_length_follows_the_definition():
    for n in [*range(1, 40), 1000, 1023]:
        data = RNG.integers(0, 256, n, dtype=np.uint8)
        assert crc32c(data) == tf.crc32c(data.tobytes())


@pytest.mark.parametrize(
    "options", [{}, {"n_shards": 3}, {"restart": 1}, {"restart": 16, "per_block": 100}, {"per_block": 1}]
)
def test_every_tensor_is_read(prefix, options):
    tf.write_bundle(prefix, TENSORS, **options)
    state = read(prefix)
    assert list(state) == sorted(TENSORS)
    for name, expected in TENSORS.items():
        assert state[name].dtype == expected.dtype
        assert state[name].shape == np.shape(expected)
        np.testing.assert_array_equal(state[name], expected)


def test_any_of_the_files_names_the_bundle(prefix):
    tf.write_bundle(prefix, TENSORS)
    for end in (".index", ".data-00000-of-00001"):
        assert set(read(f"{prefix}{end}")) == set(TENSORS)
    with pytest.raises(DataError, match="no such file"):
        read_bundle(prefix.with_name("model-50"))
    os.unlink(f"{prefix}.data-00000-of-00001")
    with pytest.raises(DataError, match=r"no such file.*data-00000-of-00001|data-00000-of-00001.*no such file"):
        read(prefix)


def test_bfloat16_is_exact_and_text_is_left_out(prefix):
    upper = np.array([0x3F80, 0xC000, 0x3EAB], np.uint16)  # 1, -2, 0.333984375
    text = np.frombuffer(b"\x05hello", np.uint8)
    items = [
        (b"", tf.header()),
        (b"_TEXT", tf.entry(text, dtype=7)),
        (b"w", tf.entry(upper, dtype=14, offset=len(text))),
    ]
    write_items(prefix, items, text.tobytes() + upper.tobytes())
    state = read(prefix)
    assert list(state) == ["w"]
    np.testing.assert_array_equal(state["w"], np.float32([1, -2, 0.333984375]))


W = np.arange(4, dtype=np.float32)
HEAD = (b"", tf.header())


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([HEAD, (b"w", tf.entry(W, checksum=b"1234"))], "'w'.*checksum"),
        ([HEAD, (b"w", tf.entry(W, size=12))], "'w'.*disagree.*expected 16 bytes.*found 12 bytes"),
        ([HEAD, (b"w", tf.entry(W, offset=1))], "'w'.*disagree"),
        ([HEAD, (b"w", tf.entry(W, offset=2**62))], "'w'.*disagree"),
        ([HEAD, (b"w", tf.entry(np.broadcast_to(W, (3, 4))))], "truncated"),
        ([HEAD, (b"v", tf.entry(W)), (b"w", tf.entry(W))], "do not fit.*expected 32 bytes.*found 16"),
        ([HEAD, (b"w", tf.entry(W, dtype=13))], "'w'.*type number 13"),
        ([HEAD, (b"w", tf.entry(W, extra=tf.nested(7, b"")))], "'w'.*slices"),
        ([HEAD, (b"w", tf.entry(W, shard=1))], "'w'.*no shard"),
        ([(b"", tf.header(endianness=1)), (b"w", tf.entry(W))], "byte order 1"),
        ([(b"", tf.header(n_shards=0))], "0 shards"),
        ([(b"", b"\x0b")], "damaged"),
        ([(b"w", tf.entry(W))], "header is missing"),
        ([HEAD, (b"w", tf.entry(W)), (b"v", tf.entry(W))], "not in order"),
        ([HEAD, (b"w", tf.entry(W)), (b"w", tf.entry(W))], "not in order"),
        ([HEAD, (b"\xff", tf.entry(W))], "damaged"),
        ([HEAD, (b"w" * 5000, tf.entry(W))], "beyond its block"),
        ([HEAD, (b"w", tf.number(1, 1) + tf.nested(2, tf.nested(2, tf.number(1, 2**63))))], "damaged"),
    ],
)
def test_what_does_not_fit_is_one_error(prefix, items, message):
    write_items(prefix, items, W.tobytes())
    with pytest.raises(DataError, match=message) as error:
        read(prefix)
    assert "model-100" in str(error.value)


def test_compressed_and_damaged_blocks_are_told(prefix):
    items = [HEAD, (b"w", tf.entry(W))]
    write_items(prefix, items, W.tobytes(), compression=1)
    with pytest.raises(DataError, match=r"compression type 1.*npz"):
        read(prefix)
    data = bytearray(tf.table(items))
    data[10] ^= 1
    prefix.with_name("model-100.index").write_bytes(data)
    with pytest.raises(DataError, match=r"block at byte 0.*checksum"):
        read(prefix)


def test_names_that_grow_are_refused_before_memory_is_taken(prefix):
    # each key is the one before and one more byte: 20,000 keys of two bytes more than their own
    n = 20_000
    body = b"".join(tf.varint(i) + tf.varint(1) + b"\0a" for i in range(n)) + bytes(4) + (1).to_bytes(4, "little")
    data = body + b"\0" + crc(body + b"\0")
    index = tf.block([(b"~", tf.varint(0) + tf.varint(len(body)))])
    footer = tf.varint(0) * 2 + tf.varint(len(data)) + tf.varint(len(index) - 5)
    prefix.with_name("model-100.index").write_bytes(data + index + footer.ljust(40, b"\0") + tf.MAGIC)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"beyond its block|too long"):
            read(prefix)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


def crc(data):
    value = crc32c(data)
    return (((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


@pytest.mark.parametrize("end", [".index", ".data-00000-of-00001"])
def test_truncation_at_any_byte_is_one_error(prefix, end):
    tf.write_bundle(prefix, {name: TENSORS[name] for name in list(TENSORS)[:3]})
    path = f"{prefix}{end}"
    for n in reversed(range(os.path.getsize(path))):
        os.truncate(path, n)
        with pytest.raises(DataError, match="model-100"):
            read(prefix)


def test_any_changed_byte_is_noticed(prefix):
    tf.write_bundle(prefix, {name: TENSORS[name] for name in list(TENSORS)[:3]})
    path = prefix.with_name("model-100.index")
    data = path.read_bytes()
    noticed = 0
    for n in range(len(data)):
        damaged = bytearray(data)
        damaged[n] ^= 1 << n % 8
        with path.open("r+b") as file:
            file.write(damaged)
        try:
            read(prefix)
        except DataError:
            noticed += 1
    # what is not looked at: the block of metadata, its handle, and the zeros that fill the footer
    assert noticed > len(data) - 65

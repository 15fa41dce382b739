"""CRC-32C, the checksum of TensorFlow's files, in NumPy: all parts of the data at once, then joined.

A cyclic checksum is linear over GF(2), and a run of zero bytes acts on its 32-bit state as a matrix. So the data are
cut into rows of equal length whose checksums advance together, and the sum of two neighbours is (state of the first,
moved on by a row of zeros) xor (state of the second).
"""

import math

import numpy as np

_POLYNOMIAL = 0x82F63B78  # reversed bits of 0x1EDC6F41


def _make_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


_TABLE = _make_table()


def crc32c(data: bytes | np.ndarray) -> int:
    """CRC-32C (Castagnoli) of some bytes.

    Args:
      data: bytes, or an array of uint8.

    Returns:
      The checksum, an unsigned 32-bit number; crc32c(b"123456789") is 0xE3069283.

    Source: RFC 3720, section B.4.
    """
    values = np.frombuffer(data, np.uint8)
    length = max(math.isqrt(len(values)), 1)
    n_rows, n_head = divmod(len(values), length)
    total = 0xFFFFFFFF
    for value in values[:n_head].tolist():
        total = int(_TABLE[(total ^ value) & 0xFF]) ^ (total >> 8)
    # 32 more states, one bit each, see nothing but zeros: they become the matrix of a row of zeros
    states = np.concatenate([np.zeros(n_rows, np.uint32), np.uint32(1) << np.arange(32, dtype=np.uint32)])
    for column in values[n_head:].reshape(n_rows, length).T:
        index = states & np.uint32(0xFF)
        index[:n_rows] ^= column
        states = _TABLE[index] ^ (states >> 8)
    matrix = states[n_rows:].tolist()
    for row in states[:n_rows].tolist():
        for bit in range(32):
            row ^= matrix[bit] if total >> bit & 1 else 0
        total = row
    return total ^ 0xFFFFFFFF

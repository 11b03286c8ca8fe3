"""Protocol buffers on the wire, and the two framings of records that trackers write: LevelDB's log and TFRecord.

Only what it takes to read: no schema, no package. Formats: protobuf.dev/programming-guides/encoding, LevelDB's
doc/log_format.md, TensorFlow's record_writer.h.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from astraios.errors import DataError


class CutError(DataError):
    """A file that ends within a record: its writer was killed, or not all of it was copied."""


_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_BLOCK = 32768
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field: an int (varint), or bytes (8, 4, or as many as it says).

    Raises:
        ValueError: the message is not whole.
    """
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = varint(message, at)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            size, at = varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"a field of unknown kind {kind}")
        if at + size > len(message):
            raise ValueError("a field is cut off")
        yield tag >> 3, message[at : at + size]
        at += size


def varint(data: bytes, at: int) -> tuple[int, int]:
    """An integer of variable length, and where it ends.

    Raises:
        ValueError: it is cut off or too long.
    """
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("an integer is cut off")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def signed(value: int) -> int:
    """A varint read as a 64-bit integer in two's complement."""
    return value - (1 << 64) if value >= 1 << 63 else value


def leveldb_records(path: Path, data: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """Records of a LevelDB log with their offsets; blocks count from the beginning of the file.

    Args:
        path: for messages.
        data: the whole file.
        start: where the first record begins (a header of the file's own lies before it).

    Raises:
        DataError: a checksum is wrong.
        CutError: the file ends within a record.
    """
    at, begun, pieces = start, start, []
    inside = False
    while at < len(data):
        left = _BLOCK - at % _BLOCK
        if left < 7:
            at += left
            continue
        if at + 7 > len(data):
            raise CutError(f"{path}: byte {at}: the file ends within the head of a record")
        checksum, size, kind = struct.unpack_from("<IHB", data, at)
        if kind == 0 and size == 0 and checksum == 0:  # room that was made ready for records and not used
            at += left
            continue
        if kind not in (_FULL, _FIRST, _MIDDLE, _LAST) or size > left - 7:
            raise DataError(f"{path}: byte {at}: no record begins here")
        piece = data[at + 7 : at + 7 + size]
        if len(piece) < size:
            raise CutError(f"{path}: byte {at}: the file ends within a record")
        if zlib.crc32(bytes([kind]) + piece) != checksum:
            raise DataError(f"{path}: byte {at}: the checksum of a record is wrong")
        if (kind in (_MIDDLE, _LAST)) != inside:
            raise DataError(f"{path}: byte {at}: a part of a record without the others")
        begun = at if kind in (_FULL, _FIRST) else begun
        pieces.append(piece)
        at += 7 + size
        inside = kind in (_FIRST, _MIDDLE)
        if not inside:
            yield begun, b"".join(pieces)
            pieces = []
    if inside:
        raise CutError(f"{path}: byte {begun}: the file ends within a record")


def tf_records(path: Path, data: bytes) -> Iterator[tuple[int, bytes]]:
    """Records of a TFRecord file with their offsets.

    Raises:
        DataError: a checksum is wrong.
        CutError: the file ends within a record.
    """
    at = 0
    while at < len(data):
        if at + 12 > len(data):
            raise CutError(f"{path}: byte {at}: the file ends within the head of a record")
        size, checksum = struct.unpack_from("<QI", data, at)
        if masked_crc32c(data[at : at + 8]) != checksum:
            raise DataError(f"{path}: byte {at}: no record begins here")
        end = at + 12 + size
        if end + 4 > len(data):
            raise CutError(f"{path}: byte {at}: the file ends within a record")
        content = data[at + 12 : end]
        if masked_crc32c(content) != struct.unpack_from("<I", data, end)[0]:
            raise DataError(f"{path}: byte {at}: the checksum of a record is wrong")
        yield at, content
        at = end + 4


@cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


def masked_crc32c(data: bytes) -> int:
    """The checksum of TFRecord: CRC-32C, rotated and shifted by a constant."""
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

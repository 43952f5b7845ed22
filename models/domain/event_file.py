"""Writes figures as TensorBoard's event files read them: framed records of a few protobuf fields, spelt by hand.

A record is its length, a checksum of the length, the bytes and their checksum (CRC-32C, masked). The fields are those
of `Event` (wall_time 1, step 2, file_version 3, summary 5), `Summary.Value` (tag 1, simple_value 2, tensor 8,
metadata 9) and a string tensor for texts. Source: TensorFlow's tfrecord format, event.proto and summary.proto.
"""

import struct
from collections.abc import Mapping

from models.domain.tracking import Point

VERSION = "brain.Event:2"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_STRING_TENSOR = 7  # DT_STRING


def first_record(at: float) -> bytes:
    """What each file begins with. `at`: seconds since 1970."""
    return _record(_double(1, at) + _text(3, VERSION))


def point_record(point: Point) -> bytes:
    """All figures of one step."""
    values = b"".join(_field(1, _text(1, tag) + _float(2, value)) for tag, value in point.figures.items())
    return _event(point.at.timestamp(), point.step, values)


def text_record(at: float, step: int, tag: str, text: str) -> bytes:
    """A text, shown as Markdown under "Text"."""
    shape = _field(2, _field(2, _number(1, 1)))
    tensor = _number(1, _STRING_TENSOR) + shape + _field(8, text.encode())
    metadata = _field(1, _text(1, "text"))
    return _event(at, step, _field(1, _text(1, tag) + _field(8, tensor) + _field(9, metadata)))


def as_table(facts: Mapping[str, object]) -> str:
    """Settings or results as a Markdown table of two columns."""
    rows = [f"| {name} | {str(value).replace('|', '/')} |" for name, value in facts.items()]
    return "\n".join(["| | |", "|---|---|", *rows])


def _event(at: float, step: int, summary: bytes) -> bytes:
    return _record(_double(1, at) + _number(2, step) + _field(5, summary))


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", _masked(length)) + data + struct.pack("<I", _masked(data))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _number(field: int, value: int) -> bytes:
    return _key(field, _VARINT) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _key(field, _FIXED64) + struct.pack("<d", value)


def _float(field: int, value: float) -> bytes:
    return _key(field, _FIXED32) + struct.pack("<f", min(max(value, -3.4e38), 3.4e38))


def _field(field: int, value: bytes) -> bytes:
    return _key(field, _BYTES) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _field(field, value.encode())


def _table() -> list[int]:
    found = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        found.append(value)
    return found


_CRC32C = _table()


def _masked(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value = _CRC32C[(value ^ byte) & 0xFF] ^ value >> 8
    value ^= 0xFFFFFFFF
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF

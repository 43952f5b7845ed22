"""JSON of strangers to Python values, strictly: no NaN, no endless numbers, no depth, no half characters, no NUL.

Two readers with one answer: a fast one for the usual row, and a slow one that decides whenever there is doubt and
says why. `tests/models/test_containers.py` proves that they agree.
"""

import json
import math
from typing import Any

import orjson

from models.catalog.formats.base import Problem
from models.catalog.rows import DEEPEST, LARGEST_CELL_BYTES, Unreadable, check_cells, nul, too_deep

LONGEST_NUMBER_DIGITS = 400
_LARGEST = 2.0**63


def decoded(data: bytes) -> Any:
    """The value that the bytes stand for; raises Unreadable."""
    # Decoding never makes a text longer, and every level of depth costs an opening bracket: what is short and flat
    # on the outside is so within.
    if (
        len(data) <= LARGEST_CELL_BYTES
        and b"\\u0000" not in data
        and data.count(b"{") + data.count(b"[") < DEEPEST
    ):  # fmt: skip
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError:
            return slowly_decoded(data)
        if not _is_doubtful(value):
            return value
    return slowly_decoded(data)


def slowly_decoded(data: bytes) -> Any:
    """The same, with the reason of every refusal."""
    if b"\0" in data:
        raise nul()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as fault:
        found = f"the byte 0x{data[fault.start]:02x} at position {fault.start + 1}"
        raise Unreadable(Problem.INVALID_UTF8, found, "UTF-8 text") from None
    value = _loaded(text)
    check_cells(value)
    return value


def _is_doubtful(value: Any) -> bool:
    """orjson reads integers over 64 bit as floats: every float of that size is left to the slow reader."""
    if type(value) is dict:
        for each in value.values():
            kind = type(each)
            if kind is str:
                continue
            if (kind is dict or kind is list or kind is float) and _is_doubtful(each):
                return True
        return False
    if type(value) is list:
        return any(map(_is_doubtful, value))
    return type(value) is float and not -_LARGEST < value < _LARGEST


def _loaded(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite_float, parse_int=_bounded_int)
    except RecursionError:
        raise too_deep() from None
    except json.JSONDecodeError as fault:
        found = f"{fault.msg} at character {fault.pos + 1}"
        raise Unreadable(Problem.NOT_JSON, found, "one JSON object on one line") from None


def _refuse_constant(name: str) -> Any:
    raise Unreadable(Problem.NOT_A_NUMBER, name, "a number that JSON knows, or null")


def _finite_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise Unreadable(Problem.NOT_A_NUMBER, f"{text[:20]}, too large to hold", "a number below 1e308")
    return number


def _bounded_int(text: str) -> int:
    if len(text) > LONGEST_NUMBER_DIGITS:
        raise Unreadable(Problem.HUGE_NUMBER, f"a number of {len(text)} digits", "a number of at most 400 digits")
    return int(text)

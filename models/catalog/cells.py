"""Cells of tables that hold JSON as text: lists and objects where a format needs one, yes and no. Knows no files.

A column that every format reads as text stays text; a cell that is not what its column needs stays as it is, and the
format refuses it in its own words.
"""

from functools import cache
from typing import Any

from models.catalog.formats import FORMATS
from models.catalog.json_text import decoded
from models.catalog.rows import Unreadable

# Texts in some files and lists of messages in others: decoded only where the cell is plainly such a list.
EITHER = frozenset({"prompt", "completion", "chosen", "rejected", "input"})
_TRUTH = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}


def with_decoded_cells(row: dict[str, Any]) -> dict[str, Any]:
    """The row, its keys being names of fields, with the cells decoded that a format needs as lists or objects."""
    changed = {
        name: value for name, cell in row.items() if isinstance(cell, str) and (value := _value(name, cell)) is not cell
    }
    return row | changed if changed else row


@cache
def decoded_columns() -> frozenset[str]:
    return frozenset(field.name for entry in FORMATS.values() for field in entry.fields if not field.is_text)


def _value(name: str, cell: str) -> Any:
    if name in EITHER:
        value = _json(cell)
        return value if _is_messages(value) else cell
    if name not in decoded_columns():
        return cell
    if cell == "":
        return None
    return _TRUTH[cell.lower()] if cell.lower() in _TRUTH else _json(cell)


def _json(cell: str) -> Any:
    if not cell.lstrip().startswith(("[", "{")):
        return cell
    try:
        return decoded(cell.encode())
    except Unreadable:
        return cell


def _is_messages(value: Any) -> bool:
    if isinstance(value, dict):
        return "messages" in value
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, dict) and ("role" in each or "from" in each) for each in value)
    )

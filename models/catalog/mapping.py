"""Columns of a file as fields of a format: what a person points out where the names differ. Knows no files.

A mapping gives, by a field of the format, the file's column. Columns that nobody mapped keep their own names.
"""

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from models.catalog.formats import FORMATS
from models.catalog.formats.base import Format
from models.domain.errors import Code, Invalid

# What files call the fields whose own names they do not use, likeliest first.
_ALSO_CALLED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("instruction", "prompt"), ("question", "instruction", "prompt", "query", "user", "request", "input")
    ),
    **dict.fromkeys(
        ("output", "completion"),
        ("answer", "response", "output", "completion", "assistant", "reply", "target", "label"),
    ),
    **dict.fromkeys(("messages", "conversations"), ("conversation", "dialogue", "dialog", "chat", "turns", "talk")),
    "system": ("system_prompt", "systemprompt"),
    "text": ("content", "document", "body", "article", "passage"),
    "chosen": ("preferred", "better", "accepted", "winner"),
    "rejected": ("dispreferred", "worse", "declined", "loser"),
    **dict.fromkeys(("label", "kto_tag"), ("good", "is_good", "thumbs_up", "liked", "accepted")),
}


def mapped(row: dict[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    """The row under the names of fields; a column that stands for a field no longer goes by its own name.

    A column that the row does not have leaves its field out, which a format that needs it then says. Numbers and
    booleans become text where a text is read; null stays null.
    """
    used = set(mapping.values())
    fields = {name: value for name, value in row.items() if name not in used and name not in mapping}
    for field, column in mapping.items():
        if column in row:
            fields[field] = _as_read(field, row[column])
    return fields


def in_columns(field: str, mapping: Mapping[str, str]) -> str:
    """The place of a problem in the file's own words: `output` is `answer`, `messages[2].role` is `talk[2].role`."""
    end = min((field.find(mark) for mark in ".[" if mark in field), default=len(field))
    return mapping.get(field[:end], field[:end]) + field[end:]


def check_mapping(entry: Format, mapping: Mapping[str, str], columns: Collection[str]) -> None:
    """Raises Invalid for a field the format has not, a column the file has not, or a needed field without a column."""
    fields = {field.name: field for field in entry.fields}
    for name, column in mapping.items():
        if name not in fields:
            raise _wrong(
                f'{entry.title} has no field "{name}"; its fields are {_listed(fields)}. Choose one of them.',
                field=name,
            )
        if column not in columns:
            raise _wrong(
                f'the file has no column "{column}"; its columns are {_listed(columns)}. Choose one of them for '
                f'"{name}".',
                field=name,
                column=column,
            )
    free = set(columns) - set(mapping.values())
    missing = [name for name, field in fields.items() if field.is_required and name not in mapping and name not in free]
    has_other_name = not free.isdisjoint(entry.reads - fields.keys())  # "messages" for conversations
    if missing and not has_other_name:
        raise _wrong(
            f"{entry.title} needs {_listed(missing)}, but the file has {_listed(columns)}. Choose a column for each, "
            "or another format.",
            field=missing[0],
        )


def suggested_mapping(entry: Format, columns: Collection[str]) -> dict[str, str]:
    """A column for each field that has none of its own name, as far as the names tell; {} where nothing is to be done.

    No column stands for two fields.
    """
    free = {column.strip().lower().replace(" ", "_").replace("-", "_"): column for column in columns}
    own = {field.name for field in entry.fields if field.name in columns}
    free = {key: column for key, column in free.items() if column not in own}
    found: dict[str, str] = {}
    for field in entry.fields:
        if field.name in own:
            continue
        key = next((key for key in (field.name, *_ALSO_CALLED.get(field.name, ())) if key in free), None)
        if key is not None:
            found[field.name] = free.pop(key)
    return found


def _as_read(field: str, value: Any) -> Any:
    if field in _texts() and isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value


@cache
def _texts() -> frozenset[str]:
    """Fields that some format reads as text: judged before the format is known, too."""
    return frozenset(field.name for entry in FORMATS.values() for field in entry.fields if field.is_text)


def _listed(names: Collection[str], most: int = 12) -> str:
    shown = ", ".join(f'"{name[:60]}"' for name in list(names)[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown or "none"


def _wrong(message: str, **facts: str) -> Invalid:
    return Invalid(message, code=Code.INVALID_REQUEST, **facts)

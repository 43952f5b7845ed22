"""More datasets beside the first one, as the Train page's form holds them: numbered slots, filled from the first on.

Each slot is two fields: the file's id, empty where there is none, and its weight as typed. Knows no Gradio.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from models.domain.ids import FileId
from models.domain.training import MixedFile
from webapp.views import fields
from webapp.views.fields import Field, Group

MIXED = "data.rows.mixed"
MOST = 8
FILES = tuple(f"{MIXED}.{place}.file" for place in range(MOST))
WEIGHTS = tuple(f"{MIXED}.{place}.weight" for place in range(MOST))
KEYS = tuple(key for slot in zip(FILES, WEIGHTS, strict=True) for key in slot)
WEIGHT: Field = fields.fields_of(MixedFile, at=MIXED, groups={}, otherwise=Group.ROWS, leave_out=("file",))[0]

Typed = dict[str, Any]


def typed_of(mixed: Sequence[MixedFile] = ()) -> Typed:
    """All slots for these datasets; the others are empty."""
    typed: Typed = dict.fromkeys(FILES, "") | dict.fromkeys(WEIGHTS, fields.shown(WEIGHT, WEIGHT.default))
    for place, each in enumerate(mixed[:MOST]):
        typed |= {FILES[place]: each.file, WEIGHTS[place]: fields.shown(WEIGHT, each.weight)}
    return typed


def told(typed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the slots say, as a spec takes it; weights that cannot be read go on as typed."""
    return [
        {"file": typed[file], "weight": fields.told(WEIGHT, typed.get(weight))}
        for file, weight in zip(FILES, WEIGHTS, strict=True)
        if typed.get(file)
    ]


def files(typed: Mapping[str, Any]) -> list[str]:
    return [str(typed[file]) for file in FILES if typed.get(file)]


def added(typed: Mapping[str, Any], file: FileId) -> Typed:
    """With one more dataset in the next slot; as before where all are taken."""
    taken = len(files(typed))
    return {key: typed[key] for key in KEYS} | ({FILES[taken]: file} if taken < MOST else {})


def removed(typed: Mapping[str, Any], place: int) -> Typed:
    """Without the slot at `place`; those behind it move up."""
    kept = [slot for slot in range(MOST) if slot != place and typed.get(FILES[slot])]
    found = typed_of()
    for new, old in enumerate(kept):
        found |= {FILES[new]: typed[FILES[old]], WEIGHTS[new]: typed[WEIGHTS[old]]}
    return found

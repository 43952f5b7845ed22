"""What somebody typed on the Train page and did not start, as their browser kept it. Knows no browser and no person.

It comes back from outside, and perhaps from an older form: whatever no field could hold is left out.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from models.domain.presets import HOUSE, PRESETS
from webapp.views import train_sweep
from webapp.views.fields import Kind
from webapp.views.train_wish import (
    BASE,
    BY_FILE,
    BY_KEY,
    BY_SHARE,
    FILE,
    PRESET,
    VALIDATION,
    VALIDATION_FILE,
    Typed,
    spec_of,
    typed_of,
)

LONGEST_DRAFT = 200_000
LINKS = ("base", "file", "from", "change", "adapter", "preset")  # what the page's address may ask for


@dataclass(frozen=True, kw_only=True)
class Draft:
    """Every field of the form with its preset, and the links by which its author had come."""

    typed: Typed
    links: dict[str, str]


def draft_of(kept: str | None, who: str) -> Draft | None:
    """None for somebody else's draft, and for what is none."""
    try:
        told = json.loads(kept) if kept and len(kept) <= LONGEST_DRAFT else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or told.get("who") != who or not isinstance(told.get("typed"), dict):
        return None
    typed = typed_of(spec_of(HOUSE)) | {PRESET: HOUSE.name}
    typed |= {key: value for key, value in told["typed"].items() if key in typed and _can_hold(key, value)}
    return Draft(typed=typed, links=_links(str(told.get("address", ""))))


def _links(address: str) -> dict[str, str]:
    asked_for: Mapping[str, str] = dict(parse_qsl(address.lstrip("?")))
    return {name: asked_for.get(name, "") for name in LINKS}


def _can_hold(key: str, value: Any) -> bool:
    """Whether the component of this key could have made the value."""
    if key == PRESET:
        return value in list(PRESETS) or (
            isinstance(value, str) and re.fullmatch(r"preset-[0-9a-z]{26}", value) is not None
        )
    if key == VALIDATION:
        return value in (BY_SHARE, BY_FILE)
    if key in train_sweep.KNOBS:
        return value is None or value in BY_KEY
    if key in (BASE, FILE, VALIDATION_FILE):
        return value is None or isinstance(value, str)
    if key in BY_KEY and BY_KEY[key].kind is Kind.SWITCH:
        return isinstance(value, bool)
    if key in BY_KEY and BY_KEY[key].kind is Kind.CHOICE:
        return value in [one for _, one in BY_KEY[key].choices]
    return isinstance(value, str)

"""Presets that people keep: saved, shared with the team, changed, deleted, written as YAML and read again.

Settings are checked by what checks the form and YAML, when they are saved and again when they are applied: a preset
of an older version may hold what no training has any more. Knows no page.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import yaml

from models.db.store.team import TeamStore
from models.db.store.team_presets import object_of
from models.db.tables import SavedPreset
from models.domain.access import Principal, Verb, can
from models.domain.errors import Invalid
from models.domain.presets import PRESETS, settings_of
from models.domain.training import TrainingSpec
from webapp.deps import Deps
from webapp.views import train_yaml
from webapp.views.plain_yaml import loaded

LONGEST_NAME = 64
NAME_IN_YAML = "preset"


@dataclass(frozen=True, kw_only=True)
class PresetSeen:
    """`author` is an e-mail; `may_change` is for the one who looks, and the same as whether they may delete it."""

    id: str
    name: str
    author: str | None
    is_mine: bool
    is_shared: bool
    may_change: bool
    created_at: datetime
    settings: dict[str, Any]


def list_presets(deps: Deps, principal: Principal) -> list[PresetSeen]:
    """One's own first, then those shared with the team, by name."""
    with deps.database.read() as session:
        return presets_of(TeamStore(session, principal))


def presets_of(store: TeamStore) -> list[PresetSeen]:
    """The same in a transaction that is open already."""
    return [_see(store, row.preset, row.author) for row in store.presets()]


def open_preset(deps: Deps, principal: Principal, preset_id: str) -> PresetSeen:
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        return _seen(store, store.preset(preset_id))


def save_preset(
    deps: Deps, principal: Principal, name: str, settings: Mapping[str, Any], *, is_shared: bool = False
) -> PresetSeen:
    """Raises Invalid naming what cannot be used, Conflict for a name one has already."""
    name, kept = _checked_name(name), checked_settings(settings)
    with deps.database.write() as session:
        store = TeamStore(session, principal)
        return _seen(store, store.add_preset(name, kept, is_shared=is_shared))


def change_preset(
    deps: Deps, principal: Principal, preset_id: str, *, name: str | None = None, is_shared: bool | None = None,
    settings: Mapping[str, Any] | None = None,
) -> PresetSeen:  # fmt: skip
    """What is None stays."""
    with deps.database.write() as session:
        store = TeamStore(session, principal)
        store.preset(preset_id, Verb.CHANGE)  # who may not hears that first
        new_name = None if name is None else _checked_name(name)
        kept = None if settings is None else checked_settings(settings)
        return _seen(store, store.change_preset(preset_id, name=new_name, is_shared=is_shared, spec=kept))


def delete_preset(deps: Deps, principal: Principal, preset_id: str) -> None:
    with deps.database.write() as session:
        TeamStore(session, principal).delete_preset(preset_id)


def preset_yaml(deps: Deps, principal: Principal, preset_id: str) -> tuple[str, str]:
    """Its name and its YAML: the settings as they were saved, without base, rows and ids."""
    seen = open_preset(deps, principal, preset_id)
    told = {NAME_IN_YAML: seen.name} | seen.settings
    return seen.name, yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=100)


def import_preset(
    deps: Deps, principal: Principal, text: str, *, name: str = "", is_shared: bool = False
) -> PresetSeen:
    """Of the YAML of a preset, or of a whole training, whose base and rows are left out.

    `name` wins over the one in the text. Raises Invalid with each problem as a sentence in the fact `problems`.
    """
    told = dict(loaded(text))
    own_name = told.pop(NAME_IN_YAML, None)
    if not name.strip() and not isinstance(own_name, str):
        raise Invalid("The text names no preset. Type a name for it.", param="name")
    return save_preset(deps, principal, name.strip() or str(own_name), told, is_shared=is_shared)


def checked_settings(told: Mapping[str, Any]) -> dict[str, Any]:
    """What a preset keeps of them, every field written out. Raises Invalid with the fact `problems`."""
    return settings_of(train_yaml.understood(loaded(json.dumps(dict(told), ensure_ascii=False)) if told else {}).spec)


def read_settings(settings: Mapping[str, Any]) -> TrainingSpec:
    """Stored settings as a training of nothing yet. Raises Invalid where this version no longer knows them."""
    found = _read(json.dumps(settings, sort_keys=True))
    if isinstance(found, TrainingSpec):
        return found
    raise Invalid(" ".join(found), problems=found)


@lru_cache(maxsize=1000)  # the Train page asks with every letter that is typed
def _read(text: str) -> TrainingSpec | tuple[str, ...]:
    try:
        return train_yaml.understood(json.loads(text)).spec
    except Invalid as error:
        return tuple(error.facts["problems"])


def _checked_name(name: str) -> str:
    name = " ".join(name.split())
    if not name:
        raise Invalid("The preset has no name; a word or two were needed. Type them.", param="name")
    if len(name) > LONGEST_NAME:
        raise Invalid(f"The name has {len(name)} characters; at most {LONGEST_NAME} fit. Shorten it.", param="name")
    if not name.isprintable():
        raise Invalid("The name holds characters that cannot be shown. Type it anew.", param="name")
    if name.lower() in {preset.title.lower() for preset in PRESETS.values()}:
        raise Invalid(f'"{name}" is one of Tuneroom\'s own presets. Choose another name.', param="name")
    return name


def _seen(store: TeamStore, row: SavedPreset) -> PresetSeen:
    return _see(store, row, store.email_of(row.created_by))


def _see(store: TeamStore, row: SavedPreset, author: str | None) -> PresetSeen:
    return PresetSeen(
        id=row.id,
        name=row.name,
        author=author,
        is_mine=row.created_by == store.user,
        is_shared=row.is_shared,
        may_change=can(store.principal, Verb.CHANGE, object_of(row)),
        created_at=row.created_at,
        settings=row.spec,
    )

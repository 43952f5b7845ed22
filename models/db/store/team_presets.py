"""TeamStore's presets: a person's own and those shared with the team. Knows no setting: a spec is what was saved.

Somebody else's preset that is not shared does not exist, for an owner of the team neither.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, or_, select

from models.db.store.scope import Scoped, absent
from models.db.tables import SavedPreset, User, db_now
from models.domain.access import Kind, Object, Verb, can
from models.domain.errors import Conflict
from models.domain.ids import TeamId, UserId, new_id

MOST_OF_A_PERSON = 100
MOST_LISTED = 500


@dataclass(frozen=True, kw_only=True)
class PresetRow:
    """A preset, and the e-mail of who saved it."""

    preset: SavedPreset
    author: str | None


class TeamPresets(Scoped):
    """A name is a person's once: two people may each share one of the same name."""

    def add_preset(self, name: str, spec: dict[str, Any], *, is_shared: bool) -> SavedPreset:
        """Raises Conflict for a name this person has already, and for more presets than one person keeps."""
        self.require(Verb.CREATE, Kind.PRESET, self.team, self.user, "presets")
        self._require_free(name, self.user)
        mine = select(func.count()).where(*self._of(self.user))
        if (self.session.scalar(mine) or 0) >= MOST_OF_A_PERSON:
            raise Conflict(f"You keep {MOST_OF_A_PERSON} presets, and no more fit. Delete one first.")
        row = SavedPreset(
            id=new_id("preset"), team_id=self.team, name=name, spec=spec, is_shared=is_shared, created_by=self.user
        )
        self.session.add(row)
        self.session.flush()
        self.session.refresh(row)
        return row

    def presets(self) -> list[PresetRow]:
        """One's own first, then by name."""
        self.require(Verb.READ, Kind.PRESET, self.team, None, "presets")
        query = (
            select(SavedPreset, User.email)
            .outerjoin(User, User.id == SavedPreset.created_by)
            .where(self.within(SavedPreset.team_id), SavedPreset.deleted_at.is_(None))
            .where(or_(SavedPreset.is_shared, SavedPreset.created_by == self.user))
            .order_by((SavedPreset.created_by == self.user).desc(), func.lower(SavedPreset.name), SavedPreset.id)
        )
        return [PresetRow(preset=row, author=email) for row, email in self.session.execute(query.limit(MOST_LISTED))]

    def preset(self, preset_id: str, verb: Verb = Verb.READ) -> SavedPreset:
        query = select(SavedPreset).where(
            SavedPreset.id == preset_id, SavedPreset.deleted_at.is_(None), self.within(SavedPreset.team_id)
        )
        row = self.session.scalar(query if verb is Verb.READ else query.with_for_update())
        if row is None or not can(self.principal, Verb.READ, object_of(row)):
            raise absent("preset", preset_id)
        self.require(verb, Kind.PRESET, row.team_id, row.created_by, "this preset")
        return row

    def change_preset(
        self, preset_id: str, *, name: str | None = None, is_shared: bool | None = None,
        spec: dict[str, Any] | None = None,
    ) -> SavedPreset:  # fmt: skip
        """What is None stays. Raises Conflict for a name that its author has already."""
        row = self.preset(preset_id, Verb.CHANGE)
        if name is not None and name != row.name:
            self._require_free(name, row.created_by, but=row.id)
            row.name = name
        row.is_shared = row.is_shared if is_shared is None else is_shared
        row.spec = row.spec if spec is None else spec
        self.session.flush()
        return row

    def delete_preset(self, preset_id: str) -> None:
        """What it set stays in the runs that were made with it."""
        row = self.preset(preset_id, Verb.DELETE)
        row.deleted_at = db_now()  # type: ignore[assignment]
        self.session.flush()

    def _of(self, person: str | None) -> tuple[Any, ...]:
        return (
            self.within(SavedPreset.team_id), SavedPreset.created_by == person, SavedPreset.deleted_at.is_(None)
        )  # fmt: skip

    def _require_free(self, name: str, person: str | None, *, but: str = "") -> None:
        same = select(SavedPreset.id).where(
            *self._of(person), func.lower(SavedPreset.name) == name.lower(), SavedPreset.id != but
        )
        if self.session.scalar(same.limit(1)) is not None:
            raise Conflict(
                f'A preset named "{name}" is there already. Choose another name, or delete that one.', param="name"
            )


def object_of(row: SavedPreset) -> Object:
    """What `can` is asked about."""
    owner = UserId(row.created_by) if row.created_by else None
    return Object(kind=Kind.PRESET, team=TeamId(row.team_id), owner=owner, is_private=not row.is_shared)

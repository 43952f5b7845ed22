"""A team's trackers: added, tried, switched off, deleted. Owners alone; a token goes in and never comes out again.

The connection is tried by a worker, which has the libraries; what it found stands in the tracker's row.
"""

from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from typing import Any

import structlog
from pydantic import ValidationError

from models.catalog.trackers import TRACKERS, tracker_named
from models.db.store.team import TeamStore
from models.db.store.team_trackers import Tracked
from models.db.tables import Tracker
from models.domain.access import Key, Kind, Member, Principal, Verb
from models.domain.addresses import hosts_named
from models.domain.errors import Invalid
from models.infra.secrets import seal
from webapp.deps import Deps
from webapp.words import refused_field

LONGEST_TOKEN = 2000

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class TrackerSeen:
    """`problem`: what the last try found; `is_being_tried`: it is not known yet."""

    id: str
    kind: str
    title: str
    options: dict[str, Any]
    has_token: bool
    is_on: bool
    is_being_tried: bool
    problem: str | None
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True, kw_only=True)
class FieldSeen:
    """One line to fill in, or one of `choices`."""

    name: str
    title: str
    description: str
    default: str
    is_needed: bool
    choices: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ChoiceSeen:
    """A tracker that could be added. `missing`: in words, why it would not work yet."""

    kind: str
    title: str
    when: str
    token: str | None
    fields: tuple[FieldSeen, ...]
    missing: str | None


def list_trackers(deps: Deps, principal: Principal) -> list[TrackerSeen]:
    """Raises Forbidden for all but owners."""
    with deps.database.read() as session:
        return [_seen(row) for row in TeamStore(session, principal).trackers()]


def tracker_choices() -> list[ChoiceSeen]:
    """What there is to add, for a form."""
    return [_choice(name) for name in TRACKERS]


def add_tracker(deps: Deps, principal: Principal, kind: str, options: dict[str, str], token: str) -> TrackerSeen:
    """From now on it gets the team's trainings. Raises Forbidden, Invalid naming the field."""
    entry = tracker_named(kind)
    try:
        wanted = entry.options.model_validate(options)
    except ValidationError as error:
        raise refused_field(error.errors(), "options") from None
    sealed = _sealed(deps, principal, token)
    if sealed is not None and entry.token is None:
        raise Invalid(f"{entry.title} takes no token. Leave it empty.", param="token")
    if sealed is None and entry.needs_token(wanted):
        raise Invalid(f"{entry.title} needs a token ({entry.token}). Paste it as its page shows it.", param="token")
    with deps.database.write() as session:
        store = TeamStore(session, principal)
        store.require(Verb.CREATE, Kind.SECRET, principal.team, store.user, "trackers")
        entry.check(wanted, hosts_named(deps.settings.tracker_hosts), deps.settings.tracker_local)
        seen = _seen(store.add_tracker(kind, wanted.model_dump(mode="json"), sealed))
    log.info("tracker added", **_who(principal), tracker=seen.id, kind=kind)
    return seen


def change_tracker(
    deps: Deps, principal: Principal, tracker_id: str, *, is_on: bool | None = None, token: str = ""
) -> TrackerSeen:
    """Switch it on or off, or replace its token. Raises NotFound, Forbidden, Invalid."""
    sealed = _sealed(deps, principal, token)
    with deps.database.write() as session:
        store = TeamStore(session, principal)
        kind = store.tracker(tracker_id, Verb.CHANGE).kind
        if sealed is not None and kind in TRACKERS and TRACKERS[kind].token is None:
            raise Invalid(f"{TRACKERS[kind].title} takes no token. Leave it empty.", param="token")
        seen = _seen(store.change_tracker(tracker_id, is_on=is_on, sealed=sealed))
    log.info("tracker changed", **_who(principal), tracker=tracker_id, on=seen.is_on, has_new_token=sealed is not None)
    return seen


def try_tracker(deps: Deps, principal: Principal, tracker_id: str) -> TrackerSeen:
    """A worker tries the connection within seconds; the answer stands in the list. Raises NotFound, Forbidden."""
    with deps.database.write() as session:
        return _seen(TeamStore(session, principal).ask_check(tracker_id))


def delete_tracker(deps: Deps, principal: Principal, tracker_id: str) -> None:
    """With its token. What the tracker holds stays there. Raises NotFound, Forbidden."""
    with deps.database.write() as session:
        TeamStore(session, principal).delete_tracker(tracker_id)
    log.info("tracker deleted", **_who(principal), tracker=tracker_id)


def titled(tracked: Tracked) -> str:
    return TRACKERS[tracked.kind].title if tracked.kind in TRACKERS else tracked.kind


def _sealed(deps: Deps, principal: Principal, token: str) -> bytes | None:
    token = token.strip()
    if not token:
        return None
    if not token.isascii() or not token.isprintable() or len(token) > LONGEST_TOKEN:
        raise Invalid("That is no token: it has other characters than letters, digits and signs.", param="token")
    return seal(deps.secret_key, principal.team, token)


def _seen(row: Tracker) -> TrackerSeen:
    is_tried = row.checked_at is not None and (row.asked_at is None or row.checked_at >= row.asked_at)
    return TrackerSeen(
        id=row.id, kind=row.kind, title=TRACKERS[row.kind].title if row.kind in TRACKERS else row.kind,
        options=row.options, has_token=row.sealed is not None, is_on=row.is_on, is_being_tried=not is_tried,
        problem=row.problem if is_tried else None, created_at=row.created_at, changed_at=row.changed_at,
    )  # fmt: skip


def _choice(name: str) -> ChoiceSeen:
    entry = TRACKERS[name]
    fields = entry.options.model_json_schema().get("properties", {})
    is_here = entry.library is None or find_spec(entry.library) is not None
    return ChoiceSeen(
        kind=name, title=entry.title, when=entry.when, token=entry.token,
        missing=None if is_here else "not installed: pip install 'tuneroom[trackers]'",
        fields=tuple(
            FieldSeen(
                name=key, title=field["title"], description=field.get("description", ""),
                default=str(field.get("default", "")), is_needed="default" not in field,
                choices=tuple(field.get("enum", ())),
            )
            for key, field in fields.items()
        ),
    )  # fmt: skip


def _who(principal: Principal) -> dict[str, str | None]:
    return {"by": principal.user if isinstance(principal, Member | Key) else None, "team": principal.team}

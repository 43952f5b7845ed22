"""Drops a client's blind repetition of a create: the official client sends one up to three times, unmarked."""

import json
from hashlib import sha256
from typing import Any

from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import Job
from models.domain.access import Key, Member, Principal
from models.domain.job import JobState


def request_hash(verb: str, wish: dict[str, Any], idempotency_key: str | None) -> str:
    """What makes two creates the same: the key the client chose, else everything it asked for."""
    told = {"key": idempotency_key} if idempotency_key else wish
    return sha256(json.dumps([verb, told], sort_keys=True).encode()).hexdigest()


def one_create_at_a_time(system: SystemStore, principal: Principal) -> None:
    """Hold one row of this person until the commit, so that two equal creates at once see each other.

    SQLite writers queue anyway; on PostgreSQL the upsert locks the row whether or not it changes it.
    """
    person = principal.user if isinstance(principal, (Member, Key)) else principal.team
    system.take_lease(f"create:{person}", person, 1)


def made_before(store: TeamStore, request_hash: str | None) -> Job | None:
    """The job that this request made within 30 s, unless it failed or was cancelled: then a person tries again."""
    earlier = store.repeated(request_hash) if request_hash is not None else None
    return None if earlier is None or earlier.state in (JobState.FAILED, JobState.CANCELLED) else earlier

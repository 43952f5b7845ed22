"""Links to one adapter for people without an account: made, listed, revoked, opened. The token is known once, here.

Of a token only its SHA-256 is stored. Unknown, expired, revoked, and the link of a deleted adapter are the same
NotFound. Asking through a link is `webapp.actions.ask_link`.
"""

import re
import secrets
from dataclasses import dataclass
from datetime import datetime

from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.store.team_links import LinkRow
from models.domain.access import Kind, Link, Object, Principal, Verb, can
from models.domain.errors import Invalid, NotFound
from models.domain.ids import AdapterId, LinkId, TeamId, UserId
from webapp.actions.sign_in import digest_of
from webapp.deps import Deps
from webapp.views.model_names import short_name

TOKEN_BYTES = 32
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")  # what 32 bytes are in URL-safe base 64
DAYS, MOST_DAYS = 7, 90
REQUESTS, MOST_REQUESTS = 200, 1_000_000
TOKENS, MOST_TOKENS = 100_000, 1_000_000_000
LONGEST_TITLE, LONGEST_SENTENCE = 120, 300


@dataclass(frozen=True, kw_only=True)
class LinkSeen:
    """What the team knows of a link. `may_revoke` is for the one who looks."""

    id: str
    adapter: str
    adapter_name: str
    title: str
    sentence: str
    sharer: str | None
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    used_requests: int
    max_requests: int
    used_tokens: int
    max_tokens: int
    may_revoke: bool


@dataclass(frozen=True, kw_only=True)
class NewLink:
    """`token` is shown once; nobody can read it again."""

    seen: LinkSeen
    token: str


@dataclass(frozen=True, kw_only=True)
class OpenedLink:
    """What whoever holds the link may know, and the principal they are."""

    principal: Link
    title: str
    sentence: str
    shared_by: str
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class UseSeen:
    """One question: when and how it ended, never what was said."""

    at: datetime
    outcome: str
    prompt_tokens: int | None
    completion_tokens: int | None


def create_link(
    deps: Deps,
    principal: Principal,
    adapter: str,
    *,
    title: str = "",
    sentence: str = "",
    days: int = DAYS,
    max_requests: int = REQUESTS,
    max_tokens: int = TOKENS,
) -> NewLink:
    """`adapter` is its id or public name; an empty title becomes the adapter's short name.

    Raises NotFound, Forbidden, or Invalid with the field as `param`.
    """
    title, sentence = " ".join(title.split()), " ".join(sentence.split())
    _check_text("title", title, LONGEST_TITLE)
    _check_text("sentence", sentence, LONGEST_SENTENCE)
    _check_number("days", days, MOST_DAYS)
    _check_number("max_requests", max_requests, MOST_REQUESTS)
    _check_number("max_tokens", max_tokens, MOST_TOKENS)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with deps.database.write() as session:
        store = TeamStore(session, principal)
        row = store.adapter(adapter, Verb.USE)
        link = store.add_link(
            row,
            digest_of(token),
            title=title or short_name(row.name)[:LONGEST_TITLE],
            sentence=sentence,
            days=days,
            max_requests=max_requests,
            max_tokens=max_tokens,
        )
        seen = _see(principal, LinkRow(link=link, adapter_name=row.name, sharer=store.email_of(link.created_by)))
    return NewLink(seen=seen, token=token)


def list_links(deps: Deps, principal: Principal, adapter: str | None = None) -> list[LinkSeen]:
    """Those in force, newest first; of one adapter (id or public name) or of the whole team."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        adapter_id = store.adapter(adapter).id if adapter is not None else None
        return [_see(principal, row) for row in store.links(adapter_id)]


def revoke_link(deps: Deps, principal: Principal, link_id: str) -> None:
    """Dead on the next request; an answer under way ends within a second."""
    with deps.database.write() as session:
        TeamStore(session, principal).revoke_link(link_id)


def link_uses(deps: Deps, principal: Principal, link_id: str, *, limit: int = 50) -> list[UseSeen]:
    """Newest first."""
    with deps.database.read() as session:
        rows = TeamStore(session, principal).link_uses(link_id, limit=limit).items
        return [
            UseSeen(
                at=row.at,
                outcome=row.outcome,
                prompt_tokens=row.prompt_tokens,
                completion_tokens=row.completion_tokens,
            )
            for row in rows
        ]


def open_link(deps: Deps, token: str) -> OpenedLink:
    """Raises NotFound, the same for every reason."""
    if TOKEN.fullmatch(token) is None:
        raise no_link()
    with deps.database.read() as session:
        found = SystemStore(session).link_of_token(digest_of(token))
    if found is None:
        raise no_link()
    link = found.link
    principal = Link(link=LinkId(link.id), team=TeamId(link.team_id), adapter=AdapterId(link.adapter_id))
    return OpenedLink(
        principal=principal,
        title=link.title,
        sentence=link.sentence,
        shared_by=found.sharer or f"the team {found.team_name}",
        expires_at=link.expires_at,
    )


def no_link() -> NotFound:
    """One sentence for unknown, expired, revoked and gone, so that nobody learns which."""
    return NotFound("This link does not exist or is no longer valid. Ask the person who sent it for a new one.")


def _see(principal: Principal, row: LinkRow) -> LinkSeen:
    link = row.link
    owner = UserId(link.created_by) if link.created_by else None
    thing = Object(kind=Kind.LINK, team=TeamId(link.team_id), owner=owner)
    return LinkSeen(
        id=link.id,
        adapter=link.adapter_id,
        adapter_name=row.adapter_name,
        title=link.title,
        sentence=link.sentence,
        sharer=row.sharer,
        created_at=link.created_at,
        expires_at=link.expires_at,
        last_used_at=link.last_used_at,
        revoked_at=link.revoked_at,
        used_requests=link.used_requests,
        max_requests=link.max_requests,
        used_tokens=link.used_tokens,
        max_tokens=link.max_tokens,
        may_revoke=can(principal, Verb.DELETE, thing),
    )


def _check_text(field: str, text: str, longest: int) -> None:
    if len(text) > longest:
        raise Invalid(f"The {field} has {len(text)} characters; at most {longest} fit. Shorten it.", param=field)
    if not text.isprintable():
        raise Invalid(f"The {field} holds characters that cannot be shown. Type it anew.", param=field)


def _check_number(field: str, number: int, most: int) -> None:
    if not 1 <= number <= most:
        name = {"days": "days", "max_requests": "questions", "max_tokens": "tokens"}[field]
        raise Invalid(f"{number:,} {name} were asked for; 1 to {most:,} are possible. Change the number.", param=field)

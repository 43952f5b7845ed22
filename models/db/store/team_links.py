"""TeamStore's links: made, listed while in force, revoked, and what was asked through them."""

from dataclasses import dataclass

from sqlalchemy import select

from models.db.store.links import in_force
from models.db.store.scope import Page, Scoped, absent
from models.db.tables import Adapter, Link, LinkUse, User, db_now
from models.domain.access import Kind, Verb
from models.domain.ids import new_id


@dataclass(frozen=True, kw_only=True)
class LinkRow:
    """A link in force, its adapter's public name, and the e-mail of who made it."""

    link: Link
    adapter_name: str
    sharer: str | None


class TeamLinks(Scoped):
    """Links of the team's adapters. Their tokens are known to nobody here."""

    def add_link(
        self, adapter: Adapter, token_sha256: str, *, title: str, sentence: str, days: int, max_requests: int,
        max_tokens: int,
    ) -> Link:  # fmt: skip
        """`adapter` must come from this store, so it is the team's."""
        self.require(Verb.CREATE, Kind.LINK, self.team, self.user, "links")
        link = Link(
            id=new_id("link"), team_id=self.team, adapter_id=adapter.id, token_sha256=token_sha256, title=title,
            sentence=sentence, max_requests=max_requests, max_tokens=max_tokens, created_by=self.user,
            expires_at=db_now(days * 24 * 3600),
        )  # fmt: skip
        self.session.add(link)
        self.session.flush()
        self.session.refresh(link)
        return link

    def links(self, adapter_id: str | None = None) -> list[LinkRow]:
        """Those in force, newest first."""
        query = (
            select(Link, Adapter.name, User.email)
            .join(Adapter, Adapter.id == Link.adapter_id)
            .outerjoin(User, User.id == Link.created_by)
            .where(self.within(Link.team_id), in_force(), Adapter.deleted_at.is_(None))
            .order_by(Link.id.desc())
        )
        if adapter_id is not None:
            query = query.where(Link.adapter_id == adapter_id)
        self.require(Verb.READ, Kind.LINK, self.team, None, "links")
        rows = self.session.execute(query)
        return [LinkRow(link=link, adapter_name=name, sharer=email) for link, name, email in rows]

    def link(self, link_id: str, verb: Verb = Verb.READ) -> Link:
        """Also one that is revoked or over."""
        row = self.session.scalar(select(Link).where(Link.id == link_id, self.within(Link.team_id)))
        if row is None:
            raise absent("link", link_id)
        self.require(verb, Kind.LINK, row.team_id, row.created_by, "this link")
        return row

    def revoke_link(self, link_id: str) -> Link:
        """Dead from the commit on. Revoking twice keeps the first time."""
        link = self.link(link_id, Verb.DELETE)
        if link.revoked_at is None:
            link.revoked_at = db_now()  # type: ignore[assignment]
            self.session.flush()
            self.session.refresh(link)
        return link

    def link_uses(self, link_id: str, *, limit: int) -> Page[LinkUse]:
        """Newest first."""
        self.link(link_id)
        query = select(LinkUse).where(LinkUse.link_id == link_id).order_by(LinkUse.at.desc(), LinkUse.id.desc())
        return self.page(query, limit)

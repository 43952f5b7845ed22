"""Links to an adapter for people without an account, and what was asked through them."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from models.db.tables.base import Base, UtcDateTime, db_now


class Link(Base):
    """256 random bits of which only the SHA-256 is stored. Used counts rise before the answer, never after a cap."""

    __tablename__ = "links"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"), index=True)
    adapter_id: Mapped[str] = mapped_column(ForeignKey("adapters.id"), index=True)
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    title: Mapped[str] = mapped_column(String(120), default="")
    sentence: Mapped[str] = mapped_column(String(300), default="")
    max_requests: Mapped[int] = mapped_column(Integer)
    max_tokens: Mapped[int] = mapped_column(BigInteger)
    used_requests: Mapped[int] = mapped_column(Integer, default=0)
    used_tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    created_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=db_now())
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class LinkUse(Base):
    """One question asked through a link: when, how long, how it ended. Never what was said."""

    __tablename__ = "link_uses"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    link_id: Mapped[str] = mapped_column(ForeignKey("links.id"), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=db_now())
    outcome: Mapped[str] = mapped_column(String(24), default="asked")  # asked, answered, stopped, failed
    prompt_tokens: Mapped[int | None] = mapped_column(Integer)
    completion_tokens: Mapped[int | None] = mapped_column(Integer)

"""Worker processes as the database sees them, and leases for work that one process at a time may do."""

from datetime import datetime

from sqlalchemy import Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from models.db.tables.base import Base, UtcDateTime, db_now


class Worker(Base):
    """`seen_at` is refreshed while it lives; what it can do is shown, and later used by policy."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int] = mapped_column(Integer)
    lane: Mapped[str] = mapped_column(String(16))
    device: Mapped[str] = mapped_column(String(16))
    slots: Mapped[int] = mapped_column(Integer)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime, default=db_now())
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime, default=db_now())
    stopped_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Lease(Base):
    """`name` is held by `owner` until `until`, by the database's clock (the sweep)."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(String(40))
    until: Mapped[datetime] = mapped_column(UtcDateTime)

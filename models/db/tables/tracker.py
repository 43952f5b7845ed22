"""Trackers of a team (W&B, MLflow ...), and how far each of its runs has been told to them."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Boolean, ForeignKey, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.db.tables.base import Base, UtcDateTime, db_now


class Tracker(Base):
    """`options` are of the catalog entry `kind`; `sealed` is its token, sealed by `models.infra.secrets`.

    Runs that had ended before `on_since` are not told. A check was asked for at `asked_at` and answered at
    `checked_at`; `problem` is what it found, None: all is well.
    """

    __tablename__ = "trackers"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"), index=True)
    kind: Mapped[str] = mapped_column(String(32))
    options: Mapped[dict[str, Any]] = mapped_column(JSON)
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    is_on: Mapped[bool] = mapped_column(Boolean, default=True)
    on_since: Mapped[datetime] = mapped_column(UtcDateTime, default=db_now())
    asked_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=db_now())
    checked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    problem: Mapped[str | None] = mapped_column(Text)
    created_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=db_now())
    changed_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime, default=db_now())


class TrackedRun(Base):
    """`step` is the last one that the tracker has (-1: none); `mark` is its own note of how far it has got."""

    __tablename__ = "tracked_runs"

    tracker_id: Mapped[str] = mapped_column(ForeignKey("trackers.id"), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True, index=True)
    step: Mapped[int] = mapped_column(Integer, default=-1)
    mark: Mapped[str | None] = mapped_column(Text)
    url: Mapped[str | None] = mapped_column(Text)
    is_done: Mapped[bool] = mapped_column(Boolean, default=False)
    failures: Mapped[int] = mapped_column(Integer, default=0)  # in a row
    problem: Mapped[str | None] = mapped_column(Text)
    said: Mapped[str | None] = mapped_column(String(16))  # warned, recovered: each is said once in the run's events
    next_at: Mapped[datetime] = mapped_column(UtcDateTime, default=db_now())
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=db_now())

"""Jobs, their events, metrics and checkpoints. See `models.domain.job` for who moves a job and when."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Float, ForeignKey, Index, Integer, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from models.db.tables.base import Base, UtcDateTime, db_now


class Job(Base):
    """`fence` rises at every claim and is the only write token; `attempts` counts lost workers."""

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint("state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="state_known"),
        CheckConstraint("(finished_at IS NULL) = (state IN ('queued', 'running'))", name="finished_iff_terminal"),
        CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="leased_iff_running"),
        Index("ix_jobs_claim", "lane", "priority", "created_at", postgresql_where=text("state = 'queued'")),
        Index("ix_jobs_state", "state"),
        Index("ix_jobs_team_created", "team_id", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    team_id: Mapped[str | None] = mapped_column(ForeignKey("teams.id"))  # None: instance-wide (base import)
    created_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    kind: Mapped[str] = mapped_column(String(16))
    lane: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16), default="queued")
    phase: Mapped[str | None] = mapped_column(String(16))
    priority: Mapped[int] = mapped_column(Integer, default=0)
    held_reason: Mapped[str | None] = mapped_column(String(16))
    cancel_wish: Mapped[str | None] = mapped_column(String(16))
    cancel_requested_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    fence: Mapped[int] = mapped_column(Integer, default=0)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    owner: Mapped[str | None] = mapped_column(String(40))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    meta: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)  # the caller's own key-value pairs
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON)  # AppError.to_json
    done: Mapped[int | None] = mapped_column(BigInteger)
    total: Mapped[int | None] = mapped_column(BigInteger)
    unit: Mapped[str | None] = mapped_column(String(16))
    trained_tokens: Mapped[int | None] = mapped_column(BigInteger)
    # The end of the child's log, at most 16,000 characters. Deferred: a list of jobs does without.
    log_tail: Mapped[str | None] = mapped_column(Text, deferred=True)
    resumes: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"))
    request_hash: Mapped[str | None] = mapped_column(String(64))  # drops a client's repeated create
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=db_now())
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class JobEvent(Base):
    """Every move and every remark, in order."""

    __tablename__ = "job_events"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    fence: Mapped[int] = mapped_column(Integer)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=db_now())
    level: Mapped[str] = mapped_column(String(8), default="info")
    type: Mapped[str] = mapped_column(String(16))  # moved, message, phase, checkpoint, sample
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any] | None] = mapped_column(JSON)


class Metric(Base):
    """One point of one series: `train` and `eval` losses, learning rate, gradient norm, by optimiser step."""

    __tablename__ = "metrics"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    series: Mapped[str] = mapped_column(String(32), primary_key=True)
    step: Mapped[int] = mapped_column(Integer, primary_key=True)
    fence: Mapped[int] = mapped_column(Integer)
    value: Mapped[float] = mapped_column(Float(53))
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class Checkpoint(Base):
    """A verified, uploaded checkpoint: what another machine resumes from."""

    __tablename__ = "checkpoints"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    step: Mapped[int] = mapped_column(Integer, primary_key=True)
    fence: Mapped[int] = mapped_column(Integer)
    scope: Mapped[str] = mapped_column(String(64))
    tree_sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=db_now())

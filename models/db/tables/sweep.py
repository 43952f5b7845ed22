"""Sweeps: trainings that one request started together, and which values each of them stands for."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from models.db.tables.base import Base, UtcDateTime, db_now


class Sweep(Base):
    """`knobs` are the settings that were varied, each `{"path", "values"}`, in the order they were asked for."""

    __tablename__ = "sweeps"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"), index=True)
    created_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(64))
    knobs: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    request_hash: Mapped[str | None] = mapped_column(String(64))  # drops a client's repeated create
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=db_now())


class SweepRun(Base):
    """`number` counts from 1; `values` are by path, `{"schedule.seed": 1}`."""

    __tablename__ = "sweep_runs"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    sweep_id: Mapped[str] = mapped_column(ForeignKey("sweeps.id"), index=True)
    number: Mapped[int] = mapped_column(Integer)
    values: Mapped[dict[str, Any]] = mapped_column(JSON)

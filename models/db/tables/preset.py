"""Presets: settings of trainings that somebody keeps, alone or with the team."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Boolean, ForeignKey, String, false
from sqlalchemy.orm import Mapped, mapped_column

from models.db.tables.base import Base, UtcDateTime, db_now


class SavedPreset(Base):
    """`spec` is what `models.domain.presets.settings_of` leaves of a TrainingSpec, as it was when it was saved."""

    __tablename__ = "presets"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    is_shared: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    created_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=db_now())
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

"""Base models: instance-wide, content pinned by the hash of the canonical folder."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.db.tables.base import Base, UtcDateTime, db_now


class BaseModel(Base):
    """`name` is the public model id. `facts` and `shapes` are `models.domain.base_model` as JSON."""

    __tablename__ = "base_models"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(96), unique=True)
    description: Mapped[str] = mapped_column(Text, default="")
    source: Mapped[str] = mapped_column(String(16))
    reference: Mapped[str] = mapped_column(Text)
    revision: Mapped[str | None] = mapped_column(String(64))
    licence: Mapped[str | None] = mapped_column(String(128))
    scope: Mapped[str] = mapped_column(String(64))
    tree_sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    shapes: Mapped[dict[str, Any]] = mapped_column(JSON)
    made_by_job: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=db_now())
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

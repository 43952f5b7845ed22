"""Adapters and merges: what training leaves behind, with its lineage."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.db.tables.base import Base, UtcDateTime, db_now


class Adapter(Base):
    """`name` is the public model id (`ft:base:team:suffix:id`). `manifest` is the child's AdapterManifest."""

    __tablename__ = "adapters"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"), index=True)
    name: Mapped[str] = mapped_column(String(255), unique=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    base_id: Mapped[str] = mapped_column(ForeignKey("base_models.id"))
    quantisation: Mapped[str] = mapped_column(String(8))  # served on what it was trained on
    scope: Mapped[str] = mapped_column(String(64))
    tree_sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    is_partial: Mapped[bool] = mapped_column(default=False)  # kept from a cancelled run
    manifest: Mapped[dict[str, Any]] = mapped_column(JSON)
    card: Mapped[str] = mapped_column(Text, default="")  # what its people say about it, Markdown
    created_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=db_now())
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Merge(Base):
    """A published merge with the report that let it pass (`models.domain.merging.MergeReport`)."""

    __tablename__ = "merges"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"), index=True)
    name: Mapped[str] = mapped_column(String(255), unique=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    adapter_id: Mapped[str] = mapped_column(ForeignKey("adapters.id"))
    base_id: Mapped[str] = mapped_column(ForeignKey("base_models.id"))
    mode: Mapped[str] = mapped_column(String(16))
    storage_dtype: Mapped[str] = mapped_column(String(8))
    scope: Mapped[str] = mapped_column(String(64))
    tree_sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    report: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=db_now())
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

"""Saved conversations of the Playground: private to who holds them."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.db.tables.base import Base, UtcDateTime, db_now


class Conversation(Base):
    __tablename__ = "conversations"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"), index=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    title: Mapped[str] = mapped_column(String(255))
    panes: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)  # one of each pane: model, settings
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=db_now())
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime, default=db_now())
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Message(Base):
    """Each pane has its own thread. `model` and `sampling` say how an answer was made, so that it can be made again."""

    __tablename__ = "messages"

    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id"), primary_key=True)
    pane: Mapped[int] = mapped_column(Integer, primary_key=True, default=0)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    content: Mapped[str] = mapped_column(Text)
    model: Mapped[str | None] = mapped_column(String(255))
    sampling: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=db_now())

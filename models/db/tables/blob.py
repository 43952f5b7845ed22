"""What storage holds, by scope and hash. Garbage collection compares these rows with who refers to them."""

from datetime import datetime

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from models.db.tables.base import Base, UtcDateTime, db_now


class Blob(Base):
    """`is_tree` rows are listings; their files are blobs of the same scope."""

    __tablename__ = "blobs"

    scope: Mapped[str] = mapped_column(String(64), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)  # a tree: the sum of its files
    is_tree: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=db_now())

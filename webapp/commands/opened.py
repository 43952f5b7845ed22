"""Opens the database, or everything an action needs, for the length of one command. The app may run meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from models.db.engine import Database
from models.db.migrations import head, revision_of
from models.domain.errors import Unavailable
from models.infra.settings import Settings

if TYPE_CHECKING:
    from webapp.deps import Deps


@contextmanager
def opened_database(settings: Settings) -> Iterator[Database]:
    """Raises Unavailable when the database is not at this version's revision."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database)
    try:
        _check_revision(database)
        yield database
    finally:
        database.close()


@contextmanager
def opened_deps(settings: Settings) -> "Iterator[Deps]":
    """Raises Unavailable when the database is not at this version's revision."""
    from webapp.deps import Deps  # loads the broker's client too, which a command on the database does without

    deps = Deps.open(settings)
    try:
        _check_revision(deps.database)
        yield deps
    finally:
        deps.close()


def _check_revision(database: Database) -> None:
    found = revision_of(database.writer)
    if found != head():
        state = "has no tables yet" if found is None else f"is at revision {found}, this version needs {head()}"
        raise Unavailable(f"The database {state}. Run `tuneroom migrate`, or start `tuneroom up`, which does it too.")

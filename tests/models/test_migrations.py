"""Which revision the code needs and a database has, as Alembic says it too."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from models.db.engine import Database
from models.db.migrations import config, head, migrate, revision_of

ROOT = Path(__file__).parents[2]


def test_the_newest_revision_is_alembics_and_each_follows_the_one_before_it():
    scripts = ScriptDirectory.from_config(config())
    assert scripts.get_current_head() == head()
    revisions = sorted(script.revision for script in scripts.walk_revisions())
    assert all(scripts.get_revision(later).down_revision == earlier for earlier, later in pairwise(revisions))


def test_a_database_says_its_revision_as_alembic_reads_it(database):
    with database.writer.connect() as connection:
        assert revision_of(database.writer) == MigrationContext.configure(connection).get_current_revision() == head()


def test_an_empty_database_has_none_and_gets_the_newest_once(tmp_path):
    empty = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    assert revision_of(empty.writer) is None
    assert [migrate(empty), migrate(empty)] == [(None, head()), (head(), head())]
    empty.close()


def test_asking_loads_no_alembic():
    told = "import sys, worker.jobs_app, webapp.serve; print('alembic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

"""Rows of a dataset's file, for people and programs that look at them."""

from models.db.store.team import TeamStore
from models.domain.access import Principal
from models.infra.stored_rows import SeenRow, Slice
from webapp.actions.upload_file import File
from webapp.deps import Deps

Row = SeenRow
Rows = Slice


def read_dataset_rows(
    deps: Deps, principal: Principal, file_id: str, *, begin: int = 1, limit: int, words: str = ""
) -> tuple[File, Rows]:
    """At most `limit` rows from row `begin` on. Raises Invalid where the bytes are no rows at all."""
    with deps.database.read() as session:
        file = TeamStore(session, principal).file(file_id)
    return file, deps.rows.read(
        file.scope, file.sha256, begin=begin, limit=limit, words=words, format_name=file.format
    )  # fmt: skip

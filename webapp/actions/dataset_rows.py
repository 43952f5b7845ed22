"""Rows of a dataset's version, for people and programs that look at them: as its check has understood them."""

from models.db.store.team import TeamStore
from models.domain.access import Principal
from models.domain.errors import Code, Invalid
from models.infra.stored_rows import SeenRow, Slice
from webapp.actions.upload_file import File
from webapp.deps import Deps

Row = SeenRow
Rows = Slice


def read_dataset_rows(
    deps: Deps, principal: Principal, file_id: str, *, begin: int = 1, limit: int, words: str = ""
) -> tuple[File, Rows]:
    """At most `limit` rows from row `begin` on. Raises Invalid where no check has read the rows, saying why."""
    with deps.database.read() as session:
        file = TeamStore(session, principal).file(file_id)
    if file.rows_sha256 is None:
        raise _not_read(file)
    return file, deps.rows.read(file.scope, file.rows_sha256, begin=begin, limit=limit, words=words)


def _not_read(file: File) -> Invalid:
    match file.status:
        case "uploaded":
            said = f"{file.filename} is being checked. Its rows are shown as soon as they have been read."
        case "error":
            said = f"{file.filename} cannot be used, so it has no rows to show. The report says what was found."
        case _:
            said = f"{file.filename} was checked before rows were kept as they were understood. Upload it again."
    return Invalid(said, code=Code.INVALID_FILE)

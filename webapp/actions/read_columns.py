"""An uploaded file's columns and first rows, and what they become under a format and a mapping that a person tries."""

from models.db.store.team import TeamStore
from models.domain.access import Principal
from models.domain.preview import ColumnsSeen
from models.domain.question import FileRef, ReadColumns
from models.domain.reading import Reading
from webapp.actions.ask_worker import answer_of
from webapp.actions.change_reading import checked_reading
from webapp.deps import Deps


def read_columns(deps: Deps, principal: Principal, file_id: str, reading: Reading, rows: int = 3) -> ColumnsSeen:
    """Raises NotFound, Invalid for an unknown format, Unavailable where no worker answers in time."""
    checked_reading(reading)
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        file, parts = store.file(file_id), store.parts(file_id)
        files = tuple(
            FileRef(scope=part.scope, sha256=part.sha256, filename=part.filename) for part in parts or [file]
        )  # fmt: skip
    asked = ReadColumns(files=files, format=reading.format, mapping=reading.mapping, rows=rows)
    return ColumnsSeen.model_validate(answer_of(deps, principal, asked))

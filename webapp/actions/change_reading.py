"""Says how a file is to be read: its format, and which column stands for which field. Then it is checked anew.

A version that was usable never changes: another reading of it is the next version, of the same bytes.
"""

from models.catalog.formats import FORMATS
from models.catalog.mapping import check_mapping
from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.store.team_reports import is_unfinished, lock_name
from models.domain.access import Principal
from models.domain.errors import Invalid
from models.domain.job import JobKind, Lane
from models.domain.reading import Part, Reading
from models.domain.reports import MOST_COLUMNS
from webapp.actions.ring import ring
from webapp.actions.upload_file import File
from webapp.deps import Deps

LONGEST_NAME = 200  # of a column or a field


def change_reading(deps: Deps, principal: Principal, file_id: str, reading: Reading) -> File:
    """The same version, or the next one. The same reading once more changes nothing, and is checked where no check is
    on its way or has ended well.

    Raises NotFound, Forbidden, Conflict for a sample, Invalid for a format that there is not.
    """
    checked_reading(reading)
    with deps.database.write() as session:
        store = TeamStore(session, principal)
        SystemStore(session).take_lease(lock_name("reading", file_id), "reading", 1)
        file = store.file(file_id)
        store.dataset_for_version(file.dataset_id)
        checks = store.data_jobs(file.id, JobKind.CHECK_DATA)
        _check_columns(file, reading)
        is_known = file.status == "processed" or any(is_unfinished(job) for job in checks)
        if is_known and Reading.model_validate(file.reading or {}) == reading:
            return file
        if file.status == "processed":
            file = store.add_version(
                file.dataset_id, filename=file.filename, purpose=file.purpose, scope=file.scope, sha256=file.sha256,
                size=file.size, reading=reading, source=file.source, note=_note(reading), made_from=file.id,
                parts=[
                    Part(filename=part.filename, sha256=part.sha256, size=part.size) for part in store.parts(file.id)
                ],
            )  # fmt: skip
        else:
            file = store.read_again(file.id, reading)
        store.submit(JobKind.CHECK_DATA, {"file": file.id})
        session.refresh(file)
    ring(deps.broker, Lane.LIGHT)
    return file


def checked_reading(reading: Reading) -> None:
    """Raises Invalid for an unknown format, or names that no column and no field has."""
    if reading.format is not None and reading.format not in FORMATS:
        raise Invalid(
            f"{reading.format[:40]!r} is not a format; the formats are {', '.join(FORMATS)}. Choose one of them.",
            param="format",
        )
    if any(not name or len(name) > LONGEST_NAME for pair in reading.mapping.items() for name in pair):
        raise Invalid(
            f"mapping holds a name that is empty or longer than {LONGEST_NAME} characters; it gives, by a field of the "
            "format, a column of the file. Correct it.",
            param="mapping",
        )


def _check_columns(file: File, reading: Reading) -> None:
    """A mapping is judged here as far as an earlier check knows the columns; the check itself sees all of them."""
    if reading.format is None or not reading.mapping or file.report is None:
        return
    columns = [column["name"] for column in file.report.get("columns", ())]  # an older release wrote none
    if columns and len(columns) < MOST_COLUMNS:
        try:
            check_mapping(FORMATS[reading.format], reading.mapping, columns)
        except Invalid as refusal:
            raise Invalid(refusal.message, param="mapping") from None


def _note(reading: Reading) -> str:
    how = f"as {FORMATS[reading.format].title}" if reading.format else "as detected"
    columns = f", {len(reading.mapping)} columns mapped" if reading.mapping else ""
    return f"The same file read {how}{columns}"

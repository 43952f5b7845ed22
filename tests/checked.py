"""Stage 1 of the gate for what was uploaded to a house, without a worker: what a check job leaves behind."""

from models.db.store.artefacts import CheckedFile
from models.db.store.system import SystemStore
from models.domain.job import JobKind, JobState, Lane
from models.domain.reading import Reading
from tests.house import House
from worker.data.intake import prepare


def check_uploads(house: House) -> None:
    """Every upload that waits for its check becomes processed, with prepared rows."""
    while True:
        with house.deps.database.write() as session:
            store = SystemStore(session)
            job = store.claim(Lane.LIGHT, "worker-checks", 60)
            if job is None or job.kind != JobKind.CHECK_DATA:  # a check that succeeds queues the next stage
                session.rollback()
                return
            file = store.file(job.spec["file"])
        path = house.deps.storage.local_path(file.scope, file.sha256)
        prepared = house.deps.settings.data_dir / f"{file.id}.parquet"
        report = prepare([(file.filename, path)], Reading.model_validate(file.reading or {}), prepared)
        with prepared.open("rb") as rows:
            blob = house.deps.storage.put_stream(file.scope, rows)
        verdict = CheckedFile(
            file_id=file.id, is_usable=True, details=None, format=report.format, rows=report.rows,
            usable_rows=report.usable_rows, report=report.model_dump(mode="json"), rows_sha256=blob.sha256,
            rows_size=blob.size,
        )  # fmt: skip
        with house.deps.database.write() as session:
            SystemStore(session).settle(job.id, job.fence, JobState.SUCCEEDED, artefact=verdict)

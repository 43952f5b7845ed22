"""Has stage 2 of the data gate run again, where it is missing or has failed. It runs by itself after every check.

A version that an earlier release checked has no prepared rows: it is checked once more, which does not change it.
"""

from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.store.team_reports import is_unfinished, lock_name
from models.domain.access import Principal, Verb
from models.domain.data_jobs import GateDataSpec
from models.domain.errors import Conflict
from models.domain.ids import FileId
from models.domain.job import JobKind, Lane
from webapp.actions.count_tokens import must_be_usable
from webapp.actions.ring import ring
from webapp.actions.show_jobs import JobSeen, see
from webapp.deps import Deps


def run_gate(deps: Deps, principal: Principal, file_id: str) -> JobSeen:
    """The job that runs, or a new one. Raises NotFound, Forbidden, Conflict where the report is there already."""
    with deps.database.write() as session:
        store = TeamStore(session, principal)
        file = store.file(file_id, Verb.USE)
        must_be_usable(file)
        SystemStore(session).take_lease(lock_name("gate", file.id), "gate", 1)
        if any(report.kind == "gate" for report in store.reports(file.id)):
            raise Conflict(f"{file.filename} was looked through already, and its rows never change. Read its report.")
        kind = JobKind.CHECK_DATA if file.rows_sha256 is None else JobKind.GATE_DATA
        running = next((job for job in store.data_jobs(file.id, kind) if is_unfinished(job)), None)
        job = running or store.submit(kind, GateDataSpec(file=FileId(file.id)).model_dump(mode="json"))
        seen = see(store, job)
    ring(deps.broker, Lane.LIGHT)
    return seen

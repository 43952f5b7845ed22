"""A training's figures as a TensorBoard event file, made of what is stored: no tracker has to be switched on for it."""

from collections.abc import Iterator

from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.domain.access import Principal
from models.domain.event_file import as_table, first_record, point_record, text_record
from models.domain.job import TERMINAL, JobKind, JobState
from models.domain.tracking import flat
from webapp.deps import Deps


def event_file(deps: Deps, principal: Principal, job_id: str) -> Iterator[bytes]:
    """Every step so far, in pieces. Raises NotFound, before the first, for what is no training of this team."""
    with deps.database.read() as session:
        job = TeamStore(session, principal).job(job_id, kinds=(JobKind.TRAIN,))
        began = (job.started_at or job.created_at).timestamp()
        ended = job.state if JobState(job.state) in TERMINAL else None
        about = {"run": job.id, **flat(job.spec)}
    head = first_record(began) + text_record(began, 0, "settings", as_table(about))
    return _pieces(deps, job_id, head, began, ended)


def _pieces(deps: Deps, job_id: str, head: bytes, began: float, ended: str | None) -> Iterator[bytes]:
    yield head
    step = -1
    while True:
        with deps.database.read() as session:
            points = SystemStore(session).untold(job_id, step).points
        if not points:
            break
        yield b"".join(point_record(point) for point in points)
        step = points[-1].step
    if ended:
        yield text_record(began, max(step, 0), "result", as_table({"state": ended}))

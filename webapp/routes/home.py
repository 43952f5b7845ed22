"""The first page: where the work is."""

from fastapi import APIRouter
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from models.domain.job import JobKind
from webapp.actions.show_jobs import list_jobs
from webapp.routes.asking import Caller, Parts

router = APIRouter()


@router.get("/")
def home(parts: Parts, caller: Caller) -> Response:
    """Runs for a team that has some, datasets for one that begins."""
    has_runs = bool(list_jobs(parts, caller, limit=1, kinds=(JobKind.TRAIN, JobKind.MERGE)).items)
    return RedirectResponse("/runs" if has_runs else "/datasets", 303)

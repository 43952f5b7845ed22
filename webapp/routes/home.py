"""The first page: where the work is."""

from fastapi import APIRouter
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from webapp.actions.show_jobs import list_jobs
from webapp.routes.asking import Caller, Parts

router = APIRouter()


@router.get("/")
def home(parts: Parts, caller: Caller) -> Response:
    """Runs for a team that has some, datasets for one that begins."""
    has_jobs = bool(list_jobs(parts, caller, limit=1).items)
    return RedirectResponse("/runs" if has_jobs else "/datasets", 303)

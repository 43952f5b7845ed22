"""/api/v1/jobs/{id}/like-rows: a run's training rows by likeness to a text."""

from typing import Any

from fastapi import APIRouter
from pydantic import Field

from models.domain.question import LONGEST_ASKED
from webapp.actions.like_rows import SHOWN, like_rows
from webapp.routes.asking import Body, Caller, Parts

router = APIRouter(prefix="/jobs/{job_id}")


class LikeRowsBody(Body):
    text: str = Field(min_length=1, max_length=LONGEST_ASKED)
    shown: int = Field(default=SHOWN, ge=1, le=50)


@router.post("/like-rows")
def search(parts: Parts, caller: Caller, job_id: str, body: LikeRowsBody) -> dict[str, Any]:
    """`likeness` is in words, from 0 to 1. It is no proof that a row taught anything."""
    found = like_rows(parts, caller, job_id, body.text, body.shown)
    return {"object": "list", "data": [{"object": "like_row", **one.model_dump()} for one in found.rows],
            "searched": found.searched, "trained": found.trained}  # fmt: skip

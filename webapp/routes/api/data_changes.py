"""What makes a further version of a dataset: another reading, edited rows, added rows, and datasets of the hub."""

from typing import Any

from fastapi import APIRouter
from pydantic import Field

from models.domain.data_jobs import Edit
from models.domain.reading import Reading
from webapp.actions.append_rows import append_rows
from webapp.actions.change_reading import change_reading
from webapp.actions.edit_rows import edit_rows
from webapp.actions.fetch_dataset import fetch_dataset
from webapp.routes.api.jobs import job_object
from webapp.routes.asking import Body, Caller, Parts
from webapp.routes.v1.files import file_object

router = APIRouter()


class ReadingBody(Body):
    format: str | None = Field(default=None, max_length=40)
    mapping: dict[str, str] = Field(default_factory=dict, max_length=32)


class EditBody(Body):
    """`example` null removes the row."""

    row: int = Field(ge=1)
    example: dict[str, Any] | None


class EditsBody(Body):
    edits: list[EditBody] = Field(min_length=1, max_length=1000)
    note: str = Field(default="", max_length=300)


class RowsBody(Body):
    rows: list[dict[str, Any]] = Field(min_length=1, max_length=1000)
    note: str = Field(default="", max_length=300)


class FetchBody(Body):
    """`reference`: org/name of the hub. `split` may say folder/split where the hub has several."""

    reference: str = Field(min_length=1, max_length=300)
    revision: str | None = Field(default=None, max_length=200)
    split: str = Field(default="train", max_length=160)
    name: str = Field(default="", max_length=255)
    dataset: str | None = Field(default=None, max_length=80)


@router.post("/files/{file_id}/reading")
def read_otherwise(parts: Parts, caller: Caller, file_id: str, body: ReadingBody) -> dict[str, Any]:
    """The same version if it was never usable, else the next one."""
    reading = Reading(format=body.format or None, mapping=body.mapping)
    return file_object(change_reading(parts, caller, file_id, reading))


@router.post("/files/{file_id}/edits")
def edit(parts: Parts, caller: Caller, file_id: str, body: EditsBody) -> dict[str, Any]:
    edits = [Edit(row=each.row, example=each.example) for each in body.edits]
    return job_object(edit_rows(parts, caller, file_id, edits, body.note))


@router.post("/datasets/{dataset_id}/rows")
def append(parts: Parts, caller: Caller, dataset_id: str, body: RowsBody) -> dict[str, Any]:
    return job_object(append_rows(parts, caller, dataset_id, body.rows, body.note))


@router.post("/datasets/fetch", status_code=201)
def fetch(parts: Parts, caller: Caller, body: FetchBody) -> dict[str, Any]:
    made = fetch_dataset(
        parts, caller, body.reference, body.revision, body.split, body.name, body.dataset or None
    )  # fmt: skip
    return job_object(made)

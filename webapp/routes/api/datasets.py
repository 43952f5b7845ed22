"""/api/v1/datasets: the list, one with its versions and runs, and its rows. Uploads go to /v1/files."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from models.domain.errors import NotFound
from webapp.actions.dataset_rows import Row, read_dataset_rows
from webapp.actions.show_datasets import DatasetPage, DatasetSeen, list_datasets, show_dataset
from webapp.routes.asking import Caller, Parts, unix
from webapp.routes.v1.files import file_object

router = APIRouter(prefix="/datasets")

Search = Annotated[str, Query(max_length=300)]


@router.get("")
def listing(
    parts: Parts,
    caller: Caller,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    search: Search = "",
) -> dict[str, Any]:
    found, total = list_datasets(parts, caller, search, limit=limit, offset=offset)
    return {
        "object": "list",
        "data": [_listed(seen) for seen in found],
        "total": total,
        "has_more": offset + len(found) < total,
    }


@router.get("/{dataset_id}")
def retrieve(parts: Parts, caller: Caller, dataset_id: str) -> dict[str, Any]:
    seen = show_dataset(parts, caller, dataset_id)
    return {
        "id": seen.dataset.id,
        "object": "dataset",
        "name": seen.dataset.name,
        "created_at": unix(seen.dataset.created_at),
        "is_sample": seen.is_sample,
        "versions": [file_object(each.version) for each in seen.versions],
        "runs": [run.job.id for run in seen.runs],
    }


@router.get("/{dataset_id}/rows")
def rows(
    parts: Parts,
    caller: Caller,
    dataset_id: str,
    version: Annotated[int | None, Query(ge=1)] = None,
    begin: Annotated[int, Query(alias="from", ge=1, le=10_000_000)] = 1,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    search: Search = "",
) -> dict[str, Any]:
    """`next` is where to go on; `is_cut` says that a search ran out of time there, not out of rows."""
    file = _version(show_dataset(parts, caller, dataset_id), version)
    _, found = read_dataset_rows(parts, caller, file, begin=begin, limit=limit, words=search)
    return {
        "object": "list",
        "data": [_row(row) for row in found.rows],
        "next": found.following,
        "is_cut": found.is_cut,
    }


def _version(seen: DatasetPage, number: int | None) -> str:
    found = seen.version(number).version
    if number is not None and found.number != number:
        raise NotFound(f"{seen.dataset.name} has no version {number}. Its newest is {seen.versions[0].version.number}.")
    return found.id


def _listed(seen: DatasetSeen) -> dict[str, Any]:
    return {
        "id": seen.dataset.id,
        "object": "dataset",
        "name": seen.dataset.name,
        "created_at": unix(seen.dataset.created_at),
        "is_sample": seen.is_sample,
        "may_change": seen.may_add,
        "newest": file_object(seen.newest.version),
        "versions": seen.versions,
        "runs": seen.runs,
    }


def _row(row: Row) -> dict[str, Any]:
    problem = row.problem
    return {
        "row": row.number,
        "example": row.example.model_dump(mode="json", exclude_defaults=True) if row.example else None,
        "problem": None
        if problem is None
        else {"kind": problem.problem, "field": problem.field, "found": problem.found, "needed": problem.needed},
    }

"""/api/v1/files/{id}/...: what the data gate says of one version, row by row where it is asked."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi import Body as JsonBody
from fastapi.responses import StreamingResponse
from pydantic import Field

from models.domain.reading import Reading
from models.domain.training import OverLong, TrainOn
from webapp.actions.compare_versions import compare_versions
from webapp.actions.count_tokens import count_tokens
from webapp.actions.data_reports import GateSeen, TokensSeen, reports_of
from webapp.actions.export_rows import export_messages, export_problems, stem_of
from webapp.actions.preview_row import PreviewWish, preview_row
from webapp.actions.read_columns import read_columns
from webapp.actions.run_gate import run_gate
from webapp.routes.api.jobs import job_object
from webapp.routes.asking import Body, Caller, Parts
from webapp.routes.v1.files import attachment

router = APIRouter(prefix="/files/{file_id}")

Base = Annotated[str, Field(min_length=1, max_length=200)]
TemplateArguments = Annotated[dict[str, str | bool | int], Field(max_length=16)]


class ColumnsBody(Body):
    format: str | None = Field(default=None, max_length=40)
    mapping: dict[str, str] = Field(default_factory=dict, max_length=32)
    rows: int = Field(default=3, ge=1, le=20)


class TokensBody(Body):
    """`base` is an id or a public name."""

    base: Base
    train_on: TrainOn = TrainOn.ASSISTANT
    template_arguments: TemplateArguments = Field(default_factory=dict)


class PreviewBody(TokensBody):
    row: int = Field(default=1, ge=1)
    jump: Literal["longest", "shortest", "over"] | None = None
    max_length: int = Field(ge=16, le=131_072)
    over_long: OverLong = OverLong.DROP


class CompareBody(Body):
    with_: str = Field(alias="with", min_length=1, max_length=80)
    shown: int = Field(default=20, ge=0, le=100)


@router.get("/reports")
def reports(parts: Parts, caller: Caller, file_id: str) -> dict[str, Any]:
    seen = reports_of(parts, caller, file_id)
    return {
        "intake": seen.intake.model_dump(mode="json") if seen.intake else None,
        "gate": _gate(seen.gate),
        "tokens": [tokens_object(each) for each in seen.tokens],
    }


@router.post("/columns")
def columns(
    parts: Parts, caller: Caller, file_id: str, body: Annotated[ColumnsBody | None, JsonBody()] = None
) -> dict[str, Any]:
    """The first rows as a format and a mapping that are only tried; nothing changes."""
    wish = body or ColumnsBody()
    reading = Reading(format=wish.format, mapping=wish.mapping)
    return read_columns(parts, caller, file_id, reading, wish.rows).model_dump(mode="json")


@router.post("/gate")
def gate(parts: Parts, caller: Caller, file_id: str) -> dict[str, Any]:
    return job_object(run_gate(parts, caller, file_id))


@router.post("/tokens")
def tokens(parts: Parts, caller: Caller, file_id: str, body: TokensBody) -> dict[str, Any]:
    """The report, or the job that makes it."""
    counting = count_tokens(parts, caller, file_id, body.base, body.train_on, body.template_arguments)
    report = counting.seen.report
    return {
        "state": counting.seen.state,
        "job": job_object(counting.job) if counting.job else None,
        "report": report.model_dump(mode="json") if report else None,
    }


@router.post("/preview")
def preview(parts: Parts, caller: Caller, file_id: str, body: PreviewBody) -> dict[str, Any]:
    wish = PreviewWish(
        base=body.base, row=body.row, jump=body.jump, max_length=body.max_length, over_long=body.over_long,
        train_on=body.train_on, template_arguments=body.template_arguments,
    )  # fmt: skip
    return preview_row(parts, caller, file_id, wish).model_dump(mode="json")


@router.post("/compare")
def compare(parts: Parts, caller: Caller, file_id: str, body: CompareBody) -> dict[str, Any]:
    """What this version added, removed and changed, seen from the one in `with`."""
    return compare_versions(parts, caller, body.with_, file_id, body.shown).model_dump(mode="json")


@router.get("/messages.jsonl")
def messages(parts: Parts, caller: Caller, file_id: str) -> StreamingResponse:
    file, pieces = export_messages(parts, caller, file_id)
    headers = {"Content-Disposition": attachment(f"{stem_of(file)} messages.jsonl")}
    return StreamingResponse(pieces, media_type="application/jsonl", headers=headers)


@router.get("/problems.csv")
def problems(parts: Parts, caller: Caller, file_id: str) -> StreamingResponse:
    file, pieces = export_problems(parts, caller, file_id)
    headers = {"Content-Disposition": attachment(f"{stem_of(file)} problems.csv")}
    return StreamingResponse(pieces, media_type="text/csv; charset=utf-8", headers=headers)


def tokens_object(seen: TokensSeen) -> dict[str, Any]:
    return {
        "base": seen.base,
        "base_name": seen.base_name,
        "key": seen.key,
        "state": seen.state,
        "progress": seen.progress,
        "report": seen.report.model_dump(mode="json") if seen.report else None,
        "job": seen.job,
        "error": seen.sentence,
    }


def _gate(seen: GateSeen) -> dict[str, Any]:
    return {
        "state": seen.state,
        "progress": seen.progress,
        "report": seen.report.model_dump(mode="json") if seen.report else None,
        "job": seen.job,
        "error": seen.sentence,
    }

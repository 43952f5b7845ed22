"""/v1/files. A file is one immutable dataset version; samples are listed with the team's own."""

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Form, Query, UploadFile
from fastapi import File as FormFile
from fastapi.responses import StreamingResponse

from models.domain.errors import Invalid
from models.domain.reading import Part, Reading
from webapp.actions.change_reading import checked_reading
from webapp.actions.show_files import delete_file, file_content, list_files, show_file
from webapp.actions.upload_file import File, upload_files
from webapp.routes.asking import After, Caller, Parts, unix

router = APIRouter(prefix="/files")

PURPOSES = ("fine-tune",)


@router.post("")
def create(
    parts: Parts,
    caller: Caller,
    file: Annotated[list[UploadFile], FormFile()],
    purpose: Annotated[str, Form()],
    expires_anchor: Annotated[str | None, Form(alias="expires_after[anchor]")] = None,
    dataset: Annotated[str | None, Form(alias="tuneroom_dataset", max_length=80)] = None,
    format_name: Annotated[str | None, Form(alias="tuneroom_format", max_length=40)] = None,
) -> dict[str, Any]:
    """Several `file` fields make one version. With `tuneroom_dataset` it is that dataset's next one."""
    if purpose not in PURPOSES:
        raise Invalid(f"The purpose {purpose[:40]!r} is not offered; send purpose=fine-tune.", param="purpose")
    if expires_anchor is not None:
        raise Invalid("Files do not expire here. Leave expires_after out and delete the file.", param="expires_after")
    reading = Reading(format=format_name or None)
    checked_reading(reading)
    sent = [(each.filename or "", each.file) for each in file]
    return file_object(upload_files(parts, caller, sent, purpose, dataset_id=dataset or None, reading=reading))


@router.get("")
def listing(
    parts: Parts,
    caller: Caller,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    after: After = None,
    purpose: Annotated[str | None, Query(max_length=32)] = None,
    order: Literal["asc", "desc"] = "desc",
) -> dict[str, Any]:
    page = list_files(parts, caller, limit=limit, after=after, purpose=purpose, ascending=order == "asc")
    data = [file_object(file) for file in page.items]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": page.has_more,
    }


@router.get("/{file_id}")
def retrieve(parts: Parts, caller: Caller, file_id: str) -> dict[str, Any]:
    file, made_of = show_file(parts, caller, file_id)
    shown = file_object(file)
    shown["tuneroom"] |= {"report": file.report, "parts": [_part(part) for part in made_of]}
    return shown


@router.get("/{file_id}/content")
def content(
    parts: Parts, caller: Caller, file_id: str, part: Annotated[int | None, Query(ge=1, le=1000)] = None
) -> StreamingResponse:
    """Of a version that was made of several files, one of them: `part` counts from 1."""
    name, size, chunks = file_content(parts, caller, file_id, part)
    headers = {"Content-Disposition": attachment(name), "Content-Length": str(size)}
    return StreamingResponse(chunks, media_type="application/octet-stream", headers=headers)


@router.delete("/{file_id}")
def remove(parts: Parts, caller: Caller, file_id: str) -> dict[str, Any]:
    delete_file(parts, caller, file_id)
    return {"id": file_id, "object": "file", "deleted": True}


def file_object(file: File) -> dict[str, Any]:
    """OpenAI's file, and what we know beyond it in `tuneroom`."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": unix(file.created_at),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": file.status,
        "status_details": file.status_details,
        "expires_at": None,
        "tuneroom": {
            "dataset": file.dataset_id,
            "version": file.number,
            "sha256": file.sha256,
            "format": file.format,
            "rows": file.rows,
            "usable_rows": file.usable_rows,
            "is_sample": file.team_id is None,
            "reading": file.reading or {},
            "note": file.note,
            "made_from": file.made_from,
            "source": file.source,
        },
    }


def _part(part: Part) -> dict[str, Any]:
    return {"filename": part.filename, "bytes": part.size, "sha256": part.sha256}


def attachment(filename: str) -> str:
    """A Content-Disposition that no name can break out of (RFC 6266)."""
    return f"attachment; filename*=UTF-8''{quote(filename, safe='')}"

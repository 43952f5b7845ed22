"""Our own style and scripts, below /ui, for everybody: they say nothing about anyone."""

from functools import cache
from hashlib import sha256
from importlib.resources import files

from fastapi import APIRouter, Request
from starlette.responses import Response

from models.domain.errors import NotFound
from webapp import words

KINDS = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

router = APIRouter()


@router.get("/ui/{name}")
def asset(name: str, request: Request) -> Response:
    found = _all().get(name)
    if found is None:
        raise NotFound(words.no_such_address(f"/ui/{name}"))
    body, kind, etag = found
    headers = {"Cache-Control": "no-cache", "ETag": etag}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=kind, headers=headers)


@cache
def _all() -> dict[str, tuple[bytes, str, str]]:
    found = {}
    for file in files("webapp").joinpath("static").iterdir():
        kind = KINDS.get(file.name.rpartition(".")[2])
        if kind is not None:
            body = file.read_bytes()
            found[file.name] = (body, f"{kind}; charset=utf-8", f'"{sha256(body).hexdigest()[:16]}"')
    return found

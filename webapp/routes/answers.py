"""Turns every error into one JSON shape, `{"error": {message, type, param, code}}`, with the right status.

The official client raises its typed exceptions from the status and shows `message`; it retries 409 and 5xx by
itself unless `x-should-retry: false` forbids it, so every POST forbids it: a create must not happen twice.
"""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from models.domain import errors
from models.domain.errors import AppError, Code
from webapp import words

STATUS_OF_CODE = {Code.TOO_LARGE: 413, Code.RATE_LIMITED: 429}
STATUS_OF_KIND: tuple[tuple[type[AppError], int], ...] = (
    (errors.NotSignedIn, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.Invalid, 400),
    (errors.Unavailable, 503),
)
RETRY_AFTER_SECONDS = "2"


def status_of(error: AppError) -> int:
    if error.code in STATUS_OF_CODE:
        return STATUS_OF_CODE[error.code]
    return next((status for kind, status in STATUS_OF_KIND if isinstance(error, kind)), 500)


def body_of(error: AppError) -> dict[str, Any]:
    """The error object, also sent inside a stream that has begun."""
    return shape(status_of(error), error.message, str(error.code), error.facts.get("param"))


def answer(error: AppError, method: str) -> JSONResponse:
    """The whole answer. No fact but `param` leaves the house: facts may name files of this machine."""
    response = respond(status_of(error), body_of(error), method)
    response.headers.update(wait_of(error))
    return response


def wait_of(error: AppError) -> dict[str, str]:
    """The Retry-After header of an error that knows how long to wait."""
    seconds = error.facts.get("retry_after_seconds")
    return {} if seconds is None else {"Retry-After": str(seconds)}


def shape(status: int, message: str, code: str | None, param: str | None = None) -> dict[str, Any]:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def respond(status: int, body: dict[str, Any], method: str) -> JSONResponse:
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status in (429, 503):
        headers["Retry-After"] = RETRY_AFTER_SECONDS
    if status == 409 or method == "POST":
        headers["x-should-retry"] = "false"
    return JSONResponse(body, status, headers)


def answer_errors(app: FastAPI) -> None:
    """Register the handlers that replace FastAPI's `{"detail": ...}`."""

    @app.exception_handler(AppError)
    async def _known(request: Request, error: AppError) -> JSONResponse:
        return answer(error, request.method)

    @app.exception_handler(RequestValidationError)
    async def _unusable(request: Request, error: RequestValidationError) -> JSONResponse:
        return answer(words.refused_field(error.errors()), request.method)

    @app.exception_handler(HTTPException)
    async def _by_framework(request: Request, error: HTTPException) -> JSONResponse:
        path, method = request.url.path, request.method
        match error.status_code:
            case 404:
                body = shape(404, words.no_such_address(path), Code.NOT_FOUND)
            case 405:
                body = shape(405, words.wrong_method(method, path), Code.INVALID_REQUEST)
            case 413:
                body = shape(413, str(error.detail), Code.TOO_LARGE)
            case status:
                body = shape(status, words.unreadable_body(), Code.INVALID_REQUEST)
        answered = respond(error.status_code, body, method)
        answered.headers.update(error.headers or {})
        return answered

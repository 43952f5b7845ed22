"""The sentences of the web side where no error brought its own: what was found, what was needed, what to do."""

from collections.abc import Mapping, Sequence
from typing import Any

from models.domain.errors import Invalid


def no_such_address(path: str) -> str:
    return f"There is no {path[:120]!r} here. Check the address; the programs' interface is below /v1 and /api/v1."


def wrong_method(method: str, path: str) -> str:
    return f"{method} is not offered at {path[:120]!r}. Check the method in the documentation."


def too_large(limit_bytes: int) -> str:
    return f"The request is larger than {limit_bytes:,} bytes, the most this address takes. Send less at once."


def unexpected(error_id: str) -> str:
    return f"Something went wrong on this side. Tell the administrator the error id {error_id}; it is in the log."


def unreadable_body() -> str:
    return "The body could not be read. Send one JSON object (or a multipart form to /v1/files) as UTF-8."


def refused_field(problems: Sequence[Mapping[str, Any]], prefix: str = "") -> Invalid:
    """The first of pydantic's `errors()` as one sentence; its path, after `prefix`, is the fact `param`."""
    first = problems[0]
    parts = [str(part) for part in first["loc"] if part not in ("body", "query", "path")]
    where = ".".join(([prefix] if prefix else []) + parts)
    name = where or "the body"
    match first["type"]:
        case "json_invalid":
            return Invalid(unreadable_body())
        case "missing":
            message = f"{name} is missing; it is needed. Add it and send the request again."
        case "extra_forbidden":
            message = f"{name} is not known or not supported here. Remove it and send the request again."
        case "value_error":  # our own validators speak in sentences already
            message = str(first["msg"]).removeprefix("Value error, ").rstrip(".") + "."
        case _:
            problem = str(first["msg"])
            message = f"{name} is {_shown(first.get('input'))}: {problem[:1].lower()}{problem[1:]}. Change it."
    return Invalid(message, param=where or None)


def _shown(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 60 else text[:57] + "..."

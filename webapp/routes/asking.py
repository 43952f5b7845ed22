"""What every route asks for: the parts, the caller, and bodies without surprises."""

import math
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from pydantic import BaseModel, ConfigDict, model_validator

from models.domain.access import Principal
from webapp.deps import Deps


async def _deps(request: Request) -> Deps:
    return request.app.state.deps


async def _caller(request: Request) -> Principal:
    return request.state.principal


Parts = Annotated[Deps, Depends(_deps)]
Caller = Annotated[Principal, Depends(_caller)]
Limit = Annotated[int, Query(ge=1, le=1000)]
After = Annotated[str | None, Query(max_length=300)]


class Body(BaseModel):
    """A JSON body: unknown fields are refused, and so are values that no database keeps."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        _refuse_unstorable(value)
        return value


def _refuse_unstorable(value: Any) -> None:
    """NUL, halves of surrogate pairs, NaN and Infinity pass through JSON and break later, far from their cause."""
    match value:
        case str():
            if "\0" in value or (not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value)):
                raise ValueError("A text holds NUL or half a surrogate pair")
        case float():
            if not math.isfinite(value):
                raise ValueError("A number is NaN or infinite")
        case dict():
            for key, item in value.items():
                _refuse_unstorable(key)
                _refuse_unstorable(item)
        case list():
            for item in value:
                _refuse_unstorable(item)


def unix(at: Any) -> int | None:
    """Whole seconds since 1970, as OpenAI's objects carry times."""
    return int(at.timestamp()) if at is not None else None

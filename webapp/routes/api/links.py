"""/api/v1/links: links to adapters for people without an account. The address is in the answer that makes it, once."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import Field

from webapp.actions.links import DAYS, REQUESTS, TOKENS, LinkSeen, create_link, link_uses, list_links, revoke_link
from webapp.routes.asking import Body, Caller, Limit, Parts, unix
from webapp.routes.link_address import link_address

router = APIRouter(prefix="/links")


class LinkBody(Body):
    adapter: str = Field(min_length=1, max_length=255)
    title: str = Field(default="", max_length=2000)
    sentence: str = Field(default="", max_length=2000)
    days: int = DAYS
    max_requests: int = REQUESTS
    max_tokens: int = TOKENS


@router.post("", status_code=201)
def create(parts: Parts, caller: Caller, request: Request, body: LinkBody) -> dict[str, Any]:
    made = create_link(parts, caller, **body.model_dump())
    return link_object(made.seen) | {"url": link_address(parts, request, made.token)}


@router.get("")
def listing(
    parts: Parts, caller: Caller, adapter: Annotated[str | None, Query(max_length=255)] = None
) -> dict[str, Any]:
    """Those in force."""
    found = list_links(parts, caller, adapter)
    return {"object": "list", "data": [link_object(seen) for seen in found], "has_more": False}


@router.get("/{link}/uses")
def uses(parts: Parts, caller: Caller, link: str, limit: Limit = 50) -> dict[str, Any]:
    """The newest questions: when, how they ended, how long. What was said is kept nowhere."""
    found = link_uses(parts, caller, link, limit=limit)
    data = [
        {
            "object": "link.use",
            "at": unix(use.at),
            "outcome": use.outcome,
            "prompt_tokens": use.prompt_tokens,
            "completion_tokens": use.completion_tokens,
        }
        for use in found
    ]
    return {"object": "list", "data": data, "has_more": False}


@router.delete("/{link}")
def revoke(parts: Parts, caller: Caller, link: str) -> dict[str, Any]:
    revoke_link(parts, caller, link)
    return {"id": link, "object": "link", "deleted": True}


def link_object(seen: LinkSeen) -> dict[str, Any]:
    return {
        "id": seen.id,
        "object": "link",
        "adapter": seen.adapter,
        "model": seen.adapter_name,
        "title": seen.title,
        "sentence": seen.sentence,
        "created_by": seen.sharer,
        "created_at": unix(seen.created_at),
        "expires_at": unix(seen.expires_at),
        "last_used_at": unix(seen.last_used_at),
        "used_requests": seen.used_requests,
        "max_requests": seen.max_requests,
        "used_tokens": seen.used_tokens,
        "max_tokens": seen.max_tokens,
    }

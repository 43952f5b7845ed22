"""Where a link's token leads from outside: the public address where one is set, else the one this request came by."""

from starlette.requests import Request

from webapp.deps import Deps


def link_address(deps: Deps, request: Request, token: str) -> str:
    return f"{outside_address(deps, request)}/s/{token}"


def outside_address(deps: Deps, request: Request) -> str:
    """Without a slash at the end."""
    return (deps.settings.public_url or str(request.base_url)).rstrip("/")

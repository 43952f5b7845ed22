"""Asks a web process whether it answers. Knows nothing else of it."""

import httpx


def is_healthy(url: str) -> bool:
    """Whether /healthz answers 200 now. Proxies of the environment are not asked: the address is this machine's."""
    try:
        return httpx.get(f"{url}/healthz", timeout=2, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def has_pages(url: str) -> bool:
    """Whether a browser would be shown something there."""
    try:
        answer = httpx.get(url, timeout=2, trust_env=False, follow_redirects=True)
    except httpx.HTTPError:
        return False
    return answer.is_success and answer.headers.get("content-type", "").startswith("text/html")

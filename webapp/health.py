"""Asks a web process whether it answers. Knows nothing else of it."""

import httpx


def is_healthy(url: str) -> bool:
    """Whether /healthz answers 200 now. Proxies of the environment are not asked: the address is this machine's."""
    try:
        return httpx.get(f"{url}/healthz", timeout=2, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False

"""Keeps the tokens that addresses carry out of logs: setup, invitation and shared links show as ***."""

import re

_TOKEN = re.compile(r"^/+(setup|invite|s)/[^/]+", re.IGNORECASE)


def masked(path: str) -> str:
    """The path as a log may keep it."""
    return _TOKEN.sub(lambda found: f"/{found[1]}/***", path)

"""Gradio's own script in the browser, changed in three places. Knows no page.

- For each value that it reads or sets, it walks through all components of a page until it meets the one. The Train page
  has 400 of them and sends 100 values with every change: the walks took 1.5 of the 4 s of a browser's processor time
  that the page takes to open. What was found is remembered.
- Each event tells all components of the page, twice, how far it has come. One that shows no progress tells none.
- The clock of the loading screen goes on when the screen is gone: each open page drew 60 frames a second of nothing for
  5 % of a core. It ends with what it stands in.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


@dataclass(frozen=True, kw_only=True)
class Change:
    """In the one file of `files` that has `place` once, it becomes `changed` (its groups by number)."""

    files: str
    place: re.Pattern[str]
    changed: str


CHANGES = (
    Change(
        files="core-*.js",
        place=re.compile(
            r"function (\w+)\(e,t\)\{if\(e\.id===t\)return e;"
            r"if\(e\.children\)for\(let n of e\.children\)\{let e=\1\(n,t\);if\(e\)return e\}return null\}"
        ),
        # What was found stays where it is: no page of ours is rendered anew. A new tree is a new key.
        changed=(
            r"var \1_found=new WeakMap;"
            r"function \1(e,t){let m=\1_found.get(e);m||\1_found.set(e,m=new Map);"
            r"let f=m.get(t)??\1_walk(e,t);f&&m.set(t,f);return f}"
            r"function \1_walk(e,t){if(e.id===t)return e;"
            r"if(e.children)for(let n of e.children){let e=\1(n,t);if(e)return e}return null}"
        ),
    ),
    Change(
        files="statustracker-*.js",
        place=re.compile(r"update\(e\)\{(?=for\(let\[t,n\]of Object\.entries\(this\.current\)\))"),
        changed="update(e){if(this.show_progress[e.fn_index]===`hidden`)return;",
    ),
    Change(
        files="statustracker-*.js",
        place=re.compile(
            r"(function (\w+)\(\)\{\w+\(\(\)=>\{[^{}]{1,99},)(\w+)(&&\2\(\)\}\)\})"
            r"(?=.*?\{(\w+)&&\w+\(\)&&\(\w+\.status===`pending`\|\|)"
        ),
        changed=r"\1\3&&\5?.isConnected\4",
    ),
)


def lighter_scripts(assets: Path) -> list[Route]:
    """A route for each file with changes. A change whose place this Gradio has not is left out: it is slower."""
    texts: dict[Path, str] = {}
    for change in CHANGES:
        for file in sorted(assets.glob(change.files)):
            text, count = change.place.subn(change.changed, texts.get(file) or file.read_text("utf-8"))
            if count == 1:
                texts[file] = text
                break
    return [Route(f"/assets/{file.name}", _answering(text.encode())) for file, text in texts.items()]


def _answering(script: bytes) -> Callable[[Request], Response]:
    def answer(_request: Request) -> Response:
        return Response(script, media_type="text/javascript")

    return answer

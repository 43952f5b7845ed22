"""Gradio's own script, with components found by their id at once. Knows no page.

For each value that it reads or sets, Gradio walks through all components of a page until it meets the one. The Train
page has 400 of them and sends 100 values with every change: the walks took 1.5 of the 4 s of a browser's processor
time that the page takes to open.
"""

import re
from collections.abc import Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_WALK = re.compile(
    r"function (\w+)\(e,t\)\{if\(e\.id===t\)return e;"
    r"if\(e\.children\)for\(let n of e\.children\)\{let e=\1\(n,t\);if\(e\)return e\}return null\}"
)
# What was found stays where it is: no page of ours is rendered anew. A new tree is a new key.
_REMEMBERED = (
    "var {name}_found=new WeakMap;"
    "function {name}(e,t){{let m={name}_found.get(e);m||{name}_found.set(e,m=new Map);"
    "let f=m.get(t)??{name}_walk(e,t);f&&m.set(t,f);return f}}"
    "function {name}_walk(e,t){{if(e.id===t)return e;"
    "if(e.children)for(let n of e.children){{let e={name}_walk(n,t);if(e)return e}}return null}}"
)


def quick_script(assets: Path) -> Route | None:
    """The route of the changed script; None where this version of Gradio has none that looks so: it works, slower."""
    for file in sorted(assets.glob("core-*.js")):
        text, count = _WALK.subn(lambda found: _REMEMBERED.format(name=found[1]), file.read_text("utf-8"))
        if count == 1:
            return Route(f"/assets/{file.name}", _answering(text.encode()))
    return None


def _answering(script: bytes) -> Callable[[Request], Response]:
    def answer(_request: Request) -> Response:
        return Response(script, media_type="text/javascript")

    return answer

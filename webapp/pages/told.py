"""What a page was told already is not sent again: it costs the server, the line and, most of all, the browser.

A handler that returns many parts keeps their digests in a `gr.State` of its tab. Whoever else writes one of these parts
returns its digests, too, or has it sent `always`.
"""

from collections.abc import Collection, Sequence
from typing import Any

import gradio as gr

Told = tuple[int, ...]


def digests(parts: Sequence[Any]) -> Told:
    """Of texts and of updates, in this process."""
    return tuple(hash(part if isinstance(part, str) else repr(part)) for part in parts)


def what_changed(told: Told | None, parts: Sequence[Any], *, always: Collection[int] = ()) -> tuple[Told, list[Any]]:
    """The digests to keep, and the parts with a skip for each that is as it was; `told` None sends all."""
    now = digests(parts)
    if told is None or len(told) != len(now):
        return now, list(parts)
    return now, [
        part if told[place] != now[place] or place in always else gr.skip() for place, part in enumerate(parts)
    ]

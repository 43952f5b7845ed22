"""What a page is: an address, a title, where it stands in the top bar, and how it is built.

A new page is a new file in this folder that exports PAGE; nothing else changes.
"""

from collections.abc import Callable
from dataclasses import dataclass

from webapp.deps import Deps


@dataclass(frozen=True, kw_only=True)
class Page:
    """`place` orders the top bar from the left; None keeps the page out of it. `build` runs inside its Blocks.

    `section` is the path of the bar's entry that is marked while this page is open (its own, if None).
    """

    path: str
    title: str
    build: Callable[[Deps], None]
    place: int | None = None
    section: str | None = None

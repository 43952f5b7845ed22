"""What a source of base models is. Knows words, opens nothing.

To add a source, add a file beside this one that exports SOURCE; how its bytes are fetched is the worker's business.
"""

from collections.abc import Callable
from dataclasses import dataclass

from models.domain.errors import Code, Invalid


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """A reference understood: where the bytes are, and which state of them (None: as they are now)."""

    url: str
    revision: str | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """One source of base models.

    `sniff` says whether a reference is meant for this source, without judging it. `parse` raises Invalid with code
    `invalid_base`; `write` is its inverse: parse(write(x)) == x.
    """

    name: str
    title: str
    example: str
    sniff: Callable[[str], bool]
    parse: Callable[[str], Parsed]
    write: Callable[[Parsed], str]


def refused(reference: str, needed: str) -> Invalid:
    """The error that `parse` raises."""
    return Invalid(f"{reference[:200]!r} cannot be used as a base model; needed: {needed}.", code=Code.INVALID_BASE)

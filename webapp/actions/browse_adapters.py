"""The team's adapters and merges, page by page and by words, as lines of a table."""

import re
from dataclasses import dataclass
from datetime import datetime

from models.db.store.team import TeamStore
from models.domain.access import Principal
from webapp.actions.adapter_facts import AdapterFacts, facts_of
from webapp.deps import Deps

PAGE_ROWS = 20
LONGEST_SEARCH = 100
PAGE_NUMBER = re.compile("[1-9][0-9]{0,5}")
MERGES = "merges"


@dataclass(frozen=True, kw_only=True)
class ShelfAsked:
    """What the address of the list says; `page` counts from 1."""

    of_merges: bool = False
    search: str = ""
    page: int = 1

    @classmethod
    def of(cls, *, kind: str = "", search: str = "", page: str = "") -> "ShelfAsked":
        return cls(
            of_merges=kind == MERGES,
            search=search.replace("\0", "")[:LONGEST_SEARCH].strip(),
            page=int(page) if PAGE_NUMBER.fullmatch(page) else 1,
        )


@dataclass(frozen=True, kw_only=True)
class AdapterLine:
    id: str
    name: str
    base: str
    facts: AdapterFacts
    size: int
    maker: str | None
    created_at: datetime
    is_partial: bool
    merges: int


@dataclass(frozen=True, kw_only=True)
class MergeLine:
    id: str
    name: str
    base: str
    mode: str
    storage: str
    size: int
    maker: str | None
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class ShelfSeen:
    """One page of one of the two tables, and how many match in each."""

    asked: ShelfAsked
    adapters: tuple[AdapterLine, ...]
    merges: tuple[MergeLine, ...]
    adapter_count: int
    merge_count: int
    pages: int


def browse_adapters(deps: Deps, principal: Principal, asked: ShelfAsked) -> ShelfSeen:
    """Newest first. A page behind the last shows the last."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        counts = (
            store.search_adapters(asked.search, limit=0, offset=0)[1],
            store.search_merges(asked.search, limit=0, offset=0)[1],
        )
        pages = max(1, -(-counts[asked.of_merges] // PAGE_ROWS))
        page = min(asked.page, pages)
        offset = (page - 1) * PAGE_ROWS
        adapters, merges = [], []
        if asked.of_merges:
            merges = store.search_merges(asked.search, limit=PAGE_ROWS, offset=offset)[0]
        else:
            adapters = store.search_adapters(asked.search, limit=PAGE_ROWS, offset=offset)[0]
        return ShelfSeen(
            asked=ShelfAsked(of_merges=asked.of_merges, search=asked.search, page=page),
            adapters=tuple(
                AdapterLine(
                    id=row.adapter.id,
                    name=row.adapter.name,
                    base=row.base_name,
                    facts=facts_of(row.adapter.manifest),
                    size=row.adapter.size,
                    maker=row.maker,
                    created_at=row.adapter.created_at,
                    is_partial=row.adapter.is_partial,
                    merges=row.merges,
                )
                for row in adapters
            ),
            merges=tuple(
                MergeLine(
                    id=row.merge.id,
                    name=row.merge.name,
                    base=row.base_name,
                    mode=row.merge.mode,
                    storage=row.merge.storage_dtype,
                    size=row.merge.size,
                    maker=row.maker,
                    created_at=row.merge.created_at,
                )
                for row in merges
            ),
            adapter_count=counts[0],
            merge_count=counts[1],
            pages=pages,
        )

"""Writes what a team says about one of its adapters: its card, as Markdown."""

from models.db.store.team import TeamStore
from models.domain.access import Principal
from models.domain.errors import Invalid
from webapp.deps import Deps

LONGEST_CARD = 20_000


def write_card(deps: Deps, principal: Principal, adapter: str, text: str) -> str:
    """Returns the card as it is kept. `adapter` is its id. Raises NotFound, Forbidden or Invalid."""
    text = text.replace("\r\n", "\n").replace("\0", "").strip()
    if len(text) > LONGEST_CARD:
        raise Invalid(
            f"The card has {len(text):,} characters; {LONGEST_CARD:,} fit. Shorten it and save again.", param="card"
        )
    with deps.database.write() as session:
        TeamStore(session, principal).write_card(adapter, text)
    return text

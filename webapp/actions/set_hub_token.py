"""Keeps a team's token for the model hub, sealed: the database alone does not reveal it, and no child ever sees it."""

from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.domain.access import Kind, Principal, Verb
from models.domain.errors import Invalid
from models.infra.secrets import seal
from webapp.deps import Deps

HUB_TOKEN = "hub_token"


def set_hub_token(deps: Deps, principal: Principal, token: str) -> None:
    """Replaces the team's token. Raises Forbidden for all but owners."""
    token = token.strip()
    if not token or not token.isascii() or len(token) > 500:
        raise Invalid("That is not a token of the model hub. Paste it as the hub shows it, e.g. hf_...", param="token")
    sealed = seal(deps.secret_key, principal.team, token)
    with deps.database.write() as session:
        store = TeamStore(session, principal)
        store.require(Verb.CREATE, Kind.SECRET, principal.team, store.user, "the team's hub token")
        SystemStore(session).save_secret(principal.team, HUB_TOKEN, sealed, store.user)

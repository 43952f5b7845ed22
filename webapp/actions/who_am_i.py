"""Who the caller is, for `/api/v1/me`."""

from dataclasses import dataclass

from models.db.store.team import TeamStore
from models.domain.access import Principal
from webapp.deps import Deps


@dataclass(frozen=True, kw_only=True)
class Me:
    user_id: str | None
    email: str | None
    team_id: str
    team_name: str
    role: str | None


def who_am_i(deps: Deps, principal: Principal) -> Me:
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        user, team, role = store.me()
        return Me(
            user_id=user.id if user else None,
            email=user.email if user else None,
            team_id=team.id,
            team_name=team.name,
            role=role,
        )

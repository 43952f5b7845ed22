"""What the top bar of every page says: who is here, in which team, and how many jobs wait and run."""

from dataclasses import dataclass

from models.db.store.team import TeamStore
from models.domain.access import Principal
from webapp.deps import Deps


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """`teams` are (id, name) of all teams of the person, for the switch."""

    email: str | None
    team_id: str
    team_name: str
    role: str | None
    is_admin: bool
    teams: tuple[tuple[str, str], ...]
    waiting: int
    running: int


def show_pulse(deps: Deps, principal: Principal) -> Pulse:
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        user, team, role = store.me()
        waiting, running = store.job_counts()
        return Pulse(
            email=user.email if user else None,
            team_id=team.id,
            team_name=team.name,
            role=role,
            is_admin=bool(user and user.is_admin),
            teams=tuple((row.id, row.name) for row in store.my_teams()),
            waiting=waiting,
            running=running,
        )

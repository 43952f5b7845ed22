"""TeamStore: every product query, scoped to the principal's team by construction, each decided by `can`.

Another team's row is absent (NotFound, promise P9); a row of the own team that the role may not touch is
Forbidden. Knows no HTTP and rings no bell: the action does, after the commit.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.db.store.deleting import TeamDeleting
from models.db.store.team_chats import TeamChats
from models.db.store.team_links import TeamLinks
from models.db.store.team_people import TeamPeople
from models.db.store.team_presets import TeamPresets
from models.db.store.team_reports import TeamReports
from models.db.store.team_shelf import TeamShelf
from models.db.store.team_sweeps import TeamSweeps
from models.db.store.team_trackers import TeamTrackers
from models.db.store.team_trainings import TeamTrainings
from models.db.tables import Membership, Team, User
from models.domain.access import Principal


class TeamStore(
    TeamDeleting,
    TeamSweeps,
    TeamReports,
    TeamShelf,
    TeamLinks,
    TeamTrainings,
    TeamPeople,
    TeamChats,
    TeamPresets,
    TeamTrackers,
):
    """One principal's view of the database."""

    def __init__(self, session: Session, principal: Principal) -> None:
        self.session = session
        self.principal = principal

    def me(self) -> tuple[User | None, Team, str | None]:
        """The principal's own person, team and role; a System is nobody."""
        team = self.session.get_one(Team, self.team)
        if self.user is None:
            return None, team, None
        membership = self.session.get(Membership, (self.user, self.team))
        return self.session.get_one(User, self.user), team, membership.role if membership else None

    def my_teams(self) -> list[Team]:
        """All teams of the principal's person, by name: those a sign-in may act in."""
        query = select(Team).join(Membership, Membership.team_id == Team.id).where(Membership.user_id == self.user)
        return list(self.session.scalars(query.order_by(Team.name)))

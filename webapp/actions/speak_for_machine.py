"""The installation itself as a principal: start-up imports, and the command line of who sits at the machine."""

from models.db.store.system import SystemStore
from models.domain.access import System
from models.domain.ids import TeamId
from webapp.deps import Deps


def speak_for_machine(deps: Deps, team: str = "default") -> System:
    """Everything is allowed to it, within `team` and instance-wide. Raises NotFound for an unknown team."""
    with deps.database.read() as session:
        return System(team=TeamId(SystemStore(session).team_named(team).id))

"""Puts a short question before the workers of the lane `light` and waits for its one answer."""

from models.db.store.system import SystemStore
from models.domain.access import Key, Member, Principal
from models.domain.errors import Unavailable
from models.domain.job import Lane
from models.domain.question import Asked
from webapp.deps import Deps

Answer = dict[str, object]


def answer_of(deps: Deps, principal: Principal, asked: Asked) -> Answer:
    """Raises what the worker raised, Unavailable where no worker runs, answers in time or can be reached."""
    with deps.database.read() as session:
        workers = SystemStore(session).workers(deps.settings.lease_seconds)
    if not any(worker.lane == Lane.LIGHT for worker in workers):
        raise Unavailable("No light worker is running, so nothing reads the rows. Start one: `tuneroom worker light`.")
    person = principal.user if isinstance(principal, Member | Key) else None
    return deps.questions.ask(asked, person=person)

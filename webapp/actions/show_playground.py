"""What the Playground starts from: the models a person may talk to, and whether anything would answer."""

from dataclasses import dataclass

from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.domain.access import Principal
from models.domain.job import Lane
from webapp.actions.show_datasets import may_create
from webapp.actions.show_models import ModelSeen, list_models
from webapp.deps import Deps


@dataclass(frozen=True, kw_only=True)
class Playground:
    """`models` as `list_models` orders them; `person` is who asks, `may_add_rows` whether answers may become data."""

    person: str | None
    may_add_rows: bool
    models: tuple[ModelSeen, ...]
    has_worker: bool


def show_playground(deps: Deps, principal: Principal) -> Playground:
    with deps.database.read() as session:
        workers = SystemStore(session).workers(deps.settings.lease_seconds)
        person = TeamStore(session, principal).user
    return Playground(
        person=person,
        may_add_rows=may_create(principal),
        models=tuple(list_models(deps, principal)),
        has_worker=any(worker.lane == Lane.CHAT for worker in workers),
    )

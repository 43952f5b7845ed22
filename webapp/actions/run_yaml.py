"""The settings of a training as YAML: what the Train page and `tuneroom train --local` take to run it again."""

from models.db.store.team import TeamStore
from models.domain.access import Principal
from models.domain.errors import NotFound
from models.domain.job import JobKind
from models.domain.training import TrainingSpec
from webapp.actions.rate_of_rows import as_trained
from webapp.deps import Deps
from webapp.views import train_yaml


def run_yaml(deps: Deps, principal: Principal, job_id: str) -> str:
    """With the names that its base and its files have now; what was deleted stays without one.

    Raises NotFound for what is no training of this team.
    """
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        spec = as_trained(store, TrainingSpec.model_validate(store.job(job_id, kinds=(JobKind.TRAIN,)).spec))
        mixed = [_file_name(store, each.file) for each in spec.data.rows.mixed]
        names = train_yaml.Names(
            base=_base_name(store, spec.base),
            training_file=_file_name(store, spec.data.training_file),
            validation_file=_file_name(store, spec.data.validation_file),
            mixed=tuple(name or "" for name in mixed),
        )
    return train_yaml.write(spec, names)


def _base_name(store: TeamStore, base_id: str) -> str | None:
    try:
        return store.base(base_id).name
    except NotFound:
        return None


def _file_name(store: TeamStore, file_id: str | None) -> str | None:
    origin = store.origin_of(file_id) if file_id else None
    return origin.version.filename if origin and not origin.is_gone else None

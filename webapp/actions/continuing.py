"""A training that goes on from an adapter: which settings it takes over, and which it must not change."""

from models.catalog.continuing import PARAM, check_same_shape, method_of
from models.db.store.team import TeamStore
from models.db.tables import BaseModel
from models.domain.access import Principal, Verb
from models.domain.errors import Code, Invalid, NotFound
from models.domain.ids import AdapterId, BaseId, FileId
from models.domain.training import DataSpec, Quantisation, TrainingSpec
from webapp.deps import Deps


def continued(store: TeamStore, spec: TrainingSpec, base: BaseModel) -> TrainingSpec:
    """The spec with its adapter by id, and with the adapter's own method and quantisation where it says none.

    Raises NotFound, or Invalid where the adapter is of another base or shape; both name `start_adapter`.
    """
    if spec.start_adapter is None:
        return spec
    try:
        adapter = store.adapter(spec.start_adapter, Verb.USE)
    except NotFound as error:
        raise NotFound(error.message, param=PARAM) from None
    if adapter.base_id != base.id:
        raise Invalid(
            f"the adapter {adapter.name} was made for another base model than {base.name}. Choose that base, or "
            "another adapter.",
            code=Code.INVALID_SETTING,
            param=PARAM,
        )
    own = {"method": method_of(adapter.manifest), "quantisation": Quantisation(adapter.quantisation)}
    taken = {name: value for name, value in own.items() if name not in spec.model_fields_set}
    spec = spec.model_copy(update={"start_adapter": AdapterId(adapter.id), **taken})
    check_same_shape(spec.method, adapter.manifest)
    return spec


def settings_to_continue(deps: Deps, principal: Principal, adapter_id: str) -> TrainingSpec:
    """What a form begins with to go on from this adapter: all but the rows. Raises NotFound."""
    with deps.database.read() as session:
        adapter = TeamStore(session, principal).adapter(adapter_id)
        return TrainingSpec(
            base=BaseId(adapter.base_id),
            data=DataSpec(
                training_file=FileId(""), template_arguments=adapter.manifest.get("template_arguments") or {}
            ),
            method=method_of(adapter.manifest),
            quantisation=Quantisation(adapter.quantisation),
            start_adapter=AdapterId(adapter.id),
        )

"""Queues a training: checks what can be known without a GPU, writes the row, rings the lane."""

from pydantic import ValidationError

from models.catalog.method_facts import check_choice
from models.catalog.methods import METHODS
from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import BaseModel
from models.domain.access import Principal, Verb
from models.domain.base_model import Shapes
from models.domain.errors import Code, Invalid, NotFound
from models.domain.ids import BaseId
from models.domain.job import JobKind, Lane
from models.domain.objectives import Objective, misfit
from models.domain.training import MethodChoice, TrainingSpec, optimiser_refusal
from webapp import words
from webapp.actions.continuing import continued
from webapp.actions.note_of_disk import note_of_disk
from webapp.actions.once import made_before, one_create_at_a_time
from webapp.actions.rate_of_rows import kinds_of, with_rate
from webapp.actions.ring import ring
from webapp.actions.show_jobs import JobSeen, see
from webapp.deps import Deps

BROKEN_FILE = {"training_file": Code.INVALID_TRAINING_FILE, "validation_file": Code.INVALID_VALIDATION_FILE}


def start_training(
    deps: Deps,
    principal: Principal,
    spec: TrainingSpec,
    *,
    meta: dict[str, str] | None = None,
    request_hash: str | None = None,
) -> JobSeen:
    """`spec.base` may be a base's id or its public name. A file not checked yet is accepted: the job finds out.

    Raises NotFound (base, file), Invalid (options, a file known to be broken or of rows that the objective cannot
    use), Forbidden. The job is accepted once its row is written; if the bell fails, the sweep rings.
    """
    if not (spec.start_adapter and "method" not in spec.model_fields_set):  # else it is the adapter's own
        spec = spec.model_copy(update={"method": checked_method(spec.method, at="method")})
    with deps.database.write() as session:
        store = TeamStore(session, principal)
        one_create_at_a_time(SystemStore(session), principal)
        if (earlier := made_before(store, request_hash)) is not None:
            return see(store, earlier)
        spec, trainable = checked_training(store, spec)
        _check_optimiser(spec, SystemStore(session), deps.settings.lease_seconds)
        remark = note_of_disk(deps, SystemStore(session), trainable)
        job = store.submit(
            JobKind.TRAIN, spec.model_dump(mode="json"), meta=meta, request_hash=request_hash, remark=remark
        )
        seen = see(store, job)
    ring(deps.broker, Lane.JOBS)
    return seen


def checked_training(store: TeamStore, spec: TrainingSpec) -> tuple[TrainingSpec, int]:
    """The spec with its base by id, and how many parameters it trains. Its method was checked; raises as above."""
    base = _base(store, spec.base)
    spec = continued(store, spec, base)
    shapes = Shapes.model_validate(base.shapes)
    check_choice(spec, shapes)
    trainable = check_targets(spec.method, shapes)
    objective = spec.objective.name
    _check_file(store, "training_file", spec.data.training_file, objective)
    _check_file(store, "validation_file", spec.data.validation_file, objective)
    for place, mixed in enumerate(spec.data.rows.mixed):
        _check_file(store, f"data.rows.mixed.{place}.file", mixed.file, objective)
    return with_rate(store, spec).model_copy(update={"base": BaseId(base.id)}), trainable


def _check_optimiser(spec: TrainingSpec, system: SystemStore, lease_seconds: float) -> None:
    """Raises Invalid where every live worker for runs would refuse it; without one nobody knows yet."""
    workers = [worker for worker in system.workers(lease_seconds) if worker.lane == Lane.JOBS]
    refusals = [optimiser_refusal(spec.schedule.optimiser, worker.device) for worker in workers]
    if refusals and all(refusals):
        raise Invalid(refusals[0] or "", code=Code.INVALID_SETTING, param="schedule.optimiser")


def checked_method(choice: MethodChoice, *, at: str) -> MethodChoice:
    """The choice with every option filled in. `at` is where the caller wrote it, for `param`."""
    method = METHODS.get(choice.name)
    if method is None:
        raise Invalid(
            f"{choice.name[:60]!r} is not a method; the methods are {', '.join(sorted(METHODS))}. Choose one of them.",
            code=Code.INVALID_SETTING,
            param=f"{at}.name",
        )
    try:
        options = method.options.model_validate(choice.options)
    except ValidationError as error:
        raise words.refused_field(error.errors(), f"{at}.options") from None
    return MethodChoice(name=method.name, options=options.model_dump(mode="json"))


def check_targets(choice: MethodChoice, shapes: Shapes) -> int:
    """How many parameters it trains. Raises Invalid where the base has no such layer, before a GPU is waited for."""
    method = METHODS[choice.name]
    return method.cost(shapes, method.options.model_validate(choice.options))


def _base(store: TeamStore, name_or_id: str) -> BaseModel:
    if name_or_id.startswith(("ft:", "adapter-", "merge:", "merge-")):
        raise Invalid(
            f"{name_or_id[:80]!r} is an adapter or a merge; a training starts from a base model. "
            "GET /v1/models lists the bases.",
            param="model",
        )
    return store.base(name_or_id)


def _check_file(store: TeamStore, field: str, file_id: str | None, objective: Objective) -> None:
    if file_id is None:
        return
    try:
        file = store.file(file_id, Verb.USE)
    except NotFound as error:
        raise NotFound(error.message, param=field) from None
    if file.status == "error":
        raise Invalid(
            f"{file.filename} cannot be used: {file.status_details} Correct the file and upload it again.",
            code=BROKEN_FILE.get(field, Code.INVALID_TRAINING_FILE),
            param=field,
        )
    if (held := misfit(kinds_of(file), objective)) is not None:
        raise Invalid(
            f"{file.filename} {held}",
            code=BROKEN_FILE.get(field, Code.INVALID_TRAINING_FILE),
            param=field,
        )

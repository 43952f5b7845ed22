"""Queues a sweep: all of its trainings or none of them, in one transaction."""

from collections.abc import Sequence

from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.store.team_sweeps import NewRun
from models.domain.access import Principal
from models.domain.errors import Invalid
from models.domain.job import Lane
from models.domain.sweeps import Knob, SweepMode
from models.domain.training import TrainingSpec
from webapp.actions.note_of_disk import note_of_disk
from webapp.actions.once import one_create_at_a_time
from webapp.actions.plan_sweep import PlannedRun, of_run, plan_sweep
from webapp.actions.ring import ring
from webapp.actions.start_training import checked_training
from webapp.deps import Deps


def start_sweep(
    deps: Deps,
    principal: Principal,
    spec: TrainingSpec,
    *,
    name: str,
    knobs: Sequence[Knob],
    mode: SweepMode,
    request_hash: str | None = None,
) -> str:
    """The id of the sweep. Every run is checked before the first is queued.

    Raises as `start_training` does; an Invalid names the run, and its knob in `param`.
    """
    planned = plan_sweep(spec, knobs, mode, name)
    with deps.database.write() as session:
        store, system = TeamStore(session, principal), SystemStore(session)
        one_create_at_a_time(system, principal)
        if request_hash is not None and (earlier := store.repeated_sweep(request_hash)) is not None:
            return earlier.id
        runs = [_new_run(deps, store, system, run, knobs) for run in planned]
        told = [knob.model_dump(mode="json") for knob in knobs]
        made = store.add_sweep(name, told, runs, request_hash=request_hash)
        sweep_id = made.id
    for _ in planned:
        ring(deps.broker, Lane.JOBS)
    return sweep_id


def _new_run(deps: Deps, store: TeamStore, system: SystemStore, run: PlannedRun, knobs: Sequence[Knob]) -> NewRun:
    try:
        spec, trainable = checked_training(store, run.spec)
    except Invalid as error:
        raise of_run(error, run.number, run.values, knobs) from None
    remark = note_of_disk(deps, system, trainable)
    return NewRun(spec=spec.model_dump(mode="json"), values=run.values, remark=remark)

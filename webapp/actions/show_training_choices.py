"""What a training can start from, as its team sees it: base models, files, an earlier run's settings."""

from collections.abc import Mapping
from dataclasses import dataclass

from models.db.store.team import TeamStore
from models.db.store.team_trainings import TrainableFile
from models.db.tables import BaseModel
from models.domain.access import Kind, Object, Principal, Verb, can
from models.domain.job import JobKind, JobState
from models.domain.training import TrainingSpec
from webapp.actions.presets import PresetSeen, presets_of
from webapp.actions.rate_of_rows import as_trained, kinds_of
from webapp.deps import Deps

MOST_FILES = 500
RECENT_JOBS = 20


@dataclass(frozen=True, kw_only=True)
class BaseChoice:
    """A base model, as far as the form shows it."""

    id: str
    name: str
    parameters: int
    architecture: str
    context_length: int
    has_chat_template: bool


@dataclass(frozen=True, kw_only=True)
class FileChoice:
    """One version of a dataset. `status` is uploaded (not checked yet), processed or error, with `details`.

    `kinds` counts its usable rows by kind; empty where it is not checked yet.
    """

    id: str
    dataset_id: str
    name: str
    filename: str
    number: int
    is_newest: bool
    is_sample: bool
    status: str
    details: str | None
    format: str | None
    rows: int | None
    usable_rows: int | None
    kinds: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class TrainingChoices:
    """`importing` names base models on their way; `presets` are those that people keep. `may_start` is False for who
    may only look."""

    bases: tuple[BaseChoice, ...]
    files: tuple[FileChoice, ...]
    importing: tuple[str, ...]
    may_start: bool
    presets: tuple[PresetSeen, ...] = ()

    def base(self, name_or_id: str | None) -> BaseChoice | None:
        return next((base for base in self.bases if name_or_id and name_or_id in (base.id, base.name)), None)

    def file(self, file_id: str | None) -> FileChoice | None:
        return next((file for file in self.files if file_id and file.id == file_id), None)

    def preset(self, preset_id: str) -> PresetSeen | None:
        return next((preset for preset in self.presets if preset.id == preset_id), None)

    def file_named(self, filename: str | None) -> FileChoice | None:
        """The newest one of this name."""
        return next((file for file in self.files if filename and filename in (file.filename, file.name)), None)


def show_training_choices(deps: Deps, principal: Principal) -> TrainingChoices:
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        imports = store.jobs(limit=RECENT_JOBS, kinds=(JobKind.ADD_BASE,)).items
        return TrainingChoices(
            bases=tuple(_base(row) for row in store.bases()),
            files=tuple(_file(found) for found in store.trainable_files(MOST_FILES)),
            importing=tuple(
                str(job.spec.get("name")) for job in imports if job.state in (JobState.QUEUED, JobState.RUNNING)
            ),
            presets=tuple(presets_of(store)),
            may_start=can(principal, Verb.CREATE, Object(kind=Kind.JOB, team=store.team, owner=store.user)),
        )


def settings_of_run(deps: Deps, principal: Principal, job_id: str) -> TrainingSpec:
    """The settings that a run was started with. Raises NotFound for what is no training of this team."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        job = store.job(job_id, kinds=(JobKind.TRAIN,))
        return as_trained(store, TrainingSpec.model_validate(job.spec))


def _base(row: BaseModel) -> BaseChoice:
    return BaseChoice(
        id=row.id,
        name=row.name,
        parameters=row.shapes.get("parameters", 0),
        architecture=row.shapes.get("architecture", ""),
        context_length=row.shapes.get("context_length", 0),
        has_chat_template=bool(row.facts.get("chat_template_sha256")),
    )


def _file(found: TrainableFile) -> FileChoice:
    row = found.version
    return FileChoice(
        id=row.id,
        dataset_id=row.dataset_id,
        name=found.dataset_name,
        filename=row.filename,
        number=row.number,
        is_newest=found.is_newest,
        is_sample=row.team_id is None,
        status=row.status,
        details=row.status_details,
        format=row.format,
        rows=row.rows,
        usable_rows=row.usable_rows,
        kinds=kinds_of(row),
    )

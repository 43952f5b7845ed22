"""Runs in words: what one is called, what it is doing, what its settings and its events say. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from pydantic import ValidationError

from models.domain.errors import Code
from models.domain.job import HeldReason, JobKind, JobState, Phase
from models.domain.objectives import OPTIONS_OF, Objective
from models.domain.run import RunRow
from models.domain.training import KeptTogether, TrainingSpec
from webapp.views.fields import in_words
from webapp.views.model_names import short_name
from webapp.views.train_wish import FIELDS

KINDS = {
    JobKind.TRAIN: "Training",
    JobKind.MERGE: "Merge",
    JobKind.ADD_BASE: "Base import",
    JobKind.CHECK_DATA: "Data check",
    JobKind.GATE_DATA: "Search for duplicates",
    JobKind.COUNT_TOKENS: "Token count",
    JobKind.EDIT_DATA: "Edit of rows",
    JobKind.FETCH_DATA: "Dataset from the hub",
    JobKind.TOY: "Self-test",
}
STATES = {
    JobState.QUEUED: "waiting",
    JobState.RUNNING: "running",
    JobState.SUCCEEDED: "done",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}
HELD = {HeldReason.USER: "paused", HeldReason.DISK: "waiting for disk"}
PHASES = {
    Phase.STAGING: "Fetching its files",
    Phase.LOADING: "Loading the base model",
    Phase.PLANNING: "Reading and counting the rows",
    Phase.TRAINING: "Training",
    Phase.EVALUATING: "Measuring on held-out rows",
    Phase.MERGING: "Merging",
    Phase.CHECKING: "Checking the result",
    Phase.CONVERTING: "Converting",
    Phase.SAVING: "Saving",
    Phase.UPLOADING: "Storing the result",
}
ADVICE = {
    Code.OUT_OF_MEMORY: "Choose the preset for small memory, or fewer rows per forward pass, and retry.",
    Code.NOT_FINITE: "Retry with a learning rate a few times lower.",
    Code.NOTHING_LEARNT: "Retry without a learning rate of your own, or with a higher one.",
    Code.WORKER_LOST: "Look at the end of the log below; retry with a smaller batch if memory was short.",
    Code.CHILD_DIED: "Look at the end of the log below; retry with a smaller batch if memory was short.",
    Code.NO_PROGRESS: "Look at the end of the log below, then retry.",
    Code.INTERNAL: "Retry once. If it fails again, show an administrator the end of the log below.",
    Code.INVALID_TRAINING_FILE: "Open the dataset: its report names the rows. Correct them, upload again and retry.",
    Code.INVALID_VALIDATION_FILE: "Open the dataset: its report names the rows. Correct them, upload again and retry.",
}
OTHER_SETTINGS = {  # those that no field of the form has
    "base": "Base model",
    "data.training_file": "Rows",
    "data.validation_file": "Held-out rows",
    "data.rows.mixed": "Mixed in",
    "suffix": "Name",
    "adapter": "Adapter",
    "mode": "Merged onto",
    "storage": "Stored as",
    "source": "From",
    "reference": "Reference",
    "name": "Name",
    "description": "Description",
    "file": "File",
}
OTHER_VALUES = {
    ("mode", "full_precision"): "the base as imported",
    ("mode", "as_tested"): "the weights it was trained on",
    ("source", "hub"): "the model hub",
    ("source", "local"): "a folder",
    ("source", "gguf"): "a GGUF file",
}
FIELD_OF_PATH = {field.path: field for field in FIELDS}
_MOVED = re.compile(r"(\w+) -> (\w+)(?:: (.*))?", re.DOTALL)


def name_of(row: RunRow) -> str:
    """What people called it, else what it does."""
    spec = row.spec
    match row.kind:
        case JobKind.TRAIN:
            return spec.get("suffix") or f"Training of {row.base_name or 'a base model'}"
        case JobKind.MERGE:
            return f"Merge of {short_name(row.adapter_name) if row.adapter_name else 'an adapter'}"
        case JobKind.ADD_BASE:
            return f"Import of {spec.get('name') or 'a base model'}"
        case JobKind.CHECK_DATA:
            return f"Check of {row.dataset_name or 'a dataset'}"
        case JobKind.FETCH_DATA:
            return f"Download of {spec.get('name') or 'a dataset'}"
        case _:
            return KINDS.get(JobKind(row.kind), row.kind)


def state_word(row: RunRow) -> str:
    """The chip's word: what holds a waiting run, and that a running one was asked to end."""
    if row.state == JobState.QUEUED and row.held_reason:
        return HELD.get(HeldReason(row.held_reason), row.held_reason)
    if row.state == JobState.RUNNING and row.cancel_requested_at is not None:
        return "stopping"
    return STATES[JobState(row.state)]


def phase_word(row: RunRow, place: int | None = None) -> str:
    """What it is doing now, or why it is not."""
    match row.state:
        case JobState.QUEUED if row.held_reason == HeldReason.DISK:
            return "Waiting until the worker's disk has room; it goes on by itself"
        case JobState.QUEUED if row.held_reason:
            return "Paused"
        case JobState.QUEUED:
            return place_word(place) if place else "Waiting for a worker"
        case JobState.RUNNING if row.cancel_requested_at is not None:
            keeps = row.cancel_wish == "keep"
            return "Saving the adapter so far, then stopping" if keeps else "Stopping at its next step"
        case JobState.RUNNING:
            return PHASES.get(Phase(row.phase), row.phase) if row.phase else "Starting"
        case _:
            return ""


def place_word(place: int) -> str:
    return "Next in the queue" if place == 1 else f"{place - 1} before it in the queue"


def advice(error: Mapping[str, Any] | None) -> str | None:
    """What to do, where the sentence of the error does not say it well enough by itself."""
    if error is None or error.get("code") not in list(Code):
        return None
    return ADVICE.get(Code(error["code"]))


def settings_of(row: RunRow, spec: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Every setting as (what, value) in the words of the form; the method's options among them, and no setting that
    the run does not look at.

    `spec` stands in for the row's own where it was made whole.
    """
    named = {"base": row.base_name, "data.training_file": row.dataset_name, "file": row.dataset_name}
    named["adapter"] = short_name(row.adapter_name) if row.adapter_name else None
    told: dict[str, str] = {}
    for path, value in _in_use(_shown_spec(row) if spec is None else spec):
        field = FIELD_OF_PATH.get(path)
        if field is not None and row.kind == JobKind.TRAIN:
            told[field.title] = in_words(field, value)
        elif path == "data.rows.mixed" and value:
            told[title_of(path)] = ", ".join(f"{each['file']} (weight {each['weight']:g})" for each in value)
        elif value not in (None, "", {}, []):
            told[title_of(path)] = named.get(path) or OTHER_VALUES.get((path, str(value)), str(value))
    return told


def differing(rows: Sequence[RunRow]) -> list[tuple[str, list[str]]]:
    """The settings that are not the same in all, with each run's value; "–" where a run has none. Names are not told.

    Two versions of a dataset differ under one name: then the end of each id stands beside it.
    """
    specs = [_whole_spec(row) for row in rows]
    told = [settings_of(row, spec) for row, spec in zip(rows, specs, strict=True)]
    raw = [{title_of_setting(path): value for path, value in _in_use(spec)} for spec in specs]
    titles = list(dict.fromkeys(title for settings in [*told, *raw] for title in settings))
    found = []
    for title in titles:
        values = [settings.get(title, "–") for settings in told]
        ids = [one.get(title) for one in raw]
        if len(set(values)) == 1 and title != OTHER_SETTINGS["suffix"] and any(one != ids[0] for one in ids):
            values = [f"{value} ({str(one)[-4:]})" for value, one in zip(values, ids, strict=True)]
        if len(set(values)) > 1 and title != OTHER_SETTINGS["suffix"]:
            found.append((title, values))
    return found


def title_of_setting(path: str) -> str:
    """As the form calls it, else the path's last part in words."""
    return FIELD_OF_PATH[path].title if path in FIELD_OF_PATH else title_of(path)


def title_of(path: str) -> str:
    last = path.rpartition(".")[2].replace("_", " ")
    return OTHER_SETTINGS.get(path, last[:1].upper() + last[1:])


def event_words(type_: str, message: str, data: Mapping[str, Any] | None) -> str:
    """An event as a sentence. What the worker or the child said in sentences already stays as it is."""
    told = data or {}
    match type_:
        case "moved":
            return _moved(message, told)
        case "phase":
            name = message.removesuffix(" began")
            return PHASES[Phase(name)] if name in list(Phase) else message
        case "checkpoint":
            return message[:1].upper() + message[1:]
        case _:
            if message.startswith("cancel asked"):
                keeps = told.get("wish") == "keep"
                return "Asked to stop and keep the adapter so far" if keeps else "Asked to stop"
            return message[:1].upper() + message[1:]


def _moved(message: str, told: Mapping[str, Any]) -> str:
    found = _MOVED.fullmatch(message)
    before, after, reason = found.groups() if found else (None, None, None)
    if after is None:
        return message
    attempts = told.get("attempts") or 0
    match (before, after):
        case ("created", _):
            return "Queued"
        case (_, "running"):
            return f"Started again, attempt {attempts + 1}" if attempts else "Taken by a worker"
        case ("running", "queued"):
            return f"Back in the queue: {reason}" if reason else "Back in the queue"
        case (_, "succeeded"):
            return "Done"
        case (_, "failed"):
            return f"Failed: {reason}" if reason else "Failed"
        case (_, "cancelled"):
            return "Cancelled"
        case _:
            return message


def _shown_spec(row: RunRow) -> dict[str, Any]:
    """A base imported from this machine shows its last name, not where it lay."""
    if row.kind == JobKind.ADD_BASE and row.spec.get("source") != "hub":
        return row.spec | {"reference": PurePath(str(row.spec.get("reference", ""))).name}
    return row.spec


def _whole_spec(row: RunRow) -> dict[str, Any]:
    """With the defaults of settings that did not exist yet when it was stored: it trained as they say."""
    if row.kind != JobKind.TRAIN:
        return _shown_spec(row)
    try:
        return TrainingSpec.model_validate(row.spec).model_dump(mode="json")
    except ValidationError:
        return row.spec


def is_in_use(path: str, spec: Mapping[str, Any]) -> bool:
    """Whether a run of these settings looks at the one at `path`: options of another objective, a share to hold back
    beside a file of its own and a column where rows stay together by something else are only there."""
    data = spec.get("data") or {}
    if path.startswith("objective.") and path != "objective.name":
        name = (spec.get("objective") or {}).get("name", Objective.SUPERVISED)
        return name in set(Objective) and path.rpartition(".")[2] in OPTIONS_OF[Objective(name)]
    if path == "data.validation_fraction":
        return not data.get("validation_file")
    if path == "data.rows.column":
        return (data.get("rows") or {}).get("kept_together") == KeptTogether.COLUMN
    return True


def _in_use(spec: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    return ((path, value) for path, value in _flatten(spec) if is_in_use(path, spec))


def _flatten(spec: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in spec.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{above}{name}.")
        else:
            yield above + name, value

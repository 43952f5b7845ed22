"""OpenAI's job, event and checkpoint objects, made of our rows."""

from typing import Any

from models.domain.errors import Code, Invalid
from models.domain.job import JobState
from models.domain.objectives import Objective
from models.domain.training import TrainingSpec
from webapp.actions.show_jobs import CheckpointSeen, Event, JobSeen
from webapp.routes.asking import unix

PARAM_OF_CODE = {
    Code.INVALID_TRAINING_FILE: "training_file",
    Code.INVALID_VALIDATION_FILE: "validation_file",
    Code.INVALID_FILE: "training_file",
}


def job_object(seen: JobSeen) -> dict[str, Any]:
    """Every key the official client's type requires, and ours in `tuneroom`."""
    job = seen.job
    spec = TrainingSpec.model_validate(job.spec)
    hyperparameters = {
        "n_epochs": spec.schedule.epochs,
        "batch_size": spec.schedule.batch_rows,
        "learning_rate_multiplier": spec.schedule.learning_rate_multiplier,
    }
    objective = spec.objective.name
    wishes = hyperparameters if objective is Objective.SUPERVISED else hyperparameters | {"beta": spec.objective.beta}
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": unix(job.created_at),
        "finished_at": unix(job.finished_at),
        "model": seen.base_name or spec.base,
        "fine_tuned_model": seen.adapter.name if seen.adapter else None,
        "organization_id": job.team_id,
        "status": "validating_files" if seen.is_validating else job.state,
        "hyperparameters": hyperparameters,
        "method": {"type": objective, objective: {"hyperparameters": wishes}},
        "training_file": spec.data.training_file,
        "validation_file": spec.data.validation_file,
        "result_files": [],
        "trained_tokens": job.trained_tokens,
        "seed": spec.schedule.seed,
        "error": error_object(job.error),
        "estimated_finish": estimated_finish(seen),
        "integrations": None,
        "metadata": job.meta,
        "user_provided_suffix": spec.suffix,
        "tuneroom": {
            "spec": spec.model_dump(mode="json"),
            "adapter": seen.adapter.id if seen.adapter else None,
            "is_partial": seen.adapter.is_partial if seen.adapter else None,
            "phase": job.phase,
            "progress": progress_object(seen),
            "cancel_requested_at": unix(job.cancel_requested_at),
            "held_reason": job.held_reason,
            "attempts": job.attempts,
        },
    }


def error_object(error: dict[str, Any] | None) -> dict[str, Any] | None:
    """Code, sentence and field. Other facts stay inside: they may name files of this machine."""
    if error is None:
        return None
    code = error["code"]
    param = error.get("facts", {}).get("param") or PARAM_OF_CODE.get(code)
    return {"code": code, "message": error["message"], "param": param}


def progress_object(seen: JobSeen) -> dict[str, Any]:
    return {"done": seen.job.done, "total": seen.job.total, "unit": seen.job.unit}


def estimated_finish(seen: JobSeen) -> int | None:
    """As fast as until now. None while there is nothing to go by."""
    job = seen.job
    if job.state != JobState.RUNNING or not job.done or not job.total or job.started_at is None:
        return None
    elapsed_seconds = (seen.seen_at - job.started_at).total_seconds()
    return int(job.started_at.timestamp() + elapsed_seconds * job.total / job.done)


def event_object(event: Event) -> dict[str, Any]:
    return {
        "id": f"ftevent-{event.id}",
        "object": "fine_tuning.job.event",
        "created_at": unix(event.at),
        "level": event.level,
        "message": event.message,
        "type": "message",
        "data": (event.data or {}) | {"kind": event.type},
    }


def checkpoint_object(seen: CheckpointSeen) -> dict[str, Any]:
    row = seen.checkpoint
    metrics = {"step": row.step, "train_loss": seen.train_loss, "full_valid_loss": seen.eval_loss}
    return {
        "id": f"ftckpt_{row.job_id.split('-', 1)[1]}-{row.step}",
        "object": "fine_tuning.job.checkpoint",
        "created_at": unix(row.created_at),
        "fine_tuning_job_id": row.job_id,
        "fine_tuned_model_checkpoint": seen.model_name,
        "step_number": row.step,
        "metrics": {name: value for name, value in metrics.items() if value is not None},
    }


def number_of(after: str | None, prefix: str, most: int = 2**63 - 1) -> int | None:
    """The number at the end of an event's or a checkpoint's id. Raises Invalid for what is not such an id."""
    if after is None:
        return None
    digits = after.rsplit("-", 1)[-1]
    if not after.startswith(prefix) or not digits.isascii() or not digits.isdecimal() or int(digits[:20]) > most:
        raise Invalid(f"after is {after[:60]!r}; an id from an earlier page was needed.", param="after")
    return int(digits)

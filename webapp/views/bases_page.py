"""Base models as HTML: the form that adds one, the imports on their way, the list. Pure."""

from typing import Any

from markupsafe import Markup

from models.catalog.sources import SOURCES
from models.domain.job import JobState, Phase
from webapp.views.markup import number, render, size

PHASES = {
    Phase.STAGING: "fetching it",
    Phase.LOADING: "reading it",
    Phase.CONVERTING: "converting it",
    Phase.CHECKING: "checking it",
    Phase.SAVING: "saving it",
    Phase.UPLOADING: "storing it",
}
LOOKS = {
    JobState.QUEUED: ("queued", "○", "waiting"),
    JobState.RUNNING: ("running", "◐", "importing"),
    JobState.FAILED: ("failed", "✕", "failed"),
}


def bases_form(page: Any) -> Markup:
    """`page` as the action `show_bases` returns it."""
    return render(
        "bases_form.html", may_manage=page.may_manage, is_offline=page.is_offline, administrators=page.administrators
    )


def bases_list(page: Any) -> Markup:
    return render(
        "bases_list.html",
        bases=[_base(seen) for seen in page.bases],
        imports=[_import(seen) for seen in page.imports],
        may_manage=page.may_manage,
        may_train=page.may_train,
    )


def _base(seen: Any) -> dict[str, Any]:
    row = seen.row
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "parameters": row.shapes.get("parameters"),
        "architecture": str(row.shapes.get("architecture") or "–").removesuffix("ForCausalLM"),
        "context": row.shapes.get("context_length"),
        "size": row.size,
        "licence": row.licence,
        "reference": seen.reference,
        "source": SOURCES[row.source].title if row.source in SOURCES else row.source,
        "revision": row.revision,
        "has_template": bool(row.facts.get("chat_template")),
        "adapters": seen.adapters,
        "used_words": _used(seen.adapters),
    }


def _used(adapters: int) -> str:
    return f", used by {number(adapters)} adapter{'' if adapters == 1 else 's'} of your team" if adapters else ""


def _import(seen: Any) -> dict[str, Any]:
    job = seen.job
    look, shape, word = LOOKS[JobState(job.state)]
    return {
        "id": job.id,
        "name": seen.name,
        "look": look,
        "shape": shape,
        "word": word,
        "is_live": not JobState(job.state).is_terminal,
        "percent": None if seen.share is None else int(seen.share * 100),
        "told": " · ".join(part for part in (seen.reference, _doing(job), _amount(job)) if part),
        "sentence": seen.sentence,
    }


def _doing(job: Any) -> str:
    return PHASES.get(job.phase, "") if job.state == JobState.RUNNING else ""


def _amount(job: Any) -> str:
    if job.state != JobState.RUNNING or not job.total:
        return ""
    if job.unit == "bytes":
        return f"{size(job.done or 0)} of {size(job.total)}"
    return f"{number(job.done or 0)} of {number(job.total)} {job.unit or ''}".strip()

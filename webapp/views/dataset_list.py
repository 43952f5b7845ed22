"""The list of datasets, and the zone that takes files, as HTML. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from models.catalog.containers import ENDINGS
from models.domain.dataset import CheckState
from models.domain.job import JobKind, JobState
from models.samples import SAMPLES
from webapp.views.dataset_words import check_chip, format_title
from webapp.views.markup import render, size

FORMATS_HINT = (
    "Conversations, questions with answers, answers to compare, or plain text: JSONL, JSON, CSV, TSV or Parquet."
)


WORK = {JobKind.GATE_DATA: "looking for duplicates", JobKind.COUNT_TOKENS: "counting tokens"}


def zone(
    *,
    limit_bytes: int,
    may_upload: bool,
    then: str,
    title: str,
    heading: str = "",
    dataset_id: str = "",
    refusal: str = "",
    is_primary: bool = True,
    may_fetch: bool = False,
) -> Markup:
    """Takes files by drop and by button; `then` is clicked when one has arrived."""
    return render(
        "dataset_zone.html", limit_bytes=limit_bytes, may_upload=may_upload, then=then, title=title, heading=heading,
        dataset_id=dataset_id, refusal=refusal, hint=FORMATS_HINT, is_primary=is_primary, endings=ENDINGS,
        may_fetch=may_fetch,
    )  # fmt: skip


def dataset_list(
    seen: Sequence[Any],
    *,
    total: int,
    words: str,
    page: int,
    pages: int,
    may_upload: bool,
    may_train: bool,
    jobs: Sequence[Any] = (),
) -> Markup:
    """`seen` as the action `show_datasets` returns them; `jobs` are those of data that wait, run or have failed."""
    work = {job.spec["file"]: work_words(job) for job in jobs if job.kind in WORK and is_moving(job)}
    return render(
        "dataset_list.html",
        lines=[_line(each, may_train, work) for each in seen],
        fetches=[_fetch(job) for job in jobs if job.kind == JobKind.FETCH_DATA],
        has_own=any(not each.is_sample for each in seen),
        total=total,
        words=words,
        page=page,
        pages=pages,
        may_upload=may_upload,
    )


def is_moving(job: Any) -> bool:
    return not JobState(job.state).is_terminal


def work_words(job: Any) -> str:
    """ "looking for duplicates, 40 %" """
    words = WORK[job.kind]
    if job.state == JobState.QUEUED:
        return f"{words}: waiting"
    return f"{words}, {job.done / job.total:.0%} ...".replace("%", " %") if job.total else f"{words} ..."


def _fetch(job: Any) -> dict[str, Any]:
    """A download from the hub on its way, or one that failed lately."""
    error = (job.error or {}).get("message") if job.state == JobState.FAILED else None
    share = min(1.0, (job.done or 0) / job.total) if job.total else None
    amount = f"{size(job.done)} of {size(job.total)}" if job.total else ""
    return {
        "id": job.id,
        "name": job.spec["name"],
        "reference": job.spec["reference"],
        "split": job.spec["split"],
        "state": job.state,
        "share": share,
        "told": "waiting for a free worker" if job.state == JobState.QUEUED else amount or "asking the hub ...",
        "error": error,
    }


def _line(seen: Any, may_train: bool, work: Mapping[str, str]) -> dict[str, Any]:
    version, check = seen.newest.version, seen.newest.check
    return {
        "id": seen.dataset.id,
        "name": seen.dataset.name,
        "is_sample": seen.is_sample,
        "about": _about(seen),
        "version": version,
        "chip": check_chip(check, version.rows, version.usable_rows),
        "href": f"/dataset?id={seen.dataset.id}&tab=report"
        if check.state in (CheckState.WITH_PROBLEMS, CheckState.UNUSABLE, CheckState.NOT_CHECKED)
        else None,
        "work": work.get(version.id),
        "runs": seen.runs,
        "train": may_train and check.state.is_usable,
    }


def _about(seen: Any) -> str:
    if seen.is_sample:
        return next((sample.description for sample in SAMPLES if sample.filename == seen.dataset.name), "")
    parts = [format_title(seen.newest.version.format), (seen.maker or "").split("@")[0]]
    if seen.versions > 1:
        parts.append(f"version {seen.newest.version.number}")
    return " · ".join(part for part in parts if part)

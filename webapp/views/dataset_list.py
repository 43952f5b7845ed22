"""The list of datasets, and the zone that takes files, as HTML. Pure."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from models.domain.dataset import CheckState
from models.samples import SAMPLES
from webapp.views.dataset_words import check_chip, format_title
from webapp.views.markup import render

FORMATS_HINT = "One JSON object a line: conversations (messages), Alpaca, prompt and completion, or plain text."


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
) -> Markup:
    """Takes files by drop and by button; `then` is clicked when one has arrived."""
    return render(
        "dataset_zone.html", limit_bytes=limit_bytes, may_upload=may_upload, then=then, title=title, heading=heading,
        dataset_id=dataset_id, refusal=refusal, hint=FORMATS_HINT, is_primary=is_primary,
    )  # fmt: skip


def dataset_list(
    seen: Sequence[Any], *, total: int, words: str, page: int, pages: int, may_upload: bool, may_train: bool
) -> Markup:
    """`seen` as the action `show_datasets` returns them."""
    return render(
        "dataset_list.html",
        lines=[_line(each, may_train) for each in seen],
        has_own=any(not each.is_sample for each in seen),
        total=total,
        words=words,
        page=page,
        pages=pages,
        may_upload=may_upload,
    )


def _line(seen: Any, may_train: bool) -> dict[str, Any]:
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

"""One dataset as HTML: head, tabs, and what the open tab shows. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from models.samples import SAMPLES
from webapp.views.dataset_words import (
    check_chip,
    format_title,
    parts_of,
    preview,
    problem_sentence,
    problem_title,
    size_words,
)
from webapp.views.markup import number, render

TABS = ("rows", "report", "versions", "used")
MOST_RUNS = 100


def dataset_page(page: Any, shown: Any, tab: str, part: Markup, *, is_row: bool = False) -> Markup:
    """`page` as the action `show_dataset` returns it, `shown` the version that is looked at."""
    version, dataset = shown.version, page.dataset
    return render(
        "dataset_page.html",
        id=dataset.id,
        name=dataset.name,
        is_sample=page.is_sample,
        about=_about(page),
        version=version,
        newest=page.versions[0].version.number,
        older=version.number != page.versions[0].version.number,
        chip=_chip(shown),
        sentence=shown.check.sentence,
        format=format_title(version.format),
        maker=shown.maker,
        may_train=page.may_train and shown.check.state.is_usable,
        may_delete=page.may_delete,
        used_words=used_words(len(page.runs)),
        tab=tab,
        tabs=[
            ("rows", "Rows", version.rows),
            ("report", "Report", shown.bad_rows or None),
            ("versions", "Versions", len(page.versions)),
            ("used", "Used by", len(page.runs)),
        ],
        part=part,
        is_row=is_row,
    )


def used_words(runs: int) -> str:
    """For the question before a deletion: ", used by 3 runs"."""
    return f", used by {number(runs)} run{'' if runs == 1 else 's'}" if runs else ""


def rows_part(
    dataset_id: str, rows: Any, *, begin: int, per_page: int, words: str, total: int | None, error: str | None = None
) -> Markup:
    """`rows` as the reader returns them; None with an `error`."""
    found = [] if rows is None else rows.rows
    return render(
        "dataset_rows.html",
        here=address(dataset_id),
        rows=[_row(row) for row in found],
        begin=begin,
        before=begin - per_page,
        following=None if rows is None else rows.following,
        is_cut=rows is not None and rows.is_cut,
        words=words,
        told=_told(rows, total, words) if rows is not None else "",
        error=error,
    )


def row_part(rows: Any, *, asked: int) -> Markup:
    """One row in full; where the asked number is a blank line, the next row."""
    row = rows.rows[0] if rows.rows else None
    parts, is_cut = parts_of(row.example) if row and row.example else ([], False)
    return render(
        "dataset_row.html",
        number=row.number if row else asked,
        following=rows.following if row else None,
        is_finding=is_finding(rows),
        problem=problem_sentence(row.problem) if row and row.problem else None,
        parts=parts,
        is_cut=is_cut,
        raw=row.raw if row else "",
    )


def is_finding(rows: Any) -> bool:
    """The time was up on the way to the row that was asked for: ask again, and it goes on from there."""
    return rows.is_cut and not rows.rows


def report_part(dataset_id: str, shown: Any) -> Markup:
    version, report = shown.version, shown.version.report or {}
    is_checked = version.status != "uploaded"
    share = (version.usable_rows or 0) / version.rows if version.rows else None
    confidence = report.get("confidence")
    return render(
        "dataset_report.html",
        here=address(dataset_id),
        is_checked=is_checked,
        is_moving=shown.check.state.is_moving,
        version=version,
        share=_percent(share),
        confidence=_percent(confidence) if isinstance(confidence, float) and confidence < 1 else None,
        format=format_title(version.format),
        problems=[_problem(problem) for problem in report.get("problems", [])],
    )


def versions_part(page: Any) -> Markup:
    versions = [
        {
            "version": seen.version,
            "maker": seen.maker,
            "chip": _chip(seen),
            "is_usable": seen.check.state.is_usable,
        }
        for seen in page.versions
    ]
    return render("dataset_versions.html", id=page.dataset.id, versions=versions, may_train=page.may_train)


def used_part(page: Any) -> Markup:
    runs = [
        {
            "id": run.job.id,
            "name": run.job.spec.get("suffix") or f"{run.base_name or 'Run'} {run.job.id[-6:]}",
            "state": run.job.state,
            "base": run.base_name,
            "versions": ", ".join(str(each) for each in run.versions),
            "created_at": run.job.created_at,
        }
        for run in page.runs[:MOST_RUNS]
    ]
    newest = page.versions[0]
    return render(
        "dataset_used.html",
        runs=runs,
        more=max(0, len(page.runs) - MOST_RUNS),
        may_train=page.may_train and newest.check.state.is_usable,
        file_id=newest.version.id,
    )


def gone(sentence: str) -> Markup:
    return render("dataset_gone.html", sentence=sentence)


def address(dataset_id: str, **also: str) -> str:
    return "/dataset?" + urlencode({"id": dataset_id} | also)


def _chip(seen: Any) -> Any:
    return check_chip(seen.check, seen.version.rows, seen.version.usable_rows)


def _about(page: Any) -> str:
    if not page.is_sample:
        return ""
    return next((sample.description for sample in SAMPLES if sample.filename == page.dataset.name), "")


def _row(row: Any) -> Mapping[str, Any]:
    return {
        "number": row.number,
        "preview": preview(row.example) if row.example else [],
        "size": size_words(row.example) if row.example else "",
        "problem": problem_sentence(row.problem) if row.problem else None,
        "raw": row.raw[:220],
    }


def _told(rows: Any, total: int | None, words: str) -> str:
    """Which rows these are, of how many; for a search how far it has come."""
    numbers = [row.number for row in rows.rows]
    if words:
        found = f"{len(numbers)} found" if numbers else "none found"
        if not rows.following:
            return found
        return f"{found} up to row {number(rows.following - 1)}{_of(total)}"
    return f"rows {number(numbers[0])} to {number(numbers[-1])}{_of(total)}" if numbers else ""


def _of(total: int | None) -> str:
    return "" if total is None else f" of {number(total)}"


def _problem(told: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "kind": told["kind"],
        "title": problem_title(told["kind"]),
        "count": told["count"],
        "first": told["first"],
    }


def _percent(share: float | None) -> str | None:
    """Never "100 %" while something is missing."""
    if share is None:
        return None
    return f"{int(share * 1000) / 10:g} %"


def tab_named(told: str) -> str:
    return told if told in TABS else TABS[0]


def moving(versions: Sequence[Any]) -> bool:
    return any(seen.check.state.is_moving for seen in versions)

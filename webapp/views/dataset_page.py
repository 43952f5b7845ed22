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
    size_words,
)
from webapp.views.markup import number, render

TABS = ("rows", "preview", "report", "versions", "used")
MOST_RUNS = 100


def dataset_page(page: Any, shown: Any, tab: str, part: Markup, *, is_row: bool = False) -> Markup:
    """`page` as the action `show_dataset` returns it, `shown` the version that is looked at.

    Beside the report what is wrong is said in short: the report says the rest.
    """
    version, dataset = shown.version, page.dataset
    return render(
        "dataset_page.html",
        id=dataset.id,
        name=dataset.name,
        is_sample=page.is_sample,
        about=_about(page),
        version=version,
        newest=page.versions[0].version.number,
        parts=files_of(version),
        older=version.number != page.versions[0].version.number,
        chip=_chip(shown),
        sentence=begun(shown.check.sentence, is_short=tab == "report"),
        format=format_title(version.format),
        maker=shown.maker,
        may_train=page.may_train and shown.check.state.is_usable,
        may_delete=page.may_delete,
        used_words=used_words(len(page.runs)),
        tab=tab,
        tabs=[
            ("rows", "Rows", version.rows),
            ("preview", "Preview", None),
            ("report", "Report", shown.bad_rows or None),
            ("versions", "Versions", len(page.versions)),
            ("used", "Used by", len(page.runs)),
        ],
        part=part,
        is_row=is_row,
    )


def begun(sentence: str | None, *, is_short: bool = False) -> str | None:
    """With a capital letter, which messages of a check may lack; in short only as far as its first full stop."""
    if not sentence:
        return None
    shown = sentence.partition(". ")[0].rstrip(".") + "." if is_short else sentence
    return shown[:1].upper() + shown[1:]


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


def row_part(rows: Any, *, asked: int, page: Any, shown: Any, is_edited: bool = False) -> Markup:
    """One row in full, or as fields to edit; where the asked number is a blank line, the next row."""
    row = rows.rows[0] if rows.rows else None
    parts, is_cut = parts_of(row.example) if row and row.example else ([], False)
    why_not = _why_not_edited(page, shown)
    return render(
        "dataset_row.html",
        dataset_id=page.dataset.id,
        file_id=shown.version.id,
        next_version=page.versions[0].version.number + 1,
        may_edit=not why_not and row is not None,
        why_not=why_not,
        is_edited=is_edited and not why_not and row is not None,
        is_usable=row is not None and row.example is not None,
        facts={
            "example": row.example.model_dump(mode="json", exclude_defaults=True) | {"kind": row.example.kind}
            if row and row.example
            else None,
            "raw": row.raw if row else "",
        },
        number=row.number if row else asked,
        following=rows.following if row else None,
        is_finding=is_finding(rows),
        problem=problem_sentence(row.problem) if row and row.problem else None,
        parts=parts,
        is_cut=is_cut,
        raw=row.raw if row else "",
    )


def _why_not_edited(page: Any, shown: Any) -> str:
    if page.is_sample:
        return "A sample cannot be edited. Download it and upload it as a dataset of your own, which can."
    if not page.may_add:
        return "Only its maker and the team's owners edit this dataset."
    newest = page.versions[0].version
    if shown.version.id != newest.id:
        return f"Rows are edited in the newest version, {newest.number}: what was changed there would be lost."
    return ""


def is_finding(rows: Any) -> bool:
    """The time was up on the way to the row that was asked for: ask again, and it goes on from there."""
    return rows.is_cut and not rows.rows


def versions_part(page: Any, before: int | None = None, after: int | None = None) -> Markup:
    """`before` and `after` are numbers of versions that somebody asked to compare."""
    versions = [
        {
            "version": seen.version,
            "maker": seen.maker,
            "chip": _chip(seen),
            "about": _version_about(seen.version, page.versions),
            "is_usable": seen.check.state.is_usable,
            "parts": files_of(seen.version),
        }
        for seen in page.versions
    ]
    comparable = [seen.version for seen in page.versions if seen.check.state.is_usable]
    newest = [version.number for version in comparable[:2]]
    return render(
        "dataset_versions.html",
        id=page.dataset.id,
        name=page.dataset.name,
        versions=versions,
        may_train=page.may_train,
        may_delete=page.may_delete,
        comparable=comparable,
        is_asked=before is not None and after is not None,
        before=before or (newest[-1] if newest else None),
        after=after or (newest[0] if newest else None),
    )


def files_of(version: Any) -> list[str]:
    """The names of a version's files where it was made of several; empty for one."""
    names = [part["filename"] for part in (version.report or {}).get("parts", ())]
    return names if len(names) > 1 else []


def _version_about(version: Any, versions: Sequence[Any]) -> str:
    """Where a version came from, in few words: "row 4 corrected · from version 2"."""
    number_of = {each.version.id: each.version.number for each in versions}
    source = version.source or {}
    parts = [version.note or ""]
    if version.made_from in number_of:
        parts.append(f"from version {number_of[version.made_from]}")
    if source.get("reference"):
        fetched = " · ".join(str(source[key]) for key in ("revision", "split") if source.get(key))
        parts.append(f"{source['reference']}{f' ({fetched})' if fetched else ''}")
    return " · ".join(part for part in parts if part)


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


def tab_named(told: str) -> str:
    return told if told in TABS else TABS[0]


def moving(versions: Sequence[Any]) -> bool:
    return any(seen.check.state.is_moving for seen in versions)

"""The page of one adapter or one merge, part by part, as HTML. Knows facts, no database and no rights."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from markupsafe import Markup

from models.domain.job import TERMINAL, JobState
from webapp.views.adapter_words import merging_in_words, mode_in_words, pretty, report_in_words, snippet
from webapp.views.markup import render
from webapp.views.model_names import short_name
from webapp.views.run_words import STATES


def head(page: Any, *, is_merge: bool) -> Markup:
    """`page` is what `describe_adapter` or `describe_merge` found, here and below."""
    return render(
        "adapter_head.html",
        page=page,
        is_merge=is_merge,
        is_partial=not is_merge and page.is_partial,
        short=short_name(page.name),
        question=_question(page, is_merge),
    )


def facts(page: Any, *, is_merge: bool) -> Markup:
    return render(
        "adapter_facts.html",
        page=page,
        is_merge=is_merge,
        mode=mode_in_words(page.mode) if is_merge else None,
        report=report_in_words(page.report) if is_merge else None,
        lineage=_steps(page, () if is_merge else page.merges),
        trained_share=None if is_merge else _share(page.trained_parameters, page.base_parameters),
    )


def merging(page: Any) -> Markup:
    job = page.merging
    if job is None:
        return Markup("")
    return render(
        "adapter_merging.html",
        job=job,
        short=short_name(page.name),
        now="Cancelling" if job.is_cancelling and is_moving(job) else merging_in_words(job.state, job.phase),
        chip_word=STATES[JobState(job.state)],
        is_moving=is_moving(job),
        share=job.done / job.total if job.total and job.done is not None else None,
        mode=mode_in_words(job.mode),
        report=report_in_words(job.report),
    )


def is_moving(job: Any) -> bool:
    return job is not None and JobState(job.state) not in TERMINAL


def share(address: str) -> Markup:
    return render("adapter_share.html", address=address)


def links(found: Sequence[Any]) -> Markup:
    return render("adapter_links.html", links=found)


def made_link(url: str, expires_at: datetime) -> Markup:
    return render("adapter_made_link.html", url=url, expires_at=expires_at)


def below(page: Any, base_url: str, *, is_merge: bool) -> Markup:
    return render(
        "adapter_below.html",
        snippet=snippet(base_url, page.name) if page.may_chat else None,
        manifest=None if is_merge else pretty(page.manifest),
        run=None if is_merge else page.run,
    )


def chat(page: Any, who: str) -> Markup:
    """`who` keeps one person's conversation from the next one's at the same browser."""
    return render("adapter_chat.html", name=page.name, keep=f"{page.id} {who}") if page.may_chat else Markup("")


def problem(sentence: str | None) -> Markup:
    """Stands beside the field that caused it."""
    return render("field_problem.html", sentence=sentence)


def gone() -> Markup:
    sentence = "There is no such adapter or merge in this team. It may have been deleted, or belong to another team."
    return render("adapter_gone.html", sentence=sentence)


def _question(page: Any, is_merge: bool) -> str:
    """Names the thing, and what else ends or stays."""
    question = f"Delete {'merge' if is_merge else 'adapter'} {short_name(page.name)}?"
    if is_merge:
        return f"{question} Its adapter stays."
    if page.links:
        count = len(page.links)
        question += f" {count} {'link to it stops' if count == 1 else 'links to it stop'} working."
    if page.merges:
        count = len(page.merges)
        question += f" {count} {'merge made from it stays' if count == 1 else 'merges made from it stay'}."
    return question


def _share(part: int | None, whole: int | None) -> str | None:
    if not part or not whole:
        return None
    share = 100 * part / whole
    return f"{share:.1f} %" if share >= 1 else f"{share:.2g} %"


def _steps(page: Any, after: Iterable[Any]) -> list[dict[str, Any]]:
    here = page.name
    return [
        {
            "what": step.what,
            "name": short_name(step.name),
            "href": step.href,
            "is_here": step.name == here and step.what in ("Adapter", "Merge"),
        }
        for step in (*page.lineage, *after)
    ]

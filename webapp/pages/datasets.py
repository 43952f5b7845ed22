"""The list of datasets: search, pages, samples, and the zone that takes files (by `upload.js`, never by Gradio)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import gradio as gr

from models.domain.access import Kind, Member
from models.domain.job import JobKind, JobState
from webapp.actions.show_datasets import list_datasets, may_create
from webapp.actions.show_jobs import list_jobs
from webapp.deps import Deps
from webapp.pages.page import Page
from webapp.pages.wiring import asked, caller, on, on_load
from webapp.views.dataset_list import WORK, dataset_list, zone
from webapp.views.dataset_list import is_moving as is_on_its_way
from webapp.views.markup import render
from webapp.views.run_list import live

PER_PAGE = 20
LOOK_EVERY_SECONDS = 1.5
MOVING = (JobState.QUEUED, JobState.RUNNING)
MOST_JOBS, MOST_FAILURES = 50, 3
FAILURES_SHOWN_FOR = timedelta(hours=6)
NO_RIGHT = "Your role lets you look at datasets. Ask an owner of the team if you need to upload."


def build(deps: Deps) -> None:
    top = gr.HTML("", padding=False, apply_default_css=False)
    gr.HTML(render("runs_place.html", name="datasets"), padding=False, apply_default_css=False)
    part = gr.HTML("", padding=False, elem_classes="tr-hidden")
    ask = gr.Button("Ask again", elem_id="datasets-ask", elem_classes="tr-hidden")
    moving = gr.Timer(LOOK_EVERY_SECONDS, active=False)

    def open_zone(request: gr.Request) -> str:
        return zone(
            limit_bytes=deps.settings.max_upload_bytes, may_upload=may_create(caller(request)), heading="Datasets",
            then="#datasets-ask", title="Drop files here to make datasets", refusal=NO_RIGHT,
            may_fetch=may_create(caller(request)) and not deps.settings.hub_offline,
        )  # fmt: skip

    def show(request: gr.Request) -> tuple[str, gr.Timer]:
        """The timer runs only while a check does."""
        who, words, page = caller(request), asked(request, "q")[:100].strip(), page_asked(request)
        seen, total = list_datasets(deps, who, words, limit=PER_PAGE, offset=(page - 1) * PER_PAGE)
        jobs = _data_jobs(deps, who)
        content = dataset_list(
            seen, jobs=jobs, total=total, words=words, page=page, pages=max(1, -(-total // PER_PAGE)),
            may_upload=may_create(who), may_train=may_create(who, Kind.JOB),
        )  # fmt: skip
        is_moving = any(each.newest.check.state.is_moving for each in seen) or any(map(is_on_its_way, jobs))
        return live("datasets", content), gr.Timer(LOOK_EVERY_SECONDS, active=is_moving)

    on_load(open_zone, top)
    on_load(show, [part, moving])
    on(ask.click, show, None, [part, moving], trigger_mode="always_last")
    on(moving.tick, show, None, [part, moving])


def _data_jobs(deps: Deps, who: Member) -> list[Any]:
    """What is being done to data now, and downloads that failed lately."""
    moving = list_jobs(deps, who, limit=MOST_JOBS, kinds=(*WORK, JobKind.FETCH_DATA), states=MOVING).items
    failed = list_jobs(deps, who, limit=MOST_FAILURES, kinds=(JobKind.FETCH_DATA,), states=(JobState.FAILED,)).items
    begin = datetime.now(UTC) - FAILURES_SHOWN_FOR
    return [seen.job for seen in moving] + [seen.job for seen in failed if seen.job.created_at > begin]


def page_asked(request: gr.Request) -> int:
    told = asked(request, "page")
    return max(1, int(told)) if told.isdecimal() and len(told) < 7 else 1


PAGE = Page(path="/datasets", title="Datasets", build=build, place=1)

"""One dataset: its rows, how they are trained, its report, its versions, its runs. The address is its state."""

from collections.abc import Sequence

import gradio as gr
from markupsafe import Markup

from models.domain.access import Member
from models.domain.errors import Invalid, NotFound
from models.domain.training import OverLong, TrainOn
from webapp.actions.data_reports import DataReports, reports_of
from webapp.actions.dataset_rows import read_dataset_rows
from webapp.actions.show_bases import show_bases
from webapp.actions.show_datasets import DatasetPage, VersionSeen, show_dataset
from webapp.deps import Deps
from webapp.pages.page import Page
from webapp.pages.wiring import asked, caller, on, on_load
from webapp.views.dataset_columns import columns_part
from webapp.views.dataset_list import zone
from webapp.views.dataset_page import (
    address,
    dataset_page,
    gone,
    is_finding,
    moving,
    row_part,
    rows_part,
    tab_named,
    used_part,
    versions_part,
)
from webapp.views.dataset_preview import DEFAULT_LENGTH, BaseChoice, Looking, often_used, preview_part
from webapp.views.dataset_report import is_on_its_way, report_part
from webapp.views.markup import render
from webapp.views.run_list import live

ROWS_PER_PAGE = 20
LOOK_EVERY_SECONDS = 1.5
LONGEST_ROW = 131_072
NOT_YOURS = "Only its maker and the team's owners add a version. Upload the file as a dataset of your own instead."


def build(deps: Deps) -> None:
    gr.HTML(render("runs_place.html", name="dataset"), padding=False, apply_default_css=False)
    part = gr.HTML("", padding=False, elem_classes="tr-hidden")
    below = gr.HTML("", padding=False, apply_default_css=False, elem_id="dataset-zone")
    ask = gr.Button("Ask again", elem_id="dataset-ask", elem_classes="tr-hidden")
    search = gr.Button("Search", elem_id="dataset-search", elem_classes="tr-hidden")
    timer = gr.Timer(LOOK_EVERY_SECONDS, active=False)

    def show(request: gr.Request) -> tuple[str, gr.Timer]:
        """What the address asks for. The timer runs only while a check does, or the way to a far row is not over."""
        who = caller(request)
        try:
            page = show_dataset(deps, who, asked(request, "id"))
        except NotFound as absent:
            return live("dataset", gone(absent.message)), gr.Timer(LOOK_EVERY_SECONDS, active=False)
        shown, tab, row = page.version(_number(request, "v")), tab_named(asked(request, "tab")), _number(request, "row")
        content, is_on_its_way = _part(deps, who, request, page, shown, tab, row)
        whole = dataset_page(page, shown, tab, content, is_row=row is not None)
        return live("dataset", whole), gr.Timer(LOOK_EVERY_SECONDS, active=moving(page.versions) or is_on_its_way)

    def open_zone(request: gr.Request) -> str:
        """Stands below the versions; the stylesheet hides it beside other tabs."""
        try:
            page = show_dataset(deps, caller(request), asked(request, "id"))
        except NotFound:
            return ""
        return zone(
            limit_bytes=deps.settings.max_upload_bytes, may_upload=page.may_add, then="#dataset-ask",
            title="Drop a file here to add a version", dataset_id=page.dataset.id, is_primary=False,
            refusal="" if page.is_sample else NOT_YOURS,
        )  # fmt: skip

    on_load(show, [part, timer])
    on_load(open_zone, below)
    # A click while an answer is on its way is not lost: the last one is asked once more.
    on(ask.click, show, None, [part, timer], trigger_mode="always_last")
    begin_anew = "() => window.tuneroomAddress({ from: '', row: '' })"
    on(search.click, show, None, [part, timer], js=begin_anew, trigger_mode="always_last")
    on(timer.tick, show, None, [part, timer])


def _part(
    deps: Deps, who: Member, request: gr.Request, page: DatasetPage, shown: VersionSeen, tab: str, row: int | None
) -> tuple[Markup, bool]:
    """What the open tab shows, and whether to ask again for the rest."""
    match tab:
        case "preview":
            bases, reports = _bases(deps, who), reports_of(deps, who, shown.version.id)
            return preview_part(shown, bases, _looking(request, page, bases, reports)), False
        case "report":
            return _report(deps, who, request, page, shown)
        case "versions":
            return versions_part(page, _number(request, "with"), _number(request, "to")), False
        case "used":
            return used_part(page), False
    return _rows(deps, who, request, page, shown, row)


def _report(
    deps: Deps, who: Member, request: gr.Request, page: DatasetPage, shown: VersionSeen
) -> tuple[Markup, bool]:  # fmt: skip
    bases, reports = _bases(deps, who), reports_of(deps, who, shown.version.id)
    looking = _looking(request, page, bases, reports)
    here = address(page.dataset.id, v=str(shown.version.number))
    report = report_part(here, shown, reports, bases, looking, may_add=page.may_add, may_train=page.may_train)
    is_asked = asked(request, "map") == "1"
    is_needed = shown.version.status != "uploaded" and not shown.version.usable_rows
    if page.may_add and (is_asked or is_needed):
        newest = page.versions[0].version.number
        mapping = columns_part(page.dataset.id, shown, newest=newest, is_asked=is_asked)
        report = mapping + report if reports.intake else mapping
    return report, is_on_its_way(reports, looking.base_id)


def _rows(
    deps: Deps, who: Member, request: gr.Request, page: DatasetPage, shown: VersionSeen, row: int | None
) -> tuple[Markup, bool]:
    version = shown.version
    try:
        if row is not None:
            _, rows = read_dataset_rows(deps, who, version.id, begin=row, limit=1)
            is_edited = asked(request, "edit") == "1"
            return row_part(rows, asked=row, page=page, shown=shown, is_edited=is_edited), is_finding(rows)
        begin, words = _number(request, "from") or 1, asked(request, "q")[:100].strip()
        _, rows = read_dataset_rows(deps, who, version.id, begin=begin, limit=ROWS_PER_PAGE, words=words)
        part = rows_part(page.dataset.id, rows, begin=begin, per_page=ROWS_PER_PAGE, words=words, total=version.rows)
        return part, is_finding(rows) and not words
    except (Invalid, NotFound) as refusal:
        part = rows_part(
            page.dataset.id, None, begin=1, per_page=ROWS_PER_PAGE, words="", total=None, error=refusal.message
        )
        return part, False


def _bases(deps: Deps, who: Member) -> list[BaseChoice]:
    return [BaseChoice(id=each.row.id, name=each.row.name) for each in show_bases(deps, who).bases]


def _looking(request: gr.Request, page: DatasetPage, bases: Sequence[BaseChoice], reports: DataReports) -> Looking:
    """How the address says to look; where it names no base, the one most used with this dataset, else a counted one."""
    ids, told = [base.id for base in bases], asked(request, "base")
    used = [run.job.spec.get("base") for run in page.runs] or [each.base for each in reports.tokens]
    most = _number(request, "max")
    over, learnt = asked(request, "over"), asked(request, "train_on")
    return Looking(
        base_id=told if told in ids else often_used(used, ids),
        max_length=most if most and 16 <= most <= LONGEST_ROW else DEFAULT_LENGTH,
        over_long=OverLong(over) if over in set(OverLong) else OverLong.DROP,
        train_on=TrainOn(learnt) if learnt in set(TrainOn) else TrainOn.ASSISTANT,
        args=asked(request, "args")[:280],
        row=_number(request, "row") or 1,
    )


def _number(request: gr.Request, name: str) -> int | None:
    told = asked(request, name)
    return int(told) if told.isdecimal() and int(told[:9]) > 0 and len(told) < 9 else None


PAGE = Page(path="/dataset", title="Dataset", build=build, section="/datasets")

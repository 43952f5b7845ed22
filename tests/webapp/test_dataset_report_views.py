"""What the report of a dataset says in each of its states, and which base and length it speaks of."""

import re

import pytest

from models.domain.dataset import CheckState
from models.domain.reports import (
    Column,
    Finding,
    FoundRow,
    GateReport,
    IntakeReport,
    Length,
    NearGroup,
    TokenReport,
)
from tests.webapp.dataset_pages import version_of
from webapp.actions.data_reports import DataReports, GateSeen, StageState, TokensSeen
from webapp.views.dataset_columns import columns_part
from webapp.views.dataset_findings import findings_seen
from webapp.views.dataset_preview import BaseChoice, Looking, often_used, preview_part
from webapp.views.dataset_report import chosen_tokens, is_on_its_way, report_part

HOSTILE = "<img src=x onerror=alert(1)>"
BASES = [BaseChoice(id="base-1", name="tiny"), BaseChoice(id="base-2", name="small")]
SHOWN = version_of(1, state=CheckState.WITH_PROBLEMS, rows=10, usable_rows=8)
MISSING = Finding(
    kind="missing_field", count=12, first=(FoundRow(row=3, field="output", found=HOSTILE, needed="a text"),)
)
INTAKE = IntakeReport(
    format="alpaca", confidence=0.8, others=(("messages", 0.1),), rows=10, usable_rows=8, problems=(MISSING,),
    kinds={"conversation": 8},
    columns=(Column(name="output", rows=8, is_read=True), Column(name=HOSTILE, rows=2, is_read=False)),
)  # fmt: skip
GATE = GateReport(
    rows=8, duplicates=2, near_rows=3, near_groups=1, near_threshold=0.8, near_checked=6,
    largest_groups=(NearGroup(rows=(1, 2, 4), count=3),), seconds=0.1,
    findings=(Finding(kind="email", count=1, first=(FoundRow(row=2, found="m...@x.example"),)),),
)  # fmt: skip
TOKENS = TokenReport(
    base_name="tiny", rows=8, sequences=8, total_tokens=1500, trained_tokens=300,
    lengths=(
        Length(tokens=50, sequences=6, total_tokens=300, trained_tokens=120),
        Length(tokens=600, sequences=2, total_tokens=1200, trained_tokens=180),
    ),
    percentiles={"100": 600, "50": 50}, longest_rows=(7,), shortest_rows=(1,), notes=("It has a note.",), seconds=1,
    findings=(Finding(kind="nothing_trained", count=1, first=(FoundRow(row=6, found="no token"),)),),
    tokens_per_second=1500,
)  # fmt: skip


def reports(
    intake: IntakeReport | None = INTAKE, gate: GateSeen | None = None, *tokens: TokensSeen
) -> DataReports:  # fmt: skip
    gate = gate or GateSeen(state=StageState.DONE, report=GATE)
    return DataReports(file=SHOWN.version, intake=intake, gate=gate, tokens=tokens)


def counted(base: str = "base-1", state: StageState = StageState.DONE, report: TokenReport | None = TOKENS, **more):
    return TokensSeen(base=base, base_name=base, key=base, state=state, report=report, **more)


def shown(told: DataReports, looking: Looking | None = None, *, may_add=True, may_train=True) -> str:
    looking = looking or Looking(base_id="base-1", max_length=512)
    return report_part("/dataset?id=d", SHOWN, told, BASES, looking, may_add=may_add, may_train=may_train)


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_a_whole_report_says_each_stage_in_words_and_figures():
    said = words(shown(reports(INTAKE, None, counted())))
    for sentence in (
        "Alpaca 80 % sure; next: Chat messages 10 %",
        "Can be trained on 8 80 %",
        "2 rows cannot be used",
        "The other 8 stay usable",
        "Missing field ✕ 12 rows",
        "The first 1 of 12.",
        "Exact duplicates 2 rows repeat an earlier one",
        "Nearly the same 3 rows in 1 group",
        "E-mail addresses ▲ 1 row",
        "Tokens 300 an epoch",  # of what is kept at 512
        "Trained 120 40 %",
        "Over 512 tokens 2 25 %, left out",
        "Train on nothing 1 row",
        "50 % 50",
        "It has a note.",
    ):
        assert sentence in said, sentence


def test_what_a_file_says_never_becomes_markup():
    html = shown(reports(INTAKE, None, counted()))
    assert "<img" not in html and html.count("&lt;img") == 2


def test_findings_lead_to_their_rows_those_of_a_base_to_the_preview():
    html = shown(reports(INTAKE, None, counted()))
    assert 'href="/dataset?id=d&amp;row=3"' in html
    assert 'href="/dataset?id=d&amp;row=6&amp;tab=preview"' in html
    assert 'href="/api/v1/files/file-1/problems.csv"' in html


@pytest.mark.parametrize(
    ("gate", "sentence"),
    [
        (GateSeen(state=StageState.WAITING), "Waiting for a free worker, then duplicates are looked for"),
        (GateSeen(state=StageState.RUNNING, progress=0.4), "Looking for duplicates and personal data ... 40 %"),
        (GateSeen(state=StageState.FAILED, sentence="The disk is full."), "did not come to its end: The disk is full."),
        (GateSeen(state=StageState.NONE), "Nobody has looked for duplicates in this version yet."),
    ],
)
def test_the_second_stage_says_where_it_is(gate, sentence):
    assert sentence in words(shown(reports(INTAKE, gate)))


def test_tokens_are_counted_on_wish_and_a_failed_count_says_why():
    none = shown(reports())
    assert "Count tokens" in none and 'data-body="{&#34;base&#34;: &#34;base-1&#34;}"' in none
    failed = shown(reports(INTAKE, None, counted(state=StageState.FAILED, report=None, sentence="It has no template.")))
    assert "did not come to its end: It has no template." in words(failed) and "Try again" in failed
    running = shown(reports(INTAKE, None, counted(state=StageState.RUNNING, report=None, progress=0.25)))
    assert "Counting tokens ... 25 %" in words(running)


def test_who_may_only_look_gets_no_buttons_that_would_be_refused():
    html = shown(reports(INTAKE, GateSeen(state=StageState.NONE)), may_add=False, may_train=False)
    assert "data-call" not in html and "It is something else" not in html


def test_the_count_of_the_chosen_base_is_shown_the_newest_one_first():
    older, newer, other = counted(), counted(report=TOKENS.model_copy(update={"rows": 9})), counted("base-2")
    assert chosen_tokens(reports(INTAKE, None, older, newer, other), "base-1") is newer
    again = counted(state=StageState.RUNNING, report=None)
    assert chosen_tokens(reports(INTAKE, None, older, again), "base-1") is older
    assert chosen_tokens(reports(INTAKE, None, other), "base-1") is None


def test_the_page_asks_again_while_something_is_on_its_way():
    assert not is_on_its_way(reports(INTAKE, None, counted()), "base-1")
    assert is_on_its_way(reports(INTAKE, GateSeen(state=StageState.RUNNING)), None)
    assert is_on_its_way(reports(INTAKE, None, counted(state=StageState.WAITING, report=None)), "base-1")


def test_a_report_without_any_problem_says_so():
    clean = INTAKE.model_copy(update={"problems": (), "usable_rows": 10, "confidence": 1.0})
    gate = GATE.model_copy(
        update={"duplicates": 0, "near_rows": 0, "near_groups": 0, "largest_groups": (), "findings": ()}
    )
    tokens = counted(report=TOKENS.model_copy(update={"findings": ()}))
    told = reports(clean, GateSeen(state=StageState.DONE, report=gate), tokens)
    said = words(shown(told, Looking(base_id="base-1", max_length=1000)))
    for sentence in (
        "Every row can be trained on.", "nothing found", "No e-mail address", "everything fits",
        "says every row as it is meant",
    ):  # fmt: skip
        assert sentence in said
    assert "next:" not in said


def test_a_check_that_broke_off_can_be_begun_again_with_the_same_reading():
    broken = version_of(1, state=CheckState.NOT_CHECKED, status="uploaded", reading={"format": "alpaca"})
    told = reports(None, GateSeen(state=StageState.NONE))
    html = report_part("/d", broken, told, BASES, Looking(), may_add=True, may_train=True)
    assert "Check again" in html and "{&#34;format&#34;:&#34;alpaca&#34;,&#34;mapping&#34;:{}}" in html
    assert "Check again" not in report_part("/d", broken, told, BASES, Looking(), may_add=False, may_train=True)


def test_the_gravest_findings_stand_first():
    kinds = ("unrolled", "email", "template_refuses", "some_new_kind")
    found = [Finding(kind=kind, count=place + 1, first=()) for place, kind in enumerate(kinds)]
    assert [each.kind for each in findings_seen(found)] == ["template_refuses", "some_new_kind", "email", "unrolled"]


def test_the_base_used_most_is_looked_with_first():
    assert often_used(["base-2", "base-1", "base-2", None, "gone"], ["base-1", "base-2"]) == "base-2"
    assert often_used([], ["base-1", "base-2"]) == "base-1"
    assert often_used(["base-1"], []) is None


def test_a_preview_keeps_what_the_address_says():
    looking = Looking(base_id="base-2", max_length=777, args='a = "1"', row=5)
    html = preview_part(SHOWN, BASES, looking)
    assert 'value="base-2" selected' in html and 'value="777"' in html and 'value="5"' in html
    assert 'value="a = &#34;1&#34;"' in html
    assert "There is no base model here yet." in preview_part(SHOWN, [], looking)
    assert "Open the report" in preview_part(version_of(1, state=CheckState.UNUSABLE), BASES, looking)


def test_mapping_knows_the_fields_of_every_format_and_what_becomes_of_the_version():
    unusable = version_of(1, state=CheckState.UNUSABLE, usable_rows=None, format=None, reading={})
    html = columns_part("dataset-1", unusable, newest=1, is_asked=False)
    assert "The rows are checked anew." in html and '"is_required": true' in html.replace("\\u0022", '"')
    assert "Becomes version 4; this version stays as it is." in columns_part("d", SHOWN, newest=3, is_asked=True)

"""Stage 3: the tokens of every row for one base, counted by children that templates may hang or fill without harm."""

import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.catalog.prepared import Prepared, PreparedWriter
from models.domain.errors import AppError, Code
from models.domain.example import Conversation, Labelled, Preference, Role, Text, Turn
from models.domain.job import JobKind
from models.domain.reports import Length
from models.domain.training import TrainOn
from tests.harness import living_children
from tests.sources import write_source
from tests.text_bases import BOMBS, TOOL_ROW, row, sample_rows, text_base
from worker.data import counts
from worker.data.counts import COUNTS, count
from worker.data.render import Renderer
from worker.data.tallying import EXACT_BELOW, Tally, percentiles
from worker.jobdir import JobDir, Order
from worker.stop import Stop


def turns(*said: str) -> tuple[Turn, ...]:
    return tuple(Turn(role=Role.USER if n % 2 == 0 else Role.ASSISTANT, content=text) for n, text in enumerate(said))


def prepared(path: Path, examples) -> Prepared:
    writer = PreparedWriter(path)
    for number, example in enumerate(examples, start=1):
        writer.add_example(number, example)
    writer.close()
    return Prepared(path)


@pytest.fixture(scope="module")
def chatml(tmp_path_factory) -> Path:
    return text_base(tmp_path_factory.mktemp("chatml"), "chatml")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Prepared:
    """430 rows of all kinds, three of which ChatML cannot say."""
    from models.catalog.formats.messages import parse

    examples = ([parse(each) for each in sample_rows()] * 4)[:420]
    thoughtful = Conversation(turns=(*turns("Who?"), Turn(role=Role.ASSISTANT, content="O.", reasoning="Hm, hm.")))
    unlearnt = Conversation(turns=(*turns("Who?"), Turn(role=Role.ASSISTANT, content="O.", weight=0)))
    pair = Preference(prompt=turns("Where?"), chosen=turns("", "Here.")[1:], rejected=turns("", "No, there.")[1:])
    examples += [
        parse(TOOL_ROW), thoughtful, unlearnt, pair, Text(text="heron " * 900), Text(text="heron " * 6000),
        Labelled(prompt=turns("Who?"), completion=turns("", "Odalys.")[1:], label=False), parse(row("a", "b", "c")),
        parse(row("Who?", "Odalys<|im_end|>.")), parse(row("The end?", "Yes.")),
    ]  # fmt: skip
    return prepared(tmp_path_factory.mktemp("mixed") / "rows.parquet", examples)


@pytest.fixture(scope="module")
def counted(mixed, chatml, tmp_path_factory):
    """The report, the columns of its Parquet, and what the watch was told."""
    told: list[tuple[int, int]] = []
    report, write = count(
        mixed, chatml, base_name="tiny", processes=2, watch=lambda done, all: told.append((done, all))
    )
    path = tmp_path_factory.mktemp("counted") / COUNTS
    write(path)
    return report, pq.read_table(path).to_pydict(), told


def test_the_counts_are_those_of_the_renderer(counted, mixed, chatml):
    report, columns, _ = counted
    renderer = Renderer.from_folder(chatml)
    for place, (number, example) in enumerate(mixed.examples()):
        assert columns["number"][place] == number
        if columns["problem"][place] is None:
            sequences = [each.sequence for each in renderer.write(example, max_length=10**6)]
            lengths = [len(each.ids) for each in sequences]
            assert (columns["sequences"][place], columns["tokens"][place]) == (len(lengths), max(lengths))
            assert columns["total_tokens"][place] == sum(lengths)
            assert columns["trained_tokens"][place] == sum(each.trained_tokens for each in sequences)
    assert report.total_tokens == sum(columns["total_tokens"]) > 10_000
    assert report.trained_tokens == sum(columns["trained_tokens"])
    assert (report.rows, report.sequences, report.base_name) == (mixed.rows, sum(columns["sequences"]), "tiny")


def test_rows_that_the_base_cannot_say_are_findings_with_their_numbers(counted):
    report, columns, _ = counted
    found = {finding.kind: [each.row for each in finding.first] for finding in report.findings}
    assert found == {
        "tools_vanish": [421], "reasoning_vanishes": [422], "nothing_trained": [423], "trained_in_part": [428],
        "stop_inside_answer": [429],
    }  # fmt: skip
    named = {columns["number"][place]: kind for place, kind in enumerate(columns["problem"]) if kind}
    assert named == {421: "tools_vanish", 422: "reasoning_vanishes", 423: "nothing_trained", 429: "stop_inside_answer"}
    (vanished,) = (finding for finding in report.findings if finding.kind == "tools_vanish")
    assert "read_barometer" in vanished.first[0].found and vanished.first[0].field == "tools"


def test_lengths_rise_and_answer_every_question_about_a_maximum(counted):
    report, columns, _ = counted
    lengths = [each.tokens for each in report.lengths]
    assert lengths == sorted(set(lengths)) and all(each % 16 == 0 for each in lengths if each >= EXACT_BELOW)
    assert sum(each.total_tokens for each in report.lengths) == report.total_tokens
    assert sum(each.sequences for each in report.lengths) == report.sequences
    assert report.percentiles["50"] <= report.percentiles["99"] <= report.percentiles["100"] == lengths[-1]
    longest = sorted(zip(columns["tokens"], columns["number"], strict=True), key=lambda row: (-row[0], row[1]))
    assert list(report.longest_rows) == [number for _, number in longest[:10]]
    assert 421 not in report.shortest_rows  # it has no length


def test_progress_is_told_in_rows_to_the_end(counted, mixed):
    _, _, told = counted
    assert told[0] == (0, mixed.rows) and told[-1] == (mixed.rows, mixed.rows) and len(told) >= 4
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_the_number_of_processes_changes_nothing(counted, mixed, chatml, tmp_path):
    report, write = count(mixed, chatml, base_name="tiny", processes=1)
    write(tmp_path / COUNTS)
    times = {"seconds", "tokens_per_second"}
    assert report.model_dump(exclude=times) == counted[0].model_dump(exclude=times)
    assert pq.read_table(tmp_path / COUNTS).to_pydict() == counted[1]


def test_a_template_that_hangs_or_fills_memory_costs_its_rows_only(tmp_path):
    base = text_base(tmp_path / "base", "chatml")
    (base / "chat_template.jinja").write_text(BOMBS + (base / "chat_template.jinja").read_text())
    asked = ["hang" if n == 150 else "power" if n == 30 else "fill" if n == 60 else f"Row {n}?" for n in range(1, 301)]
    rows = prepared(tmp_path / "rows.parquet", [Conversation(turns=turns(each, "Yes.")) for each in asked])
    others = living_children()
    report, _ = count(rows, base, processes=2, row_seconds=0.5)
    (finding,) = report.findings
    assert (finding.kind, [each.row for each in finding.first]) == ("too_slow", [30, 60, 150])
    said = [each.found for each in finding.first]
    assert "0.5 s" in said[0] and "memory" in said[1] and "0.5 s" in said[2]
    assert report.sequences == 297
    assert living_children() <= others


def test_a_base_whose_template_hangs_at_once_is_refused(tmp_path):
    base = text_base(tmp_path / "base", "chatml", template="{% for a in range(99999) %}{% for b in range(99999) %}"
                     "{% endfor %}{% endfor %}")  # fmt: skip
    rows = prepared(tmp_path / "rows.parquet", [Text(text="heron")])
    with pytest.raises(AppError, match="did not come to an end") as raised:
        count(rows, base)
    assert raised.value.code is Code.TEMPLATE and raised.value.facts["kind"] == "too_slow"


def test_a_template_that_hangs_on_row_after_row_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(counts, "MOST_TOO_SLOW", 2)
    base = text_base(tmp_path / "base", "chatml")
    (base / "chat_template.jinja").write_text(BOMBS + (base / "chat_template.jinja").read_text())
    rows = prepared(tmp_path / "rows.parquet", [Conversation(turns=turns("fill", "Yes."))] * 5)
    with pytest.raises(AppError, match="given up"):
        count(rows, base)


def test_a_base_without_a_template_says_what_stands_in_for_it(tmp_path):
    base = text_base(tmp_path / "base", "mistral_like", template="")
    report, _ = count(prepared(tmp_path / "rows.parquet", [Conversation(turns=turns("Who?", "O."))]), base)
    assert "no chat template" in report.notes[0] and not report.findings


def test_a_template_that_ends_no_answer_is_a_note_on_its_rows(tmp_path):
    endless = "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}" \
        "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"  # fmt: skip
    base = text_base(tmp_path / "base", "chatml", template=endless)
    rows = [Conversation(turns=turns("Who?", "O.", "Where?", "V.")), Conversation(turns=turns("Who?", "O."))]
    report, _ = count(prepared(tmp_path / "rows.parquet", rows), base)
    assert {finding.kind: finding.count for finding in report.findings} == {"stop_added": 2, "unrolled": 1}
    assert report.sequences == 3


def test_template_arguments_and_the_choice_of_turns_are_counted_as_asked(tmp_path, chatml):
    rows = prepared(tmp_path / "rows.parquet", [Conversation(turns=turns("Who?", "Odalys.", "Where?", "Velmora."))])
    every, _ = count(rows, chatml)
    last, _ = count(rows, chatml, train_on=TrainOn.LAST_TURN)
    assert last.total_tokens == every.total_tokens and last.trained_tokens < every.trained_tokens
    whole, _ = count(rows, chatml, train_on=TrainOn.ALL)
    assert whole.total_tokens == every.total_tokens == whole.trained_tokens + 1  # the first token is never trained
    with pytest.raises(AppError) as raised:
        count(rows, chatml, template_arguments={"messages": "none"})
    assert raised.value.code is Code.INVALID_SETTING


class AskedAtOnce(Stop):
    def asked(self) -> bool:
        return True


def jobdir_of(root: Path, base: str = "chatml") -> JobDir:
    jobdir = JobDir(root)
    payload = {"file": "file-1", "base": "base-1"}
    facts = {"base_name": "tiny"}
    jobdir.lay_out(Order(job="job-1", fence=1, kind=JobKind.COUNT_TOKENS, payload=payload, facts=facts, threads=2))
    text_base(jobdir.inputs / "base", base)
    write_source(jobdir.inputs / "data", sample_rows())
    return jobdir


def test_the_job_leaves_its_report_and_the_counts(tmp_path):
    jobdir = jobdir_of(tmp_path)
    subprocess.run([sys.executable, "-P", "-m", "worker.child", str(tmp_path), "--alone"], check=True, cwd=tmp_path,
                   env={"PYTHONPATH": str(Path(__file__).parents[2])})  # fmt: skip
    outcome = jobdir.outcome()
    assert outcome is not None and outcome.status == "succeeded"
    rows = len(sample_rows())
    assert (outcome.result["rows"], outcome.result["base_name"]) == (rows, "tiny")
    assert pq.read_table(jobdir.out / COUNTS).num_rows == rows
    said, _ = jobdir.said_since(0)
    assert said[-1].type == "progress" and (said[-1].done, said[-1].unit) == (rows, "rows")


def test_a_wish_to_stop_is_heard(tmp_path):
    assert counts.run(jobdir_of(tmp_path), AskedAtOnce()).status == "stopped"


def test_a_stop_in_the_middle_of_a_row_that_hangs_ends_the_children(tmp_path):
    base = text_base(tmp_path / "base", "chatml")
    (base / "chat_template.jinja").write_text(BOMBS + (base / "chat_template.jinja").read_text())
    good, bad = Conversation(turns=turns("Who?", "O.")), Conversation(turns=turns("hang", "O."))
    rows = prepared(tmp_path / "rows.parquet", [*[good] * 200, *[bad] * 200])

    def watch(done: int, _total: int) -> None:
        if done >= 200:
            raise InterruptedError

    began, others = time.monotonic(), living_children()
    with pytest.raises(InterruptedError):
        count(rows, base, processes=2, watch=watch)
    assert time.monotonic() - began < 30  # 200 rows that hang would take over six minutes
    assert living_children() <= others


@given(st.lists(st.integers(1, 9000), min_size=1, max_size=60))
@settings(max_examples=50, deadline=None)
def test_a_percentile_is_the_least_length_that_holds_so_many(lengths):
    tally = Tally()
    for number, tokens in enumerate(lengths, start=1):
        tally.add(number, ([(tokens, 1)], [], None))
    report = tally.report("b", (), 1.0)
    for percent, length in report.percentiles.items():
        assert sum(tokens <= length for tokens in lengths) * 100 >= int(percent) * len(lengths)
        shorter = [each.tokens for each in report.lengths if each.tokens < length]
        assert not shorter or sum(tokens <= shorter[-1] for tokens in lengths) * 100 < int(percent) * len(lengths)


def test_no_rows_have_no_percentiles():
    assert percentiles([]) == {} and percentiles([Length(tokens=3, sequences=1, total_tokens=3, trained_tokens=1)])

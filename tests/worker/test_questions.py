"""Short questions in the lane `light`: previews, columns, comparisons; answered in time also while every slot works."""

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.catalog.formats.base import Problem
from models.catalog.prepared import PreparedWriter
from models.domain.chat import TreeRef
from models.domain.errors import AppError, Code
from models.domain.example import Conversation, Role, Text, Turn
from models.domain.job import JobKind, Lane
from models.domain.preview import ColumnsSeen, Comparison, RowPreview
from models.domain.question import (
    ANSWER_SECONDS,
    Answered,
    Asked,
    CompareVersions,
    FileRef,
    PreviewRow,
    Question,
    ReadColumns,
)
from models.infra.broker import Broker
from models.infra.questions import Questions as Asking
from models.infra.settings import Settings
from models.infra.storage import SHARED, Storage
from tests.harness import House, open_sqlite_house, wait_for
from tests.people import make_job
from tests.text_bases import BOMBS, text_base
from worker.cache import Cache
from worker.data.comparing import MOST_PAIRED, compare
from worker.data.counts import count
from worker.questions import Questions


def talk(asked: str, said: str) -> Conversation:
    return Conversation(turns=(Turn(role=Role.USER, content=asked), Turn(role=Role.ASSISTANT, content=said)))


def write_rows(path: Path, examples) -> Path:
    """None stands for a row that cannot be used, "" for a blank line."""
    writer = PreparedWriter(path)
    for number, example in enumerate(examples, start=1):
        if example is None:
            writer.add_problem(number, Problem.NOT_JSON, field="", found="{", needed="a JSON object", raw="{")
        elif example:
            writer.add_example(number, example)
    writer.close()
    return path


@dataclass
class Stored:
    """What questions refer to, in the storage of an installation."""

    home: Path
    storage: Storage

    def rows(self, *examples) -> FileRef:
        path = write_rows(self.home / "rows.parquet", examples)
        return FileRef(scope=SHARED, sha256=self.storage.put_file(SHARED, path).sha256)

    def file(self, name: str, content: bytes) -> FileRef:
        return FileRef(scope=SHARED, sha256=self.storage.put_bytes(SHARED, content).sha256, filename=name)

    def base(self, name: str = "chatml", bomb: str = "") -> TreeRef:
        folder = text_base(self.home / f"base-{name}{len(bomb)}", name)
        (folder / "chat_template.jinja").write_text(bomb + (folder / "chat_template.jinja").read_text())
        (folder / "model.safetensors").write_bytes(b"w" * 1000)
        return self.storage.put_tree(SHARED, folder)[0]

    def counts(self, rows: FileRef, base: TreeRef) -> FileRef:
        from models.catalog.prepared import Prepared

        folder = Path(mkdtemp(dir=self.home)) / "base"
        self.storage.fetch_tree(base, folder)
        path = self.storage.local_path(SHARED, rows.sha256)
        assert path is not None
        _, write = count(Prepared(path), folder)
        write(self.home / "counts.parquet")
        return FileRef(scope=SHARED, sha256=self.storage.put_file(SHARED, self.home / "counts.parquet").sha256)


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Stored:
    home = tmp_path_factory.mktemp("installation")
    return Stored(home, Storage(f"file://{home / 'storage'}"))


@pytest.fixture(scope="module")
def questions(stored):
    made = Questions(Cache(Settings(data_dir=stored.home), stored.storage))
    yield made
    made.close()


def answer(questions: Questions, asked: Asked, seconds: float = 30) -> Answered:
    """With time enough for a machine that does much else."""
    deadline_at = datetime.now(UTC) + timedelta(seconds=seconds)
    answered = questions.answer(Question(question_id="question-1", deadline_at=deadline_at, asked=asked))
    assert answered is not None
    return answered


def seen(questions: Questions, asked: PreviewRow) -> RowPreview:
    answered = answer(questions, asked)
    assert answered.error is None, answered.error
    return RowPreview.model_validate(answered.answer)


def test_a_row_is_previewed_and_no_weights_are_brought(questions, stored):
    rows, base = stored.rows(talk("Who?", "Odalys."), talk("Where?", "Velmora.")), stored.base()
    preview = seen(questions, PreviewRow(prepared=rows, base=base, row=2, max_length=100))
    assert "".join(piece.text for piece in preview.sequences[0].pieces if piece.trained) == "Velmora.<|im_end|>"
    assert (preview.row, preview.rows, preview.before, preview.after) == (2, 2, 1, None)
    assert preview.example is not None and preview.example["kind"] == "conversation"
    assert not list((stored.home / "cache").rglob("*.safetensors"))


def test_a_number_between_rows_gives_the_next_one_and_one_behind_them_the_last(questions, stored):
    rows, base = stored.rows(talk("a", "b"), "", "", talk("c", "d"), talk("e", "f")), stored.base()
    asked = [seen(questions, PreviewRow(prepared=rows, base=base, row=row, max_length=99)) for row in (1, 2, 4, 99)]
    assert [(each.row, each.before, each.after) for each in asked] == [(1, None, 4), (4, 1, 5), (4, 1, 5), (5, 4, None)]


def test_a_row_that_cannot_be_used_says_why(questions, stored):
    rows, base = stored.rows(talk("a", "b"), None), stored.base()
    preview = seen(questions, PreviewRow(prepared=rows, base=base, row=2, max_length=99))
    assert (preview.kind, preview.example, preview.sequences) == ("not_json", None, ())
    assert preview.problem is not None and "needed: a JSON object" in preview.problem and preview.before == 1


def test_jumps_go_to_the_longest_the_shortest_and_the_next_row_that_is_too_long(questions, stored):
    lengths = (30, 5, 90, 1, 60)
    rows, base = stored.rows(*(Text(text="heron " * length) for length in lengths)), stored.base()
    counts = stored.counts(rows, base)
    thirty = seen(questions, PreviewRow(prepared=rows, base=base, row=1, max_length=9999)).sequences[0].tokens
    jumps: list[tuple[Literal["longest", "shortest", "over"], int]]
    jumps = [("longest", 1), ("shortest", 1), ("over", 1), ("over", 3), ("over", 5)]
    found = [
        seen(
            questions,
            PreviewRow(prepared=rows, base=base, counts=counts, row=row, jump=jump, max_length=thirty),
        ).row
        for jump, row in jumps
    ]
    assert found == [3, 4, 3, 5, 3]


def test_a_jump_without_counts_and_a_jump_to_nowhere_are_said(questions, stored):
    rows, base = stored.rows(talk("a", "b")), stored.base()
    asked = PreviewRow(prepared=rows, base=base, jump="longest", max_length=99)
    assert "not counted" in answer(questions, asked).error["message"]  # type: ignore[index]
    counts = stored.counts(rows, base)
    asked = asked.model_copy(update={"jump": "over", "counts": counts})
    assert answer(questions, asked).error["code"] == Code.NOT_FOUND  # type: ignore[index]


def test_a_file_that_is_not_stored_is_an_error_that_is_told(questions, stored):
    asked = PreviewRow(prepared=FileRef(scope=SHARED, sha256="0" * 64), base=stored.base(), max_length=99)
    assert answer(questions, asked).error["kind"] == "NotFound"  # type: ignore[index]


def test_a_question_that_comes_too_late_is_dropped(questions, stored):
    asked = CompareVersions(before=stored.rows(talk("a", "b")), after=stored.rows(talk("a", "b")))
    late = Question(question_id="question-1", deadline_at=datetime.now(UTC) - timedelta(seconds=1), asked=asked)
    assert questions.answer(late) is None


@pytest.mark.parametrize(("bomb", "says"), [("hang", "did not come to an end"), ("fill", "512 MB")])
def test_a_template_that_hangs_or_fills_memory_is_told_and_others_go_on(questions, stored, bomb, says):
    good, bad = stored.base(), stored.base(bomb=BOMBS)
    rows = stored.rows(talk(bomb, "Yes."), talk("Who?", "Odalys."))
    began = time.monotonic()
    hung = answer(questions, PreviewRow(prepared=rows, base=bad, row=1, max_length=99))
    assert hung.error is not None and says in hung.error["message"]
    assert (hung.error["kind"], hung.error["facts"]["kind"]) == ("Invalid", "too_slow")
    assert time.monotonic() - began < 20  # 2 s of its own time, on a machine that does much else
    for base in (good, bad):
        assert seen(questions, PreviewRow(prepared=rows, base=base, row=2, max_length=99)).sequences


def test_the_columns_of_a_file_are_read_under_a_mapping(questions, stored):
    file = stored.file("asked.csv", b"Question,Reply\nWho?,Odalys.\nWhere?,Velmora.\n")
    mapping = {"instruction": "Question", "output": "Reply"}
    answered = answer(questions, ReadColumns(files=(file,), format="alpaca", mapping=mapping))
    columns = ColumnsSeen.model_validate(answered.answer)
    assert (columns.container, columns.columns, columns.format) == ("csv", ("Question", "Reply"), "alpaca")
    assert [row.problem for row in columns.rows] == [None, None] and columns.rows[1].cells["Reply"] == "Velmora."


def test_a_file_that_nobody_can_read_is_an_error_that_is_told(questions, stored):
    answered = answer(questions, ReadColumns(files=(stored.file("x.parquet", b"PAR1" + b"\0" * 100),)))
    assert answered.answer is None and answered.error is not None
    assert "Traceback" not in answered.error["message"] and str(stored.home) not in answered.error["message"]


def test_versions_are_compared_by_content_and_by_what_they_ask(questions, stored):
    before = stored.rows(talk("Who?", "A."), talk("Where?", "V."), talk("When?", "1973."), Text(text="The heron."))
    after = stored.rows(Text(text="The heron."), talk("who", "Odalys."), talk("When?", "1973."), talk("Why?", "So."))
    answered = answer(questions, CompareVersions(before=before, after=after))
    compared = Comparison.model_validate(answered.answer)
    assert (compared.added, compared.removed, compared.changed, compared.same) == (1, 1, 1, 2)
    changed, added, removed = compared.shown
    assert (changed.before, changed.after) == (1, 2) and "A." in changed.before_text and "Odalys." in changed.after_text
    assert (added.before, added.after, removed.before, removed.after) == (None, 4, 2, None)


@given(st.lists(st.integers(0, 5)), st.lists(st.integers(0, 5)))
@settings(max_examples=40, deadline=None)
def test_rows_that_repeat_are_compared_as_often_as_they_stand_there(tmp_path_factory, old, new):
    folder = tmp_path_factory.mktemp("compared")
    before = write_rows(folder / "before", [Text(text=f"text {n}") for n in old])
    after = write_rows(folder / "after", [Text(text=f"text {n}") for n in new])
    compared = compare(before, after, 100)
    same = sum(min(old.count(n), new.count(n)) for n in range(6))
    assert (compared.same, compared.changed) == (same, 0)
    assert (compared.removed, compared.added) == (len(old) - same, len(new) - same)
    assert len(compared.shown) == len(old) + len(new) - 2 * same


def test_two_versions_without_a_row_in_common_are_compared_in_time(tmp_path):
    many = MOST_PAIRED + 10_000
    before = write_rows(tmp_path / "before", [talk(f"question {n}", "a") for n in range(many)])
    after = write_rows(tmp_path / "after", [talk(f"question {n}", "b") for n in range(many)])
    began = time.process_time()
    compared = compare(before, after, 5)
    assert (compared.changed, compared.added, compared.removed) == (MOST_PAIRED, 10_000, 10_000)
    assert time.process_time() - began < ANSWER_SECONDS


# -- with a real broker and a real worker, whose only slot is busy --------------------------------------------------


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """A worker of the lane light with one slot, which works for minutes; three more jobs wait, and a bell for each."""
    with open_sqlite_house(tmp_path_factory.mktemp("busy"), slots=1, light_slots=1) as house:
        house.start_workers(1, Lane.LIGHT)
        ids = [long_job(house) for _ in range(4)]
        for _ in range(12):
            house.broker.ring(Lane.LIGHT)
        house.accepted += ids
        wait_for(lambda: len(house.running()) == 1)
        wait_for(lambda: house.broker.bells(Lane.LIGHT) == 0)  # bells that found no slot went, but for one
        yield house


def long_job(house: House) -> str:
    """A toy that counts for minutes, in the lane light."""
    from models.db.tables import Job

    job = make_job(house.database, JobKind.TOY, count=100_000, seconds_each=0.05)
    with house.database.write() as session:
        session.get_one(Job, job.id).lane = Lane.LIGHT
    return job.id


@pytest.fixture(scope="module")
def asking(busy):
    made = Asking(Broker(busy.settings), busy.settings.redis_py_url)
    yield made
    made.close()


def test_questions_are_answered_while_the_only_slot_is_busy(busy, asking):
    there = Stored(busy.settings.data_dir, Storage(busy.settings.storage))
    rows, base = there.rows(talk("Who?", "Odalys."), talk("Where?", "Velmora.")), there.base()
    assert len(busy.running()) == 1
    for row in (1, 2):
        answer = asking.ask(PreviewRow(prepared=rows, base=base, row=row, max_length=99), seconds=20)
        assert RowPreview.model_validate(answer).row == row
    file = there.file("a.jsonl", b'{"text": "The heron."}\n')
    assert asking.ask(ReadColumns(files=(file,)), seconds=20)["columns"] == ["text"]
    assert asking.ask(CompareVersions(before=rows, after=rows), seconds=20)["same"] == 2
    assert len(busy.running()) == 1 and len([job for job in busy.jobs() if job.state == "queued"]) == 3


def test_six_people_at_once_are_answered_while_the_only_slot_is_busy(busy, asking):
    there = Stored(busy.settings.data_dir, Storage(busy.settings.storage))
    asked = PreviewRow(prepared=there.rows(talk("Who?", "Odalys.")), base=there.base(), max_length=99)
    answers: list[dict] = []
    people = [threading.Thread(target=lambda: answers.append(asking.ask(asked, seconds=20))) for _ in range(6)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert len(answers) == 6 and all(each == answers[0] for each in answers)


def test_an_error_reaches_who_asked(busy, asking):
    nothing = FileRef(scope=SHARED, sha256="0" * 64)
    with pytest.raises(AppError) as raised:
        asking.ask(CompareVersions(before=nothing, after=nothing), seconds=20)
    assert raised.value.code is Code.NOT_FOUND


def test_a_forged_message_is_ignored_and_others_are_answered(busy, asking):
    broker = Broker(busy.settings)
    broker.put_question("not a question", 20)
    broker.put_question('{"question_id": "x", "deadline_at": "never", "asked": {"kind": "shell"}}', 20)
    there = Stored(busy.settings.data_dir, Storage(busy.settings.storage))
    rows = there.rows(talk("Who?", "Odalys."))
    assert asking.ask(CompareVersions(before=rows, after=rows), seconds=20)["same"] == 1
    broker.close()

"""Which rows taught this: ranking by words, only rows that were trained on, an answer in time."""

from pathlib import Path
from tempfile import mkdtemp

import pytest

from models.catalog.prepared import PreparedWriter
from models.domain.errors import AppError, Code
from models.domain.example import Conversation, Role, Text, Turn
from models.domain.likeness import LikeRows
from models.domain.question import AskLikeRows, FileRef
from models.domain.training import TrainingSpec
from models.infra.settings import Settings
from models.infra.storage import SHARED, Storage
from worker.cache import Cache
from worker.data.like import nearest
from worker.like_rows import LikeRowsOf
from worker.train.trained_rows import trained_rows


def talk(asked: str, said: str) -> Conversation:
    return Conversation(turns=(Turn(role=Role.USER, content=asked), Turn(role=Role.ASSISTANT, content=said)))


TALKS = [
    talk("Who founded the town of Velmora?", "Odalys Brandt founded it in 1973."),
    talk("Where is the ferry of Velmora?", "At the old mill."),
    talk("What does the heron eat?", "Fish, and now and then a frog."),
    *(talk(f"What is the number of room {n} in the house?", f"It is the number {n}.") for n in range(40)),
]


def rows_of(examples) -> list[tuple[int, int, str]]:
    return [(0, number, one.model_dump_json()) for number, one in enumerate(examples, start=1)]


def test_rows_that_share_rare_words_come_before_those_that_share_common_ones():
    found = nearest(rows_of(TALKS), "What did Odalys Brandt do in Velmora?", 3)
    assert [one.number for one in found.nearest][:2] == [1, 2] and found.rows == len(TALKS)
    assert 1 > found.nearest[0].likeness > 2 * found.nearest[1].likeness > 0


def test_a_row_asked_for_word_by_word_is_the_first_of_equals_in_their_order():
    twice = [*TALKS, TALKS[2]]
    found = nearest(rows_of(twice), "what does THE heron eat", 2)
    assert [one.number for one in found.nearest] == [3, len(twice)]


def test_case_punctuation_and_texts_count_and_strangers_do_not():
    assert [one.number for one in nearest(rows_of([*TALKS, Text(text="A plover.")]), "PLOVER!", 5).nearest] == [44]
    assert nearest(rows_of(TALKS), "zymurgy", 5).nearest == [] and nearest([], "heron", 5).nearest == []


def test_a_search_that_runs_out_of_time_says_how_far_it_came():
    looks = iter([False, True])
    found = nearest(rows_of(TALKS * 20), "heron", 5, lambda: next(looks))
    assert found.rows == 500 and found.nearest


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("installation")


def asking(home: Path, text: str, **data) -> tuple[LikeRowsOf, AskLikeRows, Path]:
    storage = Storage(f"file://{home / 'storage'}")
    path = Path(mkdtemp(dir=home)) / "rows.parquet"
    writer = PreparedWriter(path)
    for number, example in enumerate(TALKS, start=1):
        writer.add_example(number, example)
    writer.close()
    ref = FileRef(scope=SHARED, sha256=storage.put_file(SHARED, path).sha256, filename="talks.jsonl")
    wish = TrainingSpec.model_validate({"base": "base-1", "data": {"training_file": "file-1", **data}})
    asked = AskLikeRows(prepared=(ref,), files=("file-1",), gates=(None,), wish=wish, text=text, shown=43)
    return LikeRowsOf(Cache(Settings(data_dir=home), storage)), asked, path


def test_held_back_rows_are_never_among_them(home):
    rows, asked, path = asking(home, "What is the number of the town?", validation_fraction=0.3)
    found = LikeRows.model_validate(rows.answer(asked, lambda: None, lambda: 30.0))
    (trained,) = trained_rows([path], [None], asked.wish)
    assert found.searched == found.trained == len(trained) == 30
    assert {one.row for one in found.rows} <= set(trained.tolist())
    assert (found.rows[0].filename, found.rows[0].file) == ("talks.jsonl", "file-1")


def test_what_is_not_worked_out_in_time_is_said_and_is_there_for_the_next_question(home):
    rows, asked, _ = asking(home, "heron", validation_fraction=0)
    with pytest.raises(AppError) as caught:
        rows.answer(asked, lambda: None, lambda: 1.0)
    assert caught.value.code is Code.TIMED_OUT
    found = rows.answer(asked, lambda: None, lambda: 30.0)
    assert found.rows[0].row == 3 and found.rows[0].said == "Fish, and now and then a frog."

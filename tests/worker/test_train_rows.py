"""Which rows a training takes: bad ones, duplicates, caps, weights, mixes, splits. A tiny base renders; no torch."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.catalog.prepared import PreparedWriter
from models.domain.errors import AppError, Code
from models.domain.estimate import row_counts
from models.domain.example import EXAMPLE
from models.domain.token_figures import token_figures
from models.domain.training import MixedFile, OverLong, RowsSpec, TrainingSpec
from tests.sources import write_source
from tests.text_bases import TOOL_ROW, row
from tests.tiny import tiny_base
from worker.data.counts import count
from worker.data.gate.run import check
from worker.data.source import FACTS, GATE, ROWS, Source, SourceFacts
from worker.train.inputs import Rows, TrainingFacts, read_inputs
from worker.train.rows import Candidates, select

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BASE_FACTS = TrainingFacts.model_validate({"base_name": "tiny", "base_tree_sha256": "0" * 64})
BAD = {"messages": [{"role": "user", "content": "nobody answers"}]}


def questions(count: int, word: str = "row") -> list[dict]:
    return [row(f"{word} number {number}?", f"answer {number}") for number in range(count)]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("base") / "base")


class Inputs:
    """A job's in/, with one folder per source."""

    def __init__(self, folder: Path, base: Path, train: list[dict], *mixed: list[dict]) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "base").symlink_to(base)
        self.add("train", train)
        for place, rows in enumerate(mixed, start=1):
            self.add(f"mixed-{place}", rows)
        self.mixed = len(mixed)

    def add(self, name: str, rows: list[dict]) -> None:
        write_source(self.folder / name, rows, filename=f"{name}.jsonl")

    def prepare(self, name: str, examples: list[dict], columns: list[dict] | None = None) -> None:
        """Prepared rows as stage 1 leaves them."""
        path = self.folder / name / ROWS
        writer = PreparedWriter(path)
        for place, example in enumerate(examples):
            cells = json.dumps(columns[place]) if columns else None
            writer.add_example(place + 1, EXAMPLE.validate_python(example), cells)
        writer.close()
        self._facts(name, rows_sha256=hashlib.sha256(path.read_bytes()).hexdigest())

    def near(self, name: str, groups: list[int | None]) -> None:
        """What stage 2 leaves: the near-duplicate group of each row."""
        path = self.folder / name / GATE
        table = {"number": pa.array(range(1, len(groups) + 1), pa.int64()), "near_group": pa.array(groups, pa.int64())}
        pq.write_table(pa.table(table), path)
        self.sealed(name)

    def sealed(self, name: str) -> None:
        """The report there is belongs to the version."""
        self._facts(name, gate_sha256=hashlib.sha256((self.folder / name / GATE).read_bytes()).hexdigest())

    def read(self, *, gates=None, weights: tuple[float, ...] = (), data: dict | None = None, **rows) -> Rows:
        mixed = [{"file": f"file-{n}", "weight": weight} for n, weight in enumerate(weights or (1.0,) * self.mixed)]
        told = {"training_file": "file-0", "validation_fraction": 0, **(data or {}), "rows": {"mixed": mixed, **rows}}
        spec = TrainingSpec.model_validate({"base": "base-1", "data": told})
        return read_inputs(self.folder, spec, BASE_FACTS, NOW, gates=gates)

    def refusal(self, **wish) -> AppError:
        with pytest.raises(AppError) as caught:
            self.read(**wish)
        return caught.value

    def _facts(self, name: str, **changes) -> None:
        path = self.folder / name / FACTS
        facts = SourceFacts.model_validate_json(path.read_text())
        path.write_text(facts.model_copy(update=changes).model_dump_json())


@pytest.fixture
def inputs(tmp_path, base):
    return lambda train, *mixed: Inputs(tmp_path / "in", base, train, *mixed)


def words(found: Rows, side: str = "training") -> list[str]:
    """Which questions a side holds: their last words before the answer."""
    texts = [found.tokenizer.decode(each.ids) for each in getattr(found, side)]
    return [text.split("\n")[1] for text in texts]


# -- bad rows ---------------------------------------------------------------------------------------------------


def test_rows_that_cannot_be_used_are_left_out_counted_and_named(inputs):
    rows = questions(20)
    rows[4:4], rows[9:9] = [BAD], [TOOL_ROW]  # the second can be read, but this base's template drops its tools
    found = inputs(rows).read()
    assert len(found.training) == 20
    (said,) = [remark for remark in found.remarks if "cannot be used" in remark]
    assert said.startswith("2 of 22 rows cannot be used and are left out: No answer (1), Tools that vanish (1)")
    assert "first: Row 5: " in said and found.left_out == {"no_assistant_turn": 1, "tools_vanish": 1}


def test_a_run_that_is_told_to_stop_at_bad_rows_names_their_kinds(inputs):
    error = inputs([*questions(20), BAD, BAD]).refusal(bad_rows="stop")
    assert error.code is Code.INVALID_TRAINING_FILE and error.facts["left_out"] == {"no_assistant_turn": 2}
    assert "2 of 22 training rows cannot be used: No answer (2). Row 21: " in error.message


def test_a_row_that_only_the_base_cannot_write_stops_such_a_run_too(inputs):
    error = inputs([*questions(20), TOOL_ROW]).refusal(bad_rows="stop")
    assert error.code is Code.TEMPLATE and "Row 21: " in error.message


def test_fewer_than_ten_rows_that_stay_are_refused_with_the_first_fault(inputs):
    error = inputs([TOOL_ROW, *questions(9)]).refusal()
    assert error.code is Code.TEMPLATE
    assert "9 usable rows of 10; at least 10 are needed. Row 1: " in error.message


def test_pairs_and_labels_are_refused_in_words(inputs):
    pair = {"kind": "preference", "prompt": [{"role": "user", "content": "?"}]}
    pair |= {name: [{"role": "assistant", "content": name}] for name in ("chosen", "rejected")}
    place = inputs(questions(12))
    place.prepare("train", [pair] * 12)
    error = place.refusal()
    assert error.code is Code.INVALID_TRAINING_FILE
    assert "holds preference pairs; a supervised run needs conversations or texts" in error.message


# -- how many of which ------------------------------------------------------------------------------------------


def test_of_exact_duplicates_only_the_first_is_trained_on_in_any_source(inputs):
    place = inputs([*questions(12), *questions(3)], [*questions(2), *questions(5, "other")])
    assert len(place.read().training) == 22
    found = place.read(drop_duplicates=True)
    assert len(found.training) == 17 and found.left_out == {"duplicate": 5}
    assert [source.trained for source in found.sources] == [12, 5]


def test_at_most_so_many_rows_are_drawn_by_the_seed(inputs):
    place = inputs(questions(40))
    one, again, other = (place.read(most_rows=15, shuffle_seed=seed) for seed in (1, 1, 2))
    assert words(one) == words(again) != words(other) and len(one.training) == 15
    assert one.left_out == {"not_drawn": 25}


def test_weights_scale_how_often_the_rows_of_each_source_are_seen(inputs):
    place = inputs(questions(10, "first"), questions(10, "half"), questions(10, "more"))
    found = place.read(weight=2.0, weights=(0.5, 2.5))
    seen = {word: [one for one in words(found) if one.startswith(word)] for word in ("first", "half", "more")}
    assert {word: (len(all), len(set(all))) for word, all in seen.items()} == {
        "first": (20, 10), "half": (5, 5), "more": (25, 10),
    }  # fmt: skip
    assert [source.trained for source in found.sources] == [20, 5, 25] and len(found.lengths) == 50


def test_a_held_back_row_is_measured_once_and_never_trained_on_however_heavy_its_source(inputs):
    found = inputs(questions(30), questions(30, "other")).read(weight=3.0, data={"validation_fraction": 0.2})
    held = words(found, "validation")
    assert len(held) == len(set(held)) == 12 and not set(held) & set(words(found))
    assert found.split.rows == 12 and sum(source.held_back for source in found.sources) == 12


SIZES = st.lists(st.integers(10, 60), min_size=1, max_size=3)
WEIGHTS = st.sampled_from([0.1, 0.5, 0.75, 1.0, 1.3, 2.0, 2.5])


@settings(max_examples=50, deadline=None)
@given(SIZES, st.data())
def test_the_counts_before_a_run_are_those_of_the_run(sizes, data):
    weights = [data.draw(WEIGHTS) for _ in sizes]
    most = data.draw(st.sampled_from([None, 10, 25]))
    spec = RowsSpec(
        weight=weights[0], most_rows=most, mixed=tuple(MixedFile(file="file-1", weight=one) for one in weights[1:])
    )  # fmt: skip
    sources = [sketch(range(place * 1000, place * 1000 + size)) for place, size in enumerate(sizes)]
    chosen, counted = select(sources, spec, fraction=0.0, seed=1), row_counts(sizes, spec, 0.0)
    assert counted.taken == tuple(one.taken for one in chosen)
    assert counted.trained == tuple(int(one.times.sum()) for one in chosen)
    held = select(sources, spec, fraction=0.3, seed=1)
    expected = row_counts(sizes, spec, 0.3)
    assert sum(int(one.is_held_back.sum()) for one in held) == expected.held_back
    assert all(not (one.times[one.is_held_back]).any() for one in held)


def sketch(questions_, near=None) -> Candidates:
    """Candidates that each ask their own question."""
    own = np.array(list(questions_), dtype=np.uint64) + np.uint64(1)
    none = np.zeros(len(own), dtype=np.uint64)
    return Candidates(
        rows=len(own), numbers=np.arange(1, len(own) + 1), contents=own, questions=own,
        near=none if near is None else near, column=none,
    )  # fmt: skip


# -- splits -----------------------------------------------------------------------------------------------------


def test_rows_that_are_nearly_the_same_stay_on_one_side(inputs):
    place = inputs(questions(40), questions(40, "other"))
    for name in ("train", "mixed-1"):
        place.near(name, [number // 4 for number in range(40)])
    for seed in range(5):
        found = place.read(kept_together="near_duplicates", split_seed=seed, data={"validation_fraction": 0.3})
        fours = [{(word, int(tail[:-1]) // 4) for word, _, tail in map(str.split, words(found, side))}
                 for side in ("training", "validation")]  # fmt: skip
        assert not fours[0] & fours[1] and len(fours[1]) == 6
    assert not any("near-duplicates" in remark for remark in found.remarks)


def test_without_a_report_rows_go_by_their_question_and_that_is_said(inputs):
    place = inputs(questions(20))
    found = place.read(kept_together="near_duplicates", data={"validation_fraction": 0.2})
    assert any("have not been looked for in train.jsonl yet" in remark for remark in found.remarks)
    assert words(found, "validation") == words(place.read(data={"validation_fraction": 0.2}), "validation")


def test_a_report_that_comes_while_a_run_is_interrupted_does_not_move_its_split(inputs):
    place = inputs(questions(20))
    wish = {"kept_together": "near_duplicates", "data": {"validation_fraction": 0.4}}
    first = place.read(**wish)
    place.near("train", [number // 10 for number in range(20)])
    assert first.gates == (None,)
    assert place.read(**wish, gates=first.gates).training.sha256() == first.training.sha256()
    second = place.read(**wish)
    assert second.training.sha256() != first.training.sha256()
    (place.folder / "train" / GATE).unlink()
    assert place.refusal(**wish, gates=second.gates).code is Code.RESUME_REFUSED


def conversation(number: int) -> dict:
    turns = [{"role": "user", "content": f"row {number}"}, {"role": "assistant", "content": "yes"}]
    return {"kind": "conversation", "turns": turns}


def test_rows_with_the_same_value_in_a_column_stay_on_one_side(inputs):
    place = inputs(questions(20))
    place.prepare("train", [conversation(n) for n in range(30)], [{"author": f"a{n % 6}", "n": n} for n in range(30)])
    found = place.read(kept_together="column", column="author", data={"validation_fraction": 0.4})
    authors = [{int(word.split()[1]) % 6 for word in words(found, side)} for side in ("training", "validation")]
    assert len(authors[1]) == 2 and not authors[0] & authors[1]


def test_a_column_that_no_row_has_is_refused_with_those_there_are(inputs):
    place = inputs(questions(20))
    place.prepare("train", [conversation(n) for n in range(20)], [{"author": "x", "city": "y"}] * 20)
    error = place.refusal(kept_together="column", column="writer")
    assert error.facts["param"] == "data.rows.column"
    assert 'in a column "writer"' in error.message and "it has author, city" in error.message


def test_the_split_has_a_seed_of_its_own(inputs):
    place = inputs(questions(40))
    one, two, three = (
        place.read(split_seed=split, shuffle_seed=shuffle, data={"validation_fraction": 0.2})
        for split, shuffle in ((1, 1), (1, 2), (2, 1))
    )
    assert words(one, "validation") == words(two, "validation") != words(three, "validation")
    assert (one.split.seed, three.split.seed) == (1, 2)


def test_a_file_to_validate_with_that_asks_the_same_is_named_and_nothing_is_taken_away(inputs):
    place = inputs(questions(20))
    place.add("validation", [*questions(2), row("Row NUMBER 7", "otherwise"), *questions(3, "new"), BAD])
    found = place.read()
    assert (len(found.training), len(found.validation), found.split.rows) == (20, 6, None)
    (said,) = [remark for remark in found.remarks if "validation rows" in remark]
    assert said.startswith("3 of 6 validation rows are met in the training data: ")
    assert "Validation rows that are trained on (2)" in said and "; first: row 1: row 1 of the training" in said


# -- what a resume relies on ------------------------------------------------------------------------------------


def test_equal_bytes_and_settings_give_equal_sequences_and_any_source_counts(inputs, tmp_path, base):
    wish = {"weight": 1.5, "weights": (0.5,), "data": {"validation_fraction": 0.1}}
    one = inputs(questions(30), questions(30, "other")).read(**wish)
    two = Inputs(tmp_path / "again", base, questions(30), questions(30, "other")).read(**wish)
    assert (one.identity, one.training.sha256(), one.validation.sha256()) == (
        two.identity, two.training.sha256(), two.validation.sha256(),
    )  # fmt: skip
    three = Inputs(tmp_path / "third", base, questions(30), questions(31, "other")).read(**wish)
    assert three.identity != one.identity and three.training_sha256 == one.training_sha256


def test_sequences_come_back_as_they_were_rendered(inputs):
    found = inputs([row("one", "two", "three", "four"), *questions(11)]).read(weight=2.0)
    assert found.training[0].ids == found.training[1].ids and len(found.training[0].spans) == 2
    assert [len(one.ids) for one in found.training] == found.lengths
    assert found.training.tokens == sum(found.lengths)
    assert found.training.shortest.ids == min((one.ids for one in found.training), key=len)
    text = found.tokenizer.decode([token for token, is_trained in zip(
        found.training[0].ids, found.training[0].trained, strict=True) if is_trained])  # fmt: skip
    assert text == "twofour"


def test_texts_that_are_too_long_are_trained_on_in_pieces_where_that_is_wished(inputs):
    place = inputs([{"text": f"{number} " + "word " * 20} for number in range(10)])
    wish = {"max_length": 40, "validation_fraction": 0}
    assert place.refusal(data=wish).code is Code.MASK
    found = place.read(data={**wish, "over_long": "split_text"})
    assert len(found.training) == 30 and max(found.lengths) <= 40 and "too_long" not in found.left_out
    whole = "".join(found.tokenizer.decode(each.ids, skip_special_tokens=True) for each in found.training[:3])
    assert whole.startswith("0 word word") and whole.count("word") == 20


def test_what_the_gate_finds_nearly_the_same_is_kept_together(inputs):
    said = "please look at the invoice of the {} delivery to the warehouse at the harbour and say whether it was paid"
    answer = "It was paid in full on the day it came, as the ledger of the harbour office shows on its second page."
    rows = [row(said.format(town), answer) for town in ("Genoa", "Malta", "Porto")]
    place = inputs([*questions(27), *rows])
    source = Source(place.folder / "train")
    report = check(source.prepared(), place.folder / "train" / GATE)
    assert (report.near_groups, report.near_rows) == (1, 3)
    place.sealed("train")
    wish = {"kept_together": "near_duplicates", "data": {"validation_fraction": 0.3}}
    sides = [place.read(**wish, split_seed=seed) for seed in range(8)]
    alike = [[sum("invoice" in word for word in words(found, side)) for side in ("training", "validation")]
             for found in sides]  # fmt: skip
    assert all(sorted(both) == [0, 3] for both in alike)
    assert {both[1] for both in alike} == {0, 3}


@pytest.mark.parametrize(("max_length", "weight"), [(2048, 1.0), (90, 2.0)])
def test_the_tokens_counted_before_a_run_are_those_of_the_run(inputs, base, max_length, weight):
    place = inputs([*questions(20), TOOL_ROW, *questions(5, "a question so long that it does not fit, " * 2)])
    report, _ = count(Source(place.folder / "train").prepared(), base)
    found = place.read(weight=weight, data={"max_length": max_length})
    figures = token_figures(
        [report], [found.sources[0].trained], max_length=max_length, over_long=OverLong.DROP, are_texts=[False]
    )
    assert (figures.sequences, figures.tokens) == (len(found.training), found.training.tokens)
    assert figures.trained_tokens == sum(each.trained_tokens for each in found.training)
    assert figures.longest == max(found.lengths) and figures.too_long == found.left_out.get("too_long", 0)

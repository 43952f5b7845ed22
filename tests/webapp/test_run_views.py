"""Runs in words and pictures: pure functions, without a database."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from models.domain.job import JobKind, Phase
from models.domain.run import AnswerSeen, Bucket, RunRow, RunSeen
from models.domain.series import points, smoothed
from models.domain.training import TrainingSpec
from webapp.views.curve import chart, limits, sparkline, thin
from webapp.views.run import below, head
from webapp.views.run_charts import charts, smoothing_of, speeds
from webapp.views.run_list import run_row, runs_list
from webapp.views.run_outcome import outcome_of
from webapp.views.run_words import KINDS, PHASES, differing, event_words, name_of, phase_word, settings_of, state_word

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SPEC = {
    "base": "base-1",
    "data": {"training_file": "file-1", "validation_fraction": 0.05, "template_arguments": {}},
    "method": {"name": "lora", "options": {"rank": 16}},
    "schedule": {"epochs": 3, "learning_rate": None},
    "suffix": None,
}


def row(kind: JobKind = JobKind.TRAIN, state: str = "running", **changed) -> RunRow:
    known: dict[str, Any] = dict.fromkeys(RunRow.__dataclass_fields__) | {
        "id": "ftjob-1", "is_shared": False, "kind": kind, "lane": "jobs", "state": state, "fence": 1, "attempts": 0,
        "spec": SPEC, "created_at": NOW, "base_name": "smollm2", "dataset_name": "mails.jsonl",
    }  # fmt: skip
    return RunRow(**(known | changed))


def seen(**changed) -> RunSeen:
    return RunSeen(row=row(**changed), spark=[], seconds_left=None, seconds=None, place=None)


def test_thinning_keeps_the_first_the_last_and_every_spike():
    points = [(step, 1.0) for step in range(10_000)]
    points[4321], points[7000] = (4321, 99.0), (7000, -99.0)
    kept = thin(points, 1000)
    assert len(kept) <= 1000
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert {(4321, 99.0), (7000, -99.0)} <= set(kept)
    assert kept == sorted(kept) and set(kept) <= set(points)


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 1003, 5000])
def test_thinning_is_exact_up_to_its_limit_and_never_over_it(count):
    points = [(step, float(step % 7)) for step in range(count)]
    kept = thin(points, 1000)
    assert kept == points if count <= 1000 else 400 <= len(kept) <= 1000


def test_what_is_not_a_number_is_in_no_picture():
    points = [(1, 2.0), (2, math.nan), (3, math.inf), (4, 1.0)]
    assert thin(points) == [(1, 2.0), (4, 1.0)]
    assert limits({"a": points}) == [0.0, 2.0]
    assert "nan" not in sparkline(points) and "inf" not in sparkline(points)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([2.31, 0.4], [0.0, 2.5]),
        ([8.2, 7.9], [7.8, 8.4]),  # a flat curve is not drawn as a line at the top
        ([2e-4, 0.0], [0.0, 2e-4]),
        ([5.0], [4.5, 5.5]),
        ([0.0], [0.0, 1.0]),
        ([], [0.0, 1.0]),
    ],
)
def test_axes_end_at_round_numbers(values, expected):
    assert limits({"a": list(enumerate(values))}, from_zero=False) == pytest.approx(expected)


def test_axes_stay_where_they_are_while_a_curve_falls():
    losses = [(step, 2.4 * 0.99**step) for step in range(1, 200)]
    assert len({tuple(limits({"a": losses[:count]}, from_zero=False)) for count in range(80, 199)}) == 1


def test_a_small_curve_says_in_words_what_it_shows_and_fits_its_box():
    spark = sparkline([(1, 2.5), (50, 0.9), (100, 0.4321)])
    assert "Training loss from 2.5 to 0.4321" in spark
    assert 'points="2.0,2.0 59.4,' in spark and '118.0,26.0"' in spark
    assert sparkline([(1, 2.5)]) == ""


def test_a_chart_names_its_lines():
    assert chart({"one": [(1, 2.0)]}, "step", "value", "line")["data"] == [[1, 2.0, "one"]]


def test_every_kind_and_phase_has_a_word():
    assert set(KINDS) == set(JobKind) and set(PHASES) == set(Phase)


@pytest.mark.parametrize(
    ("changed", "chip", "now"),
    [
        ({"state": "queued"}, "waiting", "Waiting for a worker"),
        ({"state": "queued", "held_reason": "disk"}, "waiting for disk", "Waiting until the worker's disk has room"),
        ({"state": "queued", "held_reason": "user"}, "paused", "Paused"),
        ({"phase": "evaluating"}, "running", "Measuring on held-out rows"),
        ({"cancel_requested_at": NOW, "cancel_wish": "keep"}, "stopping", "Saving the adapter so far, then stopping"),
        ({"cancel_requested_at": NOW, "cancel_wish": "discard"}, "stopping", "Stopping at its next step"),
        ({"state": "succeeded"}, "done", ""),
    ],
)
def test_a_state_is_told_in_words(changed, chip, now):
    assert state_word(row(**changed)) == chip
    assert phase_word(row(**changed)).startswith(now)
    assert bool(phase_word(row(**changed))) is bool(now)


def test_the_next_in_the_queue_is_told_so():
    waiting = row(state="queued")
    assert (phase_word(waiting, 1), phase_word(waiting, 3)) == ("Next in the queue", "2 before it in the queue")


@pytest.mark.parametrize(
    ("kind", "changed", "name"),
    [
        (JobKind.TRAIN, {"spec": SPEC | {"suffix": "tone-r16"}}, "tone-r16"),
        (JobKind.TRAIN, {}, "Training of smollm2"),
        (JobKind.MERGE, {"spec": {}, "adapter_name": "ft:smollm2:team:tone:x1"}, "Merge of tone"),
        (JobKind.ADD_BASE, {"spec": {"name": "qwen"}}, "Import of qwen"),
        (JobKind.CHECK_DATA, {"spec": {"file": "file-1"}}, "Check of mails.jsonl"),
        (JobKind.TOY, {"spec": {}}, "Self-test"),
    ],
)
def test_a_run_without_a_name_says_what_it_does(kind, changed, name):
    assert name_of(row(kind, **changed)) == name


def test_settings_are_told_in_the_words_of_the_form_and_a_local_path_is_not():
    told = settings_of(row())
    assert told["Base model"] == "smollm2" and told["Rows"] == "mails.jsonl"
    assert told["Share held back"] == "5%" and told["Rank"] == "16" and told["Learning rate"] == "as recommended"
    assert "Name" not in told
    local = settings_of(row(JobKind.ADD_BASE, spec={"name": "x", "source": "gguf", "reference": "/home/a/x.gguf"}))
    assert local == {"Name": "x", "From": "a GGUF file", "Reference": "x.gguf"}


def test_settings_that_a_run_does_not_look_at_are_not_told():
    whole = TrainingSpec.model_validate(SPEC).model_dump(mode="json")
    of_preferences = {"Beta", "Label smoothing", "Weight of good answers", "Weight of bad answers"}
    told = settings_of(row(spec=whole))
    assert told["Training objective"] == "supervised: write these answers"
    assert not {*of_preferences, "Column"} & set(told) and "Share held back" in told
    for name, used in (("dpo", {"Beta", "Label smoothing"}), ("kto", of_preferences - {"Label smoothing"})):
        one = settings_of(row(spec=whole | {"objective": {**whole["objective"], "name": name}}))
        assert of_preferences & set(one) == used
    by_file = whole["data"] | {"validation_file": "file-9"}
    by_file["rows"] = whole["data"]["rows"] | {"kept_together": "column", "column": "writer"}
    told = settings_of(row(spec=whole | {"data": by_file}))
    assert told["Column"] == "writer" and "Share held back" not in told
    other = row(spec=whole | {"objective": {**whole["objective"], "beta": 0.3}})
    assert differing([row(spec=whole), other]) == []  # neither looks at it


def test_only_settings_that_differ_are_compared():
    one = row(spec=SPEC | {"schedule": {"epochs": 3}, "suffix": "a"})
    two = row(spec=SPEC | {"method": {"name": "lora", "options": {"rank": 16, "alpha": 32}}, "suffix": "b"})
    three = row(spec=two.spec | {"schedule": {"epochs": 1, "seed": 3407}})
    assert differing([one, three]) == [("Epochs", ["3", "1"]), ("Alpha", ["–", "32"])]
    assert differing([one, one]) == []  # and a setting that one was stored without is its default


def test_two_versions_of_a_dataset_differ_although_their_name_does_not():
    other = row(spec=SPEC | {"data": SPEC["data"] | {"training_file": "file-2"}})
    assert differing([row(), other]) == [("Rows", ["mails.jsonl (le-1)", "mails.jsonl (le-2)"])]


@pytest.mark.parametrize(
    ("kind", "message", "data", "words"),
    [
        ("moved", "created -> queued", {}, "Queued"),
        ("moved", "queued -> running", {"attempts": 0}, "Taken by a worker"),
        ("moved", "queued -> running", {"attempts": 1}, "Started again, attempt 2"),
        ("moved", "running -> queued: its worker was lost (attempt 1 of 3)", {},
         "Back in the queue: its worker was lost (attempt 1 of 3)"),
        ("moved", "running -> failed: it broke.\nTwice", {}, "Failed: it broke.\nTwice"),
        ("phase", "training began", {}, "Training"),
        ("phase", "juggling began", {}, "juggling began"),
        ("checkpoint", "checkpoint at step 4 saved", {}, "Checkpoint at step 4 saved"),
        ("message", "cancel asked, the adapter so far: keep", {"wish": "keep"},
         "Asked to stop and keep the adapter so far"),
        ("message", "going on from the checkpoint at step 8", {}, "Going on from the checkpoint at step 8"),
    ],
)  # fmt: skip
def test_events_are_sentences(kind, message, data, words):
    assert event_words(kind, message, data) == words


def test_a_name_is_never_markup():
    hostile = '"><script>alert(1)</script>'
    html = runs_list(
        [seen(dataset_name=hostile, owner=hostile, state="failed", error={"message": hostile, "code": "internal"})],
        asked=type("Asked", (), {"kind": None, "state": None, "search": hostile, "page": 1}),
        counts={"failed": 1}, pages=1, is_filtered=True, most=6,
    )  # fmt: skip
    assert "<script" not in html and html.count("&lt;script&gt;") >= 4


def test_a_bar_is_never_over_full_and_unknown_where_nothing_was_counted():
    assert run_row(seen(done=12, total=10))["share"] == 1.0
    assert run_row(seen(done=None))["share"] is None
    assert run_row(seen(done=5, total=None))["share"] is None


def test_speed_is_trained_tokens_by_the_seconds_of_the_same_step():
    curves = {"trained_tokens": each((1, 100.0), (2, 90.0)), "step_seconds": each((2, 3.0))}
    assert speeds(curves) == [(2, 30.0)]
    assert speeds(curves | {"tokens": each((2, 180.0))}) == [(2, 60.0)]  # all tokens, where they are counted


def each(*points: tuple[int, float]) -> list[Bucket]:
    return [Bucket(first=step, last=step, low=value, high=value, total=value, count=1) for step, value in points]


def test_a_smoothed_curve_begins_at_the_first_value_and_is_the_same_for_steps_in_buckets():
    steps = each(*((step, 2.0) for step in range(1, 9)), (9, 1.0), (10, 1.0))
    assert smoothed(steps, 0.9)[0] == (1, 2.0) and smoothed(steps, 0.9)[7][1] == pytest.approx(2.0)
    mean = (0.9**2 * (1 - 0.9**8) * 2 + (1 - 0.9**2) * 1) / (1 - 0.9**10)
    assert smoothed(steps, 0.9)[-1] == pytest.approx((10, mean))
    eight = Bucket(first=1, last=8, low=2.0, high=2.0, total=16.0, count=8)
    two = Bucket(first=9, last=10, low=1.0, high=1.0, total=2.0, count=2)
    assert smoothed([eight, two], 0.9)[-1] == pytest.approx((10, mean))
    assert smoothed(steps, 0.0) == points(steps)


def test_a_run_without_preferences_or_memory_has_no_such_charts():
    plain = charts(seen(total=9), {"train_loss": each((1, 2.0), (2, 1.5)), "eval_loss": each((2, 1.6))}, 0.9)
    assert {name for name, one in plain.items() if not one.is_empty} == {"loss"}
    names = {name for *_, name in plain["loss"].value["data"]}
    assert names == {"training", "training, smoothed", "held-out"} and plain["loss"].x_lim == [0.0, 9.0]
    assert len({name for *_, name in charts(seen(), {"train_loss": each((1, 2.0))}, 0.0)["loss"].value["data"]}) == 1
    pairs = {"margin": each((1, 0.1)), "chosen_logp": each((1, -20.0)), "rejected_logp": each((1, -30.0))}
    shown = charts(seen(), pairs | {"kl": each((1, 0.01)), "peak_memory_bytes": each((1, 2e9))})
    assert not any(shown[name].is_empty for name in ("margin", "logp", "kl", "memory"))
    assert shown["memory"].value["data"] == [[1, 2.0, "peak memory"]]


@pytest.mark.parametrize(("asked", "factor"), [("0", 0.0), ("0.97", 0.97), ("", 0.9), ("2", 0.9), ("x", 0.9)])
def test_smoothing_is_one_of_a_few_factors(asked, factor):
    assert smoothing_of(asked) == factor


def test_what_a_run_changed_is_told_once_it_has_ended():
    recent = {"eval_loss": [(0, 2.0), (30, 0.8), (60, 1.0)], "train_loss": [(59, 0.6), (60, 0.4)]}
    assert outcome_of(seen(done=60, total=60), recent, {}, 50) is None
    ended = seen(state="succeeded", done=60, total=90, adapter_id="adapter-1", trained_tokens=12_000)
    found = outcome_of(ended, recent, {"adapter_step": 30}, 50)
    assert found is not None
    assert (found.held_change, found.best, found.last_loss) == (-0.5, (30, 0.8), 0.5)
    assert found.published == "the adapter is that of step 30"
    early = outcome_of(ended, recent, {"stopped_early_at": 60}, 50)
    assert early is not None and early.published == "stopped early; the adapter is that of the last step"
    html = head(ended, may_change=True, may_start=True, recent=recent, outcome=found)
    assert "50 % lower than the base" in html and "50 device-seconds" in html and "of 90" in html
    assert "/train?from=ftjob-1&amp;change=1" in html
    assert "Clone" not in head(ended, may_change=True, may_start=False, recent=recent)


def samples_of(samples=(), **changed) -> str:
    html = str(below(seen(**changed), events=[], has_more=False, log_tail=None, merges=[], samples=samples))
    return html.partition('data-key="events"')[0]


def answer(step: int, text: str = "so", **changed) -> AnswerSeen:
    known = {"id": step, "at": NOW, "question": 0, "prompt": "Why?", "reference": "because", "is_cut": False}
    return AnswerSeen(**(known | {"step": step, "answer": text} | changed))


def test_samples_stand_by_question_with_the_newest_first_and_the_rest_folded_away():
    html = samples_of(
        [answer(step, f"after {step}") for step in (0, 2, 4, 6, 8)] + [answer(8, question=2, prompt="Who?")]
    )
    assert html.index("Why?") < html.index("Expected") < html.index("after 8") < html.index("after 4")
    assert (
        html.index("after 4")
        < html.index("Earlier answers (2)")
        < html.index("after 2")
        < html.index("Before training")
    )
    assert html.index("Before training") < html.index("after 0") < html.index("Who?")
    assert html.count("<section") == 2 and html.count("<details") == 1


def test_a_sample_that_was_cut_or_empty_says_so_and_a_long_one_is_shortened():
    html = samples_of([answer(1, "It was", is_cut=True), answer(2, ""), answer(3, "x" * 5000, is_cut=True)])
    assert "It was …" in html and "no words" in html
    assert "x" * 799 + "…<" in html and "x" * 800 not in html


def test_what_a_model_says_is_never_markup():
    hostile = "</template><script>alert(1)</script>"
    html = samples_of([answer(1, hostile, prompt=hostile, reference=hostile)])
    assert "<script" not in html and html.count("&lt;script&gt;") == 3


@pytest.mark.parametrize(
    ("data", "changed", "words"),
    [
        ({}, {}, "The first sample comes when step 1 is done"),
        ({"sample_rows": 0}, {}, "Samples are switched off for this run."),
        ({"validation_fraction": 0}, {}, "No rows are held out in this run"),
        ({"validation_fraction": 0, "validation_file": "file-2"}, {}, "The first sample comes when"),
        ({}, {"state": "failed"}, "This run took no samples."),
    ],
)
def test_a_run_without_samples_says_why(data, changed, words):
    assert words in samples_of(spec=SPEC | {"data": SPEC["data"] | data}, **changed)


def test_what_is_no_training_has_no_samples():
    assert "Samples" not in samples_of(kind=JobKind.TOY, spec={"count": 1})

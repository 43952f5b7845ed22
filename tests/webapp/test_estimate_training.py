"""What the Train page says before a run starts: against real rows, workers and earlier runs, on both databases."""

import socket
from dataclasses import replace

import pytest

from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import Worker
from models.domain.access import Role
from models.domain.errors import AppError
from models.domain.ids import BaseId, FileId
from models.domain.job import JobKind, JobState, Lane
from models.domain.progress import StepDone
from models.domain.training import (
    DataSpec,
    MethodChoice,
    MixedFile,
    Optimiser,
    Quantisation,
    ScheduleSpec,
    TrainingSpec,
    TrainOn,
)
from tests.counted import counted, report_of
from tests.house import House, house
from webapp.actions.data_reports import StageState
from webapp.actions.estimate_training import Verdict, estimate_training
from webapp.actions.show_training_choices import settings_of_run, show_training_choices
from webapp.actions.start_training import start_training
from webapp.actions.token_counts import ask_counts
from webapp.pages.train_seen import look
from webapp.pages.train_shown import card_of
from webapp.views import train_wish

__all__ = ["house"]


def spec(base: str = "", file: str = "", **changes) -> TrainingSpec:
    return TrainingSpec.model_validate({"base": BaseId(base), "data": DataSpec(training_file=FileId(file)), **changes})


def worker(house: House, **changes) -> None:
    row = {"id": "worker-1", "host": socket.gethostname(), "pid": 1, "lane": Lane.JOBS, "device": "cpu", "slots": 2}
    with house.deps.database.write() as session:
        SystemStore(session).worker_started(Worker(**row | changes))


def checked_file(house: House, person, rows: int) -> str:
    file = house.upload(person, f"{rows}.jsonl").json()["id"]
    house.check_file(file, is_usable=True, rows=rows)
    return file


def ran(
    house: House, person, base: str, *, rows: int, step_seconds: float, quantisation: str = "nf4",
    tokens: int | None = None,
) -> None:  # fmt: skip
    """A training of two epochs that succeeded, as a worker leaves it."""
    wish = spec(base, quantisation=quantisation, schedule=ScheduleSpec(epochs=2)).model_dump(mode="json")
    with house.deps.database.write() as session:
        job = TeamStore(session, person.principal).submit(JobKind.TRAIN, wish, priority=9)
    with house.deps.database.write() as session:
        store = SystemStore(session)
        claimed = store.claim(Lane.JOBS, "worker-1", 60)
        assert claimed is not None and claimed.id == job.id
        steps = [
            StepDone(step=step, total_steps=2, epoch=step, loss_per_token=1, grad_norm=1, learning_rate=1,
                     trained_tokens=9, step_seconds=step_seconds) for step in (1, 2)
        ]  # fmt: skip
        store.record(job.id, claimed.fence, steps)
        result = {"manifest": {"data": {"rows": rows, "training_sha256": "x", "tokens": tokens}}}
        store.settle(job.id, claimed.fence, JobState.SUCCEEDED, result=result)


def test_without_anything_chosen_nothing_is_made_up(house: House):
    seen = estimate_training(house.deps, house.person().principal, spec())
    assert (seen.trainable, seen.memory, seen.steps, seen.seconds, seen.learning_rate) == (None,) * 5
    assert (seen.verdict, seen.workers, seen.waiting, seen.remarks) == (Verdict.UNKNOWN, 0, 0, ())


def test_parameters_and_rate_follow_the_base_and_steps_the_checked_rows(house: House):
    anna, base = house.person(), house.base()
    seen = estimate_training(house.deps, anna.principal, spec(base, checked_file(house, anna, 200)))
    assert (seen.trainable, seen.share) == (16 * 64, 1.024)
    assert (seen.rows, seen.held_back, seen.steps) == (190, 10, 72)
    assert seen.learning_rate == pytest.approx(1.26e-2, rel=0.01)


def test_an_unchecked_file_has_no_rows_yet_and_another_file_to_validate_with_takes_none(house: House):
    anna, base = house.person(), house.base()
    file, unchecked = checked_file(house, anna, 200), house.upload(anna).json()["id"]
    assert estimate_training(house.deps, anna.principal, spec(base, unchecked)).steps is None
    data = DataSpec(training_file=FileId(file), validation_file=FileId(unchecked))
    seen = estimate_training(house.deps, anna.principal, spec(base, data=data))
    assert (seen.rows, seen.held_back, seen.steps) == (200, 0, 75)


def test_the_time_is_measured_or_not_said(house: House):
    anna, base = house.person(), house.base()
    file = checked_file(house, anna, 200)
    assert estimate_training(house.deps, anna.principal, spec(base, file)).seconds is None
    ran(house, anna, base, rows=10, step_seconds=5)
    ran(house, anna, base, rows=10, step_seconds=400, quantisation="none")
    seen = estimate_training(house.deps, anna.principal, spec(base, file))
    # 2 x 5 s for 10 rows twice are half a second a row; 190 rows three times.
    assert seen.runs_measured == 1 and seen.seconds == pytest.approx(285, abs=2)
    other_team = house.person(team=house.team("others"))
    assert estimate_training(house.deps, other_team.principal, spec(base)).runs_measured == 0


def test_memory_is_compared_with_what_a_live_worker_may_use(house: House):
    anna, base = house.person(), house.base()
    small = house.deps.settings.model_copy(update={"memory_limit_bytes": 1000})
    deps = replace(house.deps, settings=small)
    assert estimate_training(deps, anna.principal, spec(base)).verdict is Verdict.UNKNOWN  # nobody is there
    worker(house)
    here = estimate_training(house.deps, anna.principal, spec(base))
    assert here.verdict is Verdict.FITS and here.room is not None and here.room.device == "cpu"
    assert estimate_training(deps, anna.principal, spec(base)).verdict is Verdict.TOO_MUCH


def test_what_a_worker_elsewhere_has_free_is_not_guessed(house: House):
    anna, base = house.person(), house.base()
    worker(house, host="elsewhere")
    seen = estimate_training(house.deps, anna.principal, spec(base))
    assert (seen.verdict, seen.workers) == (Verdict.UNKNOWN, 2)
    assert seen.room is not None and seen.room.free_bytes is None


def test_a_gpu_computes_in_half_the_bytes_and_takes_longer_passes(house: House):
    anna, base = house.person(), house.base()
    wish = spec(base, quantisation=Quantisation.NONE)
    on_cpu = estimate_training(house.deps, anna.principal, wish)
    worker(house, id="worker-2", device="cuda:0", host="elsewhere")
    on_gpu = estimate_training(house.deps, anna.principal, wish)
    assert (on_cpu.tokens_per_pass, on_gpu.tokens_per_pass) == (4096, 16_384)
    assert on_cpu.memory is not None and on_gpu.memory is not None
    assert on_cpu.memory.base_bytes == 2 * on_gpu.memory.base_bytes


def test_who_waits_before_it_is_counted_over_all_teams(house: House):
    anna, other = house.person(), house.person(team=house.team("others"))
    for person in (anna, other):
        with house.deps.database.write() as session:
            TeamStore(session, person.principal).submit(JobKind.TOY, {"count": 1})
    assert estimate_training(house.deps, anna.principal, spec()).waiting == 2


def test_a_layer_that_the_base_does_not_have_names_its_field(house: House):
    anna, base = house.person(), house.base()
    wish = spec(base, method=MethodChoice(options={"targets": ["k_proj"]}))
    with pytest.raises(AppError) as caught:
        estimate_training(house.deps, anna.principal, wish)
    assert caught.value.facts["param"] == "method.options.targets"


def test_what_can_be_chosen_is_the_teams_own_and_only_viewers_may_not_start(house: House):
    anna, base = house.person(), house.base()
    file = checked_file(house, anna, 20)
    other = house.person(team=house.team("others"))
    mine, theirs = (show_training_choices(house.deps, person.principal) for person in (anna, other))
    assert [one.id for one in mine.files] == [file] and theirs.files == ()
    assert mine.base("tiny") == theirs.base(base) and mine.may_start and theirs.may_start
    assert not show_training_choices(house.deps, house.person(Role.VIEWER).principal).may_start


def test_the_settings_of_a_run_are_its_own_teams_alone(house: House):
    anna, base = house.person(), house.base()
    job, _ = house.trained(anna, base)
    assert settings_of_run(house.deps, anna.principal, job).base == base
    with pytest.raises(AppError, match="No job"):
        settings_of_run(house.deps, house.person(team=house.team("others")).principal, job)


# -- counted tokens ---------------------------------------------------------------------------------------------

LENGTHS = {40: 150, 200: 48, 900: 2}


def mix(first: str, *others: tuple[str, float], **data) -> DataSpec:
    rows = data.pop("rows", {})
    mixed = [MixedFile(file=FileId(file), weight=weight) for file, weight in others]
    return DataSpec.model_validate({"training_file": first, "rows": {"mixed": mixed, **rows}, **data})


def test_counted_tokens_give_rows_that_fit_steps_and_the_longest_pass(house: House):
    anna, base = house.person(), house.base()
    file = checked_file(house, anna, 200)
    before = estimate_training(house.deps, anna.principal, spec(base, data=mix(file, max_length=200)))
    assert before.tokens is None and [one.state for one in before.counted] == [StageState.NONE]
    counted(house, anna, file, base, report_of(LENGTHS))
    schedule = ScheduleSpec(batch_rows=4)
    seen = estimate_training(house.deps, anna.principal, spec(base, data=mix(file, max_length=200), schedule=schedule))
    assert seen.tokens is not None and seen.counted[0].state is StageState.DONE
    # 190 of 200 rows are trained on, of which 198 in 200 fit: 188 sequences of 15,600 x 0.95 tokens.
    assert (seen.rows, seen.steps, seen.tokens.tokens, seen.tokens.longest) == (188, 141, 14_820, 200)
    assert seen.tokens_per_pass == 4 * 200
    longer = estimate_training(house.deps, anna.principal, spec(base, data=mix(file), schedule=schedule))
    assert longer.tokens_per_pass == 2 * 900 + 2 * 200 and longer.memory and seen.memory  # no more are that long
    assert longer.memory.activation_bytes > seen.memory.activation_bytes


def test_a_count_is_of_one_base_and_one_way_of_writing(house: House):
    anna, base = house.person(), house.base()
    file = checked_file(house, anna, 200)
    counted(house, anna, file, base, report_of(LENGTHS))
    for data in (mix(file, train_on=TrainOn.LAST_TURN), mix(file, template_arguments={"enable_thinking": False})):
        assert estimate_training(house.deps, anna.principal, spec(base, data=data)).tokens is None


def test_counts_are_asked_for_once_and_of_every_source(house: House):
    anna, base = house.person(), house.base()
    files = [checked_file(house, anna, 200), checked_file(house, anna, 100)]
    wish = spec(base, data=mix(files[0], (files[1], 0.5)))
    for _ in range(2):
        ask_counts(house.deps, anna.principal, wish)
        seen = estimate_training(house.deps, anna.principal, wish)
        assert [one.state for one in seen.counted] == [StageState.WAITING] * 2 and seen.tokens is None
    with house.deps.database.read() as session:
        jobs = TeamStore(session, anna.principal).jobs(limit=9, kinds=(JobKind.COUNT_TOKENS,)).items
    assert len(jobs) == 2
    ask_counts(house.deps, house.person(Role.VIEWER).principal, spec(base, data=mix(files[0], train_on="last_turn")))
    with house.deps.database.read() as session:
        assert len(TeamStore(session, anna.principal).jobs(limit=9, kinds=(JobKind.COUNT_TOKENS,)).items) == 2


def test_a_mix_counts_caps_and_weights_and_needs_every_source(house: House):
    anna, base = house.person(), house.base()
    first, other = checked_file(house, anna, 200), checked_file(house, anna, 100)
    data = mix(first, (other, 2.5), rows={"most_rows": 60, "weight": 2.0}, validation_fraction=0.1)
    seen = estimate_training(house.deps, anna.principal, spec(base, data=data))
    assert seen.counts is not None and seen.counts.taken == (60, 100) and seen.held_back == 16
    assert seen.counts.trained == (2 * 54, 2 * 90 + 45) and seen.rows == 333
    unchecked = house.upload(anna).json()["id"]
    half_known = estimate_training(house.deps, anna.principal, spec(base, data=mix(first, (unchecked, 1))))
    assert (half_known.rows, half_known.counted) == (None, ())


def test_the_time_goes_by_tokens_once_both_are_counted(house: House):
    anna, base = house.person(), house.base()
    file = checked_file(house, anna, 200)
    counted(house, anna, file, base, report_of({100: 200}))
    ran(house, anna, base, rows=10, step_seconds=5, tokens=500)
    # 2 x 5 s for 500 tokens twice are 10 ms a token; 190 rows of 100 tokens three times.
    seen = estimate_training(house.deps, anna.principal, spec(base, file))
    assert seen.seconds == pytest.approx(570, abs=2)


def test_pairs_are_refused_before_anything_is_queued(house: House):
    anna, base = house.person(), house.base()
    good, pairs = checked_file(house, anna, 20), house.upload(anna, "pairs.jsonl").json()["id"]
    house.check_file(pairs, is_usable=True, rows=20, report={"kinds": {"preference": 20}})
    words = "pairs.jsonl holds preference pairs; a supervised run needs conversations or texts"
    for data, field in ((mix(pairs), "training_file"), (mix(good, (pairs, 1)), "data.rows.mixed.0.file")):
        with pytest.raises(AppError, match=words) as caught:
            start_training(house.deps, anna.principal, spec(base, data=data))
        assert caught.value.facts["param"] == field
    choices = show_training_choices(house.deps, anna.principal)
    assert [dict(file.kinds) for file in choices.files] == [{"preference": 20}, {}]
    aim = {"objective": {"name": "dpo"}}
    wish = TrainingSpec.model_validate(spec(base, data=mix(pairs)).model_dump(mode="json") | aim)
    assert start_training(house.deps, anna.principal, wish).job.spec["objective"]["beta"] == 0.1


def test_an_optimiser_that_no_live_worker_can_run_is_refused_beside_its_field(house: House):
    anna, base = house.person(), house.base()
    wish = spec(base, checked_file(house, anna, 200), schedule=ScheduleSpec(optimiser=Optimiser.ADAMW_8BIT))
    worker(house)
    with pytest.raises(AppError) as caught:
        start_training(house.deps, anna.principal, wish)
    assert caught.value.facts["param"] == "schedule.optimiser" and "needs a GPU" in caught.value.message
    worker(house, id="worker-2", device="cuda:0", host="elsewhere")
    assert start_training(house.deps, anna.principal, wish).job.state == "queued"


def test_a_run_that_does_not_fit_names_the_single_changes_that_would(house: House):
    anna = house.person()
    base = house.base()
    worker(house)
    wish = spec(base, quantisation="none", data=DataSpec(training_file=FileId(""), max_length=65_536))
    roomy = estimate_training(house.deps, anna.principal, wish)
    assert roomy.memory is not None
    # Just under what it takes, whatever this machine has free.
    limit = min(roomy.memory.total_bytes - 1, roomy.room.free_bytes if roomy.room and roomy.room.free_bytes else 0)
    deps = replace(house.deps, settings=house.deps.settings.model_copy(update={"memory_limit_bytes": limit}))
    seen = estimate_training(deps, anna.principal, wish)
    assert seen.verdict is Verdict.TOO_MUCH
    assert all(one.total_bytes <= 0.85 * limit for one in seen.cures)
    typed = train_wish.typed_of(wish)
    card = card_of(replace(look(house.deps, anna.principal, typed), estimate=seen), typed)
    assert "does not fit" in card and ("would fit with" in card if seen.cures else "no single change" in card)


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        (
            {"method": {"name": "prefix"}, "schedule": {"gradient_checkpointing": True}},
            "schedule.gradient_checkpointing",
        ),
        ({"method": {"name": "prompt", "options": {"tokens": 400}}}, "method.options.tokens"),
        ({"method": {"name": "bias"}}, "method.name"),
        ({"method": {"name": "lora", "options": {"trained_tokens": ["9999"]}}}, "method.options.trained_tokens"),
    ],
)
def test_what_a_method_cannot_do_on_this_base_is_refused_before_anything_is_queued(house: House, wish, param):
    """By the summary beside the form, and by what submits."""
    anna, base = house.person(), house.base()
    told = spec(base, checked_file(house, anna, 20), **wish)
    for ask in (estimate_training, start_training):
        with pytest.raises(AppError) as caught:
            ask(house.deps, anna.principal, told)
        assert caught.value.facts["param"] == param

"""Runs as people look at them: the list, one run, several beside each other; and the pictures of their losses."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, select, text

from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import JobEvent, Metric
from models.domain.access import Role
from models.domain.errors import Code, JobFailed, NotFound
from models.domain.job import CancelWish, HeldReason, JobKind, JobState
from models.domain.progress import Sampled, seconds_left
from models.domain.series import points, ratio
from tests.runs import Run
from webapp.actions.show_run import run_curves, show_run
from webapp.actions.show_runs import PAGE_ROWS, RunsAsked, compare_runs, list_runs

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def names(seen) -> list[str]:
    return [run.row.spec.get("suffix") for run in seen.runs]


@pytest.fixture
def anna(house):
    return house.person()


@pytest.fixture
def base(house):
    return house.base()


def test_the_list_shows_what_each_run_works_on_how_far_it_is_and_its_losses_in_small(house, anna, base):
    house.trained(anna, base)
    run = Run(house, anna, base=base, suffix="house-style").claim().feed(range(1, 41), 100, seconds_each=2.0)
    waiting = Run(house, anna, base=base, suffix="next-one")
    last = Run(house, anna, base=base, suffix="last-one")
    seen = list_runs(house.deps, anna.principal, RunsAsked(kind=JobKind.TRAIN))
    assert names(seen) == ["last-one", "next-one", "house-style", None]
    by_id = {found.row.id: found for found in seen.runs}
    running = by_id[run.id]
    assert (running.row.base_name, running.row.dataset_name) == ("tiny", "house-style.jsonl")
    assert (running.row.done, running.row.total, running.row.phase) == (40, 100, "training")
    assert running.seconds_left == pytest.approx(120, abs=3)
    assert [step for step, _ in running.spark] == list(range(1, 41))
    assert (by_id[waiting.id].place, by_id[last.id].place, running.place) == (1, 2, None)
    done = seen.runs[3]
    assert done.row.state == JobState.SUCCEEDED and done.row.adapter_name and done.seconds is not None
    assert seen.is_moving and seen.counts == {"queued": 2, "running": 1, "succeeded": 1}


def test_search_finds_by_name_base_dataset_and_owner_and_takes_wildcards_literally(house, anna, base):
    other = house.base("other-base")
    Run(house, anna, base=base, suffix="billing_v1")
    Run(house, anna, base=other, suffix="tone")
    find = lambda text: names(list_runs(house.deps, anna.principal, RunsAsked(kind=JobKind.TRAIN, search=text)))  # noqa: E731
    assert find("BILLING") == ["billing_v1"]
    assert find("other-b") == ["tone"]
    assert find("tone.jsonl") == ["tone"]
    assert find("@example.org") == ["tone", "billing_v1"]
    assert find("%") == [] and find("l_") == [] and find("_v") == ["billing_v1"]
    assert list_runs(house.deps, anna.principal, RunsAsked(search="%")).is_filtered


def test_states_filter_and_pages_never_end_in_nothing(house, anna, base):
    for number in range(PAGE_ROWS + 1):
        with house.deps.database.write() as session:
            TeamStore(session, anna.principal).submit(JobKind.TOY, {"count": number})
    page = list_runs(house.deps, anna.principal, RunsAsked(kind=JobKind.TOY, page=2))
    assert (len(page.runs), page.pages) == (1, 2)
    assert list_runs(house.deps, anna.principal, RunsAsked(kind=JobKind.TOY, page=999)).asked.page == 2
    assert list_runs(house.deps, anna.principal, RunsAsked(state=JobState.FAILED)).runs == ()
    assert not list_runs(house.deps, anna.principal, RunsAsked(kind=JobKind.MERGE)).is_moving


def test_a_page_asks_the_database_as_often_for_twenty_runs_as_for_two(quick_house):
    anna, base, asked = quick_house.person(), quick_house.base(), []
    event.listen(quick_house.deps.database.reader, "before_cursor_execute", lambda *told: asked.append(told[2]))

    def statements() -> int:
        asked.clear()
        list_runs(quick_house.deps, anna.principal, RunsAsked())
        return len(asked)

    for _ in range(2):
        Run(quick_house, anna, base=base).claim().feed(range(1, 4), 9)
    Run(quick_house, anna, base=base)
    few = statements()
    for _ in range(9):
        Run(quick_house, anna, base=base)
    assert statements() == few <= 7


@pytest.mark.parametrize("page", ["0", "-1", "x", "1" * 40, "²", ""])
def test_an_address_that_makes_no_sense_means_the_first_page_of_all(page):
    assert RunsAsked.of(kind="nonsense", state="nonsense", search="\0 a ", page=page) == RunsAsked(search="a")


def test_a_held_job_has_no_place_and_says_why_it_waits(house, anna, base):
    run = Run(house, anna, base=base, suffix="held").claim()
    with house.deps.database.write() as session:
        SystemStore(session).release(run.id, run.fence, reason="the disk is full", held=HeldReason.DISK)
    behind = Run(house, anna, base=base, suffix="behind")
    seen = {found.row.id: found for found in list_runs(house.deps, anna.principal, RunsAsked()).runs}
    assert (seen[run.id].place, seen[run.id].row.held_reason) == (None, "disk")
    assert seen[behind.id].place == 1


def test_another_teams_runs_do_not_exist_and_its_people_are_not_named(house, anna, base):
    bert = house.person(team=house.team("others"))
    run = Run(house, anna, base=base, suffix="secret").claim().feed(range(1, 4), 9)
    run.say(sampled(0))
    own = list_runs(house.deps, bert.principal, RunsAsked())
    assert run.id not in {found.row.id for found in own.runs}
    assert all(found.row.owner is None for found in own.runs)  # the installation's own imports, by whoever
    assert compare_runs(house.deps, bert.principal, [run.id]) == []
    for look in (show_run, run_curves):
        with pytest.raises(NotFound):
            look(house.deps, bert.principal, run.id)
    with house.deps.database.read() as session:
        store = TeamStore(session, bert.principal)
        assert store.log_tail(run.id) is None and store.sparks([run.id]) == {} and store.paces([run.id]) == {}
        assert store.buckets(run.id, ("train_loss",)) == store.recent(run.id) == {}
        assert store.held_seconds(run.id, NOW) == 0
        assert store.told(run.id, limit=5) == store.samples(run.id, limit=5) == []
        assert store.places_in_queue([Run(house, anna, base=base).id]) == {}


def sampled(step: int, question: int = 0) -> Sampled:
    return Sampled(step=step, question=question, prompt="Why?", answer=f"after {step}", reference="because")


def test_a_run_shows_its_newest_samples_and_the_bases_own_and_programs_read_all(house, anna, base):
    run = Run(house, anna, base=base).claim()
    run.say(*(sampled(step, question) for step in range(0, 30, 2) for question in (0, 1)))
    seen = show_run(house.deps, anna.principal, run.id).samples
    assert [one.step for one in seen if one.question == 0] == [*range(28, 4, -2), 2, 0]
    assert {event.kind for event in show_run(house.deps, anna.principal, run.id).events} == {"moved", "phase"}
    path = f"/api/v1/jobs/{run.id}/samples?limit=20"
    page = house.client.get(path, headers=anna.headers).json()
    assert page["has_more"] and len(page["data"]) == 20
    assert page["data"][0].items() >= {
        "object": "sample", "step": 28, "question": 1, "prompt": "Why?", "answer": "after 28", "reference": "because",
        "is_cut": False,
    }.items()  # fmt: skip
    rest = house.client.get(f"{path}&after={page['data'][-1]['id']}", headers=anna.headers).json()
    assert [one["step"] for one in rest["data"]] == [8, 8, 6, 6, 4, 4, 2, 2, 0, 0]
    assert not rest["has_more"]
    assert house.client.get(f"{path}&after=sample-x", headers=anna.headers).status_code == 400


def test_samples_quote_rows_and_go_with_the_run(house, anna, base):
    run = Run(house, anna, base=base).claim()
    run.say(sampled(0))
    run.fail(JobFailed("it broke"))
    assert show_run(house.deps, anna.principal, run.id).samples
    assert house.client.delete(f"/api/v1/jobs/{run.id}", headers=anna.headers).status_code == 200
    with house.deps.database.read() as session:
        assert session.scalars(select(JobEvent).where(JobEvent.type == "sample")).all() == []


def test_a_run_tells_its_failure_its_log_and_its_events_and_offers_a_viewer_no_buttons(house, anna, base):
    run = Run(house, anna, base=base, suffix="fails").claim()
    run.say(log="step 1\nboom\n")
    run.feed(range(1, 3), 10).fail(JobFailed("it needed 9 GB; 8 GB were there. Take less.", code=Code.OUT_OF_MEMORY))
    seen = show_run(house.deps, anna.principal, run.id)
    assert seen.log_tail == "step 1\nboom\n"
    assert (seen.run.row.error or {})["message"].startswith("it needed 9 GB")
    assert [event.message for event in seen.events][-1] == "created -> queued"
    assert seen.may_change
    assert not show_run(house.deps, house.person(Role.VIEWER).principal, run.id).may_change


def test_a_run_leads_to_its_adapter_and_to_the_merges_made_of_it(house, anna, base):
    job, adapter = house.trained(anna, base)
    merge_job, merge = house.merged(anna, adapter)
    seen = show_run(house.deps, anna.principal, job)
    assert seen.run.row.adapter_id == adapter
    assert [(made.id, made.run) for made in seen.merges] == [(merge, merge_job)]
    merging = show_run(house.deps, anna.principal, merge_job).run.row
    assert (merging.adapter_id, merging.merge_id, merging.base_name) == (adapter, merge, "tiny")


def test_runs_are_compared_in_the_order_asked_each_once(house, anna, base):
    one = Run(house, anna, base=base, suffix="one", epochs=1).claim().feed(range(1, 9), 8, every=4).succeed()
    two = Run(house, anna, base=base, suffix="two", epochs=2).claim().feed(range(1, 5), 8)
    compared = compare_runs(house.deps, anna.principal, [two.id, one.id, two.id, "ftjob-unknown"])
    assert [found.run.row.id for found in compared] == [two.id, one.id]
    assert [step for step, _ in compared[1].held_out] == [4, 8]


def test_the_pace_of_an_earlier_attempt_does_not_count(house, anna, base):
    run = Run(house, anna, base=base).claim().feed(range(1, 30), 100, seconds_each=50)
    with house.deps.database.write() as session:
        SystemStore(session).release(run.id, run.fence, reason="a restart")
    run.claim().feed(range(30, 41), 100, seconds_each=1.0)
    assert show_run(house.deps, anna.principal, run.id).run.seconds_left == pytest.approx(60, abs=2)


def test_a_small_curve_of_a_long_run_keeps_its_first_and_last_step(house, anna, base):
    Run(house, anna, base=base).claim().feed(range(1, 1003), 2000)
    spark = list_runs(house.deps, anna.principal, RunsAsked(kind=JobKind.TRAIN)).runs[0].spark
    assert (spark[0][0], spark[-1][0]) == (1, 1002)
    assert 55 <= len(spark) <= 62


def test_a_run_of_a_hundred_thousand_steps_is_a_thousand_points_with_its_extremes_and_sums(house, anna, base):
    run, count = Run(house, anna, base=base).claim(), 100_000
    series = {"train_loss": "1.0 + (n % 7) * 0.01", "trained_tokens": "400.0", "step_seconds": "0.5"}
    for name, value in series.items():
        _many_points(house, run.id, name, value, count)
    with house.deps.database.write() as session:
        session.get_one(Metric, (run.id, "train_loss", 32_171)).value = 77.0
        session.get_one(Metric, (run.id, "train_loss", 81_301)).value = -1.0
    curves = run_curves(house.deps, anna.principal, run.id)
    loss = points(curves["train_loss"])
    assert 900 <= len(loss) <= 1000 and (loss[0][0], loss[-1][0]) == (1, count)
    assert abs(next(step for step, value in loss if value == 77.0) - 32_171) <= 201
    assert abs(next(step for step, value in loss if value == -1.0) - 81_301) <= 201
    assert sum(one.total for one in curves["step_seconds"]) == pytest.approx(count * 0.5)
    assert {speed for _, speed in ratio(curves["trained_tokens"], curves["step_seconds"])} == {800.0}


def _many_points(house, job: str, series: str, value: str, count: int) -> None:
    numbers = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < :count)"
    insert = "INSERT INTO metrics (job_id, series, step, fence, value, at)"
    with house.deps.database.write() as session:
        session.execute(
            text(f"{insert} {numbers} SELECT :job, :series, n, 1, {value}, CURRENT_TIMESTAMP FROM s"),
            {"job": job, "series": series, "count": count},
        )


def test_up_to_a_thousand_steps_every_one_is_drawn_as_it_came(house, anna, base):
    run = Run(house, anna, base=base).claim().feed(range(1, 1000), 2000)
    curves = run_curves(house.deps, anna.principal, run.id)
    assert [one.count for one in curves["train_loss"]] == [1] * 999
    assert show_run(house.deps, anna.principal, run.id).recent["train_loss"][0][0] == 980


def test_only_the_time_that_workers_held_a_run_is_its_cost(house, anna, base):
    run = Run(house, anna, base=base).claim()
    with house.deps.database.write() as session:
        SystemStore(session).release(run.id, run.fence, reason="a restart")
    run.claim().succeed()
    moves = ("queued", "running", "queued", "running", "succeeded")
    at = dict(enumerate([0, 100, 130, 500, 520]))
    with house.deps.database.write() as session:
        told = session.scalars(select(JobEvent).where(JobEvent.job_id == run.id, JobEvent.type == "moved"))
        for number, event_ in enumerate(told.all()):
            assert event_.data["after"] == moves[number]
            event_.at = NOW + timedelta(seconds=at[number])
    assert show_run(house.deps, anna.principal, run.id).held_seconds == 50


def test_a_cancel_is_seen_with_its_wish(house, anna, base):
    run = Run(house, anna, base=base).claim()
    with house.deps.database.write() as session:
        TeamStore(session, anna.principal).request_cancel(run.id, CancelWish.KEEP)
    row = show_run(house.deps, anna.principal, run.id).run.row
    assert row.cancel_requested_at is not None and row.cancel_wish == "keep"


def steps(*done_at: tuple[int, float]) -> list[tuple[int, datetime]]:
    return [(step, NOW + timedelta(seconds=at)) for step, at in done_at]


@pytest.mark.parametrize(
    ("recent", "after", "expected"),
    [
        (steps((2, 0), (11, 18)), 18, 178),  # 89 steps at 2 s
        (steps((2, 0), (11, 18)), 19, 177),  # one second later
        (steps((2, 0), (11, 18)), 500, 176),  # a step that hangs: it stands still
        (steps((2, 0), (11, 18)), -500, 178),  # this machine's clock is behind the worker's
        (steps((1, -90), (2, 0), (11, 18)), 18, 178),  # behind step 1 the base is measured, once
        (steps((1, 0), (2, 10)), 10, None),
        (steps((11, 20)), 20, None),
        (steps((11, 20), (11, 20)), 20, None),
        ([], 0, None),
    ],
)
def test_the_time_left_goes_by_the_pace_of_recent_steps(recent, after, expected):
    assert seconds_left(11, 100, recent, NOW + timedelta(seconds=after)) == expected


def test_a_run_that_has_done_all_its_steps_has_no_time_left_to_tell():
    assert seconds_left(100, 100, steps((1, 0), (100, 20)), NOW) is None

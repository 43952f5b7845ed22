"""What the store knows of trackers: whose they are, what a run's tracker lacks, and what is said in its events."""

from datetime import UTC, datetime

import pytest

from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import JobEvent, TrackedRun, Tracker
from models.domain.access import Role
from models.domain.errors import Forbidden, Invalid, NotFound
from models.domain.job import JobKind, JobState, Lane
from models.domain.progress import Evaluated, StepDone
from models.domain.tracking import STEPS_AT_ONCE
from tests.people import make_job, make_member, make_team


@pytest.fixture
def owner(database):
    return make_member(database, Role.OWNER)


def add(database, owner, kind="tensorboard", sealed=None) -> Tracker:
    with database.write() as session:
        return TeamStore(session, owner).add_tracker(kind, {}, sealed)


def running(database, team=None):
    job = make_job(database, JobKind.TRAIN, **({"team": team} if team else {}))
    with database.write() as session:
        return SystemStore(session).claim(Lane.JOBS, "worker-1", 60) or job


def step(number: int) -> StepDone:
    return StepDone(
        step=number, total_steps=9, epoch=0, loss_per_token=1.0, grad_norm=0.5, learning_rate=1e-4, trained_tokens=10,
        step_seconds=0.5, tokens=20,
    )  # fmt: skip


def say(database, job, *said) -> None:
    with database.write() as session:
        SystemStore(session).record(job.id, job.fence, said)


def end(database, job, state=JobState.SUCCEEDED) -> None:
    with database.write() as session:
        SystemStore(session).settle(job.id, job.fence, state)


def untold(database, job, after=-1):
    with database.read() as session:
        return SystemStore(session).untold(job.id, after)


def begin(database) -> list[tuple[str, str]]:
    with database.write() as session:
        SystemStore(session).begin_tracking(SystemStore(session).untracked())
        return sorted((run.tracker_id, run.job_id) for run, _ in SystemStore(session).due_tracked(50))


def test_only_owners_see_and_change_trackers(database, owner):
    tracker, member = add(database, owner), make_member(database, Role.MEMBER)
    with database.write() as session:
        store = TeamStore(session, member)
        for attempt in (
            store.trackers, lambda: store.tracker(tracker.id), lambda: store.ask_check(tracker.id),
            lambda: store.change_tracker(tracker.id, is_on=False), lambda: store.delete_tracker(tracker.id),
            lambda: store.add_tracker("tensorboard", {}, None),
        ):  # fmt: skip
            with pytest.raises(Forbidden):
                attempt()


def test_another_teams_tracker_is_absent_and_never_sees_a_run(database, owner):
    other = make_member(database, Role.OWNER, make_team(database, "other"))
    mine, theirs = add(database, owner), add(database, other)
    job = running(database)
    assert begin(database) == [(mine.id, job.id)]
    with database.write() as session, pytest.raises(NotFound):
        TeamStore(session, owner).tracker(theirs.id)
    with database.read() as session:
        assert [one.kind for one in TeamStore(session, owner).tracked(job.id)] == ["tensorboard"]
        assert TeamStore(session, other).tracked(job.id) == []


def test_a_team_has_at_most_eight_trackers(database, owner):
    for _ in range(8):
        add(database, owner)
    with pytest.raises(Invalid, match="8 are the most"):
        add(database, owner)


def test_runs_that_had_ended_before_a_tracker_came_are_not_told_and_those_that_go_on_are(database, owner):
    old = running(database)
    end(database, old)
    now = running(database)
    make_job(database, JobKind.TRAIN)  # waits
    tracker = add(database, owner)
    assert begin(database) == [(tracker.id, now.id)]


def test_the_newest_step_waits_until_nothing_can_be_added_to_it(database):
    job = running(database)
    say(database, job, Evaluated(step=0, loss_per_token=2.0, trained_tokens=5), step(1), step(2))
    assert [point.step for point in untold(database, job).points] == [0, 1]
    say(database, job, Evaluated(step=2, loss_per_token=1.5, trained_tokens=5))
    end(database, job)
    found = untold(database, job, after=1)
    assert (found.is_all, [point.step for point in found.points]) == (True, [2])
    assert found.points[0].figures == {
        "train/loss": 1.0, "train/grad_norm": 0.5, "train/learning_rate": 1e-4, "train/trained_tokens": 10.0,
        "train/step_seconds": 0.5, "train/tokens": 20.0, "train/tokens_per_second": 40.0, "eval/loss": 1.5,
    }  # fmt: skip


def test_a_long_run_is_told_in_parts_that_join(database):
    job = running(database)
    say(database, job, *(step(number) for number in range(1, STEPS_AT_ONCE + 8)))
    end(database, job)
    first = untold(database, job)
    rest = untold(database, job, after=first.points[-1].step)
    assert (first.is_all, rest.is_all) == (False, True)
    steps = [point.step for point in first.points + rest.points]
    assert steps == list(range(1, STEPS_AT_ONCE + 8))
    assert untold(database, job, after=steps[-1]).is_all


def test_a_problem_and_its_end_are_each_said_once(database, owner):
    tracker, job = add(database, owner), running(database)
    begin(database)
    told = {"step": 3, "mark": None, "url": None, "is_done": False, "again_after": 5}
    with database.write() as session:
        store = SystemStore(session)
        for _ in range(3):
            store.telling_failed(tracker.id, job.id, "it is away.", again_after=5, gives_up=False)
        assert session.get_one(TrackedRun, (tracker.id, job.id)).failures == 3
        store.told_until(tracker.id, job.id, **told)
        store.telling_failed(tracker.id, job.id, "it is away again.", again_after=5, gives_up=False)
        store.told_until(tracker.id, job.id, **told)
        events = session.query(JobEvent).filter_by(job_id=job.id, type="message").order_by(JobEvent.id).all()
    assert [event.level for event in events] == ["warn", "info"]
    assert "TensorBoard does not take this run's figures: it is away." in events[0].message
    assert begin(database) == []  # not before its time


def test_a_deleted_tracker_leaves_no_token_and_no_trace(database, owner):
    tracker, job = add(database, owner, sealed=b"sealed"), running(database)
    begin(database)
    with database.write() as session:
        TeamStore(session, owner).delete_tracker(tracker.id)
        store = SystemStore(session)
        store.told_until(tracker.id, job.id, step=1, mark=None, url=None, is_done=False, again_after=1)
        store.telling_failed(tracker.id, job.id, "away.", again_after=1, gives_up=False)
        assert session.query(Tracker).count() == session.query(TrackedRun).count() == 0


def test_a_check_is_due_until_it_is_answered_and_again_when_it_is_asked_for(database, owner):
    tracker = add(database, owner)
    with database.write() as session:
        store, mine = SystemStore(session), TeamStore(session, owner)
        assert [one.id for one in store.due_checks(5)] == [tracker.id]
        store.tracker_checked(tracker.id, "no such server.")
        session.expire_all()
        assert store.due_checks(5) == []
        assert mine.tracker(tracker.id).problem == "no such server."
    with database.write() as session:
        TeamStore(session, owner).ask_check(tracker.id)
    with database.read() as session:
        assert [one.id for one in SystemStore(session).due_checks(5)] == [tracker.id]
        assert session.get_one(Tracker, tracker.id).on_since <= datetime.now(UTC)

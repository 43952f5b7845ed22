"""The life of a job in the database, on both engines."""

import pytest
from sqlalchemy import insert, select

from models.db.engine import Database
from models.db.store import queue
from models.db.store.queue import MOST_REMARKS
from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import Blob, Job, JobEvent, db_now
from models.domain.errors import Code, Conflict, JobFailed, LeaseLost
from models.domain.job import CancelWish, HeldReason, JobState, Lane, Phase
from models.domain.progress import LONGEST_SAMPLED, Evaluated, PhaseBegan, Remarked, Sampled, StepDone
from tests.people import make_job, make_member


def claim(database: Database, worker: str = "worker-a", lease_seconds: float = 30) -> Job | None:
    with database.write() as session:
        return SystemStore(session).claim(Lane.JOBS, worker, lease_seconds)


def sweep(database: Database, max_attempts: int = 3):
    with database.write() as session:
        return SystemStore(session).sweep(max_attempts)


def reload(database: Database, job: Job) -> Job:
    with database.read() as session:
        return session.get_one(Job, job.id)


def step(number: int, loss: float = 1.0) -> StepDone:
    return StepDone(
        step=number, total_steps=9, epoch=0.1, loss_per_token=loss, grad_norm=0.5, learning_rate=1e-3,
        trained_tokens=7, step_seconds=0.1,
    )  # fmt: skip


def test_the_oldest_job_is_claimed_first_and_only_once(database):
    first, second = make_job(database), make_job(database)
    assert [claim(database).id, claim(database).id] == [first.id, second.id]
    assert claim(database) is None


def test_a_job_of_higher_priority_goes_before_an_older_one(database):
    make_job(database)
    with database.write() as session:
        urgent = TeamStore(session, SystemStore(session).principal()).submit("toy", {"count": 1}, priority=5)
    assert claim(database).id == urgent.id


def test_a_claim_may_leave_what_is_less_urgent_to_others(database):
    slow, quick = make_job(database), make_job(database)
    with database.write() as session:
        session.get_one(Job, quick.id).priority = 2
    with database.write() as session:
        assert SystemStore(session).claim(Lane.JOBS, "worker-a", 30, 2).id == quick.id
        assert SystemStore(session).claim(Lane.JOBS, "worker-a", 30, 2) is None
    assert claim(database).id == slow.id


def test_a_claim_raises_the_fence_and_leaves_attempts(database):
    job = make_job(database)
    claimed = claim(database)
    assert (claimed.state, claimed.fence, claimed.attempts) == (JobState.RUNNING, job.fence + 1, 0)


def test_a_held_job_is_passed_by(database):
    job = make_job(database)
    claimed = claim(database)
    with database.write() as session:
        SystemStore(session).release(job.id, claimed.fence, reason="disk is full", held=HeldReason.DISK)
    assert claim(database) is None
    assert reload(database, job).state == JobState.QUEUED


def test_a_beat_extends_the_lease_by_the_databases_clock(database):
    job = make_job(database)
    claimed = claim(database, lease_seconds=0.5)
    with database.write() as session:
        assert SystemStore(session).beat(job.id, claimed.fence, 60) is None
        left = session.scalar(select(Job.lease_until > db_now(50)).where(Job.id == job.id))
    assert left


def test_a_stale_owner_can_neither_beat_nor_record_nor_settle_nor_release(database):
    job = make_job(database)
    stale = claim(database, lease_seconds=-1)
    sweep(database)
    claim(database, "worker-b")
    attempts = [
        lambda store: store.beat(job.id, stale.fence, 30),
        lambda store: store.record(job.id, stale.fence, [step(1)]),
        lambda store: store.settle(job.id, stale.fence, JobState.SUCCEEDED),
        lambda store: store.release(job.id, stale.fence, reason="drain"),
        lambda store: store.checkpoint_saved(job.id, stale.fence, step=1, scope="s", tree_sha256="0", size=1),
    ]
    for attempt in attempts:
        with pytest.raises(LeaseLost), database.write() as session:
            attempt(SystemStore(session))
    assert reload(database, job).fence == stale.fence + 1
    assert reload(database, job).state == JobState.RUNNING


def test_sweep_takes_back_only_lapsed_jobs_and_counts_the_loss(database):
    lapsed, alive = make_job(database), make_job(database)
    claim(database, lease_seconds=-1)
    claim(database)
    assert sweep(database) == [(lapsed.id, JobState.QUEUED)]
    assert sweep(database) == []
    assert reload(database, lapsed).attempts == 1
    assert reload(database, alive).state == JobState.RUNNING


def test_a_job_that_loses_three_workers_fails_and_says_why(database):
    job = make_job(database)
    for _ in range(3):
        claim(database, lease_seconds=-1)
        sweep(database)
    ended = reload(database, job)
    assert (ended.state, ended.error["code"]) == (JobState.FAILED, Code.WORKER_LOST)
    assert ended.finished_at is not None


def test_release_gives_back_without_using_up_an_attempt(database):
    job = make_job(database)
    for _ in range(5):
        claimed = claim(database)
        with database.write() as session:
            SystemStore(session).release(job.id, claimed.fence, reason="the worker is being restarted")
    after = reload(database, job)
    assert (after.state, after.attempts, after.fence) == (JobState.QUEUED, 0, 5)


def test_a_queued_job_is_cancelled_at_once_and_never_runs(database):
    job = make_job(database)
    member = make_member(database, "owner")
    with database.write() as session:
        TeamStore(session, member).request_cancel(job.id)
    assert reload(database, job).state == JobState.CANCELLED
    assert claim(database) is None


def test_a_running_job_learns_of_the_cancel_at_its_next_beat(database):
    job = make_job(database)
    claimed = claim(database)
    with database.write() as session:
        TeamStore(session, SystemStore(session).principal()).request_cancel(job.id, CancelWish.KEEP)
    with database.write() as session:
        assert SystemStore(session).beat(job.id, claimed.fence, 30) is CancelWish.KEEP


def test_a_cancelled_job_is_not_run_again_by_release_or_by_sweep(database):
    released, swept = make_job(database), make_job(database)
    first, second = claim(database), claim(database, lease_seconds=-1)
    with database.write() as session:
        store = TeamStore(session, SystemStore(session).principal())
        store.request_cancel(released.id)
        store.request_cancel(swept.id)
    with database.write() as session:
        SystemStore(session).release(first.id, first.fence, reason="drain")
    sweep(database)
    assert {reload(database, job).state for job in (released, swept)} == {JobState.CANCELLED}
    assert second is not None


def test_an_ended_job_cannot_be_cancelled(database):
    job = make_job(database)
    claimed = claim(database)
    with database.write() as session:
        SystemStore(session).settle(job.id, claimed.fence, JobState.FAILED, error=JobFailed("it broke"))
    with pytest.raises(Conflict, match="already failed"), database.write() as session:
        TeamStore(session, SystemStore(session).principal()).request_cancel(job.id)


def test_what_a_child_says_becomes_rows_and_a_repeated_step_overwrites_its_point(database):
    job = make_job(database)
    claimed = claim(database)
    said = [step(1, 2.0), step(2, 1.5), Evaluated(step=2, loss_per_token=1.7, trained_tokens=9), Remarked(text="hi")]
    with database.write() as session:
        SystemStore(session).record(job.id, claimed.fence, said)
    with database.write() as session:
        SystemStore(session).record(job.id, claimed.fence, [step(2, 1.25)])
    with database.read() as session:
        store = TeamStore(session, SystemStore(session).principal())
        assert [point.value for point in store.metrics(job.id, "train_loss")] == [2.0, 1.25]
        assert [point.value for point in store.metrics(job.id, "eval_loss")] == [1.7]
        assert "hi" in [event.message for event in store.events(job.id, limit=20).items]
    assert (reload(database, job).done, reload(database, job).total) == (2, 9)


def sampled(step: int, question: int = 0, answer: str = "so") -> Sampled:
    return Sampled(step=step, question=question, prompt="Why?", answer=answer, reference="because")


def test_samples_are_kept_apart_from_events_and_a_repeated_step_replaces_its_own(database):
    job = make_job(database)
    claimed = claim(database)
    with database.write() as session:
        store = SystemStore(session)
        store.record(job.id, claimed.fence, [sampled(0), sampled(0, 1), sampled(4, answer="first"), sampled(40)])
        store.record(job.id, claimed.fence, [sampled(4, answer="a\0b" + "x" * 5000)])
    with database.read() as session:
        store = TeamStore(session, SystemStore(session).principal())
        found = store.samples(job.id, limit=10)
        assert [(one.step, one.question) for one in found] == [(4, 0), (40, 0), (0, 1), (0, 0)]
        assert found[0].answer.startswith("a\ufffdbxx") and len(found[0].answer) == LONGEST_SAMPLED
        assert [one.step for one in store.samples(job.id, limit=2, after=found[1].id)] == [0, 0]
        assert [one.question for one in store.samples(job.id, limit=2, oldest_first=True)] == [0, 1]
        assert {event.type for event in store.events(job.id, limit=50).items} == {"moved"}
        assert {event.kind for event in store.told(job.id, limit=50)} == {"moved"}


def test_a_job_keeps_so_many_samples_and_no_more(database, monkeypatch):
    monkeypatch.setattr(queue, "MOST_SAMPLES", 3)
    job = make_job(database)
    claimed = claim(database)
    with database.write() as session:
        SystemStore(session).record(job.id, claimed.fence, [sampled(step) for step in range(6)])
    with database.read() as session:
        kept = TeamStore(session, SystemStore(session).principal()).samples(job.id, limit=10)
    assert [one.step for one in kept] == [2, 1, 0]


def test_a_phase_that_comes_back_is_one_event_and_stays_the_jobs_phase(database):
    job = make_job(database)
    claimed = claim(database)
    phases = [Phase.TRAINING, Phase.SAVING, Phase.TRAINING, Phase.SAVING]
    with database.write() as session:
        SystemStore(session).record(job.id, claimed.fence, [PhaseBegan(phase=phase) for phase in phases])
    with database.read() as session:
        said = session.scalars(select(JobEvent.message).where(JobEvent.type == "phase").order_by(JobEvent.id)).all()
    assert said == ["training began", "saving began"]
    assert reload(database, job).phase == Phase.SAVING


def test_every_move_writes_an_event(database):
    job = make_job(database)
    claimed = claim(database)
    with database.write() as session:
        SystemStore(session).settle(job.id, claimed.fence, JobState.SUCCEEDED)
    with database.read() as session:
        moves = session.scalars(select(JobEvent.message).where(JobEvent.type == "moved").order_by(JobEvent.id)).all()
    assert moves == ["created -> queued", "queued -> running", "running -> succeeded"]


def test_one_process_at_a_time_holds_a_named_lease(database):
    def take(owner: str, seconds: float) -> bool:
        with database.write() as session:
            return SystemStore(session).take_lease("sweep", owner, seconds)

    assert take("a", 30)
    assert not take("b", 30)
    assert take("a", -1)
    assert take("b", 30)


def test_the_database_refuses_a_terminal_job_without_its_end(database):
    job = make_job(database)
    with pytest.raises(Exception, match="finished_iff_terminal"), database.write() as session:
        session.get_one(Job, job.id).state = "failed"


def child_lost(database: Database, claimed: Job, max_attempts: int = 3) -> JobState:
    with database.write() as session:
        return SystemStore(session).child_lost(claimed.id, claimed.fence, max_attempts, reason="its process died")


def test_a_lost_child_counts_as_an_attempt_and_frees_the_job(database):
    job = make_job(database)
    assert child_lost(database, claim(database)) is JobState.QUEUED
    assert (reload(database, job).attempts, reload(database, job).state) == (1, JobState.QUEUED)


def test_a_job_whose_child_dies_three_times_fails_and_says_so(database):
    job = make_job(database)
    for _ in range(3):
        child_lost(database, claim(database))
    assert reload(database, job).error["code"] == Code.CHILD_DIED
    assert "process of this job died 3 times" in reload(database, job).error["message"]


def test_a_stale_owner_cannot_report_its_child_lost(database):
    make_job(database)
    stale = claim(database, lease_seconds=-1)
    sweep(database)
    with pytest.raises(LeaseLost):
        child_lost(database, stale)


def test_a_held_job_goes_on_when_the_reason_is_gone(database):
    job = make_job(database)
    claimed = claim(database)
    with database.write() as session:
        SystemStore(session).release(job.id, claimed.fence, reason="disk is full", held=HeldReason.DISK)
    with database.write() as session:
        assert SystemStore(session).let_go_on(HeldReason.USER) == []
        assert SystemStore(session).let_go_on(HeldReason.DISK) == [job.id]
    assert claim(database).id == job.id


def test_equal_bytes_are_remembered_once(database):
    blobs = [Blob(scope="shared", sha256="a" * 64, size=3) for _ in range(2)]
    for _ in range(2):
        with database.write() as session:
            SystemStore(session).save_blobs(blobs)
    with database.read() as session:
        assert len(session.scalars(select(Blob)).all()) == 1


def test_a_job_that_never_stops_talking_does_not_fill_the_database(database):
    job = make_job(database)
    with database.write() as session:
        store = SystemStore(session)
        claimed = store.claim(Lane.JOBS, "worker-a", 30)
        said = {"job_id": job.id, "fence": claimed.fence, "type": "message"}
        session.execute(insert(JobEvent), [said | {"message": str(number)} for number in range(MOST_REMARKS - 2)])
        store.record(job.id, claimed.fence, [Remarked(text=f"remark {number}") for number in range(20)])
        store.release(job.id, claimed.fence, reason="drain")
    with database.read() as session:
        events = session.scalars(select(JobEvent).where(JobEvent.job_id == job.id).order_by(JobEvent.id)).all()
    assert [event.message for event in events if event.type == "message"][MOST_REMARKS - 2 :] == [
        "remark 0", "remark 1", "what it says from here on is only in its log",
    ]  # fmt: skip
    assert [event.type for event in events if event.type == "moved"] == ["moved"] * 3

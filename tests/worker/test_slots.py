"""The lane light: of two slots one is kept for quick jobs, so nobody's upload waits behind a long gate.

And two edits at once, in the two slots of one worker.
"""

from sqlalchemy import select, update

from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import Job, JobEvent
from models.domain.job import QUICK_PRIORITY, JobKind, JobState, Lane
from models.infra.storage import Storage
from tests.harness import open_sqlite_house, wait_for
from tests.people import make_job


def submit(house, priority: int, **toy) -> str:
    """A toy job on the lane light."""
    job = make_job(house.database, **toy).id
    with house.database.write() as session:
        session.execute(update(Job).where(Job.id == job).values(lane=Lane.LIGHT, priority=priority))
    house.accepted.append(job)
    house.broker.ring(Lane.LIGHT)
    return job


def state(house, job: str) -> JobState:
    return JobState(house.job(job).state)


def test_a_quick_job_runs_beside_a_slow_one_and_the_next_slow_one_waits_its_turn(tmp_path):
    with open_sqlite_house(tmp_path) as house:
        slow = [submit(house, 0, count=1000, seconds_each=0.1), submit(house, 1, count=3)]
        house.start_workers(1, Lane.LIGHT)
        wait_for(lambda: {state(house, job) for job in slow} == {JobState.SUCCEEDED, JobState.RUNNING})
        assert state(house, slow[1]) is JobState.SUCCEEDED  # of slow ones the more urgent first
        third = submit(house, 0, count=3)
        quick = [submit(house, QUICK_PRIORITY, count=3) for _ in range(2)]
        wait_for(lambda: all(state(house, job) is JobState.SUCCEEDED for job in quick))
        assert (state(house, slow[0]), state(house, third)) == (JobState.RUNNING, JobState.QUEUED)
        with house.database.write() as session:
            session.execute(update(Job).where(Job.id == slow[0]).values(cancel_wish="discard", cancel_requested_at=Job.created_at))  # fmt: skip  # noqa: E501
        wait_for(lambda: state(house, third) is JobState.SUCCEEDED)


def test_two_who_add_rows_at_once_lose_nothing(tmp_path):
    """The second one is given back, and made again from what the first one left."""
    with open_sqlite_house(tmp_path) as house:
        storage = Storage(house.settings.storage)
        blob = storage.put_bytes("team/team-default", b'{"text": "First."}\n')
        with house.database.write() as session:
            store = TeamStore(session, SystemStore(session).principal())
            facts = blob.model_dump() | {"filename": "a.jsonl", "purpose": "fine-tune", "format": "text"}
            file = store.add_file(**facts).id
            for words in ("Second.", "Third."):
                spec = {"file": file, "appended": [{"kind": "text", "text": words}]}
                house.accepted.append(store.submit(JobKind.EDIT_DATA, spec).id)
        house.start_workers(1, Lane.LIGHT)
        wait_for(lambda: all(state(house, job) is JobState.SUCCEEDED for job in house.accepted))
        with house.database.read() as session:
            newest = SystemStore(session).newest_file(file)
            said = "\n".join(session.scalars(select(JobEvent.message).where(JobEvent.type == "moved")))
        with storage.open(newest.scope, newest.sha256) as stored:
            lines = stored.read().splitlines()
        assert newest.number == 3 and len(lines) == 3 and lines[0] == b'{"text": "First."}'
        assert said.count("another version of the dataset came first") == 1
        house.history().check()

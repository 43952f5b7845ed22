"""A real training beside a tracker whose worker is killed: the run is unharmed, the tracker gets each step once.

The tracker's folder cannot be written to at first, so that there is something to say, to wait for and to make up.
"""

from models.db.store.system import DEFAULT_TEAM
from models.db.store.team import TeamStore
from models.db.tables import JobEvent, TrackedRun, Tracker
from models.domain.access import System
from models.domain.job import JobState, Lane
from tests.faults.test_training_moves_on import stored_spec, submit
from tests.harness import House, open_house, wait_for
from tests.worker.test_mirror import steps


def tracked(house: House) -> TrackedRun | None:
    with house.database.read() as session:
        return session.query(TrackedRun).one_or_none()


def messages(house: House, job: str) -> list[str]:
    with house.database.read() as session:
        events = session.query(JobEvent).filter_by(job_id=job, type="message").order_by(JobEvent.id)
        return [event.level for event in events if "TensorBoard" in event.message]


def problem(house: House) -> str | None:
    with house.database.read() as session:
        return session.query(Tracker).one().problem


def test_a_training_ends_well_beside_a_tracker_that_fails_and_whose_worker_is_killed(tmp_path, sqlite_url):
    with open_house(tmp_path / "house", sqlite_url, compute_dtype="fp32", threads=1, tracker_seconds=0.2) as house:
        with house.database.write() as session:
            TeamStore(session, System(team=DEFAULT_TEAM)).add_tracker("tensorboard", {}, None)
        in_the_way = house.settings.trackers_dir / DEFAULT_TEAM
        house.settings.trackers_dir.mkdir(parents=True)
        in_the_way.write_text("a file where a folder is needed")
        light = house.start_worker(Lane.LIGHT)
        job = submit(house, stored_spec(house, tmp_path))
        house.start_worker()
        wait_for(lambda: messages(house, job) == ["warn"] and problem(house) is not None, 90)
        in_the_way.unlink()
        wait_for(lambda: (row := tracked(house)) is not None and row.step > 0 and not row.problem, 60)
        light.kill()
        house.start_worker(Lane.LIGHT)
        house.wait_until_all_ended()
        wait_for(lambda: (row := tracked(house)) is not None and row.is_done, 60)
        assert house.job(job).state == JobState.SUCCEEDED and house.job(job).attempts == 0
        (file,) = (in_the_way / "tensorboard" / job).iterdir()
        assert [step for step in steps(file) if step > 0] == list(range(1, house.job(job).total + 1))
        assert messages(house, job) == ["warn", "info"]
        assert problem(house) is not None  # that of the first try, until somebody asks again

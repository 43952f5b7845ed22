"""The mirror with real processes: what a tracker gets of a run, restarts without doubles, trackers that fail."""

import json
import struct
import sys
import time
from concurrent.futures import wait
from pathlib import Path

import psutil
import pytest

import models.catalog.trackers
from models.catalog.trackers import TRACKERS, find_trackers
from models.db.engine import Database
from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import Job, JobEvent, Lease, TrackedRun, Tracker
from models.domain.access import Role, System
from models.domain.errors import JobFailed
from models.domain.job import JobKind, JobState, Lane
from models.domain.progress import Evaluated, StepDone
from models.infra.secrets import load_key, seal
from models.infra.settings import Settings
from tests.harness import wait_for
from tests.people import make_member, make_team
from worker.mirror import Mirror

QUICK = {"tracker_seconds": 0.05, "tracker_silence_seconds": 20}
TEAM = "team-default"


class Told:
    """A database with one team, its mirror, and runs that are fed by hand."""

    def __init__(self, url: str, folder: Path, **settings) -> None:
        self.settings = Settings(data_dir=folder / "house", database_url=url, **QUICK | settings)
        self.settings.data_dir.mkdir()
        self.database = Database(url)
        self.mirror = Mirror(self.database, self.settings)

    def tracker(self, kind: str, team: str = TEAM, token: str | None = None, **options) -> str:
        sealed = seal(load_key(self.settings.key_file), team, token) if token else None
        options = TRACKERS[kind].options.model_validate(options).model_dump(mode="json")
        with self.database.write() as session:
            return TeamStore(session, System(team=team)).add_tracker(kind, options, sealed).id

    def run(self, team: str = TEAM) -> Job:
        with self.database.write() as session:
            spec = {"suffix": "tone", "schedule": {"seed": 1}, "probes": ["a", "b"]}
            TeamStore(session, System(team=team)).submit(JobKind.TRAIN, spec)
            return SystemStore(session).claim(Lane.JOBS, "worker-1", 600)

    def feed(self, job: Job, *steps: int) -> None:
        said = [
            StepDone(
                step=step, total_steps=9, epoch=0, loss_per_token=1 / step, grad_norm=0.5, learning_rate=1e-4,
                trained_tokens=10, step_seconds=0.5, peak_memory_bytes=1000,
            )
            for step in steps
        ]  # fmt: skip
        said.append(Evaluated(step=steps[-1], loss_per_token=0.25, trained_tokens=5))
        with self.database.write() as session:
            SystemStore(session).record(job.id, job.fence, said)

    def end(self, job: Job, state: JobState = JobState.SUCCEEDED, **more) -> None:
        with self.database.write() as session:
            SystemStore(session).settle(job.id, job.fence, state, **more)

    def tell(self) -> None:
        """One round, waited for; what is to be tried again later is tried now."""
        with self.database.write() as session:
            session.query(TrackedRun).update({"next_at": session.query(Tracker).first().created_at})
        wait(self.mirror.round(), timeout=60)

    def restart(self) -> None:
        self.mirror.stop()
        self.mirror = Mirror(self.database, self.settings)
        with self.database.write() as session:
            session.query(Lease).delete()

    def row(self) -> TrackedRun:
        with self.database.read() as session:
            return session.query(TrackedRun).one()

    def events(self, job: Job) -> list[tuple[str, str]]:
        with self.database.read() as session:
            found = session.query(JobEvent).filter_by(job_id=job.id, type="message").order_by(JobEvent.id)
            return [(event.level, event.message) for event in found]

    def event_file(self, job: Job, team: str = TEAM) -> Path:
        (found,) = (self.settings.trackers_dir / team / "tensorboard" / job.id).iterdir()
        return found


@pytest.fixture
def told(sqlite_url, tmp_path):
    made = Told(sqlite_url, tmp_path)
    yield made
    made.mirror.stop()
    made.database.close()


def read(path: Path) -> list[tuple[int, dict[str, float], dict[str, str]]]:
    """Each event's step, numbers and texts, by protobuf's own reader and with every checksum looked at."""
    pytest.importorskip("tensorboardX", reason="reads event files; pip install -e '.[test]'")
    from tensorboardX.crc32c import crc32c
    from tensorboardX.proto.event_pb2 import Event

    def masked(data: bytes) -> int:
        value = crc32c(data)
        return (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF

    data, found = path.read_bytes(), []
    while data:
        size, check = struct.unpack("<QI", data[:12])
        body, (body_check,) = data[12 : 12 + size], struct.unpack("<I", data[12 + size : 16 + size])
        assert (check, body_check) == (masked(data[:8]), masked(body))
        event, data = Event.FromString(body), data[16 + size :]
        numbers = {one.tag: round(one.simple_value, 6) for one in event.summary.value if not one.HasField("tensor")}
        texts = {one.tag: one.tensor.string_val[0].decode() for one in event.summary.value if one.HasField("tensor")}
        found.append((event.step, numbers, texts))
    return found


def steps(path: Path) -> list[int]:
    return [step for step, numbers, _ in read(path) if numbers]


def test_tensorboard_gets_settings_figures_and_the_end(told):
    told.tracker("tensorboard")
    job = told.run()
    told.feed(job, 1, 2, 3)
    told.tell()
    told.end(job)
    told.tell()
    events = read(told.event_file(job))
    assert "| schedule.seed | 1 |" in events[1][2]["settings"] and job.id in events[1][2]["settings"]
    assert events[-2][:2] == (3, {
        "train/loss": 0.333333, "train/grad_norm": 0.5, "train/learning_rate": 0.0001, "train/trained_tokens": 10.0,
        "train/step_seconds": 0.5, "system/peak_memory_bytes": 1000.0, "train/tokens_per_second": 20.0,
        "eval/loss": 0.25,
    })  # fmt: skip
    assert "| state | finished |" in events[-1][2]["result"]
    assert told.row().is_done and told.events(job) == []


def test_tensorboard_itself_reads_the_file(told):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard itself"
    )
    told.tracker("tensorboard")
    job = told.run()
    told.feed(job, 1, 2)
    told.end(job)
    told.tell()
    seen = accumulator.EventAccumulator(str(told.event_file(job).parent)).Reload()
    assert [(one.step, one.value) for one in seen.Scalars("train/loss")] == [(1, 1.0), (2, 0.5)]
    assert set(seen.Tags()["tensors"]) == {"settings", "result"}


def test_a_restart_goes_on_without_a_gap_and_without_doubles(told):
    told.tracker("tensorboard")
    job = told.run()
    told.feed(job, 1, 2, 3)
    told.tell()
    path = told.event_file(job)
    with path.open("ab") as file:  # killed after it wrote and before it was noted
        file.write(path.read_bytes()[-100:])
    told.feed(job, 4, 5)
    told.restart()
    told.tell()
    told.end(job, JobState.FAILED, error=JobFailed("The loss is not a number."))
    told.tell()
    assert steps(path) == [1, 2, 3, 4, 5]
    assert "| state | failed |\n| error | The loss is not a number. |" in read(path)[-1][2]["result"]


def test_an_attempt_that_went_back_to_a_checkpoint_is_not_told_twice(told):
    told.tracker("tensorboard")
    job = told.run()
    told.feed(job, 1, 2, 3, 4)
    told.tell()
    told.feed(job, 2, 3)
    told.tell()
    told.feed(job, 4, 5)
    told.end(job, JobState.CANCELLED)
    told.tell()
    assert steps(told.event_file(job)) == [1, 2, 3, 4, 5]


def test_a_file_that_was_lost_is_written_anew(told):
    told.tracker("tensorboard")
    job = told.run()
    told.feed(job, 1, 2, 3)
    told.tell()
    told.event_file(job).unlink()
    told.restart()
    told.end(job)
    told.tell()
    assert steps(told.event_file(job)) == [1, 2, 3]


def test_each_teams_runs_go_to_its_own_tracker(told):
    other = make_team(told.database, "other")
    told.tracker("tensorboard")
    told.tracker("tensorboard", team=other)
    mine, theirs = told.run(), told.run(other)
    for job in (mine, theirs):
        told.feed(job, 1)
        told.end(job)
    told.tell()
    folders = {
        team: [found.name for found in (told.settings.trackers_dir / team / "tensorboard").iterdir()]
        for team in (TEAM, other)
    }
    assert folders == {TEAM: [mine.id], other: [theirs.id]}


def test_a_tracker_that_is_away_is_said_once_and_told_everything_when_it_is_back(told):
    told.tracker("tensorboard")
    blocked = told.settings.trackers_dir / TEAM
    told.settings.trackers_dir.mkdir()
    blocked.write_text("a file where a folder is needed")
    job = told.run()
    told.feed(job, 1, 2)
    told.tell()
    told.tell()
    assert told.row().failures == 2 and [level for level, _ in told.events(job)] == ["warn"]
    blocked.unlink()
    told.end(job)
    told.tell()
    assert steps(told.event_file(job)) == [1, 2]
    assert [level for level, _ in told.events(job)] == ["warn", "info"]
    with told.database.read() as session:
        assert session.get_one(Job, job.id).state == JobState.SUCCEEDED


ENTRY = '''
"""A tracker for this test: lines of JSON."""

from models.catalog.trackers.base import Options, Tracker


class LinesOptions(Options):
    manner: str = "good"


TRACKER = Tracker(name="lines", title="Lines", when="For a test.", options=LinesOptions, token="Token")
'''
SINK = '''
"""Writes lines of JSON, or behaves as badly as it is told to."""

import json
import os
import time


class Lines:
    url, mark, has_until = "https://lines.example/run", None, None

    def __init__(self, opening):
        opening.folder.mkdir(parents=True, exist_ok=True)
        self.manner = opening.options["manner"]
        self.path = opening.folder / opening.run.job
        if self.manner == "hangs":
            time.sleep(600)
        if self.manner == "tells":
            raise ValueError(f"the key {opening.token} is not known at\\n all")

    def write(self, points):
        print("noise on stdout")
        if self.manner == "dies":
            os.kill(os.getpid(), 9)
        with self.path.open("a") as file:
            file.writelines(json.dumps(point.step) + "\\n" for point in points)

    def end(self, end):
        with self.path.open("a") as file:
            file.write(json.dumps(end.state) + "\\n")

    def pause(self):
        pass


def open_run(opening):
    return Lines(opening)


def check(opening):
    raise ValueError(f"no such user: {opening.token}")
'''


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """The two files of CONTRIBUTING, in folders that this process and those it starts look into."""
    for room, text in (("models/catalog", ENTRY), ("worker", SINK)):
        folder = tmp_path / room / "trackers"
        folder.mkdir(parents=True)
        (folder / "lines.py").write_text(text)
    monkeypatch.setattr(
        models.catalog.trackers, "__path__",
        [*models.catalog.trackers.__path__, str(tmp_path / "models/catalog/trackers")],
    )  # fmt: skip
    monkeypatch.setitem(TRACKERS, "lines", find_trackers()["lines"])
    starter = tmp_path / "started.py"
    starter.write_text(
        "import runpy, models.catalog.trackers as entries, worker.trackers as sinks\n"
        f"entries.__path__.append({str(tmp_path / 'models/catalog/trackers')!r})\n"
        f"sinks.__path__.append({str(tmp_path / 'worker/trackers')!r})\n"
        "entries.TRACKERS.update(entries.find_trackers())\n"
        "runpy.run_module('worker.trackers', run_name='__main__')\n"
    )
    monkeypatch.setattr("worker.sender.COMMAND", (sys.executable, "-P", str(starter)))
    yield
    sys.modules.pop("models.catalog.trackers.lines", None)


def lines(told, job) -> list:
    path = told.settings.trackers_dir / TEAM / "lines" / job.id
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_two_new_files_are_a_new_tracker(recipe, told):
    told.tracker("lines", token="s3cret-token")
    job = told.run()
    told.feed(job, 1, 2)
    told.tell()
    assert lines(told, job) == [1]
    told.end(job)
    told.tell()
    assert lines(told, job) == [1, 2, "finished"]
    with told.database.read() as session:
        assert TeamStore(session, System(team=TEAM)).tracked(job.id)[0].url == "https://lines.example/run"
        assert session.query(Tracker).one().problem == "ValueError: no such user: ***."


@pytest.mark.parametrize(
    ("manner", "words"),
    [
        ("hangs", "it did not answer within 1 s."),
        ("dies", "the process that speaks to it ended without an answer."),
        ("tells", "ValueError: the key *** is not known at all."),
    ],
)
def test_a_tracker_that_hangs_dies_or_refuses_harms_no_run(recipe, sqlite_url, tmp_path, manner, words):
    told = Told(sqlite_url, tmp_path, tracker_silence_seconds=1)
    told.tracker("lines", token="s3cret-token", manner=manner)
    job = told.run()
    told.feed(job, 1, 2)
    began = time.monotonic()
    told.tell()
    assert time.monotonic() - began < 15
    ((level, text),) = told.events(job)
    assert level == "warn" and words in text and "The training goes on" in text and "s3cret" not in text
    told.end(job)
    with told.database.read() as session:
        assert session.get_one(Job, job.id).state == JobState.SUCCEEDED
    told.mirror.stop()
    told.database.close()


def test_local_trackers_need_the_administrators_word(told):
    told.tracker("trackio")
    job = told.run()
    told.tell()
    ((_, text),) = told.events(job)
    assert "TUNEROOM_TRACKER_LOCAL" in text


def test_a_run_is_told_to_its_end_from_either_database(database_url, tmp_path):
    told = Told(database_url, tmp_path)
    make_member(told.database, Role.OWNER)
    told.tracker("tensorboard")
    job = told.run()
    told.feed(job, 1, 2)
    told.end(job)
    told.tell()
    assert told.row().is_done and told.row().step == 2
    told.mirror.stop()
    told.database.close()


def test_a_mirror_that_stops_waits_for_no_tracker(recipe, told):
    told.tracker("lines", manner="hangs")
    job = told.run()
    told.feed(job, 1, 2)
    begun = told.mirror.round()
    children = wait_for(lambda: [one for one in psutil.Process().children() if "started.py" in " ".join(one.cmdline())])
    began = time.monotonic()
    told.mirror.stop()
    wait(begun, timeout=10)
    assert time.monotonic() - began < 5 and not any(one.is_running() for one in children)
    assert told.events(job) == []

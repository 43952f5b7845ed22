"""Trackers with their real libraries, offline: figures arrive once, also after a restart, under the run's own id."""

import sqlite3
import sys
from importlib.util import find_spec

import pytest

from models.domain.errors import JobFailed
from models.domain.job import JobState
from tests.worker.test_mirror import TEAM, Told


def needs(library: str):
    reason = f"{library} is not installed; pip install -e '.[trackers]'"
    return pytest.mark.skipif(find_spec(library) is None, reason=reason)


@pytest.fixture
def told(sqlite_url, tmp_path):
    made = Told(sqlite_url, tmp_path, tracker_local=True, tracker_silence_seconds=120)
    yield made
    made.mirror.stop()
    made.database.close()


def interrupted(told, kind: str, **options):
    """A run that is told in three parts, with a restart in which the last answer was lost."""
    told.tracker(kind, **options)
    job = told.run()
    told.feed(job, 1, 2, 3)
    told.tell()
    before = told.row()
    told.feed(job, 4, 5)
    told.tell()
    told.restart()
    with told.database.write() as session:
        session.merge(before)
    told.end(job, JobState.FAILED, error=JobFailed("The loss is not a number."))
    told.tell()
    assert told.row().is_done, told.events(job)
    return job


@needs("trackio")
def test_trackio_keeps_each_step_once(told):
    job = interrupted(told, "trackio", project="ours")
    (path,) = (told.settings.trackers_dir / TEAM / "trackio").glob("*.db")
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT run_id, step, metrics FROM metrics ORDER BY id").fetchall()
        (config,) = database.execute("SELECT config FROM configs").fetchone()
    assert [(run, step) for run, step, _ in rows] == [(job.id, step) for step in (1, 2, 3, 4, 5, 5)]
    assert b'"train/loss":0.25' in rows[3][2]
    assert b'"schedule.seed":1' in config and b'"tuneroom.state":"failed"' in config


@needs("mlflow")
def test_mlflow_keeps_each_figure_once(told):
    job = interrupted(told, "mlflow", address="local", experiment="ours")
    with sqlite3.connect(told.settings.trackers_dir / TEAM / "mlflow" / "mlflow.db") as database:
        steps = database.execute("SELECT step FROM metrics WHERE key = 'train/loss' ORDER BY step").fetchall()
        ((run, status),) = database.execute("SELECT run_uuid, status FROM runs").fetchall()
        tags = dict(database.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run,)).fetchall())
        params = dict(database.execute("SELECT key, value FROM params").fetchall())
    assert [step for (step,) in steps] == [1, 2, 3, 4, 5]
    assert (status, tags["tuneroom.job"], params["schedule.seed"]) == ("FAILED", job.id, "1")
    assert tags["tuneroom.error"] == "The loss is not a number."


@needs("wandb")
def test_wandb_writes_folders_to_sync_offline(told):
    told.tracker("wandb", mode="offline", project="ours")
    job = told.run()
    told.feed(job, 1, 2, 3)
    told.tell()
    told.end(job)
    told.tell()
    assert told.row().is_done, told.events(job)
    folders = list((told.settings.trackers_dir / TEAM / "wandb" / "wandb").glob(f"offline-run-*-{job.id}"))
    assert len(folders) == 1
    written = (folders[0] / f"run-{job.id}.wandb").read_bytes()
    assert all(part in written for part in (b"train/loss", b"eval/loss", b"schedule.seed", b"tuneroom.state"))


def test_a_library_that_is_missing_is_said_in_words(told, monkeypatch):
    code = "import sys\nfor name in ('mlflow', 'mlflow.tracking'): sys.modules[name] = None\n"
    code += "import runpy; runpy.run_module('worker.trackers', run_name='__main__')"
    monkeypatch.setattr("worker.sender.COMMAND", (sys.executable, "-P", "-c", code))
    told.tracker("mlflow", address="local")
    job = told.run()
    told.tell()
    ((_, text),) = told.events(job)
    assert "mlflow" in text and "pip install 'tuneroom[trackers]'" in text

"""Trackio's database below the team's folder. Each step carries an id of its own, so that one told twice is one."""

import os
from importlib import import_module
from typing import Any

from models.catalog.trackers.trackio import TrackioOptions
from models.domain.tracking import Point, RunEnd
from worker.trackers.base import Opening


class TrackioRun:
    """`trackio.init` would start threads and a dashboard's link; its store alone is asked."""

    url: str | None = None
    mark: str | None = None
    has_until: int | None = None

    def __init__(self, opening: Opening) -> None:
        assert opening.run is not None
        self._store = _store(opening)
        self._project = TrackioOptions.model_validate(opening.options).project
        self._run = opening.run
        self._config: dict[str, Any] = {"tuneroom.link": self._run.link, **self._run.settings}
        self._last = max(opening.step, 0)
        if (has := self._store.get_max_step_for_run(self._project, run_id=self._run.job)) is None:
            self.has_until = -1  # a database that is gone is written anew
        else:
            self._last = max(self._last, has)

    def write(self, points: list[Point]) -> None:
        if not points:
            return
        self._log(
            [point.figures for point in points], [point.step for point in points],
            [point.at.isoformat() for point in points], [f"{self._run.job}:{point.step}" for point in points],
        )  # fmt: skip
        self._last = points[-1].step

    def end(self, end: RunEnd) -> None:
        told = {"state": end.state.value, "error": end.error, **end.result}
        self._config |= {f"tuneroom.{name}": value for name, value in told.items() if value is not None}
        numbers = {f"result/{name}": value for name, value in end.result.items() if isinstance(value, int | float)}
        self._log([numbers], [self._last], None, [f"{self._run.job}:end"])

    def pause(self) -> None:
        """Nothing is waiting."""

    def _log(self, metrics: list[dict[str, Any]], steps: list[int], times: list[str] | None, ids: list[str]) -> None:
        self._store.bulk_log(
            self._project, self._run.name, metrics, steps=steps, timestamps=times, config=self._config, log_ids=ids,
            run_id=self._run.job,
        )  # fmt: skip


def open_run(opening: Opening) -> TrackioRun:
    return TrackioRun(opening)


def check(opening: Opening) -> None:
    _store(opening).init_db(TrackioOptions.model_validate(opening.options).project)


def _store(opening: Opening) -> Any:
    opening.folder.mkdir(parents=True, exist_ok=True)
    os.environ |= {"TRACKIO_DIR": str(opening.folder), "HF_HUB_OFFLINE": "1"}
    return import_module("trackio.sqlite_storage").SQLiteStorage

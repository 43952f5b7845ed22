"""MLflow through its client: a run is found again by the tag that holds our job's id, and a metric told twice is one.

A metric's key, step and time are the same whenever it is told, so the server's own key keeps it single.
"""

import fcntl
import os
from contextlib import suppress
from importlib import import_module
from typing import Any

from models.catalog.trackers.base import LOCAL
from models.catalog.trackers.mlflow import MlflowOptions
from models.domain.tracking import EndState, Point, RunEnd
from worker.trackers.base import Opening

JOB_TAG = "tuneroom.job"
MOST_METRICS = 1000  # of one request to a server
MOST_PARAMS = 100
ENDS = {EndState.FINISHED: "FINISHED", EndState.FAILED: "FAILED", EndState.CANCELLED: "KILLED"}


class MlflowRun:
    mark: str | None = None
    has_until: int | None = None

    def __init__(self, client: Any, options: MlflowOptions, opening: Opening) -> None:
        run = opening.run
        assert run is not None
        experiment = _experiment(client, options.experiment, opening)
        found = client.search_runs([experiment], f"tags.`{JOB_TAG}` = '{run.job}'", max_results=1)
        if found:
            self._id = found[0].info.run_id
            client.update_run(self._id, status="RUNNING")
        else:
            tags = {JOB_TAG: run.job, "tuneroom.link": run.link}
            began = int(run.began_at.timestamp() * 1000)
            self._id = client.create_run(experiment, start_time=began, run_name=run.name, tags=tags).info.run_id
        param, known = import_module("mlflow.entities").Param, client.get_run(self._id).data.params
        params = [param(name, str(value)[:500]) for name, value in run.settings.items() if name not in known]
        for start in range(0, len(params), MOST_PARAMS):
            client.log_batch(self._id, params=params[start : start + MOST_PARAMS])
        self._client = client
        is_page = options.address != LOCAL
        self.url = f"{options.address}/#/experiments/{experiment}/runs/{self._id}" if is_page else None

    def write(self, points: list[Point]) -> None:
        metric = import_module("mlflow.entities").Metric
        metrics = [
            metric(name, value, int(point.at.timestamp() * 1000), point.step)
            for point in points
            for name, value in point.figures.items()
        ]
        for start in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(self._id, metrics=metrics[start : start + MOST_METRICS])

    def end(self, end: RunEnd) -> None:
        tags = {f"tuneroom.result.{name}": str(value)[:500] for name, value in end.result.items()}
        tags |= {"tuneroom.state": end.state.value, **({"tuneroom.error": end.error[:500]} if end.error else {})}
        for name, value in tags.items():
            self._client.set_tag(self._id, name, value)
        self._client.set_terminated(self._id, ENDS[end.state])

    def pause(self) -> None:
        """Nothing is waiting in the client."""


def open_run(opening: Opening) -> MlflowRun:
    options = MlflowOptions.model_validate(opening.options)
    return MlflowRun(_client(options, opening), options, opening)


def check(opening: Opening) -> None:
    options = MlflowOptions.model_validate(opening.options)
    _client(options, opening).search_experiments(max_results=1)


def _client(options: MlflowOptions, opening: Opening) -> Any:
    os.environ |= {
        "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    }  # fmt: skip
    if opening.token and ":" in opening.token:
        user, _, password = opening.token.partition(":")
        os.environ |= {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
    elif opening.token:
        os.environ["MLFLOW_TRACKING_TOKEN"] = opening.token
    client = import_module("mlflow.tracking").MlflowClient
    if options.address != LOCAL:
        return client(options.address)
    opening.folder.mkdir(parents=True, exist_ok=True)
    with (opening.folder / "lock").open("w") as lock:  # two processes would make the same tables
        fcntl.flock(lock, fcntl.LOCK_EX)
        return client(f"sqlite:///{opening.folder / 'mlflow.db'}")


def _experiment(client: Any, name: str, opening: Opening) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        place = (opening.folder / "artifacts").as_uri() if opening.options["address"] == LOCAL else None
        with suppress(import_module("mlflow.exceptions").MlflowException):  # another process may have made it just now
            return client.create_experiment(name, artifact_location=place)
        found = client.get_experiment_by_name(name)
    return found.experiment_id

"""Weights & Biases through its library. Its steps only rise, so a step told twice is dropped there.

It sends in the background: after a restart the server says how far it has got, and figures go on from there.
"""

import os
from importlib import import_module
from typing import Any

from models.catalog.trackers.wandb import WandbOptions
from models.domain.tracking import EndState, Point, RunEnd
from worker.trackers.base import Opening, Refused

SECONDS = 30.0  # for one answer of the server
EXITS = {EndState.FINISHED: 0, EndState.FAILED: 1, EndState.CANCELLED: 255}


class WandbRun:
    mark: str | None = None
    has_until: int | None = None

    def __init__(self, opening: Opening) -> None:
        wandb = import_module("wandb")
        options, facts = WandbOptions.model_validate(opening.options), opening.run
        assert facts is not None
        settings = wandb.Settings(**_settings(options, opening))
        self._run: Any = wandb.init(
            project=options.project, entity=options.entity or None, id=facts.job, name=facts.name,
            dir=str(opening.folder), mode=options.mode, resume="allow", settings=settings,
            config={"tuneroom.link": facts.link, **facts.settings},
        )  # fmt: skip
        self.url = self._run.url if options.mode == "online" else None
        if options.mode == "online":
            self.has_until = self._run.step - 1 if self._run.resumed else -1

    def write(self, points: list[Point]) -> None:
        for point in points:
            self._run.log(point.figures, step=point.step)

    def end(self, end: RunEnd) -> None:
        told = {"state": end.state.value, "error": end.error, **end.result}
        self._run.summary.update({f"tuneroom.{name}": value for name, value in told.items() if value is not None})
        self._run.finish(exit_code=EXITS[end.state])

    def pause(self) -> None:
        self._run.mark_preempting()
        self._run.finish(exit_code=1)


def open_run(opening: Opening) -> WandbRun:
    opening.folder.mkdir(parents=True, exist_ok=True)
    os.environ |= {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}
    return WandbRun(opening)


def check(opening: Opening) -> None:
    """Online the key is shown to the server; offline the folder is enough."""
    opening.folder.mkdir(parents=True, exist_ok=True)
    options = WandbOptions.model_validate(opening.options)
    wandb = import_module("wandb")
    if options.mode == "offline":
        return
    api = wandb.Api(api_key=opening.token, overrides={"base_url": options.address}, timeout=int(SECONDS))
    if not api.viewer:
        raise Refused("W&B does not know this API key. Copy it anew from its page of keys and save it here.")


def _settings(options: WandbOptions, opening: Opening) -> dict[str, Any]:
    """Nothing of this machine is told: no console, no code, no host, no figures of other processes."""
    return {
        "api_key": opening.token, "base_url": options.address, "silent": True, "console": "off", "save_code": False,
        "disable_code": True, "disable_git": True, "x_disable_stats": True, "x_disable_meta": True,
        "x_disable_machine_info": True, "x_save_requirements": False, "host": "tuneroom", "init_timeout": SECONDS,
    }  # fmt: skip

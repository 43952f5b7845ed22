"""`python -P -m worker.trackers`: one run in one tracker. One JSON object a line on stdin, one answer each on stdout.

The token comes by stdin and is in no environment that could be looked at from outside. Ends when stdin does, and when
an answer was a problem: whoever asked begins again with a new process.
"""

import json
import os
import sys
import threading
import time
from importlib import import_module
from typing import Any, TextIO

from models.catalog.trackers import TRACKERS
from models.domain.errors import AppError
from models.domain.tracking import LONGEST_PROBLEM, Point, RunEnd
from worker.trackers.base import Opening, Refused, Sink
from worker.trackers.wall import stand


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is nobody's answer
    os.nice(10)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    token = None
    try:
        opening = Opening.model_validate_json(sys.stdin.readline())
        token = opening.token
        entry = TRACKERS[opening.kind]
        if not entry.is_own_network:
            stand(opening.hosts)
        module = import_module(f"worker.trackers.{opening.kind}")
        if opening.run is None:
            module.check(opening)
            _answer(answers, {})
        else:
            _serve(module.open_run(opening), answers)
    except Exception as error:  # noqa: BLE001 - this process's door: the asker gets a sentence
        _answer(answers, {"problem": in_words(error, token)})
        answers.flush()
        os._exit(1)  # a library's own threads may wait for a server that never answers


def _end_with(parent: int) -> None:
    """A worker that was killed leaves nothing behind, not even what hangs."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _serve(sink: Sink, answers: TextIO) -> None:
    _answer(answers, {"url": sink.url, "mark": sink.mark, "has_until": sink.has_until})
    for line in sys.stdin:
        message = json.loads(line)
        match message["do"]:
            case "write":
                sink.write([Point.model_validate(point) for point in message["points"]])
            case "end":
                sink.end(RunEnd.model_validate(message["end"]))
            case "pause":
                sink.pause()
        _answer(answers, {"url": sink.url, "mark": sink.mark})


def in_words(error: BaseException, token: str | None) -> str:
    """One sentence without the token. The last cause is the one that says what happened: names, refusals, timeouts."""
    if isinstance(error, ModuleNotFoundError):
        text = f"{error.name} is not installed on the worker. There: pip install 'tuneroom[trackers]'"
    elif isinstance(error, AppError):
        text = error.message
    elif isinstance(error, Refused):
        text = str(error)
    else:
        walled = _cause(error, AppError)
        text = walled.message if isinstance(walled, AppError) else f"{type(error).__name__}: {error}"
    for secret in (token, token.partition(":")[2] if token else None):
        if secret:
            text = text.replace(secret, "***")
    text = " ".join(text.split())
    text = text if len(text) <= LONGEST_PROBLEM else text[: LONGEST_PROBLEM - 1] + "…"
    return text if text.endswith((".", "…", "!", "?")) else text + "."


def _cause(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error


def _answer(answers: TextIO, told: dict[str, Any]) -> None:
    answers.write(json.dumps(told) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()

"""`python -P -m worker.local.training`: one training without a server, for `tuneroom train --local`.

Reads a LocalRequest from stdin, lays a job directory as a supervisor would, runs the same child and leaves the adapter
with a report. Knows files; no database, no broker, and no torch in this process.
"""

import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from models.domain.checking import Doing
from models.domain.errors import AppError, Code, Invalid, JobFailed
from models.domain.ids import AdapterId, BaseId
from models.domain.job import JobKind, Phase
from models.domain.local_training import REPORT, LocalEnded, LocalFile, LocalRequest
from models.domain.progress import PhaseBegan, Remarked, Said
from models.domain.training import KeptTogether, TrainingSpec
from models.infra.host import memory_limit_bytes
from worker.cache import link_or_copy
from worker.jobdir import JobDir, Order, sha256_of, write_atomically
from worker.local.bases import lay_base
from worker.local.data import file_id, lay_rows
from worker.local.following import Asked, Followed, Interrupted, Stopping, follow
from worker.local.place import Place, taken
from worker.local.report import CONFIG, MANIFEST, WEIGHTS, Heard, report_of
from worker.spawn import cores

ADAPTER = (CONFIG, MANIFEST, WEIGHTS)

Tell = Callable[[BaseModel], None]
RunChild = Callable[[JobDir, int, int, Stopping, Callable[[Said], None]], Followed]
"""`following.follow`, or the same work without a process of its own."""


def main() -> None:
    """Exits 0 however it ended: that stands in the last line."""
    stop = Asked()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.ask())
    request = LocalRequest.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_stop_with_keeper, args=(stop,), daemon=True).start()
    _tell(trained(request, stop, _tell))


def _stop_with_keeper(stop: Asked) -> None:
    while os.read(0, 1024):  # not through sys.stdin: its lock would be held when we end
        pass
    stop.ask()


def _tell(told: BaseModel) -> None:
    try:
        print(told.model_dump_json(), flush=True)
    except BrokenPipeError:  # nobody listens; what is asked of us by the end of stdin comes first
        return


def trained(request: LocalRequest, stop: Stopping, tell: Tell, run_child: RunChild = follow) -> LocalEnded:
    """Run it to its end. An order that cannot be carried out is `unusable`, whatever happens later is `failed`."""
    place: Place | None = None
    try:
        with taken(Path(request.out), is_resumed=request.is_resumed) as place:
            return _Training(request, place, stop, tell, run_child).run()
    except Interrupted:
        return _interrupted(place)
    except AppError as error:
        is_order = str(error.code).startswith("invalid_") or error.code in (Code.TOO_LARGE, Code.ADAPTER_REFUSED)
        status = "unusable" if is_order else "failed"
        ended = _interrupted(place).model_copy(update={"status": status, "error": error.to_json()})
        if is_order and place and ended.step is None:
            place.forget()
        return ended
    except OSError as error:
        fault = JobFailed(f"{error.strerror or error}: {error.filename or request.out}. Correct it, then try again.")
        return _interrupted(place).model_copy(update={"status": "failed", "error": fault.to_json()})


def _interrupted(place: Place | None) -> LocalEnded:
    found = place.checkpoint() if place and place.jobdir.checkpoints.is_dir() else None
    return LocalEnded(status="interrupted", step=found[1].step if found else None)


class _Training:
    """The story, and what its steps share."""

    def __init__(
        self, request: LocalRequest, place: Place, stop: Stopping, tell: Tell, run_child: RunChild
    ) -> None:  # fmt: skip
        self._request, self._place, self._stop, self._tell = request, place, stop, tell
        self._run_child = run_child
        self._jobdir = place.jobdir
        self._files: list[LocalFile] = []
        self._threads = request.threads or cores()
        self._limit_bytes = request.memory_limit_bytes or memory_limit_bytes()

    def run(self) -> LocalEnded:
        self._place.clear()
        order, resumed_at = self._lay()
        heard = Heard(self._jobdir.said_since(0)[0])
        followed = self._follow(self._jobdir, order.threads, heard.hear)
        self._place.publish()
        spec = TrainingSpec.model_validate(order.payload)
        report = report_of(self._request, spec, self._place.out, heard, followed, self._files, resumed_at)
        write_atomically(self._place.out / REPORT, report.model_dump_json(indent=1))
        self._place.finish()
        return LocalEnded(status="succeeded", report=report)

    # what a supervisor stages

    def _lay(self) -> tuple[Order, int | None]:
        """The order, and the step it goes on from."""
        request, found = self._request, self._place.checkpoint()
        base, data = self._base(), self._data()
        told = {"base": BaseId(f"base-{base[:26]}"), "data": data, "start_adapter": self._start()}
        spec = request.spec.model_copy(update=told)
        threads = self._threads
        if found is not None:
            before = found[1]
            if request.threads is None and isinstance(recorded := before.facts.get("threads"), int):
                threads = recorded  # sums in another order would make another loss curve (promise P4)
            self._tell(Remarked(text=f"going on from the checkpoint at step {before.step}"))
        elif request.is_resumed:
            self._tell(Remarked(text="there is no checkpoint yet: beginning from the start"))
        order = Order(
            job="local", fence=self._fence(), kind=JobKind.TRAIN, payload=spec.model_dump(mode="json"),
            facts={"base_name": request.base.name, "base_tree_sha256": base},
            resume_from=f"checkpoints/{found[0].name}" if found else None, threads=threads, device=request.device,
            compute_dtype=request.compute_dtype, memory_limit_bytes=self._limit_bytes,
            device_memory_bytes=request.device_memory_bytes,
        )  # fmt: skip
        self._jobdir.lay_out(order)
        self._look()
        return order, found[1].step if found else None

    def _base(self) -> str:
        self._doing("bringing the base", 0, None)
        importing = JobDir(self._jobdir.root / "import")
        shutil.rmtree(importing.root, ignore_errors=True)
        return lay_base(
            self._request.base, self._jobdir.inputs / "base", importing, Path(self._request.cache), self._threads,
            hub_offline=self._request.hub_offline, watch=self._look,
            run_child=self._import,
        )  # fmt: skip

    def _import(self, jobdir: JobDir) -> None:
        self._tell(PhaseBegan(phase=Phase.CONVERTING))
        self._follow(jobdir, self._threads, lambda _: None)

    def _start(self) -> AdapterId | None:
        """The adapter to go on from, named by its content."""
        if self._request.start_adapter is None:
            return None
        source, folder = Path(self._request.start_adapter), self._jobdir.inputs / "adapter"
        for name in ADAPTER:
            if not (source / name).is_file():
                raise Invalid(f"{source} holds no {name}; an adapter's folder is needed. Correct start_adapter.")
            link_or_copy((source / name).resolve(), folder / name)
        return AdapterId(f"adapter-{sha256_of(folder / WEIGHTS)[:26]}")

    def _data(self) -> Any:
        """The spec's data with rows named by their content."""
        request, data = self._request, self._request.spec.data
        with_gate = data.rows.kept_together is KeptTogether.NEAR_DUPLICATES
        training = self._rows(request.training, "train", "training", with_gate=with_gate)
        mixed = [
            each.model_copy(update={"file": self._rows(files, f"mixed-{place}", f"mixed-{place}", with_gate=with_gate)})
            for place, (each, files) in enumerate(zip(data.rows.mixed, request.mixed, strict=True), start=1)
        ]
        changes: dict[str, Any] = {
            "training_file": training, "rows": data.rows.model_copy(update={"mixed": tuple(mixed)}),
        }  # fmt: skip
        if request.validation:
            changes["validation_file"] = self._rows(request.validation, "validation", "validation", with_gate=False)
        return data.model_copy(update=changes)

    def _rows(self, files: tuple[str, ...], name: str, role: str, *, with_gate: bool) -> str:
        facts, used = lay_rows(
            files, self._request.reading, self._jobdir.inputs / name, role, with_gate=with_gate, watch=self._doing
        )
        self._files += used
        return file_id(facts.sha256)

    def _fence(self) -> int:
        """One more with every attempt, as a claim has it."""
        return self._jobdir.order().fence + 1 if (self._jobdir.root / "spec.json").is_file() else 1

    # while it runs

    def _follow(self, jobdir: JobDir, threads: int, hear: Callable[[Said], None]) -> Followed:
        def said(one: Said) -> None:
            hear(one)
            self._tell(one)

        return self._run_child(jobdir, threads, self._limit_bytes, self._stop, said)

    def _doing(self, doing: str, done: int, total: int | None) -> None:
        self._look()
        self._tell(Doing(doing=doing, done=done, total=total))

    def _look(self) -> None:
        if self._stop.times():
            raise Interrupted


if __name__ == "__main__":
    main()

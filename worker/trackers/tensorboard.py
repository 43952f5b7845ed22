"""TensorBoard: one event file for each run. The mark is its size at the last answer: what is behind is cut."""

from pathlib import Path

from models.domain.event_file import as_table, first_record, point_record, text_record
from models.domain.tracking import Point, RunEnd, RunFacts
from worker.trackers.base import Opening


class EventFile:
    """The file of one run, in a folder named for it."""

    url: str | None = None
    mark: str | None = None
    has_until: int | None = None

    def __init__(self, path: Path, run: RunFacts, mark: str | None) -> None:
        self._began, self._last = run.began_at.timestamp(), 0
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = mark is None or not path.exists() or path.stat().st_size < int(mark)
        self.has_until = -1 if is_new else None  # a file that is gone is written anew
        self._file = path.open("wb" if is_new else "r+b")
        if is_new:
            about = {"run": run.link, **run.settings}
            self._append(first_record(self._began) + text_record(self._began, 0, "settings", as_table(about)))
        else:
            self._file.truncate(int(mark or 0))
            self._file.seek(0, 2)
            self.mark = mark

    def write(self, points: list[Point]) -> None:
        self._append(b"".join(point_record(point) for point in points))
        if points:
            self._last, self._began = points[-1].step, points[-1].at.timestamp()

    def end(self, end: RunEnd) -> None:
        told = {"state": end.state.value, **({"error": end.error} if end.error else {}), **end.result}
        self._append(text_record(self._began, self._last, "result", as_table(told)))
        self._file.close()

    def pause(self) -> None:
        self._file.close()

    def _append(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
        self.mark = str(self._file.tell())


def open_run(opening: Opening) -> EventFile:
    assert opening.run is not None
    path = opening.folder / opening.run.job / f"events.out.tfevents.{int(opening.run.began_at.timestamp())}.tuneroom"
    return EventFile(path, opening.run, opening.mark)


def check(opening: Opening) -> None:
    """Can the folder be written to?"""
    opening.folder.mkdir(parents=True, exist_ok=True)
    (opening.folder / ".tried").write_text("")
    (opening.folder / ".tried").unlink()

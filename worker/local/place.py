"""The directory a local training ends in: what may lie there, and what its unfinished part looks like. Knows files.

OUT/adapter_model.safetensors, adapter_config.json, manifest.json, log.txt   when it is done
OUT/report.json                                                              written last: it is done
OUT/unfinished/                                                              the job directory, until then
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from models.domain.errors import Code, Invalid
from models.domain.local_training import REPORT
from worker.jobdir import CheckpointManifest, JobDir, newest_valid_checkpoint

UNFINISHED = "unfinished"
MARK = "tuneroom-local.lock"  # ours, and held while a process works there
LOG = "log.txt"
MOVED = ("adapter_config.json", "adapter_model.safetensors", "manifest.json", LOG)


class Place:
    """One OUT directory, ours alone. Made by `taken`."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.jobdir = JobDir(out / UNFINISHED)

    def checkpoint(self) -> tuple[Path, CheckpointManifest] | None:
        """The newest one that verifies."""
        return newest_valid_checkpoint(self.jobdir.checkpoints)

    def clear(self) -> None:
        """Remove what an earlier attempt left, but its checkpoints and what was said on the way to them."""
        root = self.jobdir.root
        for folder in (self.jobdir.inputs, self.jobdir.out, root / "tmp", root / "import"):
            shutil.rmtree(folder, ignore_errors=True)
        gone = ["outcome.json", "stop.json"]
        if self.checkpoint() is None:
            gone += [self.jobdir.events.name, self.jobdir.log.name]
        for name in gone:
            (root / name).unlink(missing_ok=True)

    def forget(self) -> None:
        """As if nothing had been begun here."""
        self.finish()
        with suppress(OSError):  # it was not empty, or is not ours to remove
            self.out.rmdir()

    def publish(self) -> None:
        """What the child left in out/ becomes the content of OUT."""
        for path in sorted(self.jobdir.out.iterdir()):
            path.replace(self.out / path.name)
        self.jobdir.log.replace(self.out / LOG)

    def finish(self) -> None:
        """The report is written: nothing is left to go on from."""
        shutil.rmtree(self.jobdir.root, ignore_errors=True)


@contextmanager
def taken(out: Path, *, is_resumed: bool) -> Iterator[Place]:
    """OUT for one training, locked. Raises Invalid in words where it holds something else, or another works there."""
    _check(out, is_resumed=is_resumed)
    place = Place(out)
    try:
        place.jobdir.root.mkdir(parents=True, exist_ok=True)
        held = (place.jobdir.root / MARK).open("ab")
    except OSError as error:
        _refuse(f"{out} cannot be written ({error.strerror}). Choose another directory.")
    with held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            _refuse(f"another training is writing to {out}. Wait for its end, or choose another directory.")
        yield place


def _check(out: Path, *, is_resumed: bool) -> None:
    if out.exists() and not out.is_dir():
        _refuse(f"{out} is a file; a directory is needed. Choose another.")
    found = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if not found:
        return
    if REPORT in found:
        _refuse(f"{out} holds a finished training. Choose another directory, or remove it.")
    is_own = (out / UNFINISHED / MARK).is_file() and found <= {UNFINISHED, *MOVED}
    if not is_own:
        _refuse(f"{out} is not empty, and holds no training to go on from. Choose an empty or a new directory.")
    if not is_resumed and any((out / UNFINISHED / "checkpoints").glob("step-*")):
        _refuse(
            f"{out} holds a training that has not finished. Add --resume to go on from where it was, or choose another "
            "directory."
        )


def _refuse(message: str) -> NoReturn:
    raise Invalid(message, code=Code.INVALID_SETTING, param="out")

"""The directory contract between a supervisor and its child. Knows files, nothing of SQL, Redis or torch.

    DIR/spec.json      Order: what to do, written by the supervisor before the child starts
    DIR/in/            inputs by name, read-only: base/ adapter/ and dataset versions (worker.data.source)
    DIR/events.jsonl   one `models.domain.progress` line per thing said, written by the child
    DIR/checkpoints/   step-00000040/ with manifest.json, complete as soon as the name exists
    DIR/packed/        a quantised base by its dtype, for later trainings to find in in/packed/
    DIR/out/           the artefact, complete once outcome.json says succeeded
    DIR/outcome.json   Outcome, written last, by rename
    DIR/log.txt        stdout and stderr of the child

One directory per claim: `jobs/<job id>/<fence>/`. Anyone can rerun one by hand:
`python -P -m worker.child DIR --alone`.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from models.domain.errors import AppError, Code
from models.domain.job import CancelWish, JobKind
from models.domain.progress import SAID, Said
from models.domain.training import Spec

PACKED = "packed"


class Order(Spec):
    """spec.json. `payload` is the job's own spec (TrainingSpec, MergeSpec ...), `facts` what staging resolved."""

    job: str
    fence: int
    kind: JobKind
    payload: dict[str, Any]
    facts: dict[str, Any] = Field(default_factory=dict)
    resume_from: str | None = Field(default=None, title="checkpoint directory relative to DIR, already verified")
    threads: int = 1
    device: str = "cpu"
    compute_dtype: Literal["auto", "fp32", "bf16"] = "auto"
    memory_limit_bytes: int | None = None
    device_memory_bytes: int | None = None
    silence_seconds: float = 25.0
    halvings: int = Field(default=0, title="how often forward passes are halved, after running out of memory")


class Outcome(Spec):
    """outcome.json. `stopped` means a checkpoint was asked for by TERM and the work is not finished."""

    status: Literal["succeeded", "failed", "stopped"]
    result: dict[str, Any] = Field(default_factory=dict)
    error: dict[str, Any] | None = None


class JobDir:
    """Paths and safe reads and writes of one job directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inputs = root / "in"
        self.checkpoints = root / "checkpoints"
        self.packed = root / PACKED
        self.out = root / "out"
        self.log = root / "log.txt"
        self.events = root / "events.jsonl"

    def lay_out(self, order: Order) -> None:
        """Create the directories and write spec.json. The directory must not hold one already."""
        for path in (self.inputs, self.checkpoints, self.out):
            path.mkdir(parents=True, exist_ok=True)
        write_atomically(self.root / "spec.json", order.model_dump_json(indent=1))

    def begin_again(self, resume_from: str | None) -> Order:
        """The same order with passes half as large, for a second child: what the first one made of out/ is removed."""
        before = self.order()
        order = before.model_copy(update={"resume_from": resume_from, "halvings": before.halvings + 1})
        (self.root / "outcome.json").unlink(missing_ok=True)
        shutil.rmtree(self.out)
        self.out.mkdir()
        write_atomically(self.root / "spec.json", order.model_dump_json(indent=1))
        return order

    def order(self) -> Order:
        return Order.model_validate_json((self.root / "spec.json").read_text())

    def say(self, said: Said) -> None:
        """Append one event. A single write of a whole line, so a reader never sees half of one for long."""
        line = said.model_dump_json() + "\n"
        with self.events.open("a", encoding="utf-8") as file:
            file.write(line)

    def said_since(self, offset: int) -> tuple[list[Said], int]:
        """Events after byte `offset`, and the offset after the last whole line."""
        if not self.events.exists():
            return [], offset
        with self.events.open("rb") as file:
            file.seek(offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        return [SAID.validate_json(line) for line in whole.splitlines()], offset + len(whole)

    def ask_to_stop(self, wish: CancelWish | None) -> None:
        """Leave word why TERM follows: KEEP wants an adapter in out/, otherwise only a checkpoint."""
        write_atomically(self.root / "stop.json", json.dumps({"wish": wish}))

    def stop_wish(self) -> CancelWish | None:
        path = self.root / "stop.json"
        wish = json.loads(path.read_text())["wish"] if path.exists() else None
        return CancelWish(wish) if wish else None

    def finish(self, outcome: Outcome) -> None:
        """Write outcome.json; nothing is written after it."""
        write_atomically(self.root / "outcome.json", outcome.model_dump_json(indent=1))

    def outcome(self) -> Outcome | None:
        path = self.root / "outcome.json"
        return Outcome.model_validate_json(path.read_text()) if path.exists() else None


def write_atomically(path: Path, text: str) -> None:
    """Write beside, fsync, rename: a reader sees the old file or the new one, never a part."""
    staged = path.with_name(f".{path.name}.tmp")
    with staged.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class CheckpointManifest(Spec):
    """manifest.json of a checkpoint: written last, so its presence means the save was complete.

    `own_sha256` is that of everything else in it (`sealed`); a checkpoint of an earlier version has none.
    """

    step: int
    fence: int
    files: dict[str, tuple[str, int]]  # relative path -> (sha256, bytes)
    versions: dict[str, str]
    facts: dict[str, Any] = Field(default_factory=dict)  # plan hash, data hash, base hash, threads ...
    own_sha256: str | None = None


def sealed(manifest: dict[str, Any]) -> str:
    """A checkpoint's manifest as JSON, with its own hash in it."""
    return json.dumps({**manifest, "own_sha256": _own_sha256(manifest)}, indent=1)


def _own_sha256(manifest: dict[str, Any]) -> str:
    rest = {name: value for name, value in manifest.items() if name != "own_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


REQUIRED_IN_CHECKPOINT = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")


def seal_checkpoint(
    staged: Path, final: Path, *, step: int, fence: int, versions: dict[str, str], facts: dict[str, Any]
) -> None:
    """Turn a staged directory into a checkpoint: fsync all, write the manifest last, rename into place."""
    files: dict[str, tuple[str, int]] = {}
    for path in sorted(p for p in staged.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        files[path.relative_to(staged).as_posix()] = (sha256_of(path), path.stat().st_size)
    manifest = CheckpointManifest(step=step, fence=fence, files=files, versions=versions, facts=facts)
    write_atomically(staged / "manifest.json", sealed(manifest.model_dump(mode="json")))
    staged.replace(final)
    sync_directory(final.parent)


def verify_checkpoint(directory: Path) -> CheckpointManifest:
    """Return the manifest if every file is there, whole, and unchanged; else raise RESUME_REFUSED with the file."""
    path = directory / "manifest.json"
    if not path.exists():
        raise _refused(directory, "it has no manifest.json: the save did not finish")
    try:
        found = json.loads(path.read_text())
        manifest = CheckpointManifest.model_validate(found)
    except ValueError:
        raise _refused(directory, "its manifest.json cannot be read") from None
    if manifest.own_sha256 not in (None, _own_sha256(found)):
        raise _refused(directory, "its manifest.json is changed")
    for name in REQUIRED_IN_CHECKPOINT:
        if name not in manifest.files:
            raise _refused(directory, f"it holds no {name}: going on would silently restart it")
    for name, (sha256, size) in manifest.files.items():
        file = directory / name
        if not file.is_file() or file.stat().st_size != size or sha256_of(file) != sha256:
            raise _refused(directory, f"{name} is missing or changed")
    return manifest


def newest_valid_checkpoint(parent: Path) -> tuple[Path, CheckpointManifest] | None:
    """The checkpoint with the highest step whose manifest verifies; damaged ones are passed over."""
    for directory in sorted(parent.glob("step-*"), reverse=True):
        try:
            return directory, verify_checkpoint(directory)
        except AppError:
            continue
    return None


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(directory: Path) -> Iterator[Path]:
    """Regular files under `directory`, sorted; never follows a link out of it."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


def _refused(directory: Path, why: str) -> AppError:
    return AppError(f"checkpoint {directory.name} is not used: {why}.", code=Code.RESUME_REFUSED)

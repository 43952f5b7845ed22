"""Checkpoints of a training: staged, sealed, few; and the checks that let one be resumed. Knows no Trainer."""

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from pydantic import BaseModel, ConfigDict, ValidationError

from models.domain.errors import Code, JobFailed
from worker.jobdir import JobDir, seal_checkpoint, verify_checkpoint
from worker.train.course import Improvement, LossCourse

KEPT = 2
LIBRARIES = ("accelerate", "bitsandbytes", "peft", "torch", "transformers")


class Story(BaseModel):
    """What a resumed training must know of the first part, and what must be equal for it to go on.

    `training_sha256` is that of all sources and how they were read; `gates` are the reports their split went by.
    `losses` are (step, loss per token on the validation rows); `course` and `improvement` what they say.
    `reference_sha256` is that of a preference objective's reference, which lies beside the weights.
    """

    model_config = ConfigDict(extra="forbid")

    plan_sha256: str
    training_sha256: str
    gates: list[str | None]
    base_tree_sha256: str
    spec_sha256: str
    micro_rows: int
    micro_tokens: int
    rendered_at: str
    device: str
    compute_dtype: str
    threads: int
    cpu_model: str
    trained_tokens: int = 0
    first_loss: float | None = None
    last_loss: float | None = None
    losses: list[tuple[int, float]] = []
    course: LossCourse = LossCourse()
    improvement: Improvement = Improvement()
    reference_sha256: str | None = None

    @property
    def best(self) -> tuple[int, float] | None:
        """(step, loss) of the evaluation with the lowest loss after a step; the base's own has no adapter."""
        return min((one for one in self.losses if one[0]), key=lambda one: one[1], default=None)


def library_versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}


def stage(jobdir: JobDir, fence: int, step: int) -> Path:
    """An empty directory to fill, after making sure that the disk has room for two such checkpoints.

    Raises JobFailed with code `disk_full`; what is already sealed stays whole.
    """
    needed_bytes = 2 * max((_bytes_below(path) for path in jobdir.checkpoints.glob("step-*")), default=0)
    free_bytes = shutil.disk_usage(jobdir.checkpoints).free
    if free_bytes < needed_bytes:
        raise JobFailed(
            f"the disk of this worker has {free_bytes / 1e6:.0f} MB left and a checkpoint needs "
            f"{needed_bytes / 1e6:.0f} MB. Free some space; the job goes on from its last checkpoint.",
            code=Code.DISK_FULL,
            needed_bytes=needed_bytes,
        )
    staged = jobdir.checkpoints / f".tmp-{fence}-{step}"
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    return staged


def seal(jobdir: JobDir, staged: Path, *, fence: int, step: int, story: Story) -> str:
    """Make it a checkpoint, remove the ones no longer needed, and return its name relative to the job directory."""
    final = jobdir.checkpoints / f"step-{step:08d}"
    if final.exists():
        shutil.rmtree(staged)
        return f"checkpoints/{final.name}"
    seal_checkpoint(
        staged, final, step=step, fence=fence, versions=library_versions(), facts=story.model_dump(mode="json")
    )
    _remove_old(jobdir.checkpoints, story)
    return f"checkpoints/{final.name}"


def resumed(jobdir: JobDir, name: str) -> tuple[Path, Story]:
    """The checkpoint to go on from, by its explicit name. Raises RESUME_REFUSED where it cannot continue exactly."""
    folder = jobdir.root / name
    manifest = verify_checkpoint(folder)
    differing = sorted(
        library for library, found in library_versions().items() if manifest.versions.get(library) != found
    )
    if differing:
        _refuse(f"it was written with another version of {', '.join(differing)}")
    try:
        return folder, Story.model_validate(manifest.facts)
    except ValidationError:
        _refuse("it was written by another version of this program")


def check_same(before: Story, now: Story) -> list[str]:
    """Refuse what would silently be another training; name what may only cost bit-equality."""
    names = {
        "training_sha256": "the training rows", "base_tree_sha256": "the base model", "spec_sha256": "the settings",
        "plan_sha256": "the order of batches", "compute_dtype": "the compute dtype",
    }  # fmt: skip
    for field, words in names.items():
        if getattr(before, field) != getattr(now, field):
            _refuse(f"{words} changed since it was saved")
    loose = {"threads": "thread count", "cpu_model": "processor", "device": "device"}
    moved = [words for field, words in loose.items() if getattr(before, field) != getattr(now, field)]
    return [f"resumed with another {' and '.join(moved)}: losses may differ in the last digits."] if moved else []


def _remove_old(parent: Path, story: Story) -> None:
    """Keep the newest ones and the one with the lowest validation loss."""
    newest_first = sorted(parent.glob("step-*"), reverse=True)
    best = parent / f"step-{story.best[0]:08d}" if story.best else None
    for folder in newest_first[KEPT:]:
        if folder != best:
            shutil.rmtree(folder)
    for leftover in parent.glob(".tmp-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _refuse(why: str) -> NoReturn:
    raise JobFailed(
        f"this training cannot resume from its checkpoint: {why}. Restart it from the beginning, not resume.",
        code=Code.RESUME_REFUSED,
    )

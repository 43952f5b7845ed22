"""Where faults are planted: tiny bases, rows, trainings in this process, and everything that was said about them."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from models.domain.errors import AppError
from models.domain.reports import Finding
from models.domain.training import TrainingSpec
from tests.sources import write_source
from tests.text_bases import row
from tests.tiny import tiny_base
from tests.training import training_job
from worker.jobdir import JobDir
from worker.stop import Stop
from worker.train.inputs import Rows, TrainingFacts, read_inputs
from worker.train.run import run

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FACTS = TrainingFacts.model_validate({"base_name": "tiny", "base_tree_sha256": "0" * 64})
BIRDS = (
    "heron", "kestrel", "wren", "osprey", "plover", "siskin", "dunlin", "avocet", "bittern", "curlew", "fulmar",
    "gannet",
)  # fmt: skip
PLACES = ("mill", "harbour", "orchard", "quarry", "ferry", "bridge", "chapel", "meadow")


def sound_rows(count: int = 24) -> list[dict[str, Any]]:
    """Different questions with short whole answers: nothing to complain of."""
    return [row(f"What did the {BIRDS[n % 12]} see at the {PLACES[n // 12 % 8]}?", f"{n} fish.") for n in range(count)]


class Lab:
    """One fault's own folder. `patch` sabotages functions for as long as the test lasts."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, shared: "Shared") -> None:
        self.folder, self.patch, self.shared = folder, patch, shared
        self._folders = 0

    def new(self) -> Path:
        """An empty folder."""
        self._folders += 1
        folder = self.folder / str(self._folders)
        folder.mkdir(parents=True)
        return folder

    def base(self, **changes: Callable[[dict[str, Any]], None] | str | None) -> Path:
        """A copy of the tiny base. `config`, `tokenizer_config`, `generation_config` and `tokenizer` edit that JSON
        in place; `template` replaces the chat template, and "" removes it."""
        folder = self.new() / "base"
        shutil.copytree(self.shared.base, folder)
        for name, change in changes.items():
            if name == "template":
                path = folder / "chat_template.jinja"
                path.write_text(str(change)) if change else path.unlink()
                continue
            path = folder / f"{name}.json"
            content = json.loads(path.read_text())
            assert callable(change)
            change(content)
            path.write_text(json.dumps(content))
        return folder

    def read(
        self,
        rows: list[dict[str, Any]],
        *,
        base: Path | None = None,
        validation: list[dict[str, Any]] | None = None,
        **data: Any,
    ) -> Rows:
        """What a run would be trained on."""
        folder = self.new()
        (folder / "base").symlink_to(base or self.shared.base)
        write_source(folder / "train", rows)
        if validation is not None:
            write_source(folder / "validation", validation)
        told = {"training_file": "file-0", "validation_fraction": 0, **data}
        return read_inputs(folder, TrainingSpec.model_validate({"base": "base-1", "data": told}), FACTS, NOW)

    def read_said(self, rows: list[dict[str, Any]], **how: Any) -> list[str]:
        """The remarks before anything is loaded, or the error."""
        return refusal_of(lambda: list(self.read(rows, **how).remarks))

    def job(self, **how: Any) -> JobDir:
        """A training that says nothing where nothing is wrong: enough steps, and answers short enough to be learnt."""
        told = {"rows": sound_rows(60), "batch_rows": 1, "base": self.shared.base, **how}
        return training_job(self.new(), **told)

    def train_said(self, jobdir: JobDir) -> list[str]:
        """Every warning of a training, and its error."""
        return self._said(jobdir, Stop())

    def start_said(self, jobdir: JobDir) -> list[str]:
        """The warnings of a training that is stopped before it loads a model."""
        return self._said(jobdir, _AtOnce())

    def _said(self, jobdir: JobDir, stop: Stop) -> list[str]:
        def warnings() -> list[str]:
            outcome = run(jobdir, stop)
            said = [one for one in jobdir.said_since(0)[0] if one.type == "message" and one.level != "info"]
            return [one.text for one in said] + ([str(outcome.error)] if outcome.error else [])

        return refusal_of(warnings)


class _AtOnce(Stop):
    """A wish to stop that is there from the beginning."""

    def asked(self) -> bool:
        return True


class Shared:
    """What no fault changes: a base, and an adapter that a sound training left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = tiny_base(folder / "base")

    @cached_property
    def trained(self) -> JobDir:
        """A whole training of 60 steps, with a checkpoint at every twentieth."""
        jobdir = training_job(
            self.folder / "trained",
            base=self.base,
            rows=sound_rows(60),
            batch_rows=1,
            save_every=20,
            quantisation="nf4",
        )
        assert run(jobdir, Stop()).status == "succeeded"
        return jobdir


def refusal_of(act: Callable[[], list[str]]) -> list[str]:
    """What it says; where it raises, the error's code and message."""
    try:
        return act()
    except AppError as error:
        return [str(error.code), error.message]
    except (TypeError, ValueError) as error:  # the child's door makes `internal` of it: the run fails with its words
        return ["internal", str(error)]


def words_of(findings: tuple[Finding, ...]) -> list[str]:
    return [str(finding.kind) for finding in findings]


@contextmanager
def edited(path: Path) -> Iterator[dict[str, Any]]:
    """A JSON file as a dict, written back at the end."""
    content = json.loads(path.read_text())
    yield content
    path.write_text(json.dumps(content))

"""One dataset version as a folder of a job's inputs: its files, how they are read, and its prepared rows.

    source.json      SourceFacts
    files/0, 1 ...   the uploaded files, where the prepared rows are not there yet or the job reads the files
    rows.parquet     the prepared rows, where stage 1 of the data gate has written them
    gate.parquet     what stage 2 found row by row, where it has run

The supervisor lays it (`worker.laying`), the child reads it. Knows files only.
"""

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from models.catalog.prepared import Prepared
from models.domain.errors import Code, JobFailed
from models.domain.reading import Part, Reading
from models.domain.reports import IntakeReport
from worker.data.intake import prepare
from worker.jobdir import sha256_of

FACTS, ROWS, GATE, FILES = "source.json", "rows.parquet", "gate.parquet", "files"


class SourceFacts(BaseModel):
    """`version` is the file's public id, `sha256` its content; `files` are its parts in order, one at least."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    sha256: str
    files: tuple[Part, ...]
    reading: Reading = Reading()
    rows_sha256: str | None = None
    gate_sha256: str | None = None


class Source:
    """Reads one such folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts = SourceFacts.model_validate_json((folder / FACTS).read_text())

    @property
    def name(self) -> str:
        return self.facts.files[0].filename

    @property
    def gate(self) -> Path | None:
        """What stage 2 found, row by row."""
        path = self.folder / GATE
        return path if path.is_file() else None

    def files(self) -> list[tuple[str, Path]]:
        return [(part.filename, self.folder / FILES / str(place)) for place, part in enumerate(self.facts.files)]

    def verify(self, code: Code) -> None:
        """P10: the bytes used are the bytes that were accepted. Raises JobFailed with `code`."""
        wanted = {self.folder / FILES / str(place): part.sha256 for place, part in enumerate(self.facts.files)}
        if self.facts.rows_sha256 is not None:
            wanted = {self.folder / ROWS: self.facts.rows_sha256}
        for path, sha256 in wanted.items():
            if not path.is_file():
                raise JobFailed(f"the job was started without the rows of {self.name}. Start it again.", code=code)
            if sha256_of(path) != sha256:
                raise JobFailed(
                    f"{self.name} is not the file that was uploaded: its content changed on the way. "
                    "Start the job again.",
                    code=code,
                )

    def prepared(self, watch: Callable[[int], None] = lambda _: None) -> Prepared:
        """The prepared rows, made from the files where nobody has made them yet. Raises Invalid as `prepare` does."""
        if not (self.folder / ROWS).is_file():
            self.prepare(watch)
        return Prepared(self.folder / ROWS)

    def prepare(self, watch: Callable[[int], None] = lambda _: None) -> IntakeReport:
        """Stage 1 over the files, into rows.parquet."""
        unfinished = self.folder / f"{ROWS}.part"
        report = prepare(self.files(), self.facts.reading, unfinished, watch=watch)
        unfinished.replace(self.folder / ROWS)
        return report

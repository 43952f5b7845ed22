"""Files of rows as the folders a training reads (`worker.data.source`), prepared as stage 1 and 2 of the gate do."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from models.catalog.prepared import Prepared
from models.domain.errors import Code, Invalid
from models.domain.ids import FileId, Sha256
from models.domain.local_training import LocalFile
from models.domain.reading import Part, Reading, list_of
from worker.data.gate.run import check
from worker.data.intake import prepare, sentence
from worker.data.source import FACTS, GATE, ROWS, SourceFacts
from worker.jobdir import sha256_of

Watch = Callable[[str, int, int | None], None]
"""(what is done, how far, of how much); may raise to stop."""


def lay_rows(
    files: Sequence[str], reading: Reading, folder: Path, role: str, *, with_gate: bool, watch: Watch
) -> tuple[SourceFacts, list[LocalFile]]:
    """Prepare the rows of these files, one dataset in their order, into `folder`.

    Raises Invalid with code `invalid_file` where a file is not there or no row can be used.
    """
    paths = [Path(file) for file in files]
    for path in paths:
        if not path.is_file():
            raise Invalid(f"{path} is no file. Correct the path of the {role} data.", code=Code.INVALID_FILE)
    folder.mkdir(parents=True)
    parts = [Part(filename=path.name, sha256=sha256_of(path), size=path.stat().st_size) for path in paths]
    sha256 = parts[0].sha256 if len(parts) == 1 else hashlib.sha256(list_of(parts)).hexdigest()
    total = sum(part.size for part in parts)
    rows = folder / ROWS
    report = prepare(
        [(path.name, path) for path in paths], reading, rows,
        watch=lambda done: watch(f"reading {role} rows", min(done, total), total),
    )  # fmt: skip
    if not report.usable_rows:
        raise Invalid(
            f"none of the {report.rows} {role} rows can be used as {report.format}. "
            f"{sentence(report.problems[0].first[0])}",
            code=Code.INVALID_FILE,
        )
    if with_gate:
        check(Prepared(rows), folder / GATE, watch=lambda done, total: watch(f"comparing {role} rows", done, total))
    facts = SourceFacts(
        version=file_id(sha256), sha256=sha256, files=tuple(parts), reading=reading, rows_sha256=sha256_of(rows),
        gate_sha256=sha256_of(folder / GATE) if with_gate else None,
    )  # fmt: skip
    (folder / FACTS).write_text(facts.model_dump_json(indent=1))
    return facts, [
        LocalFile(role=role, path=str(path), sha256=Sha256(part.sha256), bytes=part.size)
        for path, part in zip(paths, parts, strict=True)
    ]


def file_id(sha256: str) -> FileId:
    """A name for rows that no installation has named: by their content, so that a moved file is the same."""
    return FileId(f"file-{sha256[:26]}")

"""Dataset versions as folders of a job's inputs, written without a supervisor, and stage 1 of the gate for one file."""

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from models.domain.reading import Part, Reading
from models.domain.reports import IntakeReport
from worker.data.intake import prepare
from worker.data.source import FACTS, FILES, SourceFacts


def write_source(
    folder: Path, rows: list[dict[str, Any]] | bytes, filename: str = "rows.jsonl", **reading: Any
) -> SourceFacts:
    """One uploaded file, not prepared yet: the child prepares it."""
    content = rows if isinstance(rows, bytes) else "".join(json.dumps(row) + "\n" for row in rows).encode()
    sha256 = hashlib.sha256(content).hexdigest()
    (folder / FILES).mkdir(parents=True, exist_ok=True)
    (folder / FILES / "0").write_bytes(content)
    part = Part(filename=filename, sha256=sha256, size=len(content))
    facts = SourceFacts(version="file-1", sha256=sha256, files=(part,), reading=Reading(**reading))
    (folder / FACTS).write_text(facts.model_dump_json())
    return facts


def examine(path: Path, **reading: Any) -> IntakeReport:
    """Stage 1 over one file; the prepared rows are thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        return prepare([(path.name, path)], Reading(**reading), Path(folder) / "rows.parquet")

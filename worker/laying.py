"""Lays stored things into a job directory, verified by the cache: a dataset version as `worker.data.source` reads it.

Asks the store through the lease it is given; decides nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models.db.tables import DatasetVersion
from models.domain.reading import Part, Reading
from models.infra.settings import Settings
from models.infra.storage import Storage
from worker.cache import Cache, link_or_copy
from worker.data.source import FACTS, FILES, GATE, ROWS, SourceFacts
from worker.lease import Lease

Watch = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """Where inputs come from, and who is asked whether to go on: `watch` raises to stop."""

    settings: Settings
    storage: Storage
    cache: Cache
    lease: Lease
    watch: Watch


def lay_version(shelf: Shelf, version: DatasetVersion, folder: Path, *, with_files: bool = False) -> SourceFacts:
    """Fill `folder`; the uploaded files are laid where they are asked for, or the rows are not prepared yet."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = shelf.lease.read(lambda store: store.parts(version.id)) or [version]
    gate = shelf.lease.read(lambda store: store.gate_report(version.id))
    facts = SourceFacts(
        version=version.id, sha256=version.sha256,
        files=tuple(Part(filename=part.filename, sha256=part.sha256, size=part.size) for part in parts),
        reading=Reading.model_validate(version.reading or {}), rows_sha256=version.rows_sha256,
        gate_sha256=gate.sha256 if gate else None,
    )  # fmt: skip
    if with_files or version.rows_sha256 is None:
        for place, part in enumerate(parts):
            lay_file(shelf, part.scope, part.sha256, folder / FILES / str(place))
    if version.rows_sha256 is not None:
        lay_file(shelf, version.scope, version.rows_sha256, folder / ROWS)
    if gate is not None:
        lay_file(shelf, gate.scope, gate.sha256, folder / GATE)
    (folder / FACTS).write_text(facts.model_dump_json(indent=1))
    return facts


def lay_file(shelf: Shelf, scope: str, sha256: str, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    with shelf.cache.using_file(scope, sha256, shelf.watch) as path:
        link_or_copy(path, destination)

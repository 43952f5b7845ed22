"""Lays stored things into a job directory, verified by the cache: a dataset version as `worker.data.source` reads it.

Asks the store through the lease it is given; decides nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models.db.store.system import DEFAULT_TEAM
from models.db.tables import BaseModel, DatasetVersion
from models.domain.chat import TreeRef
from models.domain.ids import Sha256
from models.domain.reading import Part, Reading
from models.infra.secrets import load_key, open_sealed
from models.infra.settings import Settings
from models.infra.storage import Storage
from worker.cache import Cache, link_or_copy, link_tree
from worker.data.source import FACTS, FILES, GATE, ROWS, SourceFacts
from worker.lease import Lease

HUB_TOKEN = "hub_token"

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


def lay_base_without_weights(shelf: Shelf, base: BaseModel, folder: Path) -> None:
    """Its tokenizer, templates and configuration: what is needed to write rows, and nothing that is large."""
    ref = TreeRef(scope=base.scope, sha256=Sha256(base.tree_sha256))
    with shelf.cache.using_texts(ref, shelf.watch) as path:
        link_tree(path, folder)


def hub_token(shelf: Shelf, team: str | None) -> str | None:
    """The team's own, opened; jobs of the whole installation use that of the default team."""
    owner = team or DEFAULT_TEAM
    sealed = shelf.lease.read(lambda store: store.sealed_secret(owner, HUB_TOKEN))
    return open_sealed(load_key(shelf.settings.key_file), owner, sealed) if sealed else None


def lay_file(shelf: Shelf, scope: str, sha256: str, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    with shelf.cache.using_file(scope, sha256, shelf.watch) as path:
        link_or_copy(path, destination)

"""Takes in a file of training rows: stored byte for byte, registered, and queued to be checked."""

import unicodedata
from pathlib import PurePosixPath
from typing import IO

from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import DatasetVersion
from models.domain.access import Kind, Principal, Verb
from models.domain.errors import Code, Invalid, NotFound
from models.domain.job import JobKind, Lane
from models.infra.storage import BlobRef, team_scope
from webapp.actions.once import made_before, one_create_at_a_time, request_hash
from webapp.actions.ring import ring
from webapp.deps import Deps

File = DatasetVersion
ENDINGS = (".jsonl", ".json")
LONGEST_NAME = 200


def upload_file(
    deps: Deps,
    principal: Principal,
    filename: str,
    stream: IO[bytes],
    purpose: str = "fine-tune",
    *,
    dataset_id: str | None = None,
) -> File:
    """`stream` must be seekable. With `dataset_id` the file becomes that dataset's next version, else a new dataset.

    Raises Invalid (name, empty, too large), Forbidden, or NotFound and Conflict for the dataset; then nothing is kept.
    The same person sending the same bytes under the same name within 30 s gets the first file again.
    """
    name = clean_name(filename)
    _check_may_create(deps, principal, dataset_id)
    if not stream.read(1):
        raise Invalid(f"{name} is empty; at least one row was needed. Choose another file.", code=Code.INVALID_FILE)
    stream.seek(0)
    blob = deps.storage.put_stream(team_scope(principal.team), stream, deps.settings.max_upload_bytes)
    file = _register(deps, principal, name, purpose, blob, dataset_id)
    ring(deps.broker, Lane.LIGHT)
    return file


def clean_name(filename: str) -> str:
    """The last part of the name without control characters: it is only shown, never a path. Raises Invalid."""
    last = filename.replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(char for char in last if unicodedata.category(char)[0] != "C").strip()
    path = PurePosixPath(name or ".")
    if path.suffix.lower() not in ENDINGS:
        raise Invalid(
            f'"{name[:80]}" does not end in .jsonl or .json; training rows come as one JSON object a line. '
            "Convert the file and upload it again.",
            code=Code.INVALID_FILE,
            param="file",
        )
    return path.stem[: LONGEST_NAME - len(path.suffix)] + path.suffix


def _check_may_create(deps: Deps, principal: Principal, dataset_id: str | None) -> None:
    """Before the bytes are stored; the store decides again with the row."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        store.require(Verb.CREATE, Kind.DATASET, store.team, store.user, "datasets")
        if dataset_id is not None:
            store.dataset_for_version(dataset_id)


def _register(deps: Deps, principal: Principal, name: str, purpose: str, blob: BlobRef, dataset_id: str | None) -> File:
    told = {"name": name, "sha256": blob.sha256, "purpose": purpose} | ({"dataset": dataset_id} if dataset_id else {})
    wish = request_hash("upload", told, None)
    with deps.database.write() as session:
        store = TeamStore(session, principal)
        one_create_at_a_time(SystemStore(session), principal)
        if (earlier := made_before(store, wish)) is not None:
            try:
                return store.file(earlier.spec["file"])
            except NotFound:
                pass  # uploaded, deleted and uploaded again: a new file
        facts = {"filename": name, "purpose": purpose, **blob.model_dump()}
        file = store.add_file(**facts) if dataset_id is None else store.add_version(dataset_id, **facts)
        store.submit(JobKind.CHECK_DATA, {"file": file.id}, request_hash=wish)
        session.refresh(file)
        return file

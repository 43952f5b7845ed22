"""Takes in files of training rows: stored byte for byte, registered as one version, and queued to be checked."""

import io
import unicodedata
from collections.abc import Sequence
from typing import IO

from models.catalog.containers import ENDINGS, SUFFIXES
from models.db.store.system import SystemStore
from models.db.store.team import TeamStore
from models.db.tables import DatasetVersion
from models.domain.access import Kind, Principal, Verb
from models.domain.errors import Code, Invalid, NotFound, TooLarge
from models.domain.job import JobKind, Lane
from models.domain.reading import MOST_PARTS, Part, Reading, list_of, name_of
from models.infra.storage import team_scope
from webapp.actions.once import made_before, one_create_at_a_time, request_hash
from webapp.actions.ring import ring
from webapp.deps import Deps

File = DatasetVersion
Sent = Sequence[tuple[str, IO[bytes]]]
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
    """`upload_files` of one."""
    return upload_files(deps, principal, [(filename, stream)], purpose, dataset_id=dataset_id)


def upload_files(
    deps: Deps,
    principal: Principal,
    sent: Sent,
    purpose: str = "fine-tune",
    *,
    dataset_id: str | None = None,
    reading: Reading | None = None,
) -> File:
    """One version of one file or several. Streams must be seekable.

    With `dataset_id` it becomes that dataset's next version, else a new dataset. Raises Invalid (name, empty, too
    large, too many), Forbidden, or NotFound and Conflict for the dataset; then nothing is kept. The same person sending
    the same bytes under the same names within 30 s gets the first file again.
    """
    names = clean_names([filename for filename, _ in sent])
    _check_may_create(deps, principal, dataset_id)
    _check_sizes(names, sent, deps.settings.max_upload_bytes)
    scope, left_bytes = team_scope(principal.team), deps.settings.max_upload_bytes
    parts: list[Part] = []
    for name, (_, stream) in zip(names, sent, strict=True):
        blob = deps.storage.put_stream(scope, stream, left_bytes)
        left_bytes -= blob.size
        parts.append(Part(filename=name, sha256=blob.sha256, size=blob.size))
    file = _register(deps, principal, scope, parts, purpose, dataset_id, reading or Reading())
    ring(deps.broker, Lane.LIGHT)
    return file


def _check_sizes(names: Sequence[str], sent: Sent, most_bytes: int) -> None:
    """Before anything is stored."""
    total = 0
    for name, (_, stream) in zip(names, sent, strict=True):
        size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        if not size:
            raise Invalid(f"{name} is empty; at least one row was needed. Choose another file.", code=Code.INVALID_FILE)
        total += size
    if total > most_bytes:
        together = " together" if len(names) > 1 else ""
        raise TooLarge(
            f"{', '.join(names)[:120]}: {total:,} bytes{together}; at most {most_bytes:,} bytes are taken. Send less."
        )


def clean_names(filenames: Sequence[str]) -> list[str]:
    """`clean_name` of each. Raises Invalid, also for more files than one version holds."""
    if not 0 < len(filenames) <= MOST_PARTS:
        raise Invalid(
            f"{len(filenames)} files were sent; from 1 to {MOST_PARTS} were needed. Join some of them.", param="file"
        )
    return [clean_name(filename) for filename in filenames]


def clean_name(filename: str) -> str:
    """The last part of the name without control characters: it is only shown, never a path. Raises Invalid."""
    last = filename.replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(char for char in last if unicodedata.category(char)[0] != "C").strip()
    # The longest that fits: .jsonl.gz, not .gz.
    ending = max((one for one in ENDINGS if name.lower().endswith(one)), key=len, default=None)
    if ending is None or len(name) == len(ending):
        known = ", ".join(SUFFIXES[:-1]) + f" or {SUFFIXES[-1]}"
        raise Invalid(
            f'"{name[:80]}" does not end in {known}, nor in one of them and .gz; training rows come in such files. '
            "Convert the file and upload it again.",
            code=Code.INVALID_FILE,
            param="file",
        )
    return name[: -len(ending)][: LONGEST_NAME - len(ending)] + name[-len(ending) :]


def _check_may_create(deps: Deps, principal: Principal, dataset_id: str | None) -> None:
    """Before the bytes are stored; the store decides again with the row."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        store.require(Verb.CREATE, Kind.DATASET, store.team, store.user, "datasets")
        if dataset_id is not None:
            store.dataset_for_version(dataset_id)


def _register(
    deps: Deps,
    principal: Principal,
    scope: str,
    parts: Sequence[Part],
    purpose: str,
    dataset_id: str | None,
    reading: Reading,
) -> File:
    facts = _facts(deps, scope, parts) | {"purpose": purpose, "reading": reading}
    told = {"name": facts["filename"], "sha256": facts["sha256"], "purpose": purpose}
    told |= {"dataset": dataset_id} if dataset_id else {}
    told |= {"reading": reading.model_dump(mode="json")} if reading != Reading() else {}
    wish = request_hash("upload", told, None)
    with deps.database.write() as session:
        store = TeamStore(session, principal)
        one_create_at_a_time(SystemStore(session), principal)
        if (earlier := made_before(store, wish)) is not None:
            try:
                return store.file(earlier.spec["file"])
            except NotFound:
                pass  # uploaded, deleted and uploaded again: a new file
        file = store.add_file(**facts) if dataset_id is None else store.add_version(dataset_id, **facts)
        store.submit(JobKind.CHECK_DATA, {"file": file.id}, request_hash=wish)
        session.refresh(file)
        return file


def _facts(deps: Deps, scope: str, parts: Sequence[Part]) -> dict:
    """What the store writes of them. Several files are named by the first, and their list is the version's bytes."""
    if len(parts) == 1:
        (part,) = parts
        return {"filename": part.filename, "scope": scope, "sha256": part.sha256, "size": part.size}
    listing = deps.storage.put_bytes(scope, list_of(parts))
    return {
        "filename": name_of(parts),
        "scope": scope,
        "sha256": listing.sha256,
        "size": sum(part.size for part in parts),
        "parts": tuple(parts),
        "list_size": listing.size,
    }

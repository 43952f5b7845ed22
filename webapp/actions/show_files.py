"""Files as their team sees them: the list, one, its bytes; and taking one away."""

from collections.abc import Iterator

from models.db.store.scope import Page
from models.db.store.team import TeamStore
from models.domain.access import Principal
from models.domain.errors import Conflict, NotFound
from models.domain.reading import Part
from webapp.actions.download_tree import chunks_of
from webapp.actions.upload_file import File
from webapp.deps import Deps


def list_files(
    deps: Deps, principal: Principal, *, limit: int, after: str | None, purpose: str | None, ascending: bool
) -> Page[File]:
    with deps.database.read() as session:
        return TeamStore(session, principal).files(limit=limit, after=after, purpose=purpose, ascending=ascending)


def show_file(deps: Deps, principal: Principal, file_id: str) -> tuple[File, tuple[Part, ...]]:
    """The file, and the files it was made of where they are several."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        file = store.file(file_id)
        return file, tuple(
            Part(filename=part.filename, sha256=part.sha256, size=part.size) for part in store.parts(file_id)
        )


def file_content(
    deps: Deps, principal: Principal, file_id: str, part: int | None = None
) -> tuple[str, int, Iterator[bytes]]:
    """(name, bytes, content) of the file, or of one of its files, counted from 1.

    Raises before the first byte where storage does not have them, and Conflict for a version of several without `part`.
    """
    file, parts = show_file(deps, principal, file_id)
    if not parts and part in (None, 1):
        return file.filename, file.size, chunks_of(deps.storage, file.scope, file.sha256)
    if part is None:
        raise Conflict(
            f"{file.filename} was made of {len(parts)} files, and none of them is the whole. Ask for one of them with "
            f"?part=1 to ?part={len(parts)}, or for all usable rows as messages.jsonl.",
            param="part",
        )
    if not 1 <= part <= len(parts):
        raise NotFound(f"{file.filename} has no part {part}; it has {max(1, len(parts))}.", param="part")
    chosen = parts[part - 1]
    return chosen.filename, chosen.size, chunks_of(deps.storage, file.scope, chosen.sha256)


def delete_file(deps: Deps, principal: Principal, file_id: str) -> None:
    """Jobs that trained on it keep their lineage; their creator and owners may delete it."""
    with deps.database.write() as session:
        TeamStore(session, principal).delete_file(file_id)

"""Files as their team sees them: the list, one, its bytes; and taking one away."""

from collections.abc import Iterator

from models.db.store.scope import Page
from models.db.store.team import TeamStore
from models.domain.access import Principal
from webapp.actions.download_tree import chunks_of
from webapp.actions.upload_file import File
from webapp.deps import Deps


def list_files(
    deps: Deps, principal: Principal, *, limit: int, after: str | None, purpose: str | None, ascending: bool
) -> Page[File]:
    with deps.database.read() as session:
        return TeamStore(session, principal).files(limit=limit, after=after, purpose=purpose, ascending=ascending)


def show_file(deps: Deps, principal: Principal, file_id: str) -> File:
    with deps.database.read() as session:
        return TeamStore(session, principal).file(file_id)


def file_content(deps: Deps, principal: Principal, file_id: str) -> tuple[File, Iterator[bytes]]:
    """The file and its bytes. Raises before the first byte where storage does not have them."""
    file = show_file(deps, principal, file_id)
    return file, chunks_of(deps.storage, file.scope, file.sha256)


def delete_file(deps: Deps, principal: Principal, file_id: str) -> None:
    """Jobs that trained on it keep their lineage; their creator and owners may delete it."""
    with deps.database.write() as session:
        TeamStore(session, principal).delete_file(file_id)

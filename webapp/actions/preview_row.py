"""One row as a base would be trained on it: asked of a light worker, which renders it as training does."""

from dataclasses import dataclass, field
from typing import Literal

from models.db.store.team import TeamStore
from models.domain.access import Principal
from models.domain.chat import TreeRef
from models.domain.errors import Conflict
from models.domain.ids import Sha256
from models.domain.preview import RowPreview
from models.domain.question import FileRef, PreviewRow
from models.domain.training import OverLong, TrainOn
from webapp.actions.ask_worker import answer_of
from webapp.actions.count_tokens import must_be_usable
from webapp.actions.upload_file import File
from webapp.deps import Deps


@dataclass(frozen=True, kw_only=True)
class PreviewWish:
    """`base` is an id or a public name; `jump` goes to such a row, which needs the counts for this base."""

    base: str
    row: int = 1
    jump: Literal["longest", "shortest", "over"] | None = None
    max_length: int
    over_long: OverLong = OverLong.DROP
    train_on: TrainOn = TrainOn.ASSISTANT
    template_arguments: dict[str, str | bool | int] = field(default_factory=dict)


def preview_row(deps: Deps, principal: Principal, file_id: str, wish: PreviewWish) -> RowPreview:
    """Raises NotFound (file, base, row), Conflict where rows or counts are not there yet, Unavailable in time."""
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        file, base = store.file(file_id), store.base(wish.base)
        prepared = prepared_of(file)
        counts = store.tokens_report(file.id, base, wish.train_on, wish.template_arguments)
        if wish.jump is not None and counts is None:
            raise Conflict(
                f"Which rows are longest is known once tokens are counted for {base.name}. Count them first."
            )
        tree = TreeRef(scope=base.scope, sha256=Sha256(base.tree_sha256))
        asked = PreviewRow(
            prepared=prepared, base=tree, row=wish.row, jump=wish.jump, max_length=wish.max_length,
            counts=FileRef(scope=counts.scope, sha256=counts.sha256) if counts else None, over_long=wish.over_long,
            train_on=wish.train_on, template_arguments=wish.template_arguments,
        )  # fmt: skip
    return RowPreview.model_validate(answer_of(deps, principal, asked))


def prepared_of(file: File) -> FileRef:
    """A version's prepared rows. Raises Conflict where its check has not written them, Invalid where it is unusable."""
    must_be_usable(file)
    if file.rows_sha256 is None:
        raise Conflict(f"{file.filename} was checked by an earlier release. Run its gate again to look at its rows.")
    return FileRef(scope=file.scope, sha256=file.rows_sha256, filename=file.filename)

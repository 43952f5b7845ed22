"""Which rows a run was trained on that are like a text: asked of a light worker. Likeness is no proof of influence."""

from typing import cast

from models.db.store.team import TeamStore
from models.domain.access import Principal
from models.domain.errors import Conflict, Invalid
from models.domain.job import JobKind
from models.domain.likeness import LikeRows
from models.domain.question import LONGEST_ASKED, AskLikeRows, FileRef
from models.domain.training import KeptTogether, TrainingSpec
from webapp.actions.ask_worker import answer_of
from webapp.actions.preview_row import prepared_of
from webapp.deps import Deps

SHOWN = 10


def like_rows(deps: Deps, principal: Principal, job_id: str, text: str, shown: int = SHOWN) -> LikeRows:
    """Raises NotFound (run, or a dataset that was deleted), Conflict, Invalid, Unavailable in time."""
    text = text.strip()
    if not text or len(text) > LONGEST_ASKED:
        raise Invalid(
            f"The text has {len(text):,} characters; 1 to {LONGEST_ASKED:,} are searched for. Paste a question or an "
            "answer.",
            param="text",
        )
    with deps.database.read() as session:
        store = TeamStore(session, principal)
        job = store.job(job_id, kinds=(JobKind.TRAIN,))
        wish = TrainingSpec.model_validate(job.spec)
        files = [store.file(one) for one in (wish.data.training_file, *(each.file for each in wish.data.rows.mixed))]
        gates: list[FileRef | None] = [None] * len(files)
        if wish.data.rows.kept_together is KeptTogether.NEAR_DUPLICATES:
            gates = [_gate(store, file.id) for file in files]
        if not all(file.rows_sha256 for file in files):
            raise Conflict("The rows of this run were not checked before it, so they cannot be searched.")
        asked = AskLikeRows(
            prepared=tuple(prepared_of(file) for file in files), files=tuple(file.id for file in files),
            gates=tuple(gates), wish=wish, text=text, shown=shown,
        )  # fmt: skip
    return LikeRows.model_validate(answer_of(deps, principal, asked))


def _gate(store: TeamStore, file_id: str) -> FileRef | None:
    report = next((one for one in store.reports(file_id) if one.kind == "gate"), None)
    return FileRef(scope=report.scope, sha256=cast(str, report.sha256)) if report else None

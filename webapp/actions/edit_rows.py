"""Edits rows of a version: queues the job that writes the next version. Nothing that exists changes."""

from collections.abc import Sequence

from pydantic import ValidationError

from models.db.store.team import TeamStore
from models.domain.access import Principal
from models.domain.data_jobs import Edit, EditDataSpec
from models.domain.errors import Conflict, Invalid
from models.domain.example import EXAMPLE
from models.domain.ids import FileId
from models.domain.job import JobKind, Lane
from webapp.actions.flood import refuse_flood
from webapp.actions.ring import ring
from webapp.actions.show_jobs import JobSeen, see
from webapp.deps import Deps

MOST_AT_ONCE = 1000


def edit_rows(deps: Deps, principal: Principal, file_id: str, edits: Sequence[Edit], note: str = "") -> JobSeen:
    """Each edit gives a row another example, or removes it.

    Raises NotFound, Forbidden, Conflict for a sample or a version that is not the newest, Invalid naming the edit.
    """
    if not 0 < len(edits) <= MOST_AT_ONCE:
        raise Invalid(f"{len(edits)} edits were sent; from 1 to {MOST_AT_ONCE} were needed. Send less.", param="edits")
    checked = tuple(_checked(place, edit) for place, edit in enumerate(edits))
    if len({edit.row for edit in checked}) < len(checked):
        raise Invalid("Two edits name the same row; one edit a row was needed. Send the last one.", param="edits")
    with deps.database.write() as session:
        store = TeamStore(session, principal)
        file = store.file(file_id)
        dataset = store.dataset_for_version(file.dataset_id)
        newest = store.newest_version(dataset.id)
        if newest is not None and newest.number != file.number:
            raise Conflict(
                f"{dataset.name} has a newer version, {newest.number}: what was changed there would be lost. "
                "Make the change in that one."
            )
        refuse_flood(store, JobKind.EDIT_DATA)
        spec = EditDataSpec(file=FileId(file.id), edits=checked, note=note or _note(checked))
        seen = see(store, store.submit(JobKind.EDIT_DATA, spec.model_dump(mode="json")))
    ring(deps.broker, Lane.LIGHT)
    return seen


def _checked(place: int, edit: Edit) -> Edit:
    """With the example as Example writes itself."""
    if edit.example is None:
        return edit
    try:
        example = EXAMPLE.validate_python(edit.example)
    except ValidationError as fault:
        first = fault.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Invalid(
            f"The new row {edit.row} is not an example: {where or 'it'}: {first['msg']}. Correct it and send it again.",
            param=f"edits.{place}.example",
        ) from None
    return Edit(row=edit.row, example=example.model_dump(mode="json", exclude_defaults=True) | {"kind": example.kind})


def _note(edits: Sequence[Edit]) -> str:
    removed = sum(edit.example is None for edit in edits)
    changed = len(edits) - removed
    said = [f"{changed} row{'s' * (changed != 1)} edited"] if changed else []
    said += [f"{removed} row{'s' * (removed != 1)} removed"] if removed else []
    return ", ".join(said)

"""Adds rows to a dataset, with who and when: an answer somebody corrected or liked. Makes its next version."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from models.catalog.formats import FORMATS
from models.db.store.team import TeamStore
from models.domain.access import Principal
from models.domain.data_jobs import EditDataSpec
from models.domain.errors import Conflict, Invalid
from models.domain.example import EXAMPLE, Example
from models.domain.ids import FileId
from models.domain.job import JobKind, Lane
from webapp.actions.edit_rows import MOST_AT_ONCE
from webapp.actions.flood import refuse_flood
from webapp.actions.ring import ring
from webapp.actions.show_jobs import JobSeen, see
from webapp.deps import Deps


def append_rows(
    deps: Deps, principal: Principal, dataset_id: str, rows: Sequence[dict[str, Any]], note: str = ""
) -> JobSeen:
    """Each row is one of OpenAI's (`messages`) or an Example as it writes itself (`kind`).

    They go to the newest version there is when the job runs, so that two people who add at once lose nothing. Raises
    NotFound, Forbidden, Conflict for a sample, Invalid naming the row.
    """
    if not 0 < len(rows) <= MOST_AT_ONCE:
        raise Invalid(f"{len(rows)} rows were sent; from 1 to {MOST_AT_ONCE} were needed. Send less.", param="rows")
    examples = tuple(
        example.model_dump(mode="json", exclude_defaults=True) | {"kind": example.kind}
        for example in (_example(place, row) for place, row in enumerate(rows))
    )
    with deps.database.write() as session:
        store = TeamStore(session, principal)
        dataset = store.dataset_for_version(dataset_id)
        newest = store.newest_version(dataset.id, passing_broken=True)
        if newest is None:
            raise Conflict(f"{dataset.name} has no usable version to add rows to. Upload the rows as a file.")
        refuse_flood(store, JobKind.EDIT_DATA)
        said = note or f"{len(examples)} row{'s' * (len(examples) != 1)} added"
        spec = EditDataSpec(file=FileId(newest.id), appended=examples, note=said)
        seen = see(store, store.submit(JobKind.EDIT_DATA, spec.model_dump(mode="json")))
    ring(deps.broker, Lane.LIGHT)
    return seen


def _example(place: int, row: dict[str, Any]) -> Example:
    try:
        if "kind" in row:
            return EXAMPLE.validate_python(row)
        return FORMATS["messages"].parse(row)
    except ValidationError as fault:
        first = fault.errors()[0]
        why = f"{'.'.join(str(part) for part in first['loc']) or 'it'}: {first['msg']}"
    except Invalid as refusal:
        why = refusal.message.rstrip(".")
    raise Invalid(
        f'Row {place + 1} cannot be added: {why}. Send a row with "messages", or an example with its "kind".',
        param=f"rows.{place}",
    )

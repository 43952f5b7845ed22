"""Datasets as the actions return them, without a database: for tests of what is made of them."""

from datetime import UTC, datetime
from typing import Any

from models.db.tables import Dataset, DatasetVersion
from models.domain.dataset import Check, CheckState
from webapp.actions.show_datasets import DatasetPage, VersionSeen

AT = datetime(2026, 3, 1, tzinfo=UTC)


def version_of(
    number: int, *, made_from: int | None = None, state: CheckState = CheckState.GOOD, **facts: Any
) -> VersionSeen:  # fmt: skip
    """Version `number` of the one dataset there is; `facts` are columns of its row."""
    usual = {
        "filename": "tides.jsonl", "sha256": "0" * 64, "size": 100, "status": "processed", "format": "messages",
        "rows": 10, "usable_rows": 10, "report": None, "source": None, "note": None, "reading": {}, "created_at": AT,
    }  # fmt: skip
    made = f"file-{made_from}" if made_from else None
    row = DatasetVersion(id=f"file-{number}", number=number, made_from=made, **usual | facts)
    return VersionSeen(version=row, check=Check(state=state), maker="odalys@larkspur.example")


def page_of(
    *versions: VersionSeen, may_add: bool = True, may_train: bool = True, is_sample: bool = False
) -> DatasetPage:
    """Newest first."""
    team = None if is_sample else "team-1"
    dataset = Dataset(id="dataset-1", team_id=team, name="tides.jsonl", created_at=AT)
    return DatasetPage(
        dataset=dataset, versions=versions, runs=(), maker=None, may_train=True, may_add=may_add,
        may_delete=may_add,
    )  # fmt: skip
